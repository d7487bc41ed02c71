//! Policies: what they select grows, by the keys of the first that selects it, and nothing else does; volumes that are
//! made, renamed and removed while the daemon runs are seen without a reload.

use crate::common::*;
use lvm_autoscaler::config::Config;
use lvm_autoscaler::engine::{Ended, Shared};
use lvm_autoscaler::host::sim;
use lvm_autoscaler::host::{Focus, look};
use lvm_autoscaler::plan::{Code, Outcome, applied};
use proptest::prelude::*;
use proptest::sample::select;

/// The increments tell the policies apart.
const POLICIES: &str = "
defaults: { max_size: 90GiB, cooldown: 10m, budget: { bytes: 50GiB } }
policies:
  - { name: never, match: { vg: '*', mount_point: '/boot*' }, mode: 'off' }
  - { name: databases, match: { vg: 'data*', lv: 'pg_*', mount_point: '/srv/**', fs: [xfs, ext4] }, increment: 1GiB }
  - { name: tagged, match: { vg: '{data,scratch}', tag: autoscale }, increment: 2GiB }
  - { name: homes, match: { vg: '*', mount_point: '/home/**' }, increment: 3GiB, threshold_percent: 70 }
  - { name: scratch, match: { vg: scratch, fs: [ext4] }, increment: 4GiB }
monitor:
  targets:
    - { lv_path: data/pg_0, mount_point: /srv/0, increment: 5GiB }
";

/// A volume of 1 GiB, 85 % full.
#[derive(Debug, Clone)]
struct Volume {
    vg: &'static str,
    prefix: &'static str,
    folder: &'static str,
    fs: &'static str,
    tags: &'static str,
    /// `mounted`, `snapshot` or `swap`.
    state: &'static str,
}

fn volume() -> impl Strategy<Value = Volume> {
    let names = (select(vec!["data", "data2", "scratch", "foreign", "sys"]), select(vec!["pg_", "web_", "xpg_"]));
    let place = (select(vec!["/srv/", "/srv/deep/er/", "/home/", "/boot", "/opt/"]), select(vec!["ext4", "xfs"]));
    let rest = (
        select(vec!["", "", "autoscale", "other,autoscale", "autoscaled"]),
        select(vec!["mounted", "mounted", "mounted", "mounted", "snapshot", "swap"]),
    );
    (names, place, rest).prop_map(|((vg, prefix), (folder, fs), (tags, state))| Volume {
        vg,
        prefix,
        folder,
        fs,
        tags,
        state,
    })
}

impl Volume {
    fn name(&self, number: usize) -> String {
        format!("{}/{}{number}", self.vg, self.prefix)
    }

    fn line(&self, number: usize) -> String {
        let (prefix, tags) = (self.prefix, self.tags);
        let at = format!("{}{number}", self.folder);
        let rest = match self.state {
            "swap" => String::new(),
            _ => format!("filesystem: {{ type: {}, mount_point: {at}, used: 85% }}", self.fs),
        };
        let origin = if self.state == "snapshot" { "snapshot_of: origin, " } else { "" };
        format!("      - {{ name: {prefix}{number}, size: 1GiB, tags: [{tags}], {origin}{rest} }}\n")
    }

    /// By how many GiB it grows: the policies as one would explain them to somebody.
    fn grows_by(&self, number: usize) -> u64 {
        let is_of_other_host = self.vg == "foreign";
        if number == 0 && self.name(0) == "data/pg_0" {
            return if self.folder == "/srv/" && self.state == "mounted" { 5 } else { 0 };
        }
        // The entry of `monitor.targets` has this place, whatever volume is mounted there.
        if number == 0 && self.folder == "/srv/" {
            return 0;
        }
        // Of all names only this one differs by a slip from that entry, whose volume is then missing: perhaps it is
        // meant.
        if self.name(number) == "data/xpg_0" {
            return 0;
        }
        if self.state != "mounted" || is_of_other_host || self.folder == "/boot" {
            return 0;
        }
        if self.vg.starts_with("data") && self.prefix == "pg_" && self.folder.starts_with("/srv/") {
            return 1;
        }
        if (self.vg == "data" || self.vg == "scratch") && self.tags.split(',').any(|tag| tag == "autoscale") {
            return 2;
        }
        match (self.folder, self.vg, self.fs) {
            ("/home/", ..) => 3,
            (_, "scratch", "ext4") => 4,
            _ => 0,
        }
    }
}

fn host(volumes: &[(usize, Volume)]) -> String {
    let mut text = "names: [db1]\nvolume_groups:\n".to_owned();
    for (number, vg) in ["data", "data2", "scratch", "foreign", "sys"].into_iter().enumerate() {
        text.push_str(&format!("  - name: {vg}\n    physical_volumes: [{{ name: /dev/sd{number}, size: 4TiB }}]\n"));
        text.push_str("    logical_volumes:\n      - { name: origin, size: 1GiB }\n");
        volumes.iter().filter(|(_, of)| of.vg == vg).for_each(|(number, of)| text.push_str(&of.line(*number)));
    }
    text
}

/// As the daemon's sampler does it.
fn sees(shared: &Shared) {
    let everything = look(shared.host.as_ref(), Focus::Everything).expect("a look");
    shared.in_force.change(|config| applied(config, &everything));
}

fn selects(config: &Config, policy: &str) -> Vec<String> {
    let of = config.targets.iter().filter(|target| target.origin.policy.as_deref() == Some(policy));
    of.map(|target| target.lv.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn exactly_what_policies_select_grows_new_volumes_too(volumes in prop::collection::vec(volume(), 200)) {
        let volumes: Vec<(usize, Volume)> = volumes.into_iter().enumerate().collect();
        let mut model = sim::parse(&host(&volumes)).expect("a host");
        model.system_id = "this-host".to_owned();
        model.vg("foreign").expect("a group").system_id = "another-host".to_owned();
        // 40 are made later.
        let is_new = |name: &str| volumes[160..].iter().any(|(number, volume)| volume.name(*number) == name);
        let later: Vec<_> = model.lvs.iter().filter(|lv| is_new(&lv.name.to_string())).cloned().collect();
        model.lvs.retain(|lv| !is_new(&lv.name.to_string()));
        let world = World::of(model, POLICIES);
        let daemon = world.daemon();
        for part in [&volumes[..160], &volumes[160..]] {
            if part.len() == 40 {
                world.sim.with(|model| model.lvs.extend(later.clone()));
            }
            sees(&daemon.0);
            for (number, volume) in part {
                let (name, by) = (volume.name(*number), volume.grows_by(*number));
                let ended = daemon.alert(&name);
                prop_assert_eq!(world.extents(&name), 256 * (1 + by), "{} {:?}: {:?}", name, volume, ended);
                let has_grown = matches!(ended, Ended::Operation(_, Outcome::Grown));
                prop_assert_eq!(has_grown, by > 0, "{}: {:?}", name, ended);
            }
        }
        // Nobody else was touched.
        let grown: u64 = volumes.iter().map(|(number, volume)| u64::from(volume.grows_by(*number) > 0)).sum();
        prop_assert_eq!(world.count("lvextend") as u64, grown);
    }
}

const HOST: &str = "
names: [db1]
volume_groups:
  - name: store
    physical_volumes: [{ name: /dev/sdb, size: 100GiB }]
    logical_volumes:
      - { name: pg_1, size: 4GiB, tags: [autoscale], filesystem: { type: ext4, mount_point: /srv/pg, used: 85% } }
      - { name: pool, type: thin-pool, size: 8GiB, data_used: 85%, metadata_used: 20% }
      - { name: thin, size: 4GiB, pool: pool, filesystem: { type: xfs, mount_point: /srv/thin, used: 85% } }
";

/// To 90 %.
fn fill(world: &World, name: &str) {
    world.sim.with(|model| {
        let fs = model.lv(name).expect("a volume").fs.as_mut().expect("a file system");
        fs.used.0 = fs.size.0 / 10 * 9;
    });
}

#[test]
fn what_is_renamed_or_untagged_is_no_target_any_more_and_keeps_its_history() {
    let world = World::new(
        HOST,
        "policies: [{ name: tagged, match: { vg: store, tag: '@autoscale' }, max_size: 20GiB, increment: 1GiB }]",
    );
    let daemon = world.daemon();
    // A request that was accepted before the first look is decided about by its own.
    assert!(matches!(daemon.alert("store/pg_1"), Ended::Operation(_, Outcome::Grown)));
    sees(&daemon.0);
    assert_eq!(selects(&daemon.0.config(), "tagged"), ["store/pg_1"]);
    // Between two looks the tag goes: the look of the decision itself counts.
    world.sim.with(|model| model.lv("store/pg_1").expect("a volume").tags.clear());
    world.minutes(11);
    let Ended::Refused(refusal) = daemon.alert("store/pg_1") else { panic!("grown without its tag") };
    assert_eq!(refusal.code, Code::UnknownTarget);
    assert!(refusal.sentence.contains("no policy selects it any more"), "{}", refusal.sentence);
    sees(&daemon.0);
    assert!(daemon.0.config().targets.is_empty());
    // It comes back with what was done to it, also under the cooldown of that.
    fill(&world, "store/pg_1");
    world.sim.with(|model| model.lv("store/pg_1").expect("a volume").tags = "autoscale".to_owned());
    sees(&daemon.0);
    assert!(matches!(daemon.alert("store/pg_1"), Ended::Operation(_, Outcome::Grown)));
    world.sim.with(|model| model.lv("store/pg_1").expect("a volume").tags.clear());
    sees(&daemon.0);
    world.sim.with(|model| model.lv("store/pg_1").expect("a volume").tags = "autoscale".to_owned());
    sees(&daemon.0);
    fill(&world, "store/pg_1");
    let Ended::Refused(refusal) = daemon.alert("store/pg_1") else { panic!("grown within its cooldown") };
    assert_eq!(refusal.code, Code::Cooldown);
}

#[test]
fn a_pool_that_a_policy_selects_grows_first() {
    let world = World::new(
        HOST,
        "policies:
  - { name: pools, match: { vg: store, thin_pool: 'po*' }, max_size: 40GiB, increment: 4GiB }
  - { name: rest, match: { vg: store }, max_size: 20GiB, increment: 1GiB, max_overprovision: 1 }",
    );
    world.sim.with(|model| model.lv("store/pool").expect("a pool").thin_pool.as_mut().expect("a pool").data_used.0 = 0);
    world.sim.with(|model| {
        let thin = model.lv("store/thin").expect("a volume").clone();
        let other = sim::SimLv { name: lv("store/other"), minor: 77, fs: None, ..thin };
        model.lvs.push(other);
    });
    let daemon = world.daemon();
    let before = (world.extents("store/pool"), world.extents("store/thin"));
    let ended = daemon.alert("store/thin");
    assert!(matches!(ended, Ended::Operation(_, Outcome::Grown)), "{ended:?}");
    assert!(world.extents("store/pool") > before.0 && world.extents("store/thin") == before.1 + 256);
}

#[test]
fn a_name_that_is_perhaps_misspelt_closes_what_a_later_policy_selects() {
    for (earlier, word) in [
        ("match: { vg: store, lv: pg1 }", "lv: pg1"),
        ("match: { vg: store, mount_point: /srv/gp }", "mount_point: /srv/gp"),
        ("match: { vg: stroe }", "vg: stroe"),
    ] {
        let config = format!(
            "policies: [{{ name: first, {earlier}, mode: 'off' }}, {{ name: second, match: {{ vg: '*' }}, max_size: 20GiB }}]"
        );
        let world = World::new(HOST, &config);
        let Ended::Refused(refusal) = world.daemon().alert("store/pg_1") else { panic!("{earlier}: grown") };
        assert_eq!(refusal.code, Code::ConfigSuspect, "{earlier}: {}", refusal.sentence);
        assert!(
            refusal.sentence.starts_with(&format!("`{word}` of the policy first is not on this host")),
            "{refusal}"
        );
        // Named by a policy of its own, the volume is what is meant, and the other is another host's.
        let own = "{ name: own, match: { vg: store, lv: pg_1, mount_point: /srv/pg }, max_size: 20GiB }";
        let world = World::new(HOST, &config.replacen("{ name: second", &format!("{own}, {{ name: second"), 1));
        let ended = world.daemon().alert("store/pg_1");
        assert!(matches!(ended, Ended::Operation(_, Outcome::Grown)), "{earlier}: {ended:?}");
    }
    // What is near nothing, or is itself on this host, closes nothing.
    for earlier in ["match: { vg: store, lv: mysql }", "match: { vg: store, lv: pg_2 }", "match: { vg: backup }"] {
        let config = format!(
            "policies: [{{ name: first, {earlier}, mode: 'off' }}, {{ name: second, match: {{ vg: '*' }}, max_size: 20GiB }}]"
        );
        let ended = World::new(HOST, &config).daemon().alert("store/pg_1");
        assert!(matches!(ended, Ended::Operation(_, Outcome::Grown)), "{earlier}: {ended:?}");
    }
}

#[test]
fn what_lost_its_tag_while_its_pool_grew_does_not_grow() {
    let world = World::new(
        HOST,
        "policies:
  - { name: pools, match: { vg: store, thin_pool: 'po*' }, max_size: 40GiB, increment: 4GiB }
  - { name: tagged, match: { vg: store, tag: autoscale }, max_size: 20GiB, increment: 1GiB, max_overprovision: 1 }",
    );
    world.sim.with(|model| {
        model.lv("store/pool").expect("a pool").thin_pool.as_mut().expect("a pool").data_used.0 = 0;
        model.lv("store/thin").expect("a volume").tags = "autoscale".to_owned();
        let thin = model.lv("store/thin").expect("a volume").clone();
        model.lvs.push(sim::SimLv { name: lv("store/other"), minor: 77, fs: None, ..thin });
    });
    let sim = std::sync::Arc::clone(&world.sim);
    let host = world.watched(move |command| {
        if command.arguments.iter().any(|argument| argument == "lvextend") {
            sim.with(|model| model.lv("store/thin").expect("a volume").tags.clear());
        }
    });
    let before = (world.extents("store/pool"), world.extents("store/thin"));
    let ended = Daemon(world.shared_on(host, false)).alert("store/thin");
    assert!(world.extents("store/pool") > before.0, "{ended:?}");
    assert_eq!(world.extents("store/thin"), before.1, "{ended:?}");
    let Ended::Refused(refusal) = ended else { panic!("{ended:?}") };
    assert_eq!(refusal.code, Code::UnknownTarget);
}

#[test]
fn a_misspelt_target_closes_what_a_policy_would_make_of_it() {
    let rest = "policies: [{ name: rest, match: { vg: store }, max_size: 20GiB }, { name: pools, match: { vg: store, thin_pool: '*' }, max_size: 40GiB }]";
    for (named, volume) in [
        ("{ thin_pool: store/poool, mode: 'off' }", "store/pool"),
        ("{ lv_path: store/pg1, mount_point: /srv/gp, mode: 'off' }", "store/pg_1"),
    ] {
        let world = World::new(HOST, &format!("{rest}\nmonitor: {{ targets: [{named}] }}"));
        let Ended::Refused(refusal) = world.daemon().alert(volume) else { panic!("{named}: grown") };
        assert_eq!(refusal.code, Code::ConfigSuspect, "{named}: {}", refusal.sentence);
        assert!(refusal.sentence.contains("of monitor.targets is not on this host and looks like"), "{refusal}");
    }
    // What names something else, or what is there, closes nothing.
    for named in ["{ lv_path: store/mysql, mount_point: /srv/mysql }", "{ thin_pool: store/pool, max_size: 40GiB }"] {
        let world = World::new(HOST, &format!("{rest}\nmonitor: {{ targets: [{named}] }}"));
        let ended = world.daemon().alert("store/pg_1");
        assert!(matches!(ended, Ended::Operation(_, Outcome::Grown)), "{named}: {ended:?}");
    }
}

/// The commands that are left are about the volume, whatever it is called now.
#[test]
fn what_stopped_half_way_does_not_grow_under_another_name() {
    let world = World::new(HOST, "policies: [{ name: all, match: { vg: store }, max_size: 20GiB, increment: 1GiB }]");
    let daemon = world.daemon();
    world.inject("resize2fs", 0, sim::Harm::Fails);
    let ended = daemon.alert("store/pg_1");
    assert!(ended_as(&ended, Outcome::NeedsAttention), "{ended:?}");
    let grown = world.extents("store/pg_1");
    world.sim.with(|model| {
        let volume = model.lv("store/pg_1").expect("a volume");
        (volume.made_as, volume.name) = (Some(lv("store/pg_1")), lv("store/renamed"));
    });
    world.minutes(60);
    fill(&world, "store/renamed");
    sees(&daemon.0);
    let Ended::Refused(refusal) = daemon.alert("store/renamed") else { panic!("grown under its new name") };
    assert_eq!(refusal.code, Code::OperationInProgress, "{}", refusal.sentence);
    assert_eq!(world.extents("store/renamed"), grown);
}
