//! What documents point to is there: files and headings, commands with their flags, make targets, paths, metrics,
//! alerts, and configs that load. Each thing that is wrong is a line of its own: file, line, what is written, what was
//! expected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use lvm_autoscaler::cli::Cli;
use lvm_autoscaler::config;
use regex::Regex;

/// Names that begin like a metric of ours and are none.
const NO_METRICS: &[&str] = &["lvm_autoscaler"];

/// Where metrics of prometheus-lvm-exporter are named beside ours.
const ABOUT_OTHERS: &[&str] = &["docs/metrics.md", "docs/comparison.md"];

/// A word in code that begins with one of these is a path in this repository.
const FOLDERS: &[&str] =
    &["alerts/", "benches/", "configs/", "dashboards/", "docs/", "fuzz/", "packaging/", "src/", "tests/", ".ci/"];

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r#"\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|^\s*\[[^\]]+\]:\s+(\S+)|(?:href|src)="([^"]+)""#)
        .expect("an expression");
    let documents = documents();
    let mut wrong = Vec::new();
    for document in documents.values() {
        for line in document.lines.iter().filter(|line| line.fence.is_none()) {
            for found in link.captures_iter(&without_code(&line.text)) {
                let target = found.iter().skip(1).flatten().next().expect("one of them").as_str();
                if let Some(no) = broken(document, target, &documents) {
                    wrong.push(document.says(line, target, &no));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn commands_and_flags_are_those_of_the_program() {
    let dotted = Regex::new(r"--(?:no-)?(?:config|web|log|collector)\.[a-z.*-]*").expect("an expression");
    let program = Cli::command();
    let flags: BTreeSet<String> = program.get_subcommands().flat_map(|command| flags(&program, command)).collect();
    let mut wrong = Vec::new();
    for document in documents().values() {
        for (line, code) in document.code() {
            for words in commands(&code) {
                if let Some(no) = called(&words).and_then(|arguments| misused(&program, arguments)) {
                    wrong.push(document.says(line, &words.join(" "), &no));
                }
            }
            for flag in dotted.find_iter(&code).map(|found| found.as_str().trim_end_matches('.')) {
                let family = flag.trim_end_matches('*');
                let known = if flag == family {
                    flags.contains(flag)
                } else {
                    flags.iter().any(|known| known.starts_with(family))
                };
                if !known {
                    wrong.push(document.says(line, flag, "no command has this flag"));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn make_targets_exist() {
    let makefile = text("Makefile");
    let known: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', ' ', '.']) && !line.contains('='))
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    assert!(known.contains("check") && known.contains("demo"), "{known:?}");
    let mut wrong = Vec::new();
    for document in documents().values() {
        for (line, code) in document.code() {
            for words in commands(&code).filter(|words| words[0] == "make") {
                for target in words[1..].iter().filter(|word| !word.contains('=') && !word.starts_with('-')) {
                    if !known.contains(target.as_str()) {
                        wrong.push(document.says(line, &words.join(" "), &format!("the Makefile has no {target:?}")));
                    }
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn paths_of_this_repository_exist() {
    let mut wrong = Vec::new();
    for document in documents().values() {
        for (line, code) in document.code() {
            for word in code.split([' ', '=', '\'', '"', ',', ';', '|', '(', ')', '<', '>', '[', ']']) {
                let word = word.trim_start_matches("./").trim_end_matches([':', '.']);
                if !FOLDERS.iter().any(|folder| word.starts_with(folder)) || word.contains(['$', '{', '…']) {
                    continue;
                }
                // Of a pattern, what stands before it.
                let certain = word.split_inclusive('/').take_while(|part| !part.contains('*')).collect::<String>();
                if !root().join(&certain).exists() {
                    wrong.push(document.says(line, word, "this repository has no such file"));
                }
            }
        }
    }
    none(&wrong);
}

fn named_in(page: &str) -> BTreeSet<String> {
    let name = Regex::new(r"`(lvm_[a-z_]+)`").expect("an expression");
    name.captures_iter(page).map(|found| found[1].to_owned()).collect()
}

/// The metrics of the daemon and of a relay.
pub(crate) fn metrics() -> BTreeSet<String> {
    let reference = text("docs/metrics.md");
    let (ours, _) = reference.split_once("## Coming from").expect("a table of other names");
    let mut known = named_in(ours);
    // A relay shows its own on a page of its own; counters with `_total` behind their name.
    let relay = Regex::new(r#"register\("([a-z_]+)""#).expect("an expression");
    for found in relay.captures_iter(&text("src/relay/metrics.rs")) {
        known.extend(["", "_total"].map(|end| format!("lvm_autoscaler_relay_{}{end}", &found[1])));
    }
    known
}

#[test]
fn metrics_and_alerts_exist() {
    let of_others = named_in(&text("docs/metrics.md"));
    let mut known = metrics();
    let rules = ["people", "recording", "triggers", "triggers-node-exporter"]
        .map(|file| text(&format!("alerts/{file}.yml")))
        .concat();
    let rule = Regex::new(r"(?:alert|record): (\S+)").expect("an expression");
    known.extend(rule.captures_iter(&rules).map(|found| found[1].to_owned()));
    known.extend(NO_METRICS.iter().map(|&name| name.to_owned()));
    assert!(known.len() > 100, "docs/metrics.md and alerts/ are not what this test takes them for: {known:?}");

    let named = Regex::new(r"\blvm_[a-z_:*]*(?:\{[a-z_]+(?:,[a-z_]+)+\}[a-z_]*)?|\bLvm[A-Z][A-Za-z0-9]+")
        .expect("an expression");
    let mut wrong = Vec::new();
    for document in documents().values() {
        for line in &document.lines {
            for found in named.find_iter(&line.text).map(|found| found.as_str().trim_end_matches(':')).flat_map(each) {
                let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| found.strip_suffix(end));
                let bare = bare.filter(|name| name.ends_with("_duration_seconds"));
                let is_known = |name: &str| {
                    known.contains(name) || ABOUT_OTHERS.contains(&document.name.as_str()) && of_others.contains(name)
                };
                let family = found.trim_end_matches('*');
                let is_family = family.ends_with('_') && known.iter().any(|known| known.starts_with(family));
                if !is_known(&found) && !bare.is_some_and(is_known) && !is_family {
                    wrong.push(document.says(
                        line,
                        &found,
                        "no such metric in docs/metrics.md, no such rule in alerts/",
                    ));
                }
            }
        }
    }
    none(&wrong);
}

/// A recipe that says "`WORD` in `PATH`" names what is there.
#[test]
fn what_a_recipe_names_is_in_the_file_that_it_names() {
    let pair = Regex::new(r"`([^`]+)` in `([a-z_./-]+\.[a-z]+)`").expect("an expression");
    let (recipes, mut wrong, mut found) = (text("CONTRIBUTING.md"), Vec::new(), 0);
    for pair in pair.captures_iter(&recipes) {
        found += 1;
        let file = std::fs::read_to_string(root().join(&pair[2])).unwrap_or_default();
        if !file.contains(&pair[1]) {
            wrong.push(format!("CONTRIBUTING.md: {} is not in {}", &pair[1], &pair[2]));
        }
    }
    none(&wrong);
    assert!(found >= 20, "only {found} were found");
}

/// `cargo test --test NAME FILTER` runs something.
#[test]
fn tests_that_are_named_exist() {
    let mut wrong = Vec::new();
    for document in documents().values() {
        for (line, code) in document.code() {
            let words: Vec<&str> = code.split_whitespace().collect();
            let tests = words.windows(2).any(|pair| pair == ["cargo", "test"]);
            for name in words.windows(2).filter(|pair| tests && pair[0] == "--test").map(|pair| pair[1]) {
                let exists = |path: String| root().join(path).exists();
                if !exists(format!("tests/{name}.rs")) && !exists(format!("tests/{name}/main.rs")) {
                    wrong.push(document.says(line, name, "there is no such test"));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_index_of_documents_names_every_page() {
    let index = text("docs/README.md");
    let pages = documents().into_values().map(|document| document.name);
    let pages: Vec<String> = pages.filter_map(|name| Some(name.strip_prefix("docs/")?.to_owned())).collect();
    let is_named = |page: &String| index.contains(&format!("]({page})")) || page.starts_with("runbooks/");
    let missing: Vec<_> = pages.iter().filter(|page| *page != "README.md" && !is_named(page)).collect();
    assert!(pages.len() > 20 && missing.is_empty(), "docs/README.md does not name {missing:?}");
}

/// A block is one of ours by any key at its top that the config has, so that a wrong key beside it is noticed.
#[test]
fn configs_in_documents_load() {
    let full: serde_yaml::Value = serde_yaml::from_str(&text("configs/full.yaml")).expect("YAML");
    let ours: BTreeSet<&str> = full.as_mapping().expect("a mapping").keys().filter_map(|key| key.as_str()).collect();
    let (mut wrong, mut loaded) = (Vec::new(), 0);
    for document in documents().values() {
        for (line, block) in document.blocks("yaml") {
            let block = match serde_yaml::from_str::<serde_yaml::Value>(&block) {
                Err(error) => {
                    wrong.push(document.says(line, "yaml", &format!("this block is no YAML: {error}")));
                    continue;
                }
                Ok(serde_yaml::Value::Mapping(keys))
                    if keys.keys().any(|key| key.as_str().is_some_and(|key| ours.contains(key))) =>
                {
                    block
                }
                Ok(_) if block.starts_with("- lv_path:") || block.starts_with("- thin_pool:") => {
                    format!("monitor:\n  targets:\n    {}", block.replace('\n', "\n    "))
                }
                Ok(_) => continue,
            };
            loaded += 1;
            if let Err(error) = config::parse(&block, Path::new("this block")) {
                wrong.push(document.says(line, "yaml", &error.to_string()));
            }
        }
    }
    none(&wrong);
    assert!(loaded >= 3, "only {loaded} configs were found");
}

/// The slugs of GitHub, which gives a heading that comes again a number.
#[test]
fn headings_get_the_anchors_of_github() {
    let document = Document::read(
        "x.md",
        "# Of `what` & [why](y.md)\n## Of what  why\n```\n# no\n```\n## Größe_1: \"a-b\"!\n<a id=\"Here\"></a>",
    );
    let anchors = ["Here", "größe_1-a-b", "of-what--why", "of-what--why-1"];
    assert_eq!(document.anchors.iter().map(String::as_str).collect::<Vec<_>>(), anchors);
}

struct Document {
    name: String,
    lines: Vec<Line>,
    anchors: BTreeSet<String>,
}

struct Line {
    number: usize,
    text: String,
    /// The language of the fenced block that it stands in, which may be empty.
    fence: Option<String>,
}

impl Document {
    fn read(name: &str, text: &str) -> Document {
        let mut fence: Option<String> = None;
        let mut lines: Vec<Line> = Vec::new();
        for (index, text) in text.lines().enumerate() {
            if let Some(info) = text.trim_start().strip_prefix("```") {
                fence = if fence.is_some() { None } else { Some(info.trim().to_owned()) };
                continue;
            }
            lines.push(Line { number: index + 1, text: text.to_owned(), fence: fence.clone() });
        }
        let mut document = Document { name: name.to_owned(), lines, anchors: BTreeSet::new() };
        document.find_anchors();
        document
    }

    fn find_anchors(&mut self) {
        let link = Regex::new(r"!?\[([^\]]*)\]\([^)]*\)").expect("an expression");
        let anchor = Regex::new(r#"<a (?:id|name)="([^"]+)""#).expect("an expression");
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.fence.is_none()) {
            self.anchors.extend(anchor.captures_iter(&line.text).map(|found| found[1].to_owned()));
            let title = line.text.trim_start_matches('#');
            let level = line.text.len() - title.len();
            if level == 0 || level > 6 || !title.starts_with(' ') {
                continue;
            }
            let kept = link.replace_all(title.trim(), "$1").to_lowercase();
            let slug = kept
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect::<String>();
            let before = times.entry(slug.clone()).or_default();
            self.anchors.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
            *before += 1;
        }
    }

    /// Lines of shell and console blocks, continued ones whole and without comments, and what stands in backticks.
    fn code(&self) -> Vec<(&Line, String)> {
        let inline = Regex::new("`([^`]+)`").expect("an expression");
        let mut found: Vec<(&Line, String)> = Vec::new();
        let mut goes_on = false;
        for line in &self.lines {
            let text = line.text.trim();
            match line.fence.as_deref() {
                Some("sh" | "bash" | "shell") => {
                    let code = text.split(" #").next().unwrap_or_default();
                    if code.starts_with('#') {
                        continue;
                    }
                    match found.last_mut() {
                        Some((_, before)) if goes_on => before.push_str(&format!(" {}", code.trim_end_matches('\\'))),
                        _ => found.push((line, code.trim_end_matches('\\').to_owned())),
                    }
                    goes_on = code.ends_with('\\');
                }
                Some("console") => found.extend(text.strip_prefix(['$', '#']).map(|code| (line, code.to_owned()))),
                Some(_) => {}
                None => found.extend(inline.captures_iter(text).map(|code| (line, code[1].to_owned()))),
            }
        }
        found
    }

    fn blocks(&self, language: &str) -> Vec<(&Line, String)> {
        let mut found: Vec<(&Line, String)> = Vec::new();
        let mut last = 0;
        for line in self.lines.iter().filter(|line| line.fence.as_deref() == Some(language)) {
            match found.last_mut() {
                Some((_, block)) if last + 1 == line.number => block.push_str(&format!("{}\n", line.text)),
                _ => found.push((line, format!("{}\n", line.text))),
            }
            last = line.number;
        }
        found
    }

    fn says(&self, line: &Line, what: &str, no: &str) -> String {
        format!("{}:{}: {what}: {no}", self.name, line.number)
    }
}

/// All that people read: at the top, under docs/ and beside the tests.
fn documents() -> BTreeMap<PathBuf, Document> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = ["", "docs", "tests", "packaging"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let inside = path.strip_prefix(root()).expect("inside").display().to_string();
            if path.is_dir() && folder != root() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if inside.ends_with(".md") {
                found.insert(path, Document::read(&inside, &text(&inside)));
            }
        }
    }
    assert!(found.len() > 30, "only {} documents were found", found.len());
    found
}

fn broken(from: &Document, target: &str, documents: &BTreeMap<PathBuf, Document>) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    if target.starts_with('/') {
        return Some("begins with a slash; expected a path from this document on".to_owned());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let mut file = root().join(&from.name);
    if !path.is_empty() {
        file.pop();
        for part in path.split('/') {
            match part {
                ".." => drop(file.pop()),
                "." | "" => {}
                part => file.push(part),
            }
        }
    }
    if !file.starts_with(root()) {
        return Some("leads out of the repository".to_owned());
    }
    if !file.exists() {
        return Some("there is no such file".to_owned());
    }
    let (Some(anchor), Some(document)) = (anchor, documents.get(&file)) else { return None };
    let anchors = document.anchors.iter().cloned().collect::<Vec<_>>().join(" ");
    (!document.anchors.contains(anchor)).then(|| format!("{} has no such heading; it has: {anchors}", document.name))
}

/// Each command in a line of shell as its words, without what stands before it (`sudo`, variables).
fn commands(code: &str) -> impl Iterator<Item = Vec<String>> {
    let code = code.replace("$(", ";");
    let split: Vec<Vec<String>> = code
        .split([';', '|', '&', '(', ')'])
        .map(|command| {
            let words = command.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned());
            let before = |word: &String| word == "sudo" || word == "exec" || word == "$" || is_variable(word);
            words.skip_while(before).take_while(|word| !word.starts_with(['>', '<', '#'])).collect()
        })
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect();
    split.into_iter()
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// The arguments, if it is our program that is called.
fn called(words: &[String]) -> Option<&[String]> {
    if words[0].rsplit('/').next() == Some("lvm-autoscaler") {
        return Some(&words[1..]);
    }
    let ours = words.iter().position(|word| word == "--")?;
    (words[0] == "cargo" && words[1] == "run").then(|| &words[ours + 1..])
}

fn misused(program: &clap::Command, arguments: &[String]) -> Option<String> {
    let name = arguments.first()?;
    if name.starts_with('-') {
        return (!["--help", "--version"].contains(&name.as_str())).then(|| "is no command".to_owned());
    }
    // `lvm-autoscaler COMMAND`
    if name.chars().all(|c| c.is_ascii_uppercase() || c == '.') {
        return None;
    }
    let Some(command) = program.find_subcommand(name) else {
        let known: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
        return Some(format!("there is no command {name:?}; there are {}", known.join(", ")));
    };
    let known = flags(program, command);
    let unknown = arguments.iter().map(|word| word.trim_matches(['[', ']'])).find(|word| {
        word.starts_with("--") && word.len() > 2 && !known.contains(word.split('=').next().unwrap_or_default())
    });
    if let Some(flag) = unknown {
        return Some(format!("{name} has no {flag}; it has {}", known.into_iter().collect::<Vec<_>>().join(" ")));
    }
    // Placeholders are no values, and a command may be named without its target; too many words are wrong anywhere.
    let words = std::iter::once("lvm-autoscaler".to_owned()).chain(arguments.iter().cloned());
    match program.clone().try_get_matches_from(words) {
        Err(error) if error.kind() == clap::error::ErrorKind::UnknownArgument => {
            (!arguments.iter().any(|word| word.starts_with('['))).then(|| error.to_string())
        }
        _ => None,
    }
}

/// All long flags of a command, with their dashes.
fn flags(program: &clap::Command, command: &clap::Command) -> BTreeSet<String> {
    let global = program.get_arguments().filter(|argument| argument.is_global_set());
    let names = command.get_arguments().chain(global).filter_map(clap::Arg::get_long);
    names.chain(["help"]).map(|name| format!("--{name}")).collect()
}

/// `lvm_{vg,lv}_info` names two; in `lvm_lv_info{vg,lv}` stand labels.
fn each(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (middle, after))) if before.ends_with('_') => {
            middle.split(',').map(|part| format!("{before}{part}{after}")).collect()
        }
        Some((before, _)) => vec![before.to_owned()],
        None => vec![name.to_owned()],
    }
}

fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}\n", wrong.len(), wrong.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect(name)
}
