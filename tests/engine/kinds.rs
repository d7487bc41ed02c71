//! Every kind of plan that there is: at each command that it runs, failure, hanging and garbage; and each of its steps
//! run twice. `tests/engine/faults.rs` looks closer at what is said then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::common::*;
use lvm_autoscaler::engine::Ended;
use lvm_autoscaler::host::Host as _;
use lvm_autoscaler::host::sim::{Harm, Model, SimPv};
use lvm_autoscaler::inventory::{DiskKind, Partition, PartitionTable};
use lvm_autoscaler::plan::{Code, Outcome, Plan};
use lvm_autoscaler::units::{Bytes, Extents};

/// A report is given up when it hangs, a change is waited for.
const HARMS: [Harm; 5] = [Harm::Fails, Harm::FailsAfterwards, Harm::Garbage, Harm::TimesOut, Harm::Overdue];
/// What the kernel is asked, which is no command.
const QUESTIONS: [&str; 2] = ["mapped", "mountinfo"];

const POOL_HOST: &str = "
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: pool, type: thin-pool, size: 4GiB, data_used: 85%, metadata_used: 80% }
      - { name: data, size: 2GiB, pool: pool, filesystem: { type: ext4, mount_point: /data, used: 85% } }
";
const POOL_CONFIG: &str = "
defaults: { increment: 1GiB, max_overprovision: 2.0 }
monitor:
  targets:
    - { lv_path: /dev/vg/data, mount_point: /data, min_increment: 256MiB }
    - { thin_pool: vg/pool, data_threshold_percent: 80, metadata_threshold_percent: 70 }
";

const SPARE: &str = "AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa";

fn first_pv(model: &mut Model) -> &mut SimPv {
    &mut model.vg("vg").expect("there").pvs[0]
}

/// A kind of plan.
struct Kind {
    name: &'static str,
    lv: &'static str,
    host: String,
    config: String,
    /// The commands of its steps, in order.
    steps: &'static [&'static str],
    prepare: fn(&mut Model),
}

impl Kind {
    fn all() -> [Kind; 8] {
        let of = |name, lv, host: &str, config: &str, steps, prepare| {
            let (host, config) = (host.to_owned(), config.to_owned());
            Kind { name, lv, host, config, steps, prepare }
        };
        let nothing: fn(&mut Model) = |_| ();
        let unmount: fn(&mut Model) =
            |model| model.lv("vg/data").and_then(|lv| lv.fs.as_mut()).expect("there").mounted = false;
        let offline = CONFIG.replace("defaults: {", "defaults: { offline: allow,");
        let btrfs = HOST.replace("type: xfs", "type: btrfs");
        let full = HOST.replace("/dev/sdb, size: 20GiB", "/dev/sdb, size: 8GiB");
        let keys = format!("grown_disks: resize, partitions: growpart, spares: [{SPARE}]");
        let supplied = format!("{CONFIG}volume_groups: [{{ name: vg, {keys} }}]\n");
        let grown: fn(&mut Model) = |model| first_pv(model).device_exceeds = 3 << 30;
        let in_partition: fn(&mut Model) = |model| {
            let pv = first_pv(model);
            let disk_size = Bytes((8 << 30) + (5 << 30));
            let (disk, number, start, followed_until) = ("/dev/sdb".to_owned(), 1, Bytes(1 << 20), None);
            pv.disk = DiskKind::Partition(Partition { disk, disk_size, number, start, followed_until });
            (pv.name, pv.table) = ("/dev/sdb1".to_owned(), Some(PartitionTable::Gpt));
        };
        let spare: fn(&mut Model) = |model| {
            let mut spare = SimPv::new("/dev/sdx", Extents(1280));
            spare.uuid = SPARE.parse().ok();
            model.orphans.push(spare);
        };
        [
            of("ext4", "vg/data", HOST, CONFIG, &["vgcfgbackup", "lvextend", "resize2fs"], nothing),
            of("xfs", "vg/media", HOST, CONFIG, &["vgcfgbackup", "lvextend", "xfs_growfs"], nothing),
            of("btrfs", "vg/media", &btrfs, CONFIG, &["vgcfgbackup", "lvextend", "btrfs"], nothing),
            of("offline", "vg/data", HOST, &offline, &["vgcfgbackup", "e2fsck", "lvextend", "resize2fs"], unmount),
            of("pool", "vg/pool", POOL_HOST, POOL_CONFIG, &["vgcfgbackup", "lvextend", "lvextend"], nothing),
            of("grown disk", "vg/data", &full, &supplied, &["vgcfgbackup", "pvresize", "lvextend", "resize2fs"], grown),
            // `growpart` has LVM told by itself.
            of(
                "partition",
                "vg/data",
                &full,
                &supplied,
                &["vgcfgbackup", "growpart", "lvextend", "resize2fs"],
                in_partition,
            ),
            of("spare", "vg/data", &full, &supplied, &["vgcfgbackup", "vgextend", "lvextend", "resize2fs"], spare),
        ]
    }

    fn world(&self) -> World {
        let world = World::new(&self.host, &self.config);
        world.sim.with(self.prepare);
        world
    }

    /// The plan, as the journal has it.
    fn plan(&self) -> Plan {
        let world = self.world();
        world.inject("vgcfgbackup", 0, Harm::CrashBefore);
        assert!(until_crash(|| world.daemon().alert(self.lv)).is_err(), "{}", self.name);
        world.state().running.values().next().expect("it is open").plan.clone()
    }

    /// What an undisturbed operation runs and how often, and what the host is like then.
    fn undisturbed(&self) -> (BTreeMap<String, usize>, String) {
        let world = self.world();
        let counts: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counted = Arc::clone(&counts);
        let host = world.watched(move |command| {
            *counted.lock().expect("sound").entry(command.name().to_owned()).or_default() += 1;
        });
        let ended = Daemon(world.shared_on(host, false)).alert(self.lv);
        assert!(ended_as(&ended, Outcome::Grown), "{}: {ended:?}", self.name);
        assert_eq!(world.names_of_changes(), self.steps, "{}", self.name);
        let counts = counts.lock().expect("sound").clone();
        (counts, sizes(&world))
    }
}

/// How large everything is.
fn sizes(world: &World) -> String {
    world.sim.with(|model| {
        let size = |lv: &lvm_autoscaler::host::sim::SimLv| {
            let metadata = lv.thin_pool.as_ref().map(|pool| pool.metadata);
            format!("{} {:?} {metadata:?} {:?}\n", lv.name, lv.extents, lv.fs.as_ref().map(|fs| fs.size))
        };
        model.lvs.iter().map(size).collect()
    })
}

#[test]
fn trouble_with_any_command_of_any_kind_of_plan_ends_well() {
    let mut cases = 0;
    for kind in Kind::all() {
        let plan = kind.plan();
        let (commands, grown) = kind.undisturbed();
        let before = sizes(&kind.world());
        let commands = commands.into_iter().chain(QUESTIONS.map(|question| (question.to_owned(), 4)));
        let each = commands.flat_map(|(command, times)| (0..times).map(move |after| (command.clone(), after)));
        for (command, after) in each {
            for harm in HARMS {
                // Nothing ever gives a change up.
                if harm == Harm::TimesOut && kind.steps.contains(&command.as_str()) {
                    continue;
                }
                cases += 1;
                let what = format!("{}: {command} {after} {harm:?}", kind.name);
                let world = kind.world();
                world.inject(&command, after, harm);
                let daemon = world.daemon();
                let ended = daemon.alert(kind.lv);
                let said = world.state().past.back().map(|past| past.sentence.clone());
                let what = format!("{what}: {ended:?} {said:?}");
                for step in kind.steps {
                    let planned = kind.steps.iter().filter(|other| other == &step).count();
                    assert!(world.count(step) <= planned, "{what}: {step} ran again");
                }
                match &ended {
                    Ended::Operation(_, Outcome::Grown) => assert_eq!(sizes(&world), grown, "{what}"),
                    Ended::Operation(_, Outcome::NeedsAttention) => {
                        is_finished_as_told(&world, &daemon, &kind, &plan, &what)
                    }
                    Ended::Operation(_, Outcome::Failed) | Ended::Refused(_) => {
                        assert_eq!(sizes(&world), before, "{what}")
                    }
                    _ => panic!("{what}"),
                }
                // Whatever it was, it is over: the alert that still fires is answered.
                world.minutes(24 * 60);
                let again = daemon.alert(kind.lv);
                assert!(
                    ended_as(&again, Outcome::Grown) || refused(&again, Code::BelowThreshold),
                    "{what}, then {again:?}"
                );
                assert_eq!(sizes(&world), grown, "{what}");
                assert!(world.state().parked.is_empty() && world.state().running.is_empty(), "{what}");
            }
        }
    }
    part::say(&format!("figures: {cases} troubles at the commands of 8 kinds of plans"));
}

/// It is closed, and doing literally what it says opens it.
fn is_finished_as_told(world: &World, daemon: &Daemon, kind: &Kind, plan: &Plan, what: &str) {
    world.minutes(24 * 60);
    let closed = daemon.alert(kind.lv);
    // A pool is whole at any size, and so is what did its work and only said otherwise: it is open again at once.
    if plan.fs.is_some() && !what.contains("FailsAfterwards") {
        assert!(refused(&closed, Code::OperationInProgress), "{what}, then {closed:?}");
    }
    let Some(parked) = world.state().parked.get(&lv(kind.lv)).cloned() else { return };
    assert!(!parked.account.commands.is_empty(), "{what}: a person is not told what to run");
    for told in &parked.account.commands {
        let planned = plan.steps.iter().filter_map(|step| step.command()).find(|command| command.to_string() == *told);
        match planned {
            Some(command) => drop(world.sim.run(&command, &|| ()).expect("it runs")),
            None => {
                // Without -p it asks, and mends what a person says yes to.
                assert_eq!(told, "e2fsck -f /dev/mapper/vg-data", "{what}");
                world.sim.with(|model| model.lv(kind.lv).and_then(|lv| lv.fs.as_mut()).expect("there").checked = true);
            }
        }
    }
}

/// A step has a goal, not a change: what was run once may be run again.
#[test]
fn each_step_run_twice_is_as_if_it_had_run_once() {
    for kind in Kind::all() {
        let (_, grown) = kind.undisturbed();
        let world = kind.world();
        let commands: Vec<_> = kind.plan().steps.iter().filter_map(|step| step.command()).collect();
        for command in &commands {
            let whole = || world.sim.with(|model| format!("{model:?}"));
            world.sim.run(command, &|| ()).expect("it runs");
            let once = whole();
            let _ = world.sim.run(command, &|| ()).expect("it runs");
            assert_eq!(whole(), once, "{}: {command}", kind.name);
        }
        assert_eq!(sizes(&world), grown, "{}", kind.name);
        assert_eq!(world.sim.changes().len(), 2 * commands.len());
    }
}

/// The same by the daemon, whose memory of a step was lost: it was at work when the machine went down.
#[test]
fn each_step_that_the_journal_forgot_is_done_again_without_harm() {
    for kind in Kind::all() {
        let (_, grown) = kind.undisturbed();
        let commands: BTreeMap<&str, usize> = kind.steps.iter().fold(BTreeMap::new(), |mut counts, step| {
            *counts.entry(*step).or_default() += 1;
            counts
        });
        for (command, times) in commands {
            for after in 0..times {
                let what = format!("{}: {command} {after}", kind.name);
                let world = kind.world();
                world.inject(command, after, Harm::CrashAfter);
                assert!(until_crash(|| world.daemon().alert(kind.lv)).is_err(), "{what}");
                // Its `Started` is lost too.
                let all = records::records(&world);
                all.cut(all.frames[all.frames.len() - 1].start, &world);
                world.daemon().recover().expect("the journal can be written");
                assert_eq!(sizes(&world), grown, "{what}");
                assert!(world.state().parked.is_empty() && world.state().running.is_empty(), "{what}");
                let last = world.state().last.get(&lv(kind.lv)).map(|last| last.outcome);
                assert_eq!(last, Some(Outcome::Grown), "{what}");
            }
        }
    }
}
