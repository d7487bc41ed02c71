//! Random hosts, random configs, random alerts: never beyond a limit, never a smaller volume, never one that is not in
//! the config, and never a plan that LVM then refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::*;
use lvm_autoscaler::engine::Ended;
use lvm_autoscaler::host::sim;
use lvm_autoscaler::plan::Outcome;
use lvm_autoscaler::units::Bytes;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A volume of the host, and the target it is, if it is one.
#[derive(Debug, Clone)]
struct Wish {
    kind: &'static str,
    stripes: u64,
    mib: u64,
    fs: &'static str,
    used: u64,
    target: Option<String>,
    max_mib: Option<u64>,
    budget: (u32, u64, u64),
}

#[derive(Debug, Clone)]
struct Setting {
    pvs: Vec<u64>,
    policy: &'static str,
    reserve: u64,
    group_budget: u32,
    wishes: Vec<Wish>,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn wish() -> impl Strategy<Value = Wish> {
    let kinds = select(vec![
        ("linear", 1),
        ("linear", 1),
        ("striped", 2),
        ("striped", 3),
        ("raid1", 2),
        ("raid5", 3),
        ("raid10", 4),
        ("thin", 1),
    ]);
    let increment = prop_oneof![
        (1u64..4000).prop_map(|mib| format!("increment: {mib}MiB")),
        (1u64..100).prop_map(|percent| format!("increment: {percent}%")),
        (1u64..100, 1u64..2000).prop_map(|(percent, min)| format!("increment: {percent}%, min_increment: {min}MiB")),
    ];
    let limits = (prop::option::of(1000u64..8_000), (1u32..5, 500u64..20_000, 1u64..300));
    (kinds, 512u64..2500, select(vec!["ext4", "xfs"]), 30u64..100, prop::option::weighted(0.8, increment), limits)
        .prop_map(|((kind, stripes), mib, fs, used, target, (max_mib, budget))| Wish {
            kind,
            stripes,
            mib,
            fs,
            used,
            target,
            max_mib,
            budget,
        })
}

fn setting() -> impl Strategy<Value = Setting> {
    let pvs = prop::collection::vec(2000u64..9_000, 1..6);
    let policy = select(vec!["normal", "normal", "cling", "anywhere"]);
    (pvs, policy, 0u64..60, 1u32..12, prop::collection::vec(wish(), 1..5))
        .prop_map(|(pvs, policy, reserve, group_budget, wishes)| Setting { pvs, policy, reserve, group_budget, wishes })
}

impl Setting {
    fn host(&self) -> String {
        let mut text = format!(
            "names: [db1]\nvolume_groups:\n  - name: vg\n    allocation_policy: {}\n    physical_volumes:\n",
            self.policy
        );
        for (number, mib) in self.pvs.iter().enumerate() {
            text.push_str(&format!("      - {{ name: /dev/sd{number}, size: {mib}MiB }}\n"));
        }
        text.push_str("    logical_volumes:\n      - { name: pool, type: thin-pool, size: 1GiB, data_used: 30%, metadata_used: 20% }\n");
        for (name, w) in NAMES.iter().zip(&self.wishes) {
            let how = if w.kind == "thin" {
                "pool: pool".to_owned()
            } else {
                format!("type: {}, stripes: {}", w.kind, w.stripes)
            };
            // Whole rows of every layout.
            let mib = w.mib.div_ceil(48) * 48;
            text.push_str(&format!(
                "      - {{ name: {name}, size: {mib}MiB, {how}, filesystem: {{ type: {}, mount_point: /{name}, used: {}% }} }}\n",
                w.fs, w.used
            ));
        }
        text
    }

    fn config(&self) -> String {
        let mut text = format!(
            "volume_groups: [{{ name: vg, reserve: {}%, budget: {{ extensions: {}, per: 10h }} }}]\nmonitor:\n  targets:\n",
            self.reserve, self.group_budget
        );
        text.push_str("    - { thin_pool: vg/pool, data_threshold_percent: 50 }\n");
        for (name, w) in NAMES.iter().zip(&self.wishes) {
            let Some(target) = &w.target else { continue };
            let max = w.max_mib.map_or(String::new(), |mib| format!(", max_size: {mib}MiB"));
            let (extensions, mib, minutes) = w.budget;
            text.push_str(&format!(
                "    - {{ lv_path: vg/{name}, mount_point: /{name}, {target}{max}, cooldown: 10m, breaker_failures: 100, \
                 budget: {{ extensions: {extensions}, bytes: {mib}MiB, per: {minutes}m }}, max_overprovision: 3 }}\n"
            ));
        }
        text
    }

    fn world(&self) -> Option<World> {
        sim::parse(&self.host()).ok()?;
        Some(World::new(&self.host(), &self.config()))
    }
}

fn sizes(world: &World) -> BTreeMap<String, u64> {
    world.sim.with(|model| model.lvs.iter().map(|lv| (lv.name.to_string(), lv.size().0)).collect())
}

/// What a volume was extended by, and when.
type Grown = Vec<(Duration, u64)>;

fn check(
    world: &World,
    setting: &Setting,
    before: &BTreeMap<String, u64>,
    grown: &mut BTreeMap<String, Grown>,
    now: Duration,
) {
    let after = sizes(world);
    for (name, size) in &after {
        let old = before[name];
        assert!(*size >= old, "{name} shrank from {old} to {size}");
        if *size == old {
            continue;
        }
        let target = world.config.target(&lv(name));
        assert!(target.is_some(), "{name} grew and is no target");
        let Some(target) = target else { continue };
        assert!(
            target.max_size.is_none_or(|max| Bytes(*size) <= max),
            "{name} is {size}, max_size is {:?}",
            target.max_size
        );
        let all = grown.entry(name.clone()).or_default();
        all.push((now, size - old));
        let lately = all.iter().filter(|(at, _)| now - *at < target.budget.per);
        let (count, bytes) = lately.fold((0, 0), |(count, bytes), (_, more)| (count + 1, bytes + more));
        assert!(count <= target.budget.extensions, "{name}: {count} extensions");
        assert!(
            target.budget.bytes.is_none_or(|most| Bytes(bytes) <= most),
            "{name}: {bytes} bytes of {:?}",
            target.budget
        );
        let of_group = grown.values().flatten().filter(|(at, _)| now - *at < Duration::from_secs(36_000)).count();
        assert!(of_group <= setting.group_budget as usize, "the group: {of_group} extensions");
        let (free, size) = world.sim.with(|model| {
            let vg = model.vg("vg").expect("there");
            (vg.free().bytes(vg.extent_size), vg.extents().bytes(vg.extent_size))
        });
        // A thin volume takes nothing from the group, however little is left.
        let thin = world.sim.with(|model| model.lv(name).expect("there").kind == "thin");
        let reserve = world.config.reserve(&lv(name).vg, size);
        assert!(thin || free >= reserve, "{free} are free, {reserve} are reserved");
    }
}

fn legs_are_apart(world: &World) {
    world.sim.with(|model| {
        for lv in model.lvs.iter().filter(|lv| lv.stripes > 1) {
            let mut home = lv.home.clone();
            home.sort();
            home.dedup();
            assert_eq!(home.len() as u64, lv.stripes, "{} ends on {:?}", lv.name, lv.home);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_is_ever_passed(
        setting in setting(),
        happens in prop::collection::vec((any::<Index>(), 0u64..40, prop::option::weighted(0.8, 60u64..101)), 1..25),
    ) {
        let Some(world) = setting.world() else { return Ok(()) };
        let daemon = world.daemon();
        let names: Vec<String> = sizes(&world).into_keys().collect();
        let (mut grown, mut now) = (BTreeMap::new(), Duration::ZERO);
        for (which, minutes, fills) in happens {
            let name = which.get::<String>(&names);
            world.minutes(minutes);
            now += Duration::from_secs(60 * minutes);
            if let Some(percent) = fills {
                world.sim.with(|model| {
                    if let Some(fs) = model.lv(name).and_then(|lv| lv.fs.as_mut()) {
                        fs.used.0 = fs.capacity().0 / 100 * percent;
                    }
                });
            }
            let before = sizes(&world);
            let ended = daemon.alert(name);
            // The size was certain: LVM does not refuse it.
            let fine = matches!(ended, Ended::Refused(_) | Ended::Operation(_, Outcome::Grown));
            prop_assert!(fine, "{name}: {ended:?} {:?}", world.state().past.back());
            check(&world, &setting, &before, &mut grown, now);
            legs_are_apart(&world);
        }
    }

    /// Where there is room for all of them the order does not matter, and the second alert of a kind changes nothing.
    #[test]
    fn order_and_repetition_of_alerts_make_no_difference(
        setting in setting(),
        order in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let roomy = Setting { pvs: vec![1 << 20; 5], reserve: 0, group_budget: 12, ..setting };
        let (Some(once), Some(often)) = (roomy.world(), roomy.world()) else { return Ok(()) };
        let names: Vec<String> = sizes(&once).into_keys().filter(|name| name != "vg/pool").collect();
        // What lies in one pool competes for it; one of them is enough.
        let thin = |name: &String| once.sim.with(|model| model.lv(name).expect("there").kind == "thin");
        let rivals: Vec<&String> = names.iter().filter(|name| thin(name)).skip(1).collect();
        let names: Vec<String> = names.iter().filter(|name| !rivals.contains(name)).cloned().collect();
        prop_assume!(!names.is_empty());
        let daemon = once.daemon();
        names.iter().for_each(|name| drop(daemon.alert(name)));
        let daemon = often.daemon();
        for which in &order {
            daemon.alert(which.get::<String>(&names));
        }
        names.iter().rev().for_each(|name| drop(daemon.alert(name)));
        prop_assert_eq!(sizes(&once), sizes(&often));
    }
}
