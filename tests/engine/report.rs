//! Reports: a simulated week whose report is shipped as the example, what findings there are, and names that try to be
//! more than text. `UPDATE_DOCS=1 cargo test --test engine report::` writes the example and the golden file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use jiff::Timestamp;
use lvm_autoscaler::command::Tool;
use lvm_autoscaler::config::{Config, ReportFormat};
use lvm_autoscaler::host::sim::{self, Harm};
use lvm_autoscaler::host::{Focus, Host, look};
use lvm_autoscaler::inventory::Inventory;
use lvm_autoscaler::journal::{Event, Journal, Source, State};
use lvm_autoscaler::plan::{Code, Moment, Refusal};
use lvm_autoscaler::report::store::Store;
use lvm_autoscaler::report::{Material, Report, Snapshot, Urgency, render};
use lvm_autoscaler::units::Bytes;
use serde_json::Value;

/// What a middling database host looks like on a Monday.
const WEEK: &str = "
names: [db1.example.com]
volume_groups:
  - name: storage_vg
    physical_volumes: [{ name: /dev/sdb, size: 600GiB }, { name: /dev/sdc, size: 600GiB }]
    logical_volumes:
      - { name: pgdata_lv, size: 320GiB, filesystem: { type: xfs, mount_point: /var/lib/postgresql, used: 71%, fill: 145KiB } }
      - { name: media_lv, size: 240GiB, filesystem: { type: ext4, mount_point: /srv/media, used: 76%, fill: 62KiB } }
      - { name: mail_lv, size: 120GiB, filesystem: { type: ext4, mount_point: /srv/mail, used: 77%, fill: 31KiB } }
      - { name: log_lv, size: 40GiB, filesystem: { type: ext4, mount_point: /var/log, used: 64%, fill: 17KiB } }
      - { name: home_lv, size: 80GiB, filesystem: { type: ext4, mount_point: /home, used: 58%, fill: 15KiB } }
      - { name: home_before_upgrade, size: 16GiB, snapshot_of: home_lv }
  - name: fast_vg
    physical_volumes: [{ name: /dev/nvme0n1, size: 400GiB }, { name: /dev/nvme1n1, size: 400GiB }]
    logical_volumes:
      - { name: root_lv, type: raid1, stripes: 2, size: 60GiB, filesystem: { type: ext4, mount_point: /, used: 41%, fill: 2KiB } }
      - { name: pool0, type: thin-pool, size: 300GiB, metadata_size: 512MiB, data_used: 55%, metadata_used: 62% }
      - { name: build_lv, pool: pool0, size: 200GiB, filesystem: { type: xfs, mount_point: /srv/build, used: 50%, fill: 100KiB } }
  - name: archive_vg
    physical_volumes: [{ name: /dev/sdd, size: 2TiB }, { name: /dev/sde, size: 2TiB }]
    logical_volumes:
      - { name: archive_lv, size: 2500GiB, filesystem: { type: xfs, mount_point: /srv/archive, used: 80%, fill: 230KiB } }
";

const WEEK_CONFIG: &str = "
defaults: { threshold_percent: 80, increment: 10%, cooldown: 1h }
monitor:
  targets:
    - { lv_path: /dev/storage_vg/pgdata_lv, mount_point: /var/lib/postgresql, max_size: 700GiB }
    - { lv_path: /dev/storage_vg/media_lv, mount_point: /srv/media }
    - { lv_path: /dev/storage_vg/mail_lv, mount_point: /srv/mail }
    - { lv_path: /dev/storage_vg/log_lv, mount_point: /var/log, threshold_percent: 70, max_size: 44GiB }
    - { lv_path: /dev/storage_vg/home_lv, mount_point: /home, threshold_percent: 65 }
    - { lv_path: /dev/fast_vg/root_lv, mount_point: / }
    - { thin_pool: fast_vg/pool0, mode: recommend, cooldown: 24h }
    - { lv_path: /dev/archive_vg/archive_lv, mount_point: /srv/archive, threshold_percent: 82 }
volume_groups:
  - { name: storage_vg, reserve: 10% }
  - { name: archive_vg, reserve: 100GiB }
report: { interval: 24h }
";

const STEP: Duration = Duration::from_secs(15 * 60);
const STEPS_A_DAY: u64 = 96;

fn inventory(world: &World) -> Inventory {
    look(world.sim.as_ref(), Focus::Everything).expect("LVM answers")
}

fn report(world: &World, state: &State, earlier: &[Snapshot], since: Option<Timestamp>) -> (Report, Snapshot) {
    let inventory = inventory(world);
    let facts = Material {
        host: "db1.example.com",
        now: world.sim.moment(),
        config: &world.config,
        inventory: &inventory,
        looked: true,
        state,
        journal_writable: Some(true),
        earlier,
        since,
    };
    (Report::new(&facts), Snapshot::new(&inventory, facts.now))
}

/// Seven days, hour by hour: the daemon looks every quarter of an hour, Alertmanager repeats what is still true every
/// six hours, and each midnight a report is kept.
fn week() -> (World, Report, Store) {
    let world = World::new(WEEK, WEEK_CONFIG);
    // Sentences name it, and the folder of a test is another one each time.
    let state_directory = "/var/lib/lvm-autoscaler".into();
    let config = Arc::new(Config { state_directory, ..(*world.config).clone() });
    let world = World { config, ..world };
    // To a Monday.
    world.sim.pass(Duration::from_secs(4 * 86400));
    let begun = world.sim.now();
    let store = Store::new(world.folder.path().join("reports"));
    let daemon = world.daemon();
    // One lvextend fails and is tried again, one file system is not grown and left to a person.
    world.inject("lvextend", 1, Harm::Fails);
    world.inject("resize2fs", 2, Harm::Fails);
    for step in 0..=7 * STEPS_A_DAY {
        if step % STEPS_A_DAY == 0 && step < 7 * STEPS_A_DAY {
            let snapshots = store.snapshots();
            let (report, snapshot) = report(&world, &world.state(), &snapshots, None);
            store.keep(&report, &snapshot, &world.config.report.formats, 30).expect("it can be kept");
        }
        if step == 6 * STEPS_A_DAY + 40 {
            world.sim.with(|model| model.vg("archive_vg").expect("a group").partial = true);
        }
        // Metadata fill with each snapshot that the builds make.
        world.sim.with(|model| {
            let pool = model.lv("fast_vg/pool0").and_then(|lv| lv.thin_pool.as_mut()).expect("a pool");
            pool.data_used.0 += 70 << 20;
            pool.metadata_used.0 += 230 << 10;
        });
        let names: Vec<String> = world.config.targets.iter().map(|target| target.lv.to_string()).collect();
        let seen = inventory(&world);
        for name in names.iter().filter(|name| is_over(&world, &seen, name)) {
            if step % 24 == 0 { drop(daemon.alert(name)) } else { drop(daemon.own_look(name)) }
        }
        if step < 7 * STEPS_A_DAY {
            world.sim.pass(STEP);
        }
    }
    let (report, _) = report(&world, &world.state(), &store.snapshots(), Some(begun));
    (world, report, store)
}

fn is_over(world: &World, inventory: &Inventory, name: &str) -> bool {
    let target = world.config.target(&lv(name)).expect("a target");
    let over =
        |percent: Option<lvm_autoscaler::units::Percent>| percent.is_some_and(|percent| percent > target.threshold);
    match target.mount_point() {
        Some(point) => over(inventory.filesystem_at(point).and_then(|fs| fs.usage).map(|usage| usage.percent())),
        None => {
            let pool = inventory.lv(&target.lv).expect("a pool");
            over(pool.data_percent) || over(pool.metadata_percent)
        }
    }
}

const UPDATE: &str = "UPDATE_DOCS=1 cargo test --test engine report::";

fn shown(report: &Report, format: ReportFormat) -> String {
    render(report, format).expect("it can be shown")
}

#[test]
fn the_report_of_a_simulated_week_is_the_example() {
    let (world, report, store) = week();
    is_up_to_date("docs/example-report.md", &shown(&report, ReportFormat::Markdown), UPDATE);
    is_up_to_date("docs/example-report.html", &shown(&report, ReportFormat::Html), UPDATE);
    is_up_to_date("tests/golden/report.json", &shown(&report, ReportFormat::Json), UPDATE);

    // What the example claims is what happened.
    let state = world.state();
    let grown = state.past.iter().filter(|past| past.result.as_str() == "grown").count();
    assert_eq!(report.summary.grown, grown);
    assert!(grown >= 5, "a week in which {grown} volumes grew is no example");
    for outcome in ["failed", "needs_attention", "grown"] {
        assert!(report.operations.iter().any(|operation| operation.outcome.as_str() == outcome), "{outcome}");
    }
    assert!(report.findings.is_sorted_by_key(|finding| finding.urgency));
    let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code).collect();
    for code in ["missing_pv", "needs_attention", "full_before_long"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
    // A straight line is drawn by the host itself: what fills at a steady rate is found to do so.
    let pg = report.filesystems.iter().find(|fs| fs.mount_point == "/var/lib/postgresql").expect("it is there");
    let per_day = (145u64 << 10) as f64 * 86400.0;
    assert!((pg.per_day.expect("a rate") as f64 / per_day - 1.0).abs() < 0.01, "{:?}", pg.per_day);
    assert_eq!(store.snapshots().len(), 7);
}

#[test]
fn the_first_report_tells_no_rates_and_says_so() {
    let world = World::usual();
    let (report, _) = report(&world, &world.state(), &[], None);
    assert_eq!(report.compared, None);
    for fs in &report.filesystems {
        assert_eq!((fs.filled, fs.per_day, fs.until_full.text.as_str()), (None, None, "no earlier report"));
    }
    assert!(
        shown(&report, ReportFormat::Markdown)
            .contains("There is no earlier report, so no growth rates are known yet.")
    );
    assert!(shown(&report, ReportFormat::Html).contains("There is no earlier report"));
}

#[test]
fn a_volume_of_the_same_name_made_anew_has_no_past() {
    let world = World::usual();
    let (_, then) = report(&world, &world.state(), &[], None);
    world.minutes(24 * 60);
    world.sim.with(|model| {
        model.lv("vg/data").expect("a volume").fs.as_mut().expect("a file system").kind = "xfs".to_owned()
    });
    let (report, _) = report(&world, &world.state(), &[then], None);
    let text = |point: &str| {
        report.filesystems.iter().find(|fs| fs.mount_point == point).expect("it is there").until_full.text.clone()
    };
    assert_eq!((text("/data"), text("/media")), ("new".to_owned(), "not filling".to_owned()));
}

/// Growing a file system between two reports is not as if files had been deleted.
#[test]
fn growing_in_between_does_not_change_the_rate() {
    let world = World::usual();
    let (_, then) = report(&world, &world.state(), &[], None);
    world
        .sim
        .with(|model| model.lv("vg/data").expect("a volume").fs.as_mut().expect("a file system").used.0 += 100 << 20);
    assert_eq!(word(&world.daemon().alert("vg/data")), "grown");
    world.sim.pass(Duration::from_secs(86400));
    let (report, _) = report(&world, &world.state(), &[then], None);
    let data = report.filesystems.iter().find(|fs| fs.mount_point == "/data").expect("it is there");
    assert_eq!(data.filled, Some(100 << 20));
    assert!(data.per_day.expect("a rate") > 99 << 20);
    let lv = report.logical_volumes.iter().find(|row| row.name == lv("vg/data")).expect("it is there");
    assert_eq!(lv.grown, Some(2 << 30));
}

/// Every kind of trouble that the simulated host can have is found, and nothing is found on a sound one.
#[test]
fn findings_name_what_is_wrong() {
    let world = World::usual().with_config(&format!("{CONFIG}\nvolume_groups: [{{ name: vg, reserve: 95% }}]\n"));
    world.sim.with(|model| {
        model.lv("vg/data").expect("a volume").fs.as_mut().expect("a file system").errors = 3;
        model.lv("vg/media").expect("a volume").fs.as_mut().expect("a file system").read_only = true;
        let logs = model.lv("vg-2/logs").expect("a volume");
        logs.health = "partial".to_owned();
        logs.extents.0 += 512;
        model.vg("vg-2").expect("a group").partial = true;
    });
    world
        .daemon()
        .0
        .journal()
        .append(world.sim.moment(), vec![Event::Paused { lv: Some(lv("vg/data")) }])
        .expect("writable");
    let (report, _) = report(&world, &world.state(), &[], None);
    let found: BTreeMap<&str, &str> =
        report.findings.iter().map(|finding| (finding.code, finding.subject.as_str())).collect();
    for (code, subject) in [
        ("missing_pv", "vg-2"),
        ("fs_errors", "/data"),
        ("fs_read_only", "/media"),
        ("raid_degraded", "vg-2/logs"),
        ("no_headroom", "/media"),
        ("below_reserve", "vg"),
        ("larger_than_filesystem", "vg-2/logs"),
        ("paused", "vg/data"),
    ] {
        assert_eq!(found.get(code), Some(&subject), "{code} in {found:?}");
    }
    assert!(report.findings.is_sorted_by_key(|finding| finding.urgency));
    assert_eq!(
        report.findings.first().map(|finding| (finding.code, finding.urgency)),
        Some(("missing_pv", Urgency::Now))
    );
}

#[test]
fn findings_of_what_no_simulated_host_has() {
    let world = World::usual();
    let mut inventory = inventory(&world);
    let logs = inventory.lvs.iter_mut().find(|volume| volume.name == lv("vg-2/logs")).expect("a volume");
    let device = logs.device;
    // An image of 0 bytes free, and no target.
    let fs = inventory.filesystems.iter_mut().find(|fs| Some(fs.mount.device) == device).expect("a file system");
    let before = fs.mount.clone();
    fs.mount.read_only = true;
    let usage = fs.usage.as_mut().expect("known");
    (usage.free, usage.avail) = (Bytes(0), Bytes(0));
    let mount = fs.mount.clone();
    *inventory.mounts.iter_mut().find(|mount| **mount == before).expect("there") = mount;
    // A RAID under a pool.
    let mut raid = inventory.lvs[0].clone();
    (raid.name, raid.hidden) = (lv("vg/pool_tdata"), true);
    (raid.device, raid.layout, raid.health) = (None, vec!["raid".into(), "raid1".into()], "refresh needed".into());
    inventory.lvs.push(raid);
    let config = lvm_autoscaler::config::Config { targets: vec![], ..(*world.config).clone() };
    let facts = Material {
        host: "h",
        now: world.sim.moment(),
        config: &config,
        inventory: &inventory,
        looked: true,
        state: &world.state(),
        journal_writable: None,
        earlier: &[],
        since: None,
    };
    let findings = Report::new(&facts).findings;
    let found: Vec<_> = findings.iter().map(|finding| (finding.code, finding.subject.as_str())).collect();
    assert_eq!(found, [("raid_degraded", "vg/pool_tdata")]);
    assert_eq!(findings[0].commands, ["lvs -a -o +lv_health_status,devices vg/pool_tdata"]);
}

#[test]
fn a_btrfs_that_is_smaller_than_its_volume_is_grown_by_its_own_command() {
    let world = World::new(&HOST.replace("type: xfs", "type: btrfs"), CONFIG);
    world.sim.with(|model| {
        for lv in ["vg/data", "vg/media", "vg-2/logs"] {
            model.lv(lv).expect("a volume").extents.0 += 512;
        }
    });
    let (report, _) = report(&world, &world.state(), &[], None);
    let larger = report.findings.iter().filter(|finding| finding.code == "larger_than_filesystem");
    let commands: Vec<_> = larger.flat_map(|finding| finding.commands.iter().map(String::as_str)).collect();
    assert!(
        commands.iter().any(|command| command.starts_with("btrfs filesystem resize --enqueue 1:max /")),
        "{commands:?}"
    );
    assert!(commands.iter().any(|command| command.starts_with("resize2fs /dev/mapper/")), "{commands:?}");
}

#[test]
fn a_sound_host_needs_nothing() {
    let world = World::new(&HOST.replace("85%", "30%"), CONFIG);
    let (_, then) = report(&world, &world.state(), &[], None);
    world.minutes(600);
    let (report, _) = report(&world, &world.state(), &[then], None);
    assert_eq!(report.findings, []);
    assert!(shown(&report, ReportFormat::Html).contains("Nothing: all disks are there"));
}

#[test]
fn findings_are_counted_as_people_count() {
    let (_, mut report, _) = week();
    assert!(report.findings.len() > 1);
    assert!(shown(&report, ReportFormat::Html).contains(&format!(">{} findings<", report.findings.len())));
    report.findings.truncate(1);
    assert!(shown(&report, ReportFormat::Html).contains(">1 finding<"));
}

#[test]
fn a_journal_or_an_inventory_that_is_not_current_is_found() {
    let world = World::usual();
    let inventory = inventory(&world);
    world.minutes(10);
    let facts = |looked| Material {
        host: "h",
        now: world.sim.moment(),
        config: &world.config,
        inventory: &inventory,
        looked,
        state: Box::leak(Box::new(State::default())),
        journal_writable: Some(false),
        earlier: &[],
        since: None,
    };
    for looked in [true, false] {
        let codes: Vec<&str> = Report::new(&facts(looked)).findings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&"journal_not_writable") && codes.contains(&"inventory_stale"), "{codes:?}");
    }
}

/// Two commands for one volume, of which only one is right, nobody could tell apart.
#[test]
fn what_is_left_is_named_once_whatever_else_must_be_known() {
    let world = World::usual();
    // The backup goes to memory, which is told behind the commands.
    world.sim.with(|model| model.state_usage = None);
    world.inject("resize2fs", 0, Harm::Fails);
    world.daemon().alert("vg/data");
    let parked = world.state().parked[&lv("vg/data")].clone();
    assert!(parked.account.to_string().contains("run: resize2fs /dev/mapper/vg-data; the metadata backup"));
    let (report, _) = report(&world, &world.state(), &[], None);
    let finding = report.findings.iter().find(|finding| finding.code == "needs_attention").expect("found");
    assert_eq!(finding.commands, ["resize2fs /dev/mapper/vg-data"]);
    assert!(finding.sentence.contains("is gone after a reboot, copy it"), "{}", finding.sentence);
    assert!(!finding.sentence.contains("run: "), "{}", finding.sentence);
}

/// That the copies of a superblock are outdated is not seen by a look at everything.
#[test]
fn what_only_a_look_at_the_volume_shows_keeps_its_command() {
    let world = World::usual();
    world.inject("xfs_growfs", 0, Harm::CrashAfter);
    until_crash(|| world.daemon().alert("vg/media")).expect_err("it dies");
    world.sim.with(|model| {
        model.missing_tools = vec![Tool::XfsIo];
        model.lv("vg/media").and_then(|lv| lv.fs.as_mut()).expect("there").size_in_copies = Some(Bytes(4 << 30));
    });
    world.daemon().recover().expect("the journal can be written");
    let (report, _) = report(&world, &world.state(), &[], None);
    let finding = report.findings.iter().find(|finding| finding.code == "needs_attention").expect("found");
    assert_eq!(finding.commands, ["xfs_io -c 'label -c' /media"]);
}

/// Whoever may make a mount, a label or a file name must not be able to put anything but text into a report.
#[test]
fn hostile_names_stay_text() {
    const NAME: &str = "/m|<script>alert(1)</script>`x`*b*[l](http://evil)\n# h\u{202e}\"'&amp;";
    let mut model = sim::parse(HOST).expect("a host");
    model.lv("vg/data").expect("a volume").fs.as_mut().expect("a file system").mount_point =
        NAME.parse().expect("a path");
    model.vg("vg").expect("a group").pvs[0].name = format!("/dev/{NAME}");
    let world = World::of(model, CONFIG);
    let refusal = Refusal::new(Code::UnknownTarget, format!("no {NAME}"));
    let refused = Event::Refused { request: None, lv: None, source: Source::Alertmanager, refusal, more: 0 };
    Journal::open(world.folder.path()).expect("a journal").append(world.sim.moment(), vec![refused]).expect("writable");
    let inventory = inventory(&world);
    let state = world.state();
    let facts = Material {
        host: NAME,
        now: world.sim.moment(),
        config: &world.config,
        inventory: &inventory,
        looked: true,
        state: &state,
        journal_writable: None,
        earlier: &[],
        since: None,
    };
    let report = Report::new(&facts);

    let html = shown(&report, ReportFormat::Html);
    assert!(html.contains("&lt;script&gt;alert(1)"), "the name is shown");
    assert!(!html.contains("<script") && !html.contains('\u{202e}'));
    let style = html.find("</style>").expect("a style");
    assert!(
        !html[style..].contains("style=") && !html.contains("src=") && !html.contains("href="),
        "nothing from outside"
    );

    let markdown = shown(&report, ReportFormat::Markdown);
    // In code, which is indented, nothing means anything.
    let prose: String = markdown.lines().filter(|line| !line.starts_with("      ")).collect();
    let unescaped = prose.replace("\\\\", "").replace("\\<", "").replace("\\]", "").replace("\\`", "");
    assert!(!unescaped.contains(['<', ']', '`']) && !markdown.contains('\u{202e}'));
    assert!(!markdown.lines().any(|line| line.starts_with("# h")), "a name began a heading");
    // In each table every row has as many cells as its head.
    let mut cells = None;
    for line in markdown.lines() {
        let count = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
        match (line.starts_with('|'), cells) {
            (true, None) => cells = Some(count),
            (true, Some(expected)) => assert_eq!(count, expected, "{line}"),
            (false, _) => cells = None,
        }
    }

    let json: Value = serde_json::from_str(&shown(&report, ReportFormat::Json)).expect("JSON");
    assert_eq!(json["host"], NAME);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test makes files that are not ours")]
fn the_store_keeps_so_many_and_touches_only_its_own() {
    let world = World::usual();
    let folder = world.folder.path().join("reports");
    let store = Store::new(&folder);
    assert!(store.snapshots().is_empty());
    for day in 0..5 {
        let (report, snapshot) = report(&world, &world.state(), &store.snapshots(), None);
        store.keep(&report, &snapshot, &[ReportFormat::Html, ReportFormat::Markdown], 3).expect("it can be kept");
        if day == 0 {
            std::fs::write(folder.join("notes.html"), "mine").expect("writable");
            std::fs::write(folder.join("report-2025.html"), "mine").expect("writable");
            std::fs::create_dir(folder.join("report-000000-20250101T000000Z.html")).expect("writable");
        }
        // The clock is set back, and reports are kept in their order all the same.
        world.sim.set_clock(-jiff::SignedDuration::from_hours(48));
        world.minutes(24 * 60);
    }
    let names = files(&folder);
    assert_eq!(names.iter().filter(|name| name.ends_with(".snapshot")).count(), 3);
    assert_eq!(names.len(), 3 * 3 + 3, "{names:?}");
    assert!(
        names.iter().any(|name| name.starts_with("report-000005-"))
            && !names.iter().any(|name| name.starts_with("report-000002-"))
    );
    assert!(store.snapshots().is_sorted_by(|a, b| a.at.at > b.at.at), "in the order in which they were made");
    // What is no snapshot, or of another version, is passed over.
    std::fs::write(folder.join("report-000006-20260101T000000Z.snapshot"), "{").expect("writable");
    std::fs::write(folder.join("report-000007-20260101T000000Z.snapshot"), "{\"version\":9}").expect("writable");
    assert_eq!(store.snapshots().len(), 3);
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_is_read_back_as_it_was_written() {
    let world = World::usual();
    let (_, snapshot) = report(&world, &world.state(), &[], None);
    let text = serde_json::to_string(&snapshot).expect("JSON");
    assert_eq!(serde_json::from_str::<Snapshot>(&text).expect("the same"), snapshot);
    assert!(matches!(snapshot.at, Moment { boot: Some(_), .. }));
    assert!(snapshot.filesystems.iter().all(|fs| fs.used > Bytes::ZERO));
}

#[test]
fn space_that_nobody_uses_is_worth_a_note() {
    let world = World::usual();
    let facts = |world: &World| -> Vec<(String, Vec<String>)> {
        let (report, _) = report(world, &world.state(), &[], None);
        let notes =
            report.findings.iter().filter(|finding| ["disk_larger_than_pv", "group_unused"].contains(&finding.code));
        notes.map(|finding| (finding.subject.clone(), finding.commands.clone())).collect()
    };
    assert_eq!(facts(&world), []);
    world.sim.with(|model| model.vg("vg").expect("there").pvs[0].device_exceeds = 3 << 30);
    assert_eq!(facts(&world), [("/dev/sdb".to_owned(), vec!["pvresize /dev/sdb".to_owned()])]);
    let only_logs = world.with_config(&CONFIG.replace("    - { lv_path: /dev/vg-2/logs, mount_point: /logs }\n", ""));
    let found = facts(&only_logs);
    assert_eq!(found.iter().map(|(subject, _)| subject.as_str()).collect::<Vec<_>>(), ["/dev/sdb", "vg-2"]);
}

#[test]
fn a_program_that_nothing_here_needs_is_not_missed() {
    let missing = |config: &str| {
        let world = World::new(HOST, config);
        world.sim.with(|model| model.missing_tools = vec![Tool::Growpart, Tool::Cryptsetup]);
        let (report, _) = report(&world, &world.state(), &[], None);
        report.findings.iter().find(|finding| finding.code == "tools_missing").map(|finding| finding.sentence.clone())
    };
    assert_eq!(missing(CONFIG), None);
    let partitions = "volume_groups: [{ name: vg, grown_disks: resize, partitions: growpart }]\n";
    let said = missing(&format!("{CONFIG}{partitions}")).expect("it is needed");
    assert!(said.contains("growpart") && !said.contains("cryptsetup"), "{said}");
}
