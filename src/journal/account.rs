//! What came of an operation, as values: sentences are made of them where somebody reads them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Code, Outcome};

/// What came of an operation, and what of it is left for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What happened; no command stands in it. Version 0.1 had all of it here, what [`Account`] shows as a whole.
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

    /// All but the commands, for a reader who gets these beside it.
    pub fn without_commands(&self) -> String {
        let notes = self.notes.iter().map(String::as_str);
        std::iter::once(self.sentence.as_str()).chain(notes).collect::<Vec<_>>().join("; ")
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
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
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
