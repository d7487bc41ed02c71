//! What Prometheus sees. Tables turn an inventory into series; nothing here asks the machine anything.
//!
//! The tables are also what `docs/metrics.md` is made of: a metric that is not in one does not exist.

pub mod autoscaler;
pub mod edge;
pub mod exposition;
pub mod families;
pub mod filesystem;
pub mod health;
pub mod lvm;
pub mod process;
pub mod reference;
pub mod selection;
pub mod target;
pub mod text;
pub mod web;
pub mod words;

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// One row of a table: a metric and how its value is read off one item. An item without that value has no series.
pub struct Column<T> {
    /// The whole name; that of a counter without its `_total`.
    pub name: &'static str,
    /// A sentence that stands alone.
    pub help: &'static str,
    /// The value of one item.
    pub value: fn(&T) -> Option<f64>,
    /// Shown only with `--collector.lv-details`.
    pub detail: bool,
    /// It only ever grows.
    pub counter: bool,
}

const fn column<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Column<T> {
    Column { name, help, value, detail: false, counter: false }
}

impl<T> Column<T> {
    const fn detail(mut self) -> Column<T> {
        self.detail = true;
        self
    }

    const fn counter(mut self) -> Column<T> {
        self.counter = true;
        self
    }
}

impl<T> Column<T> {
    /// The names in `_count` are those of prometheus-lvm-exporter and of LVM's own fields. `promtool check metrics`
    /// wants that ending for histograms alone, unless a metric is of no declared type; for queries the type makes no
    /// difference.
    fn kind(&self) -> MetricType {
        match self {
            Column { counter: true, .. } => MetricType::Counter,
            Column { name, .. } if name.ends_with("_count") => MetricType::Unknown,
            _ => MetricType::Gauge,
        }
    }
}

type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// Writes one family: a series for each item that has the value. A family without series is left out.
fn family<T>(encoder: &mut DescriptorEncoder<'_>, column: &Column<T>, items: &[(&T, Labels<'_>)]) -> fmt::Result {
    let mut series = items.iter().filter_map(|(item, labels)| Some(((column.value)(item)?, labels))).peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(column.name, column.help, None, column.kind())?;
    for (value, labels) in series {
        // Without labels there is one series, and `{}` behind a name would look odd.
        if labels.is_empty() {
            return one(column, value, family);
        }
        one(column, value, family.encode_family(labels)?)?;
    }
    Ok(())
}

fn one<T>(column: &Column<T>, value: f64, encoder: MetricEncoder<'_>) -> fmt::Result {
    if column.counter { ConstCounter::new(value).encode(encoder) } else { ConstGauge::new(value).encode(encoder) }
}

/// 1 for yes.
fn flag(value: Option<bool>) -> Option<f64> {
    value.map(|value| f64::from(u8::from(value)))
}
