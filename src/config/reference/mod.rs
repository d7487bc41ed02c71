//! `docs/configuration.md`, written from the table of keys.

mod keys;

pub use keys::{Key, Preset, Section, sections};

/// The whole page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for Section { title, text, prefix, keys } in sections() {
        page.push_str(&format!("\n## {title}\n"));
        if !text.is_empty() {
            page.push_str(&format!("\n{text}\n"));
        }
        page.push_str("\n| key | values | default | example | meaning |\n|---|---|---|---|---|\n");
        for Key { path, values, default, example, doc } in keys {
            let default = match default {
                Preset::Required => "required".to_owned(),
                Preset::Is(value) => code(value),
                Preset::Means(words) => words.to_owned(),
            };
            let (name, example) = (path.strip_prefix(prefix).unwrap_or(&path), code(&example));
            page.push_str(&format!("| `{name}` | {values} | {default} | {example} | {doc} |\n"));
        }
    }
    page
}

/// A pipe would end the cell of the table, also within code.
fn code(yaml: &str) -> String {
    format!("`{}`", yaml.replace('|', "\\|"))
}

const INTRODUCTION: &str = r"# Configuration

<!-- Written from src/config/reference by `UPDATE_DOCS=1 cargo test --test shipped docs::`; edit that. -->

The daemon reads `/etc/lvm-autoscaler/config.yaml`, or the file that `--config.file` names.
`lvm-autoscaler init` writes one for the host that it runs on; or start from [configs/config.yaml](../configs/config.yaml).
[configs/full.yaml](../configs/full.yaml) shows all keys together; a test checks that it has every key of this page, and that the examples and defaults
here are accepted.
Without a config file, or without targets and policies, the daemon is an exporter and nothing can grow.

- **Check it** with `lvm-autoscaler check-config FILE`, which prints errors as `file:line:column: path: what is wrong, what was expected`: all of
  them in one run, with a suggestion where a name is nearly right. `-` reads standard input. With
  `--web.config.file=FILE` it also checks the web config and its certificates. Unknown and duplicate keys are errors, so that a misspelt limit is
  noticed, and so are values that are possible but not plausible (`threshold_percent: 0.8`). With
  `--live` it also compares the config with this host. The file may have at most 256 KiB.
- **Several files.** After `config.yaml` the daemon reads `config.d/*.yaml` beside it, in the order of their names (after `X.yaml`, `X.d/*.yaml`). Lists, such
  as `monitor.targets`, are appended, mappings are joined, and any other value may be set in one file only.
- **Repetition.** Anchors, aliases and `<<` work as in other YAML. A key that begins with `x-` is yours: the program ignores it and what is below it.
- **Reload it** with `systemctl reload lvm-autoscaler`, SIGHUP or `lvm-autoscaler reload`. If the file has an error, the previous config stays in force. A
  running operation keeps the config with which it began. `state.directory`, `inventory.timeout`, `tools` and the arguments of `serve` need a
  restart: a reload that would change them fails as a whole.
- **Owner.** Only root may be able to change the file, and the secrets and programs that it names
  ([security](security.md#files-that-are-read)).
- **Sizes** are `512MiB`, `2GiB`, `1TiB`. `2G` and `2GB` are refused, because LVM, other tools and people read them differently.
- **Durations** are `30s`, `10m`, `24h`, `7d`. **Percentages** are `10%`; keys whose name ends in `_percent` take a number.
- **`off` and `on`** may be written with or without quotes. With them, tools that read them as booleans read the same.
- **Secrets** are in files of their own, never in the config. The daemon reads them again when they change.
";
