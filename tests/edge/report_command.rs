//! `report` as a person calls it: alone and through the daemon, to standard output and into files.

use std::path::Path;

use crate::common::place::{Place, err, out};
use crate::common::{CONFIG, HOST, eventually};
use serde_json::Value;

fn say(place: &Place, arguments: &[&str]) -> (Option<i32>, String, String) {
    let (config, host) = (place.config(), place.host());
    let output = place.run(&[arguments, &[&config, &host]].concat());
    (output.status.code(), out(&output), err(&output))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn alone_it_looks_for_itself_and_reads_the_journal() {
    let place = Place::new(CONFIG);
    assert_eq!(say(&place, &["extend", "/data"]).0, Some(0));
    let (code, markdown, told) = say(&place, &["report"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{markdown}");
    assert!(
        markdown.starts_with("# Storage report: ") && markdown.contains("| vg/data | grown | vg/data grew from"),
        "{markdown}"
    );
    assert!(markdown.contains("There is no earlier report"), "{markdown}");
    let (code, json, _) = say(&place, &["report", "--format=json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, json["summary"]["grown"].as_u64()), (Some(0), Some(1)));
    // Asking leaves nothing behind: only the daemon keeps reports.
    assert!(!place.path("state/reports").exists());
}

#[test]
fn it_goes_whole_into_a_file_or_through_a_link_or_to_what_is_no_file() {
    let place = Place::new(CONFIG);
    let file = place.path("report.html");
    let output = format!("--output={}", file.display());
    let (code, printed, told) = say(&place, &["report", "--format=html", &output]);
    assert_eq!((code, printed.as_str(), told.as_str()), (Some(0), "", ""));
    assert!(std::fs::read_to_string(&file).expect("it is there").ends_with("</html>\n"));
    std::os::unix::fs::symlink(&file, place.path("link")).expect("a link");
    let link = format!("--output={}", place.path("link").display());
    assert_eq!(say(&place, &["report", &link]).0, Some(0));
    assert!(place.path("link").is_symlink() && std::fs::read_to_string(&file).expect("it is there").starts_with("# "));
    let (code, printed, _) = say(&place, &["report", "--output=/dev/stdout"]);
    assert!(code == Some(0) && printed.starts_with("# Storage report"), "{printed}");
    assert!(!names(&place.path("")).iter().any(|name| name.contains("unfinished")));

    let (code, _, told) = say(&place, &["report", "--output=/nowhere/at/all.html"]);
    assert!(code == Some(1) && told.contains("/nowhere/at/all.html cannot be written: No such file"), "{told}");
    for wrong in ["--since=yesterday", "--format=pdf"] {
        let (code, _, told) = say(&place, &["report", wrong]);
        assert!(code == Some(2) && told.contains("expected"), "{told}");
    }
}

/// Days pass in seconds: the daemon keeps its reports, and the command is given the one it would keep now.
#[test]
fn the_daemon_keeps_reports_and_is_asked_for_one() {
    let place =
        Place::new(&format!("{CONFIG}\nreport: {{ interval: 24h, formats: [html, markdown, json], keep: 2 }}\n"));
    place.write("host.yaml", &format!("speed: 43200\n{HOST}"));
    let served = place.serve(&[]);
    let reports = place.path("state/reports");
    let number = |name: &String| name.split('-').nth(1).and_then(|number| number.parse::<u32>().ok());
    eventually("a third report", || {
        names(&place.path("state/simulated/reports")).iter().filter_map(number).max() >= Some(3)
    });
    assert!(!reports.exists(), "what is simulated is kept apart");
    let (code, markdown, told) = say(&place, &["report"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert!(markdown.contains(" Compared with ") && markdown.contains("| not filling |"), "{markdown}");
    let (code, html, _) = say(&place, &["report", "--format=html", "--since=2d"]);
    assert!(code == Some(0) && html.starts_with("<!doctype html>") && html.ends_with("</html>\n"), "{html}");
    let kept = names(&place.path("state/simulated/reports"));
    assert!(kept.iter().filter(|name| name.ends_with(".snapshot")).count() <= 3, "{kept:?}");
    let (code, _, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("a report was written"), "{log}");
}
