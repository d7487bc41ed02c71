//! What is not as it should be, in sentences: `health.problems` of the status.

use std::time::Duration;

use crate::config::{Mode, Target};
use crate::engine::{Stands, Trouble};
use crate::inventory::Sample;
use crate::plan::{Code, Moment, Refusal};

/// Of the daemon itself.
pub(super) fn general_problems(sample: &Sample, trouble: Option<&Trouble>) -> Vec<String> {
    let mut problems = Vec::new();
    if !sample.taken {
        problems.push("LVM was not read yet: see whether `lvm fullreport` answers".to_owned());
    } else if !sample.succeeded {
        problems.push("LVM does not answer: what is shown is old, see the log".to_owned());
    }
    match trouble {
        None => {}
        Some(Trouble::Unwritable(why)) => {
            problems.push(format!("The journal cannot be written: nothing can grow until it can: {why}"));
        }
        Some(Trouble::NoEngine(why)) => {
            problems.push(format!("The engine does not answer: what is shown is old, and no alert is accepted: {why}"));
        }
    }
    if !sample.inventory.oddities.is_empty() {
        problems.push(format!("{} values that LVM gave were not understood", sample.inventory.oddities.len()));
    }
    problems
}

/// How long a refusal that only a look at one volume can find counts as a problem after it was repeated last.
const STANDS_FOR: Duration = Duration::from_secs(3600);

/// What of one target is for a person to see to: it does not answer, or it is refused for a reason that does not pass
/// by itself.
pub(super) fn target_problem(
    target: &Target,
    would: (Option<Code>, &str),
    sample: &Sample,
    stands: Option<&Stands>,
    now: &Moment,
) -> Option<String> {
    let lv = &target.lv;
    let seen = target.mount_point().filter(|_| target.mode != Mode::Off);
    if let Some(fs) = seen.and_then(|point| sample.inventory.filesystem_at(point))
        && fs.usage.is_none()
    {
        let point = &fs.mount.mount_point;
        return Some(format!("{lv}: the file system at {point} does not answer (statvfs), so {lv} cannot grow"));
    }
    if let Some(code) = would.0.filter(|code| !Code::EVERYDAY.contains(code)) {
        return Some(format!("{lv} would be refused ({code}): {}", would.1));
    }
    let stands = stands.filter(|stands| stands.times > 1)?;
    let Refusal { code, sentence, .. } = stands.trouble(now, STANDS_FOR)?;
    Some(format!("{lv} was refused {} times since {} ({code}): {sentence}", stands.times, stands.since.at))
}
