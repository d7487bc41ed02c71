//! `init` and `targets` on four hosts: what is written, that `check-config --live` accepts it, that nothing grows by an
//! alert until one word is changed, and that it grows then.
//!
//! `UPDATE_GOLDEN=1 cargo test --test edge init::` writes `tests/golden/init.txt`. Read each config as its
//! administrator.

use std::os::unix::fs::PermissionsExt;

use crate::common::place::{Place, err, out};
use crate::common::{World, ended_as, is_up_to_date};
use lvm_autoscaler::config::{self, Mode};
use lvm_autoscaler::files::Trust;
use lvm_autoscaler::plan::Outcome;
use serde_json::Value;

const ROOT: &str = "
names: [web1]
volume_groups:
  - name: vg0
    physical_volumes: [{ name: /dev/vda2, size: 40GiB }]
    logical_volumes:
      - { name: root, size: 20GiB, filesystem: { type: ext4, mount_point: /, used: 85% } }
      - { name: var, size: 10GiB, filesystem: { type: xfs, mount_point: /var, used: 30% } }
      - { name: swap, size: 2GiB }
";

const DATA: &str = "
names: [db1.example.com]
volume_groups:
  - name: rootvg
    physical_volumes: [{ name: /dev/sda2, size: 16GiB }]
    logical_volumes:
      - { name: root, size: 16380MiB, filesystem: { type: ext4, mount_point: /, used: 40% } }
  - name: storage_vg
    physical_volumes: [{ name: /dev/sdb, size: 200GiB }]
    logical_volumes:
      - { name: pg_data, size: 60GiB, filesystem: { type: xfs, mount_point: /var/lib/postgresql, used: 85% } }
      - { name: backup, size: 90GiB, filesystem: { type: btrfs, mount_point: '/srv/nightly #backups', used: 75% } }
      - { name: boot, size: 500MiB, filesystem: { type: ext4, mount_point: /srv/boot, used: 20%, inodes_used: 60 } }
      - { name: esp, size: 512MiB, filesystem: { type: vfat, mount_point: /srv/esp, used: 3% } }
      - { name: archive, size: 1GiB, filesystem: { type: ext4, mount_point: /srv/archive, used: 99%, read_only: true } }
      - { name: spare, size: 1GiB }
  - name: half_full
    physical_volumes: [{ name: /dev/sdd, size: 20GiB }]
    logical_volumes:
      - { name: logs, size: 17GiB, filesystem: { type: ext4, mount_point: /var/log, used: 50% } }
  - name: moved
    exported: true
    physical_volumes: [{ name: /dev/sdc, size: 10GiB }]
    logical_volumes: [{ name: old, size: 1GiB }]
";

const THIN: &str = "
names: [kvm1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/nvme0n1, size: 100GiB }]
    logical_volumes:
      - { name: pool0, size: 40GiB, type: thin-pool, metadata_size: 64MiB, data_used: 85%, metadata_used: 20% }
      - { name: home, size: 20GiB, pool: pool0, filesystem: { type: ext4, mount_point: /home, used: 85% } }
      - { name: mail, size: 10GiB, pool: pool0, filesystem: { type: xfs, mount_point: /var/mail, used: 50% } }
";

const NOTHING: &str = "names: [edge1]\nvolume_groups: []\n";

/// A host, and what an alert is about there: a volume that is too full.
const HOSTS: [(&str, &str, Option<&str>); 4] = [
    ("root on LVM", ROOT, Some("vg0/root")),
    ("data on LVM", DATA, Some("storage_vg/pg_data")),
    ("a thin pool", THIN, Some("vg/pool0")),
    ("nothing", NOTHING, None),
];

/// A folder with a host and no config.
fn place(host: &str) -> Place {
    let place = Place(crate::common::folder());
    place.write("host.yaml", host);
    place
}

/// What a command printed, whatever is installed where the test runs.
fn say(place: &Place, arguments: &[&str]) -> (i32, String, String) {
    let output = place.run(&[arguments, &["--simulate=host.yaml"]].concat());
    let kept: String = out(&output)
        .lines()
        .filter(|line| !line.starts_with("  on this host "))
        .fold(String::new(), |text, line| text + line.trim_end() + "\n");
    (output.status.code().expect("it ends by itself"), kept, err(&output))
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path(name)).expect("written")
}

#[test]
fn a_config_is_written_that_is_accepted_and_grows_nothing_until_a_word_is_changed() {
    let mut golden = String::new();
    for (title, host, full) in HOSTS {
        let place = place(host);
        let (code, written, told) = say(&place, &["init", "--output=config.yaml"]);
        assert_eq!((code, told.as_str()), (0, ""), "{title}");
        let text = read(&place, "config.yaml");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        let (code, checked, told) = say(&place, &["check-config", "--ignore-ownership", "--live", "config.yaml"]);
        assert_eq!((code, told.as_str()), (0, ""), "{title}: {text}");
        let (code, targets, told) = say(&place, &["targets", "--config.file=config.yaml"]);
        assert_eq!((code, told.as_str()), (0, ""), "{title}: {text}");
        golden.push_str(&format!("## {title}: init\n{written}\n{text}\n## {title}: check-config --live\n{checked}\n## {title}: targets\n{targets}\n"));

        let config = config::load(&place.path("config.yaml"), Trust::Advised).expect("valid");
        assert!(config.targets.iter().all(|target| target.mode == Mode::Recommend), "{text}");
        assert_eq!(config.targets.is_empty(), full.is_none());
        let world = World::new(host, &text);
        for target in &config.targets {
            let ended = world.daemon().alert(&target.lv.to_string());
            assert_eq!(
                ended_as(&ended, Outcome::Recommended),
                Some(target.lv.to_string().as_str()) == full,
                "{ended:?}"
            );
        }
        assert_eq!(world.sim.changes(), [""; 0], "{title}");

        let Some(full) = full else { continue };
        let (before, entry) = text.split_at(text.find(&format!("{full}\n")).expect("the target"));
        let acts = format!("{before}{}", entry.replacen("mode: recommend", "mode: act", 1));
        assert_eq!(acts.len(), text.len() - "recommend".len() + "act".len());
        let world = World::new(host, &acts);
        let ended = world.daemon().alert(full);
        assert!(ended_as(&ended, Outcome::Grown), "{title}: {ended:?}");
        assert!(world.sim.changes().iter().any(|command| command.contains(full)), "{:?}", world.sim.changes());
    }
    for (title, host, full) in HOSTS {
        let place = place(host);
        let (code, written, told) = say(&place, &["init", "--policy", "--output=config.yaml"]);
        assert_eq!((code, told.as_str()), (0, ""), "{title}");
        let text = read(&place, "config.yaml");
        let (code, checked, told) = say(&place, &["check-config", "--ignore-ownership", "--live", "config.yaml"]);
        assert_eq!((code, told.as_str()), (0, ""), "{title}: {text}");
        let policies =
            text.split("\npolicies:").nth(1).map_or("", |rest| rest.split("\nmonitor:").next().expect("text"));
        golden.push_str(&format!(
            "## {title}: init --policy\n{written}\npolicies:{policies}\n## {title}: check-config --live\n{checked}\n"
        ));
        let Some(full) = full else { continue };
        let world = World::new(host, &text);
        assert!(ended_as(&world.daemon().alert(full), Outcome::Recommended), "{title}");
        assert_eq!(world.sim.changes(), [""; 0], "{title}");
        let world = World::new(host, &text.replace("mode: recommend", "mode: act"));
        assert!(ended_as(&world.daemon().alert(full), Outcome::Grown), "{title}");
    }
    is_up_to_date("tests/golden/init.txt", &golden, "UPDATE_GOLDEN=1 cargo test --test edge init::");
}

#[test]
fn nothing_that_a_person_wrote_is_overwritten() {
    let place = place(ROOT);
    let exists =
        |told: &str| told.contains("config.yaml exists and is not overwritten: --output=FILE writes another file");
    let (code, printed, _) = say(&place, &["init", "--output=etc/lvm/config.yaml"]);
    assert!(
        code == 0 && printed.starts_with("etc/lvm/config.yaml: written, 2 targets with mode: recommend"),
        "{printed}"
    );
    let file = place.path("etc/lvm/config.yaml");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(place.path("etc/lvm")).expect("a folder").count();
    assert_eq!(names, 1, "nothing unfinished is left");
    let (code, printed, told) = say(&place, &["init", "--output=etc/lvm/config.yaml"]);
    assert!((code, printed.as_str()) == (2, "") && exists(&told), "{told}");

    let (code, printed, _) = say(&place, &["init", "--output=-"]);
    assert_eq!((code, printed), (0, std::fs::read_to_string(&file).expect("readable")));

    // The package's own file names nothing; a person's comment in it is worth keeping.
    let installed = include_str!("../../packaging/config.yaml");
    let mode = |name: &str| std::fs::metadata(place.path(name)).expect("there").permissions().mode() & 0o777;
    for (text, code) in [(format!("{installed}# ask Eve first\n"), 2), (installed.to_owned(), 0), (String::new(), 2)] {
        place.write("config.yaml", &text);
        let before = mode("config.yaml");
        assert_eq!(say(&place, &["init", "--output=config.yaml"]).0, code, "{text}");
        assert_eq!((read(&place, "config.yaml") == text, mode("config.yaml")), (code == 2, before));
    }
    std::os::unix::fs::symlink("gone.yaml", place.path("link.yaml")).expect("a link");
    let (code, _, told) = say(&place, &["init", "--output=link.yaml"]);
    assert!(code == 2 && told.contains("link.yaml exists"), "{told}");
}

#[test]
fn targets_name_their_file_and_line_and_those_elsewhere_cost_a_line() {
    let place = place(DATA);
    let state = format!("state: {{ directory: {} }}\n", place.path("state").display());
    let config = "defaults: { reserve: 5%, threshold_percent: 70 }
monitor:
  targets:
    - { lv_path: /dev/storage_vg/pg_data, mount_point: /var/lib/postgresql, increment: 5GiB, max_size: 80GiB }
    - lv_path: /dev/elsewhere/a
      mount_point: /a
";
    place.write("config.yaml", &format!("{config}{state}"));
    std::fs::create_dir(place.path("config.d")).expect("a folder");
    let more = "volume_groups: [{ name: half*, reserve: 1GiB, budget: { extensions: 2, per: 1h } }]\nmonitor:\n  targets:\n    \
                - lv_path: half_full/logs\n      mount_point: /var/log\n      mode: \"off\"\n";
    place.write("config.d/logs.yaml", more);
    let (code, printed, told) = say(&place, &["targets", "--config.file=config.yaml"]);
    assert_eq!((code, told.as_str()), (0, ""), "{printed}");
    for wanted in [
        "storage_vg/pg_data at /var/lib/postgresql (act)\n  from   config.yaml:4\n",
        "threshold_percent: 70,",
        "increment: 5GiB, max_size: 80GiB,",
        "  group  storage_vg, reserve: 5%\n",
        "  now    would grow: from 60 GiB to ",
        "half_full/logs at /var/log (off)\n  from   config.d/logs.yaml:4\n",
        "  group  half_full, reserve: 1GiB, at most 2 extensions in 1h\n",
        "  now    would do nothing: mode_off: ",
    ] {
        assert!(printed.contains(wanted), "{wanted}: {printed}");
    }
    assert!(printed.ends_with("\n1 of 3 targets is not on this host: elsewhere/a\n"), "{printed}");
    assert_eq!(printed.matches("elsewhere").count(), 1, "{printed}");

    let (code, printed, told) = say(&place, &["targets", "--config.file=config.yaml", "--format=json"]);
    assert_eq!((code, told.as_str()), (0, "1 of 3 targets is not on this host: elsewhere/a\n"));
    let rows: Value = serde_json::from_str(&printed).expect("JSON");
    let shown: Vec<Value> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            serde_json::json!([
                row["lv"],
                row["file"],
                row["line"],
                row["is_on_this_host"],
                row["would"],
                row["code"],
                row["keys"]["increment"]
            ])
        })
        .collect();
    assert_eq!(
        Value::from(shown),
        serde_json::json!([
            ["pg_data", "config.yaml", 4, true, "grow", null, "5GiB"],
            ["a", "config.yaml", 5, false, "nothing", "unknown_target", "10%"],
            ["logs", "config.d/logs.yaml", 4, true, "nothing", "mode_off", "10%"],
        ])
    );
}

#[test]
fn a_host_without_targets_is_led_to_init() {
    let place = Place::new("# nothing");
    let output = place.run(&["targets", &place.config(), &place.host()]);
    assert_eq!(out(&output), "there are no targets, nothing may grow: `lvm-autoscaler init` proposes some\n");
    let (_, _, log) = place.serve(&[]).end();
    assert!(log.contains("`lvm-autoscaler init` proposes a config for this host"), "{log}");
}

/// `data-pools` is a name for a group as good as any, and the policy for the pools of `data` must not have it too.
#[test]
fn policies_have_names_of_their_own_whatever_groups_are_called() {
    let place = Place::new("");
    place.write(
        "host.yaml",
        "names: [db1]
volume_groups:
  - name: data
    physical_volumes: [{ name: /dev/sdb, size: 100GiB }]
    logical_volumes:
      - { name: pool, type: thin-pool, size: 20GiB, data_used: 50%, metadata_used: 20% }
  - name: data-pools
    physical_volumes: [{ name: /dev/sdc, size: 100GiB }]
    logical_volumes: [{ name: lv, size: 20GiB, filesystem: { type: xfs, mount_point: /srv, used: 50% } }]
",
    );
    let output = place.run(&["init", "--policy", "--output=new.yaml", &place.host()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let output = place.run(&["check-config", "--ignore-ownership", "--live", &place.host(), "new.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("0 targets and 2 policies"), "{}", out(&output));
}
