//! What is free at each layer of a target, from the disk to the file system: the status page shows what the API says.

use lvm_autoscaler::host::sim::{Model, SimPv};
use lvm_autoscaler::inventory::{DiskKind, Partition, PartitionTable};
use lvm_autoscaler::units::{Bytes, Extents, GIB, MIB};
use serde_json::Value;

use crate::common::server::Server;
use crate::common::{CONFIG, HOST, World, encrypt, luks2};

/// The layers of a target, as `layer name size free note`, sizes in GiB.
fn layers(server: &Server, target: usize) -> Vec<String> {
    let said: Value = serde_json::from_str(&server.get("/api/v1/targets").body).expect("JSON");
    let layers = said["targets"][target]["stack"].as_array().expect("a list");
    let gib =
        |bytes: &Value| bytes.as_u64().map_or("?".to_owned(), |bytes| format!("{:.2}", bytes as f64 / GIB as f64));
    let text = |layer: &Value, key: &str| layer[key].as_str().unwrap_or("-").to_owned();
    let line = |layer: &Value| {
        let (size, free) = (gib(&layer["size_bytes"]), gib(&layer["free_bytes"]));
        format!("{} {} {size} {free} {}", text(layer, "layer"), text(layer, "name"), text(layer, "note"))
    };
    layers.iter().map(line).collect()
}

fn server(config: &str, change: impl FnOnce(&mut Model)) -> Server {
    let world = World::new(HOST, config);
    world.sim.with(change);
    Server::start(&world)
}

fn pv(model: &mut Model) -> &mut SimPv {
    &mut model.vg("vg").expect("there").pvs[0]
}

fn in_partition(model: &mut Model, behind: u64, followed_until: Option<u64>) {
    let pv = pv(model);
    let size = MIB + pv.extents.bytes(Bytes(4 * MIB)).0;
    (pv.name, pv.table) = ("/dev/sdb2".to_owned(), Some(PartitionTable::Gpt));
    pv.disk = DiskKind::Partition(Partition {
        disk: "/dev/sdb".to_owned(),
        disk_size: Bytes(GIB + size + behind),
        number: 2,
        start: Bytes(GIB),
        followed_until: followed_until.map(Bytes),
    });
}

#[test]
fn each_layer_says_what_the_one_above_could_take() {
    let server = server(CONFIG, |model| pv(model).device_exceeds = 3 * GIB as i64);
    assert_eq!(
        layers(&server, 0),
        [
            "disk /dev/sdb 23.00 3.00 -",
            "pv /dev/sdb 20.00 12.00 -",
            "group vg 20.00 12.00 -",
            "volume vg/data 4.00 0.00 -",
            "file_system /data 3.92 0.56 -",
        ]
    );
}

#[test]
fn a_partition_and_luks_are_layers_of_their_own() {
    let server = server(CONFIG, |model| {
        in_partition(model, 5 * GIB, None);
        encrypt(model, "vg/data", luks2);
        // As after an `lvextend` alone.
        crate::common::extend_by_hand(model, "vg/data", 256);
    });
    let seen = layers(&server, 0);
    assert_eq!(seen[0], "disk /dev/sdb 26.00 5.00 -", "{seen:?}");
    assert_eq!(seen[1], "partition /dev/sdb2 20.00 0.00 -");
    assert_eq!(seen[4], "volume vg/data 5.00 1.00 -");
    assert_eq!(seen[5], "luks /dev/mapper/data_crypt 3.98 0.00 -");
}

#[test]
fn what_keeps_a_layer_from_growing_is_a_note() {
    let note = |change: fn(&mut Model)| layers(&server(CONFIG, change), 0)[0].clone();
    let followed = note(|model| in_partition(model, 5 * GIB, Some(22 * GIB)));
    assert!(followed.starts_with("disk /dev/sdb 26.00 0.00 another partition is before the "), "{followed}");
    let layered = note(|model| pv(model).disk = DiskKind::Layered("an MD array".to_owned()));
    assert_eq!(layered, "disk /dev/sdb 20.00 0.00 an MD array");
    let shrunk = note(|model| pv(model).device_exceeds = -(GIB as i64));
    assert!(shrunk.ends_with(" 1 GiB smaller than its PV"), "{shrunk}");
}

#[test]
fn a_pool_ends_the_stack_and_is_a_layer_of_its_volumes() {
    let host = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: pool0, type: thin-pool, size: 4GiB, data_used: 50%, metadata_used: 30% }
";
    let world = World::new(
        host,
        "monitor: { targets: [{ thin_pool: vg/pool0 }] }\nvolume_groups: [{ name: vg, reserve: 2GiB }]\n",
    );
    let server = Server::start(&world);
    let seen = layers(&server, 0);
    assert_eq!(seen.last().map(String::as_str), Some("pool vg/pool0 4.00 2.00 -"), "{seen:?}");
    assert!(seen.iter().any(|line| line.ends_with("2 GiB of it stay free")), "{seen:?}");
}

#[test]
fn of_many_disks_those_that_can_grow_are_shown_and_the_rest_added_up() {
    let server = server(CONFIG, |model| {
        let vg = model.vg("vg").expect("there");
        for n in 0..11 {
            vg.pvs.push(SimPv::new(format!("/dev/sdx{n}"), Extents(256)));
        }
        vg.pvs[11].device_exceeds = GIB as i64;
    });
    let seen = layers(&server, 0);
    assert_eq!(seen[0], "disk /dev/sdx10 2.00 1.00 -");
    assert_eq!(seen.iter().filter(|line| line.starts_with("pv ")).count(), 8);
    assert!(seen.iter().any(|line| line.starts_with("more_pvs 4 4.00 4.00")), "{seen:?}");
}

/// Without script, without style, and to who hears it: a table with a caption and headings, of each layer its name,
/// size and what is free.
#[test]
fn the_page_draws_what_the_api_says() {
    let server = server(CONFIG, |model| {
        in_partition(model, 5 * GIB, None);
        encrypt(model, "vg/data", luks2);
    });
    let page = server.get("/").body;
    let card = page.split("data-target=\"vg/data\"").nth(1).and_then(|rest| rest.split("</section>").next());
    let card = card.expect("a card");
    let table = card.split("<table class=\"stack\">").nth(1).and_then(|rest| rest.split("</table>").next());
    let table = table.expect("a table");
    assert!(table.contains("<caption>Layers of vg&#x2f;data, the lowest first</caption>"), "{table}");
    assert_eq!(table.matches("scope=\"col\"").count(), 3);
    let rows: Vec<&str> = table.split("<tr class=").skip(1).collect();
    let said: Value = serde_json::from_str(&server.get("/api/v1/targets").body).expect("JSON");
    let stack = said["targets"][0]["stack"].as_array().expect("a list");
    assert_eq!(rows.len(), stack.len());
    for (row, layer) in rows.iter().zip(stack) {
        let text = |key: &str| layer[key].as_str().expect("text").replace('/', "&#x2f;");
        assert!(row.contains(&format!("data-layer=\"{}\"><th scope=\"row\">", text("layer"))), "{row}");
        assert!(row.contains(&format!("<span class=\"name\">{}</span>", text("name"))), "{row}");
        for key in ["size_bytes", "free_bytes"] {
            let shown = Bytes(layer[key].as_u64().expect("a size")).to_string().replace(' ', "\u{a0}");
            assert!(row.contains(&format!("<td class=\"number\">{shown}</td>")), "{key} {shown}: {row}");
        }
    }
    assert!(!card.contains("<details id=\"stack-vg&#x2f;data\" open>"), "nothing is short");
}

#[test]
fn where_space_is_lacking_the_drawing_is_open() {
    let server = server(CONFIG, |model| pv(model).allocated = pv(model).extents);
    let page = server.get("/").body;
    assert!(page.contains("<details id=\"stack-vg&#x2f;data\" open>"), "{page}");
}
