#!/usr/bin/env python3
"""Writes the dashboards beside this file; `--check` says whether they are what it writes.

The JSON is what people import; this is what is edited, so that a change of a query is a change of one line. Nothing in
the JSON depends on the Grafana it is imported into: no numeric ids, the data source is a variable.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
FLEET, HOST = "lvm-autoscaler-fleet", "lvm-autoscaler-host"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # Grafana's grid

# Colour steps, from the value on. Of a share that is used, of a share that is free, of seconds until full.
USED = [("green", None), ("orange", 0.8), ("red", 0.9)]
FREE = [("red", None), ("orange", 0.05), ("green", 0.15)]
UNTIL = [("red", None), ("orange", 4 * 3600), ("green", 24 * 3600)]
ANY_IS_BAD = [("green", None), ("red", 1)]
NONE_IS_BAD = [("red", None), ("green", 1)]
PLAIN = [("blue", None)]

YES_NO = {"type": "value", "options": {"0": {"text": "no", "index": 0}, "1": {"text": "yes", "index": 1}}}


def steps(colours):
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in colours]}


def query(expr, legend="", ref="A", instant=False):
    asked = {"datasource": SOURCE, "expr": " ".join(expr.split()), "refId": ref, "legendFormat": legend or "__auto"}
    if instant:
        return asked | {"instant": True, "range": False, "format": "table"}
    return asked | {"instant": False, "range": True, "format": "time_series"}


def panel(kind, title, about, w, h, targets, unit=None, thresholds=PLAIN, options=None, custom=None, overrides=(), **more):
    defaults = {"thresholds": steps(thresholds), "color": {"mode": "thresholds"}}
    if unit:
        defaults["unit"] = unit
    if custom:
        defaults["custom"] = custom
    made = {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "gridPos": {"w": w, "h": h},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options or {},
    }
    extra = {key: more.pop(key) for key in ("mappings", "min", "max", "decimals", "noValue") if key in more}
    defaults.update(extra)
    return made | more


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "gridPos": {"w": WIDTH, "h": 1}, "panels": []}


def stat(title, about, expr, unit="none", thresholds=PLAIN, w=4, **more):
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    asked = query(expr, title) | {"instant": True, "range": False}
    return panel("stat", title, about, w, 4, [asked], unit, thresholds, options, **more)


def graph(title, about, targets, unit, w=12, h=8, style=None, overrides=(), thresholds=PLAIN, **more):
    """`targets` are (expression, legend)."""
    custom = {"drawStyle": "line", "fillOpacity": 5, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
    options = {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    asked = [query(expr, legend, chr(65 + i)) for i, (expr, legend) in enumerate(targets)]
    made = panel("timeseries", title, about, w, h, asked, unit, thresholds, options, custom | (style or {}), overrides, **more)
    made["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return made


def table(title, about, columns, keys, w=24, h=8, sort=None):
    """`columns` are (expression, heading, unit, colours or None, mapping or None); `keys` are the labels of a row, with
    their headings. A column without a heading is not shown, only its labels are."""
    asked, rename, overrides = [], dict(keys), []
    for i, (expr, heading, unit, colours, mapping) in enumerate(columns):
        ref = chr(65 + i)
        asked.append(query(expr, heading, ref, instant=True))
        if not heading:
            continue
        rename["Value" if len(columns) == 1 else f"Value #{ref}"] = heading
        properties = [{"id": "unit", "value": unit}]
        if colours:
            properties.append({"id": "thresholds", "value": steps(colours)})
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        if mapping:
            properties.append({"id": "mappings", "value": [mapping]})
        overrides.append({"matcher": {"id": "byName", "options": heading}, "properties": properties})
    if "instance" in keys:
        link = {
            "title": "Host detail",
            "url": f"/d/{HOST}?var-instance=${{__value.text}}&var-datasource=${{datasource}}&${{__url_time_range}}",
        }
        overrides.append({"matcher": {"id": "byName", "options": keys["instance"]}, "properties": [{"id": "links", "value": [link]}]})
    order = {name: i for i, name in enumerate(rename)}
    excluded = {"Time": True} | ({} if len(columns) > 1 or columns[0][1] != "" else {"Value": True})
    tidy = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": excluded, "indexByName": order, "renameByName": rename}},
    ]
    options = {"cellHeight": "sm", "showHeader": True, "footer": {"show": False, "reducer": ["sum"], "countRows": False}}
    if sort:
        options["sortBy"] = [{"displayName": sort[0], "desc": sort[1]}]
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True}
    return panel("table", title, about, w, h, asked, None, PLAIN, options, custom, overrides, transformations=tidy)


def variable(name, label, asked, multi):
    made = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": asked, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "hide": 0,
        "multi": multi,
        "includeAll": multi,
        "options": [],
    }
    if multi:
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
        made["allValue"] = ".*"
    return made


def dashboard(uid, title, about, variables, links, annotations, panels):
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0, "refresh": 1,
              "multi": False, "includeAll": False, "options": [], "regex": ""}
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["lvm-autoscaler"],
        "schemaVersion": 38,  # Grafana 10.0; newer ones migrate it when they load it
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "weekStart": "",
        "style": "dark",
        "links": links,
        "annotations": {"list": annotations},
        "templating": {"list": [source, *variables]},
        "panels": placed(panels),
    }


def placed(panels):
    """Left to right, a new line when one is full."""
    x = y = height = 0
    for each in panels:
        place = each["gridPos"]
        if x + place["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        place |= {"x": x, "y": y}
        x, height = x + place["w"], max(height, place["h"])
    return panels


def link(title, uid, about):
    return {"type": "link", "title": title, "url": f"/d/{uid}", "icon": "dashboard", "tooltip": about, "tags": [], "asDropdown": False,
            "includeVars": False, "keepTime": True, "targetBlank": False}


# --- fleet ------------------------------------------------------------------------------------------------------------

I = 'instance=~"$instance"'
NEEDS = f'ALERTS{{alertstate="firing", alertname=~"Lvm.*", severity=~"critical|warning", lvm_autoscaler="", {I}}}'
VERSIONED, VERSION = "max by (cluster, instance, version)", "* on (cluster, job, instance) group_left (version) max by (cluster, job, instance, version) (lvm_autoscaler_build_info)"
VG, LV = "max by (cluster, instance, vg)", "max by (cluster, instance, vg, lv, mountpoint)"
# A refusal's counter begins with its first refusal, which increase() does not see.
REFUSED = f"(increase(lvm_autoscaler_refusals_total{{{I}}}[24h]) and lvm_autoscaler_refusals_total offset 24h) or lvm_autoscaler_refusals_total{{{I}}}"

fleet = dashboard(
    FLEET,
    "LVM fleet overview",
    "All hosts with lvm-autoscaler: free space, headroom, what grew, what was refused, what needs a person.",
    [variable("instance", "Host", "label_values(lvm_up, instance)", True)],
    [link("Host detail", HOST, "One host")],
    [],
    [
        stat("Hosts that answer", "Hosts on which LVM answers.", f"sum(lvm_up{{{I}}})", w=3),
        stat("Number of targets", "What may grow.", f"count(lvm_autoscaler_target_threshold_ratio{{{I}}}) or vector(0)", w=3),
        stat("Free in volume groups", "Share of all volume groups that no volume has.",
             f"sum(lvm_vg_free_bytes{{{I}}}) / sum(lvm_vg_size_bytes{{{I}}})", "percentunit", FREE),
        stat("Grown today", "Bytes by which volumes were extended in 24 hours.",
             f"sum(increase(lvm_autoscaler_grown_bytes_total{{{I}}}[24h])) or vector(0)", "bytes"),
        stat("Being grown now", "Steps that run.", f"sum(lvm_autoscaler_operation_in_progress{{{I}}}) or vector(0)", w=3),
        stat("Refused today", "Requests in 24 hours to which a guard said no. Most are an everyday no, such as a cooldown.",
             f"round(sum({REFUSED})) or vector(0)", w=3),
        stat("Needs a person", "Alerts of alerts/people.yml that fire.", f"count({NEEDS}) or vector(0)", "none", ANY_IS_BAD),
        table("What needs a person", "Alerts for people that fire in Prometheus, the worst first; Alertmanager may hold back what another one explains. Their "
              "runbooks are in docs/runbooks.",
              [(f"max by (severity, alertname, cluster, instance, vg, lv, mountpoint, code, command) ({NEEDS})", "", "none", None, None)],
              {"severity": "Severity", "alertname": "Alert", "cluster": "Cluster", "instance": "Host", "vg": "VG", "lv": "LV", "mountpoint": "Mounted at",
               "code": "Refused with", "command": "Command"}, w=24, h=7, sort=("Severity", False)),
        table("Volume groups", "The ones with the smallest share of free space first.",
              [(f"{VG} (lvm_vg_free_bytes{{{I}}}) / {VG} (lvm_vg_size_bytes{{{I}}})", "Free", "percentunit", FREE, None),
               (f"{VG} (lvm_vg_free_bytes{{{I}}})", "Free bytes", "bytes", None, None),
               (f"{VG} (lvm_vg_size_bytes{{{I}}})", "Size", "bytes", None, None),
               (f"{VG} (lvm_autoscaler_vg_reserve_bytes{{{I}}})", "Reserve", "bytes", None, None),
               (f"{VG} (lvm_vg_missing_pv_count{{{I}}})", "Missing PVs", "none", ANY_IS_BAD, None),
               (f"{VG} (lvm_autoscaler_supply_needed_bytes{{{I}}})", "Needs", "bytes", ANY_IS_BAD, None),
               (f"{VG} (lvm_vg_stranded_bytes{{{I}}})", "Free for no target", "bytes", None, None),
               (f"sum by (cluster, instance, vg) (lvm_pv_growable_bytes{{{I}}})", "Larger disks", "bytes", None, None)],
              {"cluster": "Cluster", "instance": "Host", "vg": "VG"}, w=12, h=9, sort=("Free", False)),
        graph("Free space of volume groups", "As a share of each group.",
              [("lvm_vg:free:ratio{" + I + "}", "{{instance}} {{vg}}")], "percentunit", h=9, min=0, max=1),
        table("Targets", "What may grow: the ones that are full first come first. Headroom is what max_size, the group's reserve and its "
              "free space leave. Time to full is at the pace of the last hour, as it is and with all headroom used.",
              [(f"{LV} (lvm_filesystem:usage:ratio{{{I}}} and on (cluster, job, instance, vg, lv) lvm_autoscaler_target_threshold_ratio)", "Used",
                "percentunit", USED, None),
               (f"{LV} (lvm_autoscaler_target_threshold_ratio{{{I}}})", "Grows above", "percentunit", None, None),
               (f"{LV} (lvm_autoscaler_target_headroom_bytes{{{I}}})", "Headroom", "bytes", [("red", None), ("green", 1 << 30)], None),
               (f"{LV} (lvm_filesystem:time_to_full:seconds{{{I}}})", "Full in", "s", UNTIL, None),
               (f"{LV} (lvm_filesystem:time_to_full_with_headroom:seconds{{{I}}})", "Full in, with headroom", "s", UNTIL, None),
               (f"{LV} (lvm_autoscaler_target_needs_attention{{{I}}})", "Needs attention", "none", ANY_IS_BAD, YES_NO)],
              {"cluster": "Cluster", "instance": "Host", "vg": "VG", "lv": "LV", "mountpoint": "Mounted at"}, h=9, sort=("Full in", False)),
        table("What grew today", "Volumes that were extended in 24 hours, and by how much.",
              [(f"sum by (cluster, instance, vg, lv) (increase(lvm_autoscaler_grown_bytes_total{{{I}}}[24h])) > 0", "Grown by", "bytes", None, None),
               (f'round(sum by (cluster, instance, vg, lv) (increase(lvm_autoscaler_operations_total{{outcome="grown", {I}}}[24h]))) > 0', "Times", "none",
                None, None)],
              {"cluster": "Cluster", "instance": "Host", "vg": "VG", "lv": "LV"}, w=12, sort=("Grown by", True)),
        table("Refused today, and why", "Requests to which a guard said no, by its code. Without VG and LV the alert named no target.",
              [(f"round(sum by (cluster, instance, vg, lv, code) ({REFUSED})) > 0", "Times", "none", None, None)],
              {"cluster": "Cluster", "instance": "Host", "vg": "VG", "lv": "LV", "code": "Code"}, w=12, sort=("Times", True)),
        graph("Extensions", "Bytes by which volumes were extended.",
              [(f"sum by (cluster, instance) (increase(lvm_autoscaler_grown_bytes_total{{{I}}}[$__rate_interval]))", "{{instance}}")], "bytes",
              style={"drawStyle": "bars", "fillOpacity": 80}),
        table("Hosts", "Whether LVM answers, how old the inventory is, and which version runs.",
              [(f"{VERSIONED} (lvm_up{{{I}}} {VERSION})", "LVM answers", "none", NONE_IS_BAD, YES_NO),
               (f"{VERSIONED} (lvm_inventory_age_seconds{{{I}}} {VERSION})", "Inventory age", "s",
                [("green", None), ("orange", 120), ("red", 300)], None),
               (f"{VERSIONED} ((time() - process_start_time_seconds{{{I}}}) {VERSION})", "Running for", "s", None, None)],
              {"cluster": "Cluster", "instance": "Host", "version": "Version"}, w=12),
    ],
)

# --- host -------------------------------------------------------------------------------------------------------------

H = 'instance="$instance"'
HV = f'{H}, vg=~"$vg"'
HM = f'{HV}, mountpoint=~"$mountpoint"'
POOL = 'on (cluster, job, instance, vg, lv) lvm_lv_info{layout=~".*thin.*", layout=~".*pool.*"}'
RAID = 'on (cluster, job, instance, vg, lv) lvm_lv_info{layout=~".*(raid|mirror).*"}'
SNAPSHOT = 'on (cluster, job, instance, vg, lv) lvm_lv_info{role=~".*snapshot.*", layout!~".*thin.*"}'
OF = "{{vg}}/{{lv}}"
CAPACITY = f"(lvm_filesystem:used:bytes{{{HM}}} / lvm_filesystem:usage:ratio{{{HM}}})"
STEP = {"lineInterpolation": "stepAfter"}
DASHED = {"matcher": {"id": "byRegexp", "options": "^grows above.*"}, "properties": [
    {"id": "custom.lineStyle", "value": {"dash": [10, 10], "fill": "dash"}}, {"id": "custom.fillOpacity", "value": 0},
    {"id": "color", "value": {"mode": "fixed", "fixedColor": "orange"}}]}
SIZE_LINE = {"matcher": {"id": "byRegexp", "options": "^(capacity|volume).*"}, "properties": [
    {"id": "custom.lineInterpolation", "value": "stepAfter"}, {"id": "custom.lineWidth", "value": 2}, {"id": "custom.fillOpacity", "value": 0}]}

# The value is the moment itself: an operation is marked when it ended, not when it was scraped.
operations = {
    "name": "Operations",
    "enable": True,
    "hide": False,
    "iconColor": "blue",
    "datasource": SOURCE,
    "expr": f"1000 * lvm_autoscaler_last_operation_timestamp_seconds{{{H}}}",
    "titleFormat": "{{vg}}/{{lv}}",
    "textFormat": "{{outcome}}",
    "tagKeys": "outcome",
    "step": "10s",
    "useValueForTime": True,
}

host = dashboard(
    HOST,
    "LVM host detail",
    "One host with lvm-autoscaler: volume groups, file systems, pools, operations, refusals, limits, and the daemon itself.",
    [
        variable("instance", "Host", "label_values(lvm_up, instance)", False),
        variable("vg", "Volume group", 'label_values(lvm_vg_size_bytes{instance="$instance"}, vg)', True),
        variable("mountpoint", "Mounted at", 'label_values(lvm_filesystem_size_bytes{instance="$instance", vg=~"$vg"}, mountpoint)', True),
    ],
    [link("Fleet overview", FLEET, "All hosts")],
    [operations],
    [
        stat("LVM answers", "Whether the last look at LVM succeeded.", f"lvm_up{{{H}}}", "none", NONE_IS_BAD, mappings=[YES_NO]),
        stat("Inventory age", "Since LVM was last read.", f"lvm_inventory_age_seconds{{{H}}}", "s",
             [("green", None), ("orange", 120), ("red", 300)]),
        stat("Number of targets", "What may grow on this host.", f"count(lvm_autoscaler_target_threshold_ratio{{{H}}}) or vector(0)"),
        stat("Being grown now", "Steps that run.", f"sum(lvm_autoscaler_operation_in_progress{{{H}}}) or vector(0)"),
        stat("Needs attention", "Targets that are blocked until a person has finished what stopped half-way.",
             f"sum(lvm_autoscaler_target_needs_attention{{{H}}}) or vector(0)", "none", ANY_IS_BAD),
        stat("Journal writable", "If not, nothing grows. An exporter without targets has none.",
             f"lvm_autoscaler_journal_writable{{{H}}}", "none", NONE_IS_BAD, mappings=[YES_NO]),
        row("Volume groups"),
        panel("bargauge", "Used in volume groups", "Share that volumes have. A full group lets nothing grow.", 8, 8,
              [query(f"1 - lvm_vg_free_bytes{{{HV}}} / lvm_vg_size_bytes", "{{vg}}") | {"instant": True, "range": False}], "percentunit", USED,
              {"displayMode": "gradient", "minVizHeight": 10, "minVizWidth": 0, "orientation": "horizontal", "showUnfilled": True,
               "valueMode": "color", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}, min=0, max=1),
        graph("Free in volume groups", "And what is reserved for people.",
              [(f"lvm_vg_free_bytes{{{HV}}}", "{{vg}} free"), (f"lvm_autoscaler_vg_reserve_bytes{{{HV}}}", "{{vg}} reserve")], "bytes", w=8,
              style=STEP, min=0),
        table("Physical volumes", "",
              [(f"max by (vg, pv) (lvm_pv_size_bytes{{{HV}}})", "Size", "bytes", None, None),
               (f"max by (vg, pv) (lvm_pv_free_bytes{{{HV}}})", "Free", "bytes", None, None),
               (f"max by (vg, pv) (lvm_pv_missing{{{HV}}})", "Missing", "none", ANY_IS_BAD, YES_NO)],
              {"vg": "VG", "pv": "PV"}, w=8, sort=("VG", False)),
        row("Volumes and file systems"),
        graph("Space of $mountpoint", "What is used, what fits, and above what it grows; the volume is larger than what fits by what the file "
              "system needs itself.",
              [(f"lvm_filesystem:used:bytes{{{HM}}}", "used"),
               (CAPACITY, "capacity as df counts it"),
               (f"{CAPACITY} * on (cluster, job, instance, vg, lv) group_left () max by (cluster, job, instance, vg, lv) (lvm_autoscaler_target_threshold_ratio)", "grows above"),
               (f"lvm_lv_size_bytes{{{HV}}} and on (cluster, job, instance, vg, lv) lvm_filesystem_size_bytes{{{HM}}}", "volume")],
              "bytes", w=24, overrides=[DASHED, SIZE_LINE], min=0, repeat="mountpoint", repeatDirection="h"),
        graph("Usage", "As df counts it: used / (used + available).",
              [(f"lvm_filesystem:usage:ratio{{{HM}}}", "{{mountpoint}}"),
               (f"max by (mountpoint) (lvm_autoscaler_target_threshold_ratio{{{HM}}})", "grows above {{mountpoint}}")], "percentunit",
              overrides=[DASHED], min=0, max=1),
        graph("Size of volumes", "A step up is an extension.", [(f"lvm_lv_size_bytes{{{HV}}}", OF)], "bytes", style=STEP),
        graph("Inodes", "Used share. XFS makes inodes as long as there is space.",
              [(f"1 - lvm_filesystem_files_free{{{HM}}} / lvm_filesystem_files", "{{mountpoint}}")], "percentunit", w=8, min=0),
        table("File systems", "Trouble, and space of the volume that the file system does not use.",
              [(f"max by (mountpoint, fstype) (lvm_filesystem_size_bytes{{{HM}}})", "Size", "bytes", None, None),
               (f"max by (mountpoint, fstype) (lvm_filesystem_avail_bytes{{{HM}}})", "Available", "bytes", None, None),
               (f"max by (mountpoint, fstype) (lvm_filesystem_growable_bytes{{{HM}}})", "Volume larger by", "bytes", ANY_IS_BAD, None),
               (f"max by (mountpoint, fstype) (lvm_filesystem_errors{{{HM}}})", "Errors", "none", ANY_IS_BAD, None),
               (f"max by (mountpoint, fstype) (lvm_filesystem_readonly{{{HM}}})", "Read-only", "none", None, YES_NO),
               (f"max by (mountpoint, fstype) (lvm_filesystem_device_error{{{HM}}})", "Does not answer", "none", ANY_IS_BAD, YES_NO)],
              {"mountpoint": "Mounted at", "fstype": "Type"}, w=16, sort=("Mounted at", False)),
        row("Pools, RAID, snapshots"),
        graph("Thin pools", "Used share of data and of metadata. Either at 100 % stops all volumes of the pool.",
              [(f"lvm_lv_data_percent{{{HV}}} and {POOL}", f"{OF} data"), (f"lvm_lv_metadata_percent{{{HV}}} and {POOL}", f"{OF} metadata")],
              "percent", w=8, min=0, max=100),
        graph("RAID", "How far it is in sync; unhealthy is 1 while a leg is missing or wants a refresh.",
              [(f"lvm_lv_sync_percent{{{HV}}} and {RAID}", f"{OF} in sync"), (f"(1 - lvm_lv_healthy{{{HV}}}) and {RAID}", f"{OF} unhealthy")],
              "percent", w=8, min=0, overrides=[{"matcher": {"id": "byRegexp", "options": ".*unhealthy"}, "properties": [
                  {"id": "unit", "value": "none"}, {"id": "custom.axisPlacement", "value": "right"}]}]),
        graph("Snapshots", "Used share of the space for changes. At 100 % the snapshot is lost.",
              [(f"lvm_lv_data_percent{{{HV}}} and {SNAPSHOT}", OF)], "percent", w=8, min=0, max=100),
        row("Operations"),
        graph("Operations that ended", "By outcome.",
              [(f"sum by (outcome) (increase(lvm_autoscaler_operations_total{{{HV}}}[$__rate_interval]))", "{{outcome}}")], "none", w=8,
              style={"drawStyle": "bars", "fillOpacity": 80}, decimals=0),
        graph("Duration of steps", "Mean of the steps that ended, the look that verifies them included.",
              [(f"sum by (step) (increase(lvm_autoscaler_step_duration_seconds_sum{{{H}}}[$__range])) "
                f"/ sum by (step) (increase(lvm_autoscaler_step_duration_seconds_count{{{H}}}[$__range]) > 0)", "{{step}} mean"),
               (f"histogram_quantile(0.99, sum by (step, le) (increase(lvm_autoscaler_step_duration_seconds_bucket{{{H}}}[$__range]) > 0))",
                "{{step}} 99 %")], "s", w=8, min=0),
        graph("Refusals by code", "What guards said no to. Most are an everyday no, such as below_threshold or cooldown.",
              [(f"sum by (code) (increase(lvm_autoscaler_refusals_total{{{H}}}[$__rate_interval]))", "{{code}}")], "none", w=8,
              style={"drawStyle": "bars", "fillOpacity": 80}, decimals=0),
        row("Limits"),
        graph("Headroom", "By how much each target may still grow: what max_size, the group's reserve and its free space leave.",
              [(f"lvm_autoscaler_target_headroom_bytes{{{HV}}}", OF)], "bytes", w=8, style=STEP, min=0),
        graph("Cooldown", "How long a target is not grown again after its last operation.",
              [(f"clamp_min(lvm_autoscaler_target_cooldown_until_timestamp_seconds{{{HV}}} - time(), 0)", OF)], "s", w=8, min=0),
        graph("Extensions left in the budget", "At 0 the target waits for the end of the period.",
              [(f"lvm_autoscaler_target_budget_remaining_extensions{{{HV}}}", OF)], "none", w=8, style=STEP, min=0, decimals=0),
        table("Closed targets", "What was stopped: by failures (breaker), by a person (paused), by an operation that stopped half-way.",
              [(f"max by (vg, lv) (lvm_autoscaler_target_needs_attention{{{HV}}})", "Needs attention", "none", ANY_IS_BAD, YES_NO),
               (f"max by (vg, lv) (lvm_autoscaler_target_breaker_open{{{HV}}})", "Breaker open", "none", ANY_IS_BAD, YES_NO),
               (f"max by (vg, lv) (lvm_autoscaler_target_paused{{{HV}}})", "Paused", "none", [("green", None), ("orange", 1)], YES_NO)],
              {"vg": "VG", "lv": "LV"}, w=24, h=6, sort=("VG", False)),
        row("Daemon"),
        graph("Requests to the webhook", "By the status that was answered.",
              [(f"sum by (code) (increase(lvm_autoscaler_webhook_requests_total{{{H}}}[$__rate_interval]))", "{{code}}")], "none", w=8,
              decimals=0),
        graph("Alerts", "By what became of them at the door, and requests that wait for a worker.",
              [(f"sum by (verdict) (increase(lvm_autoscaler_alerts_total{{{H}}}[$__rate_interval]))", "{{verdict}}"),
               (f"lvm_autoscaler_queue_length{{{H}}}", "waiting")], "none", w=8),
        graph("Collectors", "How long each took. A scrape never waits for LVM.",
              [(f"lvm_collector_duration_seconds{{{H}}}", "{{collector}}")], "s", w=8, min=0),
        graph("Scrapes", "How long Prometheus waited.", [(f"scrape_duration_seconds{{{H}}} and on (cluster, job, instance) lvm_up", "scrape")], "s", w=8, min=0),
        graph("CPU", "Of the daemon.",
              [(f"rate(process_cpu_seconds_total{{{H}}}[$__rate_interval]) and on (cluster, job, instance) lvm_up", "CPU")], "percentunit", w=8, min=0),
        graph("Memory", "Of the daemon.", [(f"process_resident_memory_bytes{{{H}}} and on (cluster, job, instance) lvm_up", "resident")], "bytes", w=8,
              min=0),
        table("Health", "Failing collectors, fields of LVM's report that were not understood, commands that take too long.",
              [(f"min by (collector) (lvm_collector_success{{{H}}})", "Succeeds", "none", NONE_IS_BAD, YES_NO),
               (f'sum by (collector) (label_replace(lvm_unknown_report_fields{{{H}}}, "collector", "lvm", "", ""))', "Unknown fields", "none", None,
                None),
               (f'sum by (collector) (label_replace(lvm_odd_report_values{{{H}}}, "collector", "lvm", "", ""))', "Odd values", "none", None, None)],
              {"collector": "Collector"}, w=12, h=6),
        stat("Commands overdue", "Commands that take longer than expected. They are waited for, never killed.",
             f"sum(lvm_autoscaler_command_overdue{{{H}}}) or vector(0)", "none", ANY_IS_BAD, w=6),
        stat("Open files", "Of those that the daemon may open.",
             f"process_open_fds{{{H}}} / process_max_fds and on (cluster, job, instance) lvm_up", "percentunit", USED, w=6),
        row("What it tells"),
        graph("Notifications", "Attempts, by how they ended: retried ones are repeated, failed and dropped ones are not.",
              [(f"sum by (kind, outcome) (increase(lvm_autoscaler_notifications_total{{{H}}}[$__rate_interval]))", "{{kind}} {{outcome}}")],
              "none", w=8, style={"drawStyle": "bars", "fillOpacity": 80}, decimals=0),
        stat("Audit log writable", "If not, operations go on, and what is missing is written later from the journal.",
             f"lvm_autoscaler_audit_writable{{{H}}}", "none", NONE_IS_BAD, mappings=[YES_NO], w=3),
        stat("Lost to the audit log", "Records that the journal had overwritten before the audit log could take them.",
             f"lvm_autoscaler_audit_lost_records_total{{{H}}}", "none", ANY_IS_BAD, w=3),
        stat("Config accepted", "Whether config and web config were accepted the last time they were read; if not, those before are in force.",
             f"min(lvm_autoscaler_config_last_reload_successful{{{H}}}) * (min(lvm_autoscaler_web_config_last_reload_successful{{{H}}}) or vector(1))", "none", NONE_IS_BAD, mappings=[YES_NO], w=3),
        stat("Same config for", "Since the config in force was read.",
             f"time() - lvm_autoscaler_config_last_reload_success_timestamp_seconds{{{H}}}", "s", w=3),
        stat("Last report", "When it was kept; empty where report.interval is not set.",
             f"1000 * (lvm_autoscaler_report_last_success_timestamp_seconds{{{H}}} > 0)", "dateTimeAsIso"),
    ],
)


def text(of):
    return json.dumps(of, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main():
    stale = []
    for name, of in (("fleet-overview", fleet), ("host-detail", host)):
        file = HERE / f"{name}.json"
        if "--check" not in sys.argv:
            file.write_text(text(of))
        elif not file.exists() or file.read_text() != text(of):
            stale.append(str(file))
    if stale:
        sys.exit(f"not what dashboards/generate.py writes, run it: {' '.join(stale)}")


main()
