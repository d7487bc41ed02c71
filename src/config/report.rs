//! Reports that are written by themselves: how often, where, in which forms, and how many are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportSettings {
    /// How often; `None`: only when somebody asks.
    pub interval: Option<Duration>,
    /// Where; `None`: in the state directory.
    pub directory: Option<PathBuf>,
    /// In which forms.
    pub formats: Vec<ReportFormat>,
    /// How many are kept.
    pub keep: u32,
}

impl Default for ReportSettings {
    fn default() -> ReportSettings {
        let formats = vec![ReportFormat::Html, ReportFormat::Markdown];
        ReportSettings { interval: None, directory: None, formats, keep: 30 }
    }
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    /// One file to open, print and send.
    Html,
    /// For tickets, wikis and terminals.
    Markdown,
    /// For programs.
    Json,
}

impl ReportFormat {
    /// All of them.
    pub const ALL: [ReportFormat; 3] = [ReportFormat::Html, ReportFormat::Markdown, ReportFormat::Json];

    /// As it stands in the config, on the command line and in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportFormat::Html => "html",
            ReportFormat::Markdown => "markdown",
            ReportFormat::Json => "json",
        }
    }

    /// How names of such files end.
    pub fn extension(self) -> &'static str {
        match self {
            ReportFormat::Html => "html",
            ReportFormat::Markdown => "md",
            ReportFormat::Json => "json",
        }
    }

    /// For HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            ReportFormat::Html => "text/html; charset=utf-8",
            ReportFormat::Markdown => "text/markdown; charset=utf-8",
            ReportFormat::Json => "application/json",
        }
    }
}

impl fmt::Display for ReportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ReportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<ReportFormat, String> {
        let found = ReportFormat::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no format, expected html, markdown or json"))
    }
}
