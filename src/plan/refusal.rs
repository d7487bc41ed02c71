//! The expected no: a stable code, a sentence with the numbers, and what a person can do.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($variant:ident => $code:literal),+ $(,)?) => {
        /// Why nothing is done. The codes are the label `code` of `lvm_autoscaler_refusals_total` and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "docs/guards.md explains each")]
        pub enum Code { $(#[serde(rename = $code)] $variant),+ }

        impl Code {
            /// All of them, in the order in which they are asked.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            /// As it stands in metrics, journal and answers.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code),+ }
            }
        }
    };
}

codes! {
    UnknownTarget => "unknown_target",
    OtherHost => "other_host",
    AmbiguousAlert => "ambiguous_alert",
    ModeOff => "mode_off",
    Paused => "paused",
    OutsideWindow => "outside_window",
    OperationInProgress => "operation_in_progress",
    BreakerOpen => "breaker_open",
    Cooldown => "cooldown",
    BudgetExhausted => "budget_exhausted",
    VgPartial => "vg_partial",
    VgExported => "vg_exported",
    VgForeign => "vg_foreign",
    VgShared => "vg_shared",
    VgReadOnly => "vg_read_only",
    LvInactive => "lv_inactive",
    LvSuspended => "lv_suspended",
    LvReadOnly => "lv_read_only",
    LvBusy => "lv_busy",
    LvUnhealthy => "lv_unhealthy",
    SnapshotOrigin => "snapshot_origin",
    LayeredDevice => "layered_device",
    NotMounted => "not_mounted",
    DeviceMismatch => "device_mismatch",
    FsUnsupported => "fs_unsupported",
    FsReadOnly => "fs_read_only",
    FsErrors => "fs_errors",
    BelowThreshold => "below_threshold",
    AtMaxSize => "at_max_size",
    FsLimit => "fs_limit",
    VgReserve => "vg_reserve",
    InsufficientSpace => "insufficient_space",
    PoolSpace => "pool_space",
}

impl Code {
    /// The everyday no: what a healthy daemon says (below its threshold, cooldown), what a person wanted, alerts that are
    /// another host's, and the breaker, which is told when it opens. Nobody has to do anything about it, so it is neither
    /// notified nor a finding of the report, and the alert `LvmAutoscalerRefusing` leaves it out.
    pub const EVERYDAY: [Code; 8] = [
        Code::BelowThreshold,
        Code::Cooldown,
        Code::OperationInProgress,
        Code::ModeOff,
        Code::Paused,
        Code::OutsideWindow,
        Code::BreakerOpen,
        Code::OtherHost,
    ];
}

/// A refusal: what stood in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One sentence with the numbers and what a person can do about it.
    pub sentence: String,
}

/// Sentences may quote labels, and labels come from strangers. Control characters are escaped, and what is longer is cut, for the last hundred sentences
/// must fit into the journal's checkpoint.
const LONGEST_SENTENCE: usize = 600;

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, sentence: impl Into<String>) -> Refusal {
        let mut sentence = crate::plain(&sentence.into());
        if let Some((end, _)) = sentence.char_indices().nth(LONGEST_SENTENCE) {
            sentence.truncate(end);
            sentence.push('…');
        }
        Refusal { code, sentence }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.sentence)
    }
}
