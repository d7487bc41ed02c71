//! Who or what asks for a growth, and what that changes of the target.

use std::borrow::Cow;

use crate::config::{Mode, Target};
use crate::units::{Amount, Bytes};

/// Why a target should grow now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Because it is fuller than its threshold.
    Usage,
    /// A person asked for it. Every guard but the threshold holds, and `mode: recommend` counts as approved.
    Person {
        /// By exactly this, or not at all; without it as the config says.
        by: Option<Bytes>,
    },
    /// A volume of the target, which is a thin pool, needs so much more of its data. Every guard but the threshold
    /// holds.
    Volume {
        /// At least by this, in whole increments.
        by: Bytes,
    },
}

impl Wish {
    /// A person approved of it by asking.
    pub fn is_a_persons(self) -> bool {
        matches!(self, Wish::Person { .. })
    }

    /// How full the target is does not matter.
    pub(super) fn is_for_more(self) -> bool {
        self != Wish::Usage
    }

    /// The target as it counts for this wish.
    pub(super) fn on(self, target: &Target) -> Cow<'_, Target> {
        let Wish::Person { by } = self else { return Cow::Borrowed(target) };
        let mut asked = target.clone();
        if asked.mode == Mode::Recommend {
            asked.mode = Mode::Act;
        }
        if let Some(by) = by {
            (asked.increment, asked.min_increment) = (Amount::Size(by), Some(by));
        }
        Cow::Owned(asked)
    }
}
