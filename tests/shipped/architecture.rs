//! A file imports only from modules below its own, and no two files of a module need one another. ARCHITECTURE.md says
//! why; these tests read the paths.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// From top to bottom; what stands in one row may not import from the others in it.
const ROWS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["app"],
    &["relay", "routes", "control", "wire"],
    &["server"],
    &["engine", "report", "notify", "audit"],
    &["metrics", "journal", "host", "log", "client"],
    &["alert"],
    &["plan"],
    &["config", "inventory"],
    &["filesystem"],
    &["command"],
    &["units", "duration", "name", "rate", "files", "confine"],
];

/// Imports that go down and are still wrong: the edges to the network and to people must not reach the machine.
const FORBIDDEN: &[(&str, &str)] = &[("server", "host"), ("routes", "host"), ("control", "host"), ("wire", "host")];

/// All that a module may import from the crate, where that is less than everything below it.
const ONLY: &[(&str, &[&str])] = &[
    ("plan", &["command", "filesystem", "config", "inventory", "units", "name", "duration"]),
    ("inventory", &["command", "filesystem", "units", "name"]),
    ("filesystem", &["command", "units", "name"]),
    ("command", &["name"]),
    ("config", &["command", "filesystem", "units", "name", "files", "duration"]),
    ("alert", &["plan", "config", "inventory", "units", "name"]),
    ("journal", &["command", "plan", "name", "units", "files"]),
    ("log", &["rate"]),
    ("host", &["command", "filesystem", "plan", "config", "inventory", "name", "units", "files", "duration"]),
    ("notify", &["client", "journal", "metrics", "plan", "config", "name", "units", "files"]),
    ("server", &["alert", "metrics", "config", "files"]),
    ("client", &["config", "duration", "files"]),
    ("audit", &["journal", "metrics", "plan", "config", "name", "files"]),
    ("metrics", &["plan", "config", "inventory", "name", "units"]),
    ("report", &["command", "journal", "plan", "config", "inventory", "name", "units", "files", "duration"]),
];

/// What the edges to the network must not even name: they reach the engine through `engine::Front` alone, so that they
/// can be another process without privileges.
const UNNAMED: &[&str] = &["Handle", "Shared", "Journal", "Host", "Pipeline"];

/// Enough for one subject; what is longer is two.
const MOST_LINES: usize = 600;

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 40, "only {} files were found", found.len());
    found
}

/// `src/host/sim/model.rs` and `src/host/mod.rs` are of the module `host`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("under src");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that code names as `crate::x`, or in `use crate::{x, y::z}`; what only tests use does not count.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let code = lines.collect::<Vec<_>>().join(" ").replace("lvm_autoscaler::", "crate::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphanumeric() => {
                            found.push(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    // What lib.rs itself has for all: how text is shown, and what a mutex guards.
    const OF_ALL: [&str; 7] = ["chain", "hides", "json", "locked", "plain", "plain_lines", "visible_json"];
    found.retain(|name| !OF_ALL.contains(&name.as_str()));
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// Why an import is wrong, if it is.
fn objection(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    let (Some(above), Some(below)) = (row(from), row(to)) else { return Some("a module that is in no row".to_owned()) };
    if above >= below {
        return Some("not below it".to_owned());
    }
    if FORBIDDEN.contains(&(from, to)) {
        return Some("forbidden".to_owned());
    }
    let only = ONLY.iter().find(|(module, _)| *module == from)?.1;
    (!only.contains(&to)).then(|| format!("it may import only {}", only.join(", ")))
}

#[test]
fn every_file_imports_only_from_below() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        for to in imports(&text) {
            if let Some(why) = objection(&module, &to) {
                wrong.push(format!("{} imports crate::{to}: {why}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_test_itself_sees_what_it_should() {
    let text = "use crate::plan::{A, b::C};\nuse crate::{host, journal::{X, Y}, name};\n// crate::comment\n\
        fn f() { crate::engine::run(lvm_autoscaler::cli::Cli) }\n#[cfg(test)]\nmod tests { use crate::server; }";
    assert_eq!(imports(text), ["plan", "host", "journal", "name", "engine", "cli"]);
    for (from, to) in [
        ("server", "host"),
        ("routes", "host"),
        ("control", "host"),
        ("control", "routes"),
        ("relay", "routes"),
        ("server", "engine"),
        ("server", "routes"),
        ("engine", "server"),
        ("engine", "routes"),
        ("host", "journal"),
        ("host", "metrics"),
        ("host", "engine"),
        ("journal", "host"),
        ("journal", "engine"),
        ("metrics", "host"),
        ("plan", "host"),
        ("plan", "journal"),
        ("inventory", "config"),
        ("name", "plan"),
        ("units", "name"),
        ("engine", "app"),
        ("plan", "unheard_of"),
    ] {
        assert!(objection(from, to).is_some(), "{from} -> {to} must be refused");
    }
    for (from, to) in [
        ("app", "routes"),
        ("engine", "journal"),
        ("routes", "engine"),
        ("relay", "server"),
        ("plan", "plan"),
        ("host", "plan"),
    ] {
        assert_eq!(objection(from, to), None);
    }
}

/// `src/config/load/target.rs` is the module `config::load::target`.
fn full_name(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("under src");
    let name = inside.with_extension("").display().to_string().replace('/', "::");
    name.trim_end_matches("::mod").to_owned()
}

static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r##"(?s)r#".*?"#|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)'|pub\(in [a-z:]+\)"##).expect("a pattern")
});
static USE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(pub(?:\(\w+\))?\s+)?\buse\s+([^;]*);").expect("a pattern"));
static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[A-Za-z_]\w*(?:::\w+)+").expect("a pattern"));

/// What a file imports or names by path, as written: the leaves of `use` trees, and `a::b` anywhere else. `pub use` is
/// listed apart: it passes a name on and needs nothing of it.
fn paths(text: &str) -> (Vec<String>, Vec<String>) {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let code: Vec<_> = code.lines().map(|line| line.split(" // ").next().unwrap_or(line)).collect();
    let code: Vec<_> = code.into_iter().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = QUOTED.replace_all(&code.join("\n"), "").into_owned();
    let (mut named, mut passed_on) = (Vec::new(), Vec::new());
    for found in USE.captures_iter(&code) {
        leaves("", &found[2], if found.get(1).is_some() { &mut passed_on } else { &mut named });
    }
    let elsewhere = USE.replace_all(&code, "").into_owned();
    named.extend(PATH.find_iter(&elsewhere).map(|found| found.as_str().to_owned()));
    (named, passed_on)
}

/// `a::{b, c::{d, self}}` has the leaves `a::b`, `a::c::d` and `a::c`.
fn leaves(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((start, group)) = tree.split_once('{') else {
        let leaf = tree.split(" as ").next().unwrap_or(tree);
        found.push(format!("{before}{leaf}").trim_end_matches("::self").to_owned());
        return;
    };
    let before = format!("{before}{}", start.trim());
    let (mut depth, mut begin) = (0, 0);
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[begin..at].trim().is_empty() {
                    leaves(&before, &group[begin..at], found);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// The files of the crate by their full names, and what they name of one another.
struct Files {
    named: BTreeMap<String, Vec<String>>,
    passed_on: BTreeMap<String, BTreeMap<String, String>>,
}

impl Files {
    fn new(sources: impl IntoIterator<Item = (String, String)>) -> Files {
        let mut files = Files { named: BTreeMap::new(), passed_on: BTreeMap::new() };
        let mut all_passed_on = Vec::new();
        for (name, text) in sources {
            let (named, passed_on) = paths(&text);
            files.named.insert(name.clone(), named);
            all_passed_on.push((name, passed_on));
        }
        for (file, paths) in all_passed_on {
            let whole = paths.iter().filter_map(|path| files.in_full(&file, path));
            let by_name = whole.map(|path| (path.rsplit("::").next().unwrap_or_default().to_owned(), path)).collect();
            files.passed_on.insert(file, by_name);
        }
        files
    }

    /// A path as seen from the root of the crate; `None` for those of other crates, and of types.
    fn in_full(&self, file: &str, path: &str) -> Option<String> {
        let mut at: Vec<&str> = file.split("::").collect();
        let mut steps = path.split("::").peekable();
        match *steps.peek()? {
            "crate" => at.clear(),
            "self" | "super" => {}
            child if self.named.contains_key(&format!("{file}::{child}")) => {}
            _ => return None,
        }
        for step in steps {
            match step {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                step => at.push(step),
            }
        }
        Some(at.join("::"))
    }

    /// The file in which something is, through all that pass it on.
    fn home(&self, path: &str) -> Option<String> {
        let mut home = String::new();
        let steps: Vec<&str> = path.split("::").collect();
        for (index, step) in steps.iter().enumerate() {
            let below = if home.is_empty() { (*step).to_owned() } else { format!("{home}::{step}") };
            if self.named.contains_key(&below) {
                home = below;
                continue;
            }
            let elsewhere = self.passed_on.get(&home).and_then(|names| names.get(*step)).filter(|to| **to != below);
            if let Some(to) = elsewhere {
                let rest = steps[index + 1..].iter().map(|step| format!("::{step}")).collect::<String>();
                return self.home(&format!("{to}{rest}"));
            }
            break;
        }
        (!home.is_empty()).then_some(home)
    }

    /// The other files of its module that a file needs.
    fn needs(&self, file: &str) -> BTreeSet<String> {
        let module = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
        let paths = self.named[file].iter().filter_map(|path| self.home(&self.in_full(file, path)?));
        paths.filter(|to| to != file && module(to) == module(file)).collect()
    }

    /// One circle for each file that is in one, the shortest, from that file back to itself.
    fn circles(&self) -> Vec<String> {
        let needs: BTreeMap<_, _> = self.named.keys().map(|file| (file.clone(), self.needs(file))).collect();
        let circle = |start: &String| {
            let mut ways = VecDeque::from([vec![start.clone()]]);
            let mut seen = BTreeSet::new();
            while let Some(way) = ways.pop_front() {
                for next in &needs[way.last().expect("it begins somewhere")] {
                    if next == start {
                        return Some(format!("{} -> {start}", way.join(" -> ")));
                    }
                    if seen.insert(next.clone()) {
                        ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
                    }
                }
            }
            None
        };
        needs.keys().filter_map(circle).collect()
    }
}

#[test]
fn the_edge_to_the_network_reaches_the_engine_through_its_front_alone() {
    let word = |word: &str| Regex::new(&format!(r"\b{word}\b")).expect("a pattern");
    let mut read = 0;
    for (path, text) in sources() {
        if full_name(&path).split("::").next() != Some("routes") {
            continue;
        }
        read += 1;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for name in UNNAMED {
            assert!(!word(name).is_match(&code), "{} names {name}", path.display());
        }
        assert!(!code.contains(".shared()"), "{}", path.display());
    }
    assert!(read > 10, "only {read} files were read");
}

/// A file can be read, and understood, after those that it needs.
#[test]
fn no_files_of_a_module_need_one_another() {
    let files = Files::new(sources().into_iter().map(|(path, text)| (full_name(&path), text)));
    let circles = files.circles();
    assert!(circles.is_empty(), "move what they share into a file below them:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_seen_however_it_is_written() {
    let circles = |sources: &[(&str, &str)]| {
        let sources = sources.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Files::new(sources).circles()
    };
    let (mine, yours) = ("m::mine -> m::yours -> m::mine", "m::yours -> m::mine -> m::yours");
    for (mod_rs, mine_rs, yours_rs) in [
        ("", "use super::yours::X;", "use super::mine::Y;"),
        ("", "use super::{self as m, yours::{X}};", "fn f() { crate::m::mine::g() }"),
        ("pub use mine::Y;\npub use self::yours::{X, Z};", "use super::X;", "fn f(_: &super::Y) {}"),
        ("pub(crate) use mine::Y as Other;", "use crate::{n, m::{yours::{self}}};", "use super::mine;"),
    ] {
        assert_eq!(circles(&[("m", mod_rs), ("m::mine", mine_rs), ("m::yours", yours_rs), ("n", "")]), [mine, yours]);
    }
    let child = [("m", "mod child;\nfn f() { child::f() }"), ("m::child", "use super::Type;")];
    assert_eq!(circles(&child), ["m -> m::child -> m", "m::child -> m -> m::child"]);
    // What stands in quotes names nothing, and does not hide what stands behind them.
    let quoted = "const A: &str = \"one \\\n  two\";\nconst B: char = '\"';\nconst C: &str = r#\"a \" b\"#;\nuse super::yours::X;";
    assert_eq!(circles(&[("m", ""), ("m::mine", quoted), ("m::yours", "use super::mine::Y;")]), [mine, yours]);
    let three = [("m::a", "use super::b::B;"), ("m::b", "use super::c::C;"), ("m::c", "use super::a;"), ("m", "")];
    assert_eq!(circles(&three).len(), 3);
    for (mod_rs, mine_rs, yours_rs) in [
        ("pub use mine::Y;\npub use yours::X;", "use super::X;", "use crate::n::mine::Y;"),
        (
            "use mine::Y;",
            "use super::yours::X; // use super::Y",
            "/// [`super::mine`]\nconst A: &str = \"super::mine\";",
        ),
        ("", "use super::yours::X;", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::super::mine;\n}"),
    ] {
        let sources = [("m", mod_rs), ("m::mine", mine_rs), ("m::yours", yours_rs), ("n", ""), ("n::mine", "")];
        assert_eq!(circles(&sources), [] as [&str; 0]);
    }
}

/// Calls that make, open for writing or give a mode by a path, and so follow whatever link is there.
const BY_PATH: &[&str] = &[
    "OpenOptions",
    "File::create",
    "File::options",
    "DirBuilder",
    "set_permissions",
    "UnixListener::bind",
    "canonicalize(",
    "fs::write(",
    "fs::copy(",
    "fs::rename(",
    "fs::remove_file(",
    "create_dir",
];

/// Removed or renamed where nobody else may write: in a folder that `files::Folder::own` made. A device, to be read.
/// And sysfs, in which nobody can place anything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("src/journal/segment.rs", &["fs::rename(", "fs::remove_file("]),
    ("src/host/disk.rs", &["fs::write("]),
    ("src/host/linux.rs", &["fs::remove_file(", "File::options", "OpenOptions"]),
];

/// src/files is the one place that knows how to write where other users may place links.
#[test]
fn only_files_writes_by_path() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let code = text.split("\n#[cfg(test)]\n").next().unwrap_or(&text);
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("under it").display().to_string();
        let allowed = ALLOWED.iter().find(|(file, _)| *file == name).map_or(&[][..], |(_, calls)| calls);
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for call in BY_PATH.iter().filter(|call| !allowed.contains(call)) {
            if !name.starts_with("src/files/") && lines.clone().any(|line| line.contains(call)) {
                wrong.push(format!("{name} calls {call}"));
            }
        }
    }
    assert!(wrong.is_empty(), "use crate::files: {}", wrong.join(", "));
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "two files each: {long:?}");
}

/// rustfmt breaks code at that column and leaves comments as they are; nothing breaks those of scripts and configs.
#[test]
fn no_comment_is_wider_than_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<_> =
        ["src", "tests", "benches", "fuzz", "alerts", "configs", "packaging", ".ci", "Makefile", "Cargo.toml"]
            .map(|name| root.join(name))
            .into();
    let (mut read, mut wide) = (0, Vec::new());
    while let Some(path) = left.pop() {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        // Inputs, what was shipped once, and what is built.
        let is_as_it_was = ["data", "golden", "target", "seeds", "corpus", "lvm-autoscaler-0.1.service"];
        if is_as_it_was.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        read += 1;
        let mark = if name.ends_with(".rs") { "//" } else { "#" };
        let is_wide = |line: &&str| line.chars().count() > 120 && line.trim_start().starts_with(mark);
        if !name.ends_with(".md") {
            wide.extend(text.lines().filter(is_wide).map(|line| format!("{}: {line}", path.display())));
        }
    }
    assert!(read > 400, "only {read} files were read");
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn every_module_says_what_it_decides() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no module documentation: {silent:?}");
}
