//! Every key of the config file, once: what it may be, what it is when it is left out, an example, and what it means.

use std::borrow::Cow;

use crate::command::Tool;

/// A key of the config file. Its texts are Markdown, but for the example and a default that is a value: those are YAML.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it stands: `monitor.targets[].budget.per`.
    pub path: Cow<'static, str>,
    /// What it may be.
    pub values: &'static str,
    /// What holds when it is left out.
    pub default: Preset,
    /// A value that is accepted.
    pub example: Cow<'static, str>,
    /// What it means.
    pub doc: Cow<'static, str>,
}

/// What holds when a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Nothing: it must be given.
    Required,
    /// The same as with this value.
    Is(&'static str),
    /// What no value says, in words.
    Means(&'static str),
}

/// Keys that are described together.
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// What is said before the table.
    pub text: &'static str,
    /// What is left out of the paths in its table.
    pub prefix: &'static str,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// All of them, in the order of the document.
pub fn sections() -> Vec<Section> {
    let section = |title, text, prefix, keys: &[Key]| Section { title, text, prefix, keys: keys.to_vec() };
    vec![
        section("monitor", "", "", MONITOR),
        section("A target: a file system", FILE_SYSTEM_TEXT, "monitor.targets[].", FILE_SYSTEM),
        section("A target: a thin pool", POOL_TEXT, "monitor.targets[].", POOL),
        section("policies", POLICIES_TEXT, "policies[].", POLICIES),
        section("defaults and volume_groups", "", "", GROUPS),
        section("webhook", WEBHOOK_TEXT, "", WEBHOOK),
        section("notify", NOTIFY_TEXT, "notify[].", NOTIFY),
        section("report and audit", "", "", REPORT),
        Section { title: "The host", text: "", prefix: "", keys: HOST.iter().cloned().chain(tools()).collect() },
    ]
}

/// A row of the table of programs is a key.
fn tools() -> impl Iterator<Item = Key> {
    Tool::ALL.iter().map(|tool| Key {
        path: format!("tools.{}", tool.as_str()).into(),
        values: "an absolute path",
        default: Preset::Means("found in `/usr/sbin`, `/sbin`, `/usr/bin`, `/bin`, `/usr/local/sbin`"),
        example: format!("/usr/sbin/{}", tool.as_str()).into(),
        doc: format!("the program, of the package {}; without it {}", tool.package(), tool.disables()).into(),
    })
}

const FILE_SYSTEM_TEXT: &str = "All keys except `lv_path`, `mount_point` and `thin_pool` can also be set in `defaults`, for all targets that do not \
     set them.";
const POLICIES_TEXT: &str = "A policy applies to all volumes that it selects, on any host. All that is given in `match` must match; the first policy \
     that matches decides, an entry of `monitor.targets` comes before all policies, and what nothing matches cannot grow. All other keys \
     of a target except `offline` can be set too, and one of `max_size` and `budget.bytes` must be, unless `mode` is `off`. See [fleets.md](fleets.md#one-config-for-all-hosts).";
const POOL_TEXT: &str =
    "`increment` and the other bounds, `cooldown`, `budget`, `breaker_failures`, `window` and `mode` are as above.";
const WEBHOOK_TEXT: &str = "Credentials for the webhook, the names of this host, and the names of the labels. See [security.md](security.md) and \
     [fleets.md](fleets.md).";
const NOTIFY_TEXT: &str = "`notify` is a list; [notifications.md](notifications.md) has templates and the JSON. Each entry is one `webhook` or \
     one `email`.";

/// A row: path, values, default, example, meaning.
macro_rules! keys {
    ($($name:ident { $($path:literal $values:literal $kind:ident $(($default:literal))? $example:literal $doc:literal;)+ })+) => {
        $(const $name: &[Key] = &[$(Key {
            path: Cow::Borrowed($path),
            values: $values,
            default: Preset::$kind $(($default))?,
            example: Cow::Borrowed($example),
            doc: Cow::Borrowed($doc),
        }),+];)+
    };
}

keys! {
    MONITOR {
        "monitor" "a mapping" Means("as its keys") "{ interval_seconds: 60 }"
            "what the daemon looks at";
        "monitor.interval_seconds" "a whole number, 1 to 86400" Means("alerts only") "60"
            "the daemon also looks at all targets this often, without any alert";
        "monitor.targets" "a list" Means("none") "[{ lv_path: /dev/storage_vg/data_lv, mount_point: /data }]"
            "the volumes and thin pools that may grow, see below; nothing else can, except what `policies` select";
    }

    FILE_SYSTEM {
        "monitor.targets[].lv_path" "`/dev/VG/LV`" Required "/dev/storage_vg/data_lv"
            "the logical volume";
        "monitor.targets[].mount_point" "an absolute path" Required "/data"
            "where its file system is mounted; the daemon compares it with the mount table before each step";
        "monitor.targets[].threshold_percent" "a percentage from 1 to below 100" Is("80") "85"
            "grow above this usage as `df` counts it: used / (used + available)";
        "monitor.targets[].inode_threshold_percent" "a percentage from 1 to below 100" Is("90") "95"
            "ext4 only: grow also above this usage of inodes";
        "monitor.targets[].increment" "a size or a percentage" Is("10%") "20GiB"
            "the size of a step: a size, or a share of the volume. The volume grows by as many steps as bring usage below the threshold";
        "monitor.targets[].increment_gb" "a number above 0" Means("as `increment`") "2"
            "the same as `increment: NGiB`; set only one of the two";
        "monitor.targets[].min_increment" "a size" Means("1GiB, or `max_increment` if that is smaller") "1GiB"
            "the smallest step if `increment` is a share";
        "monitor.targets[].max_increment" "a size" Means("100GiB, or `min_increment` if that is larger") "100GiB"
            "the largest step if `increment` is a share";
        "monitor.targets[].max_size" "a size" Means("no limit but the volume group's") "500GiB"
            "the volume never gets larger than this";
        "monitor.targets[].cooldown" "a duration" Is("10m") "30m"
            "the pause between two operations on the same volume";
        "monitor.targets[].budget" "a mapping" Means("as its keys") "{ extensions: 6, bytes: 200GiB, per: 24h }"
            "the most that the target may grow in any period of that length; counted from the journal";
        "monitor.targets[].budget.extensions" "a whole number, 1 to 100" Is("6") "4"
            "the number of extensions";
        "monitor.targets[].budget.bytes" "a size" Means("200GiB, or one `increment` if that is larger") "500GiB"
            "the sum of their sizes";
        "monitor.targets[].budget.per" "a duration, 1s to 31days" Is("24h") "12h"
            "the length of the period";
        "monitor.targets[].breaker_failures" "a whole number, 1 to 100" Is("3") "5"
            "the number of failures in a row after which the target is blocked until `lvm-autoscaler reset`";
        "monitor.targets[].window" "a mapping" Means("always") "{ from: \"20:00\", to: \"06:00\" }"
            "the times at which it may grow, in local time";
        "monitor.targets[].window.days" "some of `mon` `tue` `wed` `thu` `fri` `sat` `sun`" Means("every day") "[mon, tue, wed, thu, fri]"
            "the days on which the window opens";
        "monitor.targets[].window.from" "`\"HH:MM\"`, in quotes" Required "\"08:00\""
            "when it opens";
        "monitor.targets[].window.to" "`\"HH:MM\"`, in quotes" Required "\"20:00\""
            "when it closes; over midnight if that is before `from`";
        "monitor.targets[].mode" "`act`, `recommend` or `off`" Is("act") "recommend"
            "`recommend`: decide, record and count, but change nothing; `off`: refuse";
        "monitor.targets[].offline" "`refuse` or `allow`" Is("refuse") "allow"
            "for an ext4 that is mounted nowhere: `refuse`, or `allow`: check it with `e2fsck -f -p` and grow it";
        "monitor.targets[].filesystem_check" "`auto`, `always` or `never`" Is("auto") "always"
            "whether `e2fsck` runs before such a growth; a mounted file system is never checked";
        "monitor.targets[].allow_large_xfs_growth" "`true` or `false`" Is("false") "true"
            "let an XFS grow beyond 4,000 allocation groups, which makes it slow";
        "monitor.targets[].luks_key_file" "an absolute path" Means("none") "/etc/lvm-autoscaler/data.key"
            "a key file that opens the LUKS volume below the file system; needed if `cryptsetup status` shows `key location: keyring`, as it does for LUKS2. Only root may be able to read it, and it must not be on the file system of a target";
        "monitor.targets[].max_overprovision" "a number, 1 to 1000" Is("1") "1.5"
            "for a volume in a thin pool: the virtual sizes of all its volumes, as a multiple of the pool's data";
        "monitor.targets[].min_pool_free_data" "a percentage, 0% to 99%" Is("20%") "10%"
            "refuse when less of the pool's data is free";
        "monitor.targets[].min_pool_free_metadata" "a percentage, 0% to 99%" Is("20%") "10%"
            "refuse when less of its metadata is free";
    }

    POOL {
        "monitor.targets[].thin_pool" "`VG/POOL`" Required "storage_vg/pool0"
            "the pool; instead of `lv_path` and `mount_point`";
        "monitor.targets[].data_threshold_percent" "a percentage from 1 to below 100" Is("80") "70"
            "grow its data above this";
        "monitor.targets[].metadata_threshold_percent" "a percentage from 1 to below 100" Is("80") "70"
            "grow its metadata above this";
    }

    POLICIES {
        "policies" "a list" Means("none") "[{ name: data, match: { vg: data }, max_size: 500GiB }]"
            "rules that make targets of the volumes that they match, in this order";
        "policies[].name" "a name of letters, digits, `+`, `-`, `_` and `.`" Required "databases"
            "its name in logs, on pages and in `targets`";
        "policies[].match" "a mapping" Required "{ vg: 'data*', lv: 'pg_*' }"
            "what it selects. Snapshots, hidden volumes, swap, exported groups and those of other hosts are never selected";
        "policies[].match.vg" "a name or a pattern" Required "data"
            "the volume groups: `*` is any text, `?` one character, `[ab]` one of these, `{a,b}` either";
        "policies[].match.lv" "a name or a pattern" Means("any") "pg_*"
            "the logical volumes";
        "policies[].match.mount_point" "a path or a pattern" Means("any") "/srv/**"
            "where they are mounted: `*` is one part of a path, and `/srv/**` is `/srv` and all below it. It also says which place counts for a \
             file system that is mounted in several with different options; without it such a file system is not selected";
        "policies[].match.fs" "some of `ext2` `ext3` `ext4` `xfs` `btrfs`" Means("all of these") "[ext4, xfs]"
            "their file systems";
        "policies[].match.tag" "a tag of LVM" Means("none") "autoscale"
            "only volumes with this tag. `vg` must then name groups and cannot be `*`, because a disk that is attached brings its tags along";
        "policies[].match.thin_pool" "a name or a pattern" Means("none") "pool*"
            "selects thin pools instead of file systems; without `lv`, `mount_point` and `fs`";
    }

    GROUPS {
        "defaults" "a mapping" Means("none") "{ cooldown: 30m, mode: recommend }"
            "keys of a target, for all targets that do not set them; and `reserve`";
        "defaults.reserve" "a size, a percentage or 0" Is("0") "10%"
            "space that the daemon leaves free in each group for which `volume_groups` has no `reserve`";
        "volume_groups" "a list" Means("none") "[{ name: storage_vg, reserve: 10% }]"
            "groups with limits of their own";
        "volume_groups[].name" "a name or a pattern" Required "storage_vg"
            "the volume group, or a pattern for several: `*` is any text, `?` one character, `[ab]` one of these. An entry with the \
             group's own name takes precedence over patterns, and the first pattern that matches over later ones. Each group has the budget for itself";
        "volume_groups[].reserve" "a size, a percentage or 0" Means("`defaults.reserve`") "10%"
            "space that the daemon leaves free: a size, or a share of the group";
        "volume_groups[].budget" "a mapping" Means("none") "{ extensions: 12, per: 24h }"
            "a budget for all targets of the group together, in addition to their own";
        "volume_groups[].budget.extensions" "a whole number, 1 to 100" Is("100") "12"
            "the number of extensions";
        "volume_groups[].budget.bytes" "a size" Means("no limit") "1TiB"
            "the sum of their sizes";
        "volume_groups[].budget.per" "a duration, 1s to 31days" Is("24h") "7d"
            "the length of the period";
        "volume_groups[].grown_disks" "`off`, `recommend` or `resize`" Is("off") "resize"
            "what is done with a disk that became larger than its PV, when a growth needs the room: nothing, recommend it, or \
             `pvresize`";
        "volume_groups[].partitions" "`off` or `growpart`" Is("off") "growpart"
            "whether the partition that such a PV is in grows first";
        "volume_groups[].rescan" "`off` or `on`" Is("off") "on"
            "whether SCSI disks are asked for their size before a growth is refused for lack of space";
        "volume_groups[].spares" "a list of UUIDs" Is("[]") "[9lkjCV-1rfo-wzCF-Bdo5-2zHR-0Sn7-fWeJpf]"
            "PVs of no group, made by a person with `pvcreate`, that may be added to this group with `vgextend`, in this order";
    }

    WEBHOOK {
        "webhook" "a mapping" Means("as its keys") "{ queue: 100 }"
            "how alerts are read, and from whom";
        "webhook.instances" "a list of names" Means("host name, full name, addresses") "[db1.example.com, 192.0.2.7]"
            "the names of this host in the label `instance`; ports are ignored";
        "webhook.labels" "a mapping" Means("as its keys") "{ mountpoint: path }"
            "other names of the labels that name host and volume";
        "webhook.labels.instance" "the name of a label" Is("instance") "host"
            "the label with the host's name";
        "webhook.labels.vg" "the name of a label" Is("vg") "vg_name"
            "the label with the volume group";
        "webhook.labels.lv" "the name of a label" Is("lv") "lv_name"
            "the label with the logical volume";
        "webhook.labels.lv_path" "the name of a label" Is("lv_path") "path"
            "the label with the volume's path";
        "webhook.labels.device" "the name of a label" Is("device") "dev"
            "the label with the volume's device";
        "webhook.labels.mountpoint" "the name of a label" Is("mountpoint") "mount"
            "the label with the mount point";
        "webhook.mount_point_prefixes" "a list of absolute paths" Is("[]") "[/rootfs]"
            "folders in which a node_exporter in a container sees the host's root: with `[/rootfs]` the mount point `/rootfs/data` of an alert is `/data`, `/rootfs` alone is `/`. A prefix is taken away only if no other volume can be meant. `/rootfs`, `/host`, `/host/root` and `/hostfs` need not be listed if `device` or another label of the alert names the same volume";
        "webhook.match" "a list of matchers" Is("[]") "['severity=~\"warning|critical\"']"
            "only alerts that match all of these, as in Alertmanager's `matchers`";
        "webhook.queue" "a whole number, 1 to 10000" Is("1000") "200"
            "the number of requests that may wait; beyond it the answer is 503, and the sender retries";
        "webhook.authorization" "a mapping" Means("none") "{ credentials_file: /etc/lvm-autoscaler/webhook.token }"
            "a token in the header `Authorization`";
        "webhook.authorization.type" "the name of a scheme" Is("Bearer") "Token"
            "the scheme of the header";
        "webhook.authorization.credentials_file" "an absolute path" Required "/etc/lvm-autoscaler/webhook.token"
            "the file with the token, on one line";
        "webhook.basic_auth" "a mapping" Means("none") "{ username: alertmanager, password_file: /etc/lvm-autoscaler/webhook.password }"
            "a user and a password, instead of `authorization`";
        "webhook.basic_auth.username" "a name without a colon" Required "alertmanager"
            "the user";
        "webhook.basic_auth.password_file" "an absolute path" Required "/etc/lvm-autoscaler/webhook.password"
            "the file with the password, on one line";
        "webhook.client_certificate" "a mapping" Means("none") "{ allowed_sans: [alertmanager.example.com] }"
            "what the client's certificate must have; needs TLS";
        "webhook.client_certificate.allowed_sans" "a list of names" Required "[alertmanager.example.com]"
            "one of these must be in the client's certificate";
        "webhook.grafana_hmac_secret_file" "an absolute path" Means("none") "/etc/lvm-autoscaler/grafana.key"
            "the key with which Grafana signs its requests to `/webhook/grafana`";
        "webhook.grafana_hmac_timestamp_header" "the name of a header" Means("none") "X-Grafana-Alerting-Signature-Timestamp"
            "the header with the timestamp, which is then part of the signature";
    }

    NOTIFY {
        "notify" "a list" Means("none") "[{ webhook: { url: https://hooks.example.com/lvm } }]"
            "the receivers";
        "notify[].webhook" "a mapping" Means("none") "{ url: https://hooks.example.com/lvm }"
            "a receiver that is sent a POST";
        "notify[].webhook.url" "`http://` or `https://`" Means("required without `url_file`") "https://hooks.example.com/lvm"
            "its URL";
        "notify[].webhook.url_file" "an absolute path" Means("required without `url`") "/etc/lvm-autoscaler/slack.url"
            "the file with its URL, if that is a secret";
        "notify[].webhook.on" "some of `planned` `grown` `refused` `supply_needed` `failed` `needs_attention` `overdue`" Is("[grown, failed, needs_attention, overdue]") "[failed, needs_attention]"
            "the events to send";
        "notify[].webhook.format" "`json` or `slack`" Is("json") "json"
            "what the body looks like";
        "notify[].webhook.authorization" "a mapping" Means("none") "{ credentials_file: /etc/lvm-autoscaler/hooks.token }"
            "a token in the header `Authorization`; needs `https://` or this host";
        "notify[].webhook.authorization.type" "a word" Is("Bearer") "Token"
            "the scheme of the header";
        "notify[].webhook.authorization.credentials_file" "an absolute path" Required "/etc/lvm-autoscaler/hooks.token"
            "the file with the token, on one line";
        "notify[].webhook.ca_file" "an absolute path" Means("the system's") "/etc/lvm-autoscaler/hooks-ca.pem"
            "the certificates to trust";
        "notify[].webhook.timeout" "a duration, at least 1s" Is("10s") "5s"
            "for one attempt";
        "notify[].webhook.template" "a template" Means("by `format`") "'{\"text\": {{ title|tojson }}}'"
            "the body";
        "notify[].webhook.template_file" "an absolute path" Means("by `format`") "/etc/lvm-autoscaler/hook-body.json.j2"
            "the file with the body's template; instead of `template`";
        "notify[].email" "a mapping" Means("none") "{ smarthost: mail.example.com:587, from: lvm@example.com, to: [ops@example.com] }"
            "receivers that are sent one e-mail";
        "notify[].email.smarthost" "`HOST:PORT`" Required "mail.example.com:587"
            "the mail server";
        "notify[].email.tls" "`starttls`, `tls` or `none`" Is("starttls") "tls"
            "how the connection is encrypted";
        "notify[].email.from" "an address" Required "LVM on db1 <lvm@example.com>"
            "the sender";
        "notify[].email.to" "a list of addresses" Required "[ops@example.com]"
            "the recipients";
        "notify[].email.auth_username" "text" Means("none") "lvm@example.com"
            "the user at the mail server; needs `auth_password_file`";
        "notify[].email.auth_password_file" "an absolute path" Means("none") "/etc/lvm-autoscaler/mail.password"
            "the file with the password, on one line; needs `auth_username`";
        "notify[].email.on" "as `webhook.on`" Is("[grown, failed, needs_attention, overdue]") "[failed, needs_attention]"
            "the events to send";
        "notify[].email.ca_file" "an absolute path" Means("the system's") "/etc/lvm-autoscaler/mail-ca.pem"
            "the certificates to trust";
        "notify[].email.timeout" "a duration, at least 1s" Is("30s") "60s"
            "for each answer of the mail server";
        "notify[].email.subject" "a template" Means("as documented") "\"[{{ host }}] {{ title }}\""
            "the subject";
        "notify[].email.text" "a template" Means("as documented") "\"{{ sentence }}\""
            "the text";
        "notify[].email.text_file" "an absolute path" Means("as documented") "/etc/lvm-autoscaler/mail.txt.j2"
            "the file with the text's template; instead of `text`";
        "notify[].email.html" "a template" Means("none") "\"<p>{{ sentence }}</p>\""
            "an HTML part beside the text";
        "notify[].email.html_file" "an absolute path" Means("none") "/etc/lvm-autoscaler/mail.html.j2"
            "the file with its template; instead of `html`";
    }

    REPORT {
        "report" "a mapping" Means("as its keys") "{ interval: 24h }"
            "capacity reports, see [reports.md](reports.md)";
        "report.interval" "a duration, at least 1m" Means("none") "24h"
            "write a report this often";
        "report.directory" "an absolute path" Means("`reports` in the state directory") "/var/lib/lvm-autoscaler/reports"
            "the folder for reports";
        "report.formats" "some of `html` `markdown` `json`" Is("[html, markdown]") "[html, json]"
            "the forms in which they are written";
        "report.keep" "a whole number, 1 to 100" Is("30") "60"
            "the number of reports that are kept";
        "audit" "a mapping" Means("none") "{ file: /var/log/lvm-autoscaler/audit.jsonl }"
            "the audit log, see [audit.md](audit.md)";
        "audit.file" "an absolute path" Required "/var/log/lvm-autoscaler/audit.jsonl"
            "the file to which it is written";
        "audit.max_size" "a size, at least 1MiB" Is("64MiB") "128MiB"
            "the size at which the file is rotated";
        "audit.keep" "a whole number, 1 to 100" Is("5") "10"
            "the number of rotated files that are kept";
        "external_url" "`http://` or `https://`" Means("none") "https://db1.example.com:19845/"
            "the URL of the status page as people reach it; notifications link to it";
    }

    HOST {
        "state" "a mapping" Means("as its key") "{ directory: /var/lib/lvm-autoscaler }"
            "what the daemon keeps";
        "state.directory" "an absolute path" Is("/var/lib/lvm-autoscaler") "/srv/lvm-autoscaler"
            "journal, lock, backups of LVM's metadata; beside it lies the [witness](security.md#the-journal), a file with the same name and the suffix `.witness`";
        "backup" "a mapping" Means("as its key") "{ keep: 10 }"
            "backups of LVM's metadata";
        "backup.keep" "a whole number, 1 to 100" Is("10") "20"
            "the number of backups that are kept for each volume group";
        "inventory" "a mapping" Means("as its keys") "{ interval: 15s }"
            "how LVM is read";
        "inventory.interval" "a duration, at least 1s" Is("15s") "1m"
            "how often the daemon reads LVM; a change of a block device starts a read at once";
        "inventory.timeout" "a duration, at least 1s" Is("30s") "1m"
            "the time after which `lvm fullreport` is killed; the metrics then show the last good inventory";
        "tools" "a mapping" Means("as its keys") "{ lvm: /usr/local/sbin/lvm }"
            "programs to use instead of those that are found";
    }
}
