//! Patterns as a shell has them: for names (`data*`) and for paths (`/srv/**`).

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// A pattern: `*` is any text, `?` any character, `[ab]` one of them, `{a,b}` either. In a path none of them is a `/`,
/// while `/**` is the folder before it and all that is below.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    /// `None`: it has no wildcard, and is only equal.
    matcher: Option<GlobMatcher>,
    /// `/srv` of `/srv/**`.
    folder: Option<Box<Glob>>,
}

impl Glob {
    /// Whether it matches.
    pub fn matches(&self, text: &str) -> bool {
        match &self.matcher {
            None => self.text == text,
            Some(matcher) => matcher.is_match(text) || self.folder.iter().any(|folder| folder.matches(text)),
        }
    }

    /// The one text that it matches, if there is only one.
    pub fn literal(&self) -> Option<&str> {
        self.matcher.is_none().then_some(&*self.text)
    }

    /// Whether it matches any name, however it is written: `*`, `?*`, `{*,data}`.
    pub fn is_any(&self) -> bool {
        const UNLIKE: [&str; 5] = ["a", "Zz9", "0", "_vg.", "+x-1"];
        UNLIKE.iter().all(|name| self.matches(name))
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Glob, String> {
        if text.is_empty() || text != text.trim() || text.chars().any(char::is_control) {
            let why = "it is empty, has a control character in it, or begins or ends with a blank";
            return Err(format!("{text:?} is not a pattern: {why}"));
        }
        let matcher = match text.contains(['*', '?', '[', ']', '{', '}']) {
            false => None,
            true => {
                let glob = GlobBuilder::new(text)
                    .literal_separator(true)
                    .backslash_escape(false)
                    .empty_alternates(true)
                    .build();
                Some(glob.map_err(|error| format!("{text:?} is not a pattern: {}", error.kind()))?.compile_matcher())
            }
        };
        let folder = text.strip_suffix("/**").map(|folder| if folder.is_empty() { "/" } else { folder });
        let folder = folder.map(|folder| folder.parse().map(Box::new)).transpose()?;
        Ok(Glob { text: text.to_owned(), matcher, folder })
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_matches() {
        for (pattern, yes, no) in [
            ("data", &["data"][..], &["data1", "dat", "Data"][..]),
            ("data*", &["data", "data_1"], &["xdata"]),
            ("pg_?", &["pg_1"], &["pg_", "pg_12"]),
            ("{a,b}[0-9]", &["a1", "b9"], &["c1", "a"]),
            ("[!a]b", &["cb"], &["ab"]),
            ("data{,_old}", &["data", "data_old"], &["data_", "data_older"]),
            ("/srv/*", &["/srv/a"], &["/srv", "/srv/a/b", "/srv2"]),
            ("/srv/**", &["/srv", "/srv/a", "/srv/a/b"], &["/srv2", "/"]),
            ("/{boot,efi}/**", &["/boot", "/efi", "/boot/efi"], &["/bootstrap", "/"]),
            ("/s*/**", &["/srv", "/srv/a/b"], &["/opt", "/opt/s"]),
            ("/home/*/**", &["/home/ann", "/home/ann/x"], &["/home"]),
            ("/srv/**/data", &["/srv/data", "/srv/a/b/data"], &["/srv/a/data/x"]),
            ("/**", &["/", "/a", "/a/b"], &[]),
            ("*", &["anything"], &["/a/b"]),
        ] {
            let glob: Glob = pattern.parse().expect(pattern);
            yes.iter().for_each(|text| assert!(glob.matches(text), "{pattern} {text}"));
            no.iter().for_each(|text| assert!(!glob.matches(text), "{pattern} {text}"));
        }
        for wrong in ["", " a", "a\n", "[a", "{a", "a]b{"] {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_wildcard_is_equal_to_itself_only() {
        let glob: Glob = "a.b+c".parse().expect("a pattern");
        assert_eq!((glob.literal(), glob.matches("aXb+c")), (Some("a.b+c"), false));
        let any = |pattern: &str| pattern.parse::<Glob>().expect("a pattern").is_any();
        assert!(["*", "**", "?*", "*?", "{*,data}", "[!/]*", "*{,x}"].into_iter().all(any));
        assert!(!["d*", "*_vg", "{data,sys}", "vg[0-9]", "????"].into_iter().any(any));
    }
}
