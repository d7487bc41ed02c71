//! `docs/guards.md`, written from the table of the guards: what each asks, and what a person can do when it refuses.

use crate::plan::Code;

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for (title, first) in SECTIONS {
        page.push_str(&format!("\n## {title}\n\n| code | passes if | when it refuses |\n|---|---|---|\n"));
        let next = SECTIONS.iter().map(|(_, code)| *code).find(|code| *code > first);
        for code in Code::ALL.iter().filter(|code| **code >= first && next.is_none_or(|next| **code < next)) {
            let (passes, advice) = code.meaning();
            page.push_str(&format!("| `{code}` | {passes} | {advice} |\n"));
        }
    }
    page.push_str(SIZE);
    page
}

/// A section begins with this code.
const SECTIONS: [(&str, Code); 6] = [
    ("The request", Code::UnknownTarget),
    ("The time", Code::ModeOff),
    ("The volume group", Code::ConfigSuspect),
    ("The logical volume", Code::LvInactive),
    ("The file system", Code::NotMounted),
    ("The size", Code::AtMaxSize),
];

const INTRODUCTION: &str = "# Guards

<!-- Written from src/plan/guard/table.rs by `UPDATE_DOCS=1 cargo test --test shipped docs::`; edit that. -->

Before the daemon changes anything it checks these guards, in this order. The first one that refuses ends the request. A refusal has a
code, and a sentence with the numbers and with what you can do about it. It is in the log, in the journal and in
`lvm_autoscaler_refusals_total{code=...}`. A guard that lacks a value refuses.
`lvm-autoscaler plan` shows every guard with its answer, and with `--format=json` as JSON. `tests/golden/refusals.txt` has example sentences for each code.
";

const SIZE: &str = "
A step is one `increment`. The volume grows by as many steps as bring usage below the threshold. If not all of that fits, but at
least `min_increment` does, it grows by what fits. Sizes are rounded up to extents, and to whole stripes or RAID rows.

## Time

Cooldowns and budgets survive a restart, because they are computed from the journal. They count only time that has certainly passed: within one boot
by the kernel's own clock, which nobody can set; between boots by the wall clock, but at least the time since the boot.
Only `window` uses the wall clock alone.
";
