//! One page of metrics, from what was seen last, what is read now, and what is counted.
//!
//! What comes from LVM changes only when LVM was asked again, so that part is written once per inventory and format and
//! then only copied: a scrape costs what the file systems and counters cost. Compressed parts can be put one after the
//! other as well, because gzip allows several members (RFC 1952, 2.2).

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use super::filesystem::FileSystems;
use super::health::{Health, Run};
use super::lvm::Lvm;
use super::process::Process;
use super::selection::Selection;
use super::target::Targets;
use super::text::{Format, to_text};
use crate::inventory::{FileSystem, Inventory, Latest, ProcessUsage};

/// Makes pages.
pub struct Exposition {
    selection: Arc<Selection>,
    latest: Arc<Latest>,
    read_process: fn() -> Option<ProcessUsage>,
    lvm: Mutex<Vec<Part>>,
    /// What is mounted on the volumes of an inventory, which takes a search among all volumes.
    mounted: Mutex<Option<(Weak<Inventory>, Arc<FileSystems>)>>,
}

/// The LVM part of a page, as it was written for one inventory.
struct Part {
    inventory: Arc<Inventory>,
    shape: Shape,
    bytes: Arc<[u8]>,
}

impl Part {
    /// Whether this is what would be written for that inventory. Most looks find what the last one found; then the part
    /// goes on to stand for the newer inventory, so that the older one is not kept in memory.
    fn is_of(&mut self, inventory: &Arc<Inventory>) -> bool {
        let (old, new) = (&self.inventory, inventory);
        let same = Arc::ptr_eq(old, new) || (old.vgs == new.vgs && old.lvs == new.lvs && old.pvs == new.pvs);
        if same {
            self.inventory = Arc::clone(inventory);
        }
        same
    }
}

/// In which form a page is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The format.
    pub format: Format,
    /// Compressed.
    pub gzip: bool,
}

impl Exposition {
    /// An exposition of what `latest` holds.
    pub fn new(selection: Selection, latest: Arc<Latest>, read_process: fn() -> Option<ProcessUsage>) -> Exposition {
        let (lvm, mounted) = Default::default();
        Exposition { selection: Arc::new(selection), latest, read_process, lvm, mounted }
    }

    /// Whether a page has the usage of file systems.
    pub fn has_usage(&self) -> bool {
        self.selection.filesystem
    }

    /// A page. `usage` reads that of file systems anew, in their order. `targets` and `counters`, which are written
    /// already, are the autoscaler's, if there is one.
    pub fn page(
        &self,
        shape: Shape,
        usage: impl FnOnce(Vec<FileSystem>) -> Vec<FileSystem>,
        targets: Option<Targets>,
        counters: &str,
    ) -> Result<Vec<u8>, fmt::Error> {
        let sample = self.latest.get();
        let mut page = Vec::new();
        if self.selection.lvm {
            page.extend_from_slice(&self.lvm_part(&sample.inventory, shape)?);
        }
        let mut registry = Registry::default();
        let mut runs = Vec::new();
        if self.selection.lvm {
            runs.push(Run { collector: "lvm", succeeded: sample.succeeded, took: sample.took });
        }
        if self.selection.filesystem {
            let started = Instant::now();
            let mounted = self.mounted(&sample.inventory).read_again(usage);
            runs.push(Run { collector: "filesystem", succeeded: mounted.all_answered(), took: started.elapsed() });
            registry.register_collector(Box::new(mounted));
        }
        registry.register_collector(Box::new(Health { sample, runs }));
        if let Some(targets) = targets {
            registry.register_collector(Box::new(targets));
        }
        if let Some(process) = (self.read_process)() {
            registry.register_collector(Box::new(Process(process)));
        }
        let mut text = String::new();
        encode_registry(&mut text, &registry)?;
        text.push_str(counters);
        encode_eof(&mut text)?;
        page.extend(shaped(text, shape)?);
        Ok(page)
    }

    fn mounted(&self, inventory: &Arc<Inventory>) -> Arc<FileSystems> {
        let mut last = crate::locked(&self.mounted);
        match &*last {
            Some((of, mounted)) if of.as_ptr() == Arc::as_ptr(inventory) => Arc::clone(mounted),
            _ => {
                let mounted = Arc::new(FileSystems::of(inventory, &self.selection));
                *last = Some((Arc::downgrade(inventory), Arc::clone(&mounted)));
                mounted
            }
        }
    }

    fn lvm_part(&self, inventory: &Arc<Inventory>, shape: Shape) -> Result<Arc<[u8]>, fmt::Error> {
        let mut parts = crate::locked(&self.lvm);
        parts.retain_mut(|part| part.is_of(inventory));
        if let Some(part) = parts.iter().find(|part| part.shape == shape) {
            return Ok(Arc::clone(&part.bytes));
        }
        let mut registry = Registry::default();
        let (inventory, selection) = (Arc::clone(inventory), Arc::clone(&self.selection));
        registry.register_collector(Box::new(Lvm { inventory: Arc::clone(&inventory), selection }));
        let mut text = String::new();
        encode_registry(&mut text, &registry)?;
        let bytes: Arc<[u8]> = shaped(text, shape)?.into();
        parts.push(Part { inventory, shape, bytes: Arc::clone(&bytes) });
        Ok(bytes)
    }
}

fn shaped(open_metrics: String, shape: Shape) -> Result<Vec<u8>, fmt::Error> {
    let text = match shape.format {
        Format::OpenMetrics => open_metrics,
        Format::Text => to_text(&open_metrics),
    };
    if !shape.gzip {
        return Ok(text.into_bytes());
    }
    // Level 1: the text is so repetitive that more effort saves a few percent and costs several times as much.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).map_err(|_| fmt::Error)
}
