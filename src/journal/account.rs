//! What came of an operation, as values: sentences are made of them where somebody reads them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::MountPoint;
use crate::plan::{Code, FsKind, Outcome};

/// What came of an operation, and what of it is left for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What happened. A recommendation and a dry run list their commands here, and a failure may quote one as advice;
    /// those that are left to run are in `commands`. Version 0.1 wrote everything here, as [`Account`] shows it.
    pub sentence: String,
    /// When a person runs the commands; `None`: there are none, or version 0.1 wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// What a person has to run next, each as it can be pasted into a shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What else must be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The growth that the kernel may have replayed, where that leaves something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
}

/// The host restarted while a file system grew, and the kernel may have replayed the growth from its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Of which kind the file system is.
    pub kind: FsKind,
    /// Where it is mounted.
    pub mount_point: MountPoint,
}

/// When a person runs the commands that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// They mend what is in the way.
    Now,
    /// They failed, or were not run, because of something else, which must be mended first.
    WhenMended,
    /// The volume group is gone, and may come back.
    WhenBack,
}

impl Account {
    /// With nothing left to do.
    pub fn of(sentence: impl Into<String>) -> Account {
        Account { sentence: sentence.into(), ..Account::default() }
    }

    /// With commands, if there are any.
    pub fn with(self, next: Next, commands: Vec<String>) -> Account {
        Account { next: (!commands.is_empty()).then_some(next), commands, ..self }
    }

    /// And what else must be known.
    pub fn noting(mut self, note: Option<String>) -> Account {
        self.notes.extend(note);
        self
    }

    /// And that a growth was perhaps replayed.
    pub fn after_replay(self, replayed: Option<Replayed>) -> Account {
        Account { replayed, ..self }
    }

    /// All but the commands, for a reader who gets these beside it.
    pub fn without_commands(&self) -> String {
        std::iter::once(self.sentence.clone()).chain(self.remarks()).collect::<Vec<_>>().join("; ")
    }

    /// What stands behind the commands.
    fn remarks(&self) -> impl Iterator<Item = String> {
        let say = |replayed: &Replayed| Some(replayed.kind.about().after_replay?(&replayed.mount_point));
        self.notes.iter().cloned().chain(self.replayed.as_ref().and_then(say))
    }
}

/// The whole as one sentence.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        let when = self.next.map(|next| match next {
            Next::Now => "",
            Next::WhenMended => "when that is mended, ",
            Next::WhenBack => "if it comes back, ",
        });
        if let Some(when) = when {
            write!(f, "; {when}run: {}", self.commands.join("; "))?;
        }
        self.remarks().try_for_each(|remark| write!(f, "; {remark}"))
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Conclusion {
    /// It became an operation, which ended so.
    Ended(Outcome),
    /// It was refused.
    Refused(Code),
}

impl Conclusion {
    /// As it stands in the journal and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Conclusion::Ended(outcome) => outcome.as_str(),
            Conclusion::Refused(code) => code.as_str(),
        }
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_one_sentence() {
        let account = Account::of("it failed").with(Next::WhenMended, vec!["a".to_owned(), "b".to_owned()]);
        let account = account.noting(Some("copy c".to_owned())).noting(None);
        assert_eq!(account.to_string(), "it failed; when that is mended, run: a; b; copy c");
        assert_eq!(account.without_commands(), "it failed; copy c");
        assert_eq!(Account::of("it grew").with(Next::Now, vec![]).to_string(), "it grew");
    }

    #[test]
    fn a_growth_that_was_perhaps_replayed_is_a_value_and_becomes_a_sentence_where_it_is_read() {
        let at = |kind, point: &str| {
            let replayed = Replayed { kind, mount_point: point.parse().expect("a path") };
            let json = serde_json::to_string(&Account::of("it grew").after_replay(Some(replayed))).expect("JSON");
            assert!(!json.contains("unmount"), "{json}");
            serde_json::from_str::<Account>(&json).expect("JSON")
        };
        let account = at(FsKind::Xfs, "/data");
        let begin =
            "it grew; the host restarted during the growth: unmount /data and mount it once before it grows again";
        assert!(account.to_string().starts_with(begin), "{account}");
        assert_eq!(account.to_string(), account.without_commands());
        assert!(at(FsKind::Xfs, "/").to_string().contains(": reboot once more before / grows again"));
        assert_eq!(at(FsKind::Ext, "/data").to_string(), "it grew");
    }

    #[test]
    fn what_version_0_1_wrote_is_shown_as_it_was_meant() {
        let old = r#"{"sentence":"it failed; run: a","commands":["a"]}"#;
        let account: Account = serde_json::from_str(old).expect("JSON");
        assert_eq!(account.to_string(), "it failed; run: a");
    }

    #[test]
    fn no_word_means_both_an_outcome_and_a_refusal() {
        for conclusion in
            Outcome::ALL.map(Conclusion::Ended).into_iter().chain(Code::ALL.iter().copied().map(Conclusion::Refused))
        {
            let json = serde_json::to_string(&conclusion).expect("JSON");
            assert_eq!(json, format!("\"{conclusion}\""));
            assert_eq!(serde_json::from_str::<Conclusion>(&json).expect("JSON"), conclusion);
        }
    }
}
