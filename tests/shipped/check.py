#!/usr/bin/env python3
"""What can be said of rules and dashboards without running anything. Prints what is wrong, and what is not used."""

import enum
import json
import pathlib
import re
import sys

import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Metrics that rules and dashboards know and the daemon does not export yet: shown once they exist. What stands in
# docs/metrics.md counts as exported, whether it is here or not.
AWAITED = set()
# What Prometheus makes itself.
OF_PROMETHEUS = {"up", "ALERTS", "scrape_duration_seconds"}
# Labels, functions and words of PromQL look like metrics without their prefix, so only these prefixes are looked at.
PREFIXES = ("lvm_", "process_", "node_")
# Keys of an annotation that belong to Grafana's Prometheus data source and not to the dashboard's schema.
OF_THE_SOURCE = {"step", "tagKeys", "textFormat", "titleFormat", "useValueForTime"}
wrong = []


def exported():
    ours = (ROOT / "docs/metrics.md").read_text().split("## Coming from")[0]
    relay = (ROOT / "docs/fleets.md").read_text().split("## Metrics")[1]

    def named(page):
        return re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE)

    return set(named(ours)) | {f"lvm_autoscaler_relay_{name}" for name in named(relay)}


def names(expr):
    """The metrics in an expression; what stands in quotes or is a label is none."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)
    bare = re.sub(r"\b(?:on|by|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"[a-z_]+\s*(?==~|!~|!=|=\"|= ?\")", "", bare)
    return {name for name in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare) if ":" in name or name.startswith(PREFIXES)}


def check_matched(where, expr):
    """Two clusters may have hosts of one name: what goes by host goes by cluster. Where there is no such label, none
    matches none."""
    for labels in re.findall(r"\b(?:on|by)\s*\(([^)]*)\)", expr):
        if {"job", "instance"} & set(re.findall(r"\w+", labels)) and "cluster" not in labels:
            wrong.append(f"{where}: ({labels}) goes by host and not by cluster")


def rule_files():
    for file in sorted((ROOT / "alerts").glob("*.yml")):
        yield file, [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def check_rules():
    alerts = {}
    for file, rules in rule_files():
        cases = yaml.safe_load((ROOT / f"alerts/tests/{file.stem}_test.yml").read_text())
        fires = {test["alertname"] for case in cases["tests"] for test in case.get("alert_rule_test", []) if test.get("exp_alerts")}
        silent = {test["alertname"] for case in cases["tests"] for test in case.get("alert_rule_test", []) if not test.get("exp_alerts")}
        asked = ""
        for test in (test for case in cases["tests"] for test in case.get("promql_expr_test", [])):
            asked += test["expr"]
            if not test["exp_samples"]:
                silent |= set(re.findall(r'alertname="(\w+)"', test["expr"]))
        for rule in rules:
            if "record" in rule:
                of_trigger = file.stem.startswith("triggers")  # tested through the alerts that use it
                if not of_trigger and rule["record"] not in asked:
                    wrong.append(f"{file.name}: {rule['record']} has no test")
                continue
            name = rule["alert"]
            # Rules are evaluated in their order: one that looks for alerts would see those below it as they were
            # before.
            for asked in re.findall(r'ALERTS\{[^}]*alertname=~?"([^"]*)"', rule["expr"]):
                for cause in asked.split("|"):
                    if file.name not in alerts.get(cause, []):
                        wrong.append(f"{file.name}: {name} looks for {cause}, which is no alert above it")
            alerts.setdefault(name, []).append(file.name)
            if name not in fires:
                wrong.append(f"{file.name}: no test in which {name} fires")
            if name not in silent:
                wrong.append(f"{file.name}: no test in which {name} does not fire")
            page = f"docs/runbooks/{name}.md"
            if rule["annotations"].get("runbook_url") != page or not (ROOT / page).exists():
                wrong.append(f"{file.name}: {name} has no runbook {page}")
            missing = {"summary", "description"} - rule["annotations"].keys() | {"severity"} - rule["labels"].keys()
            if missing:
                wrong.append(f"{file.name}: {name} has no {', '.join(missing)}")
            extends = rule["labels"].get("lvm_autoscaler") == "extend"
            if extends != file.stem.startswith("triggers"):
                wrong.append(f"{file.name}: {name} must {'not ' * extends}have the label lvm_autoscaler=extend")
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        if page.stem not in alerts:
            wrong.append(f"{page.relative_to(ROOT)} is of no alert")
    return alerts


def check_groups():
    """An alert of another cluster is another message, and for another daemon."""
    for file in sorted((ROOT / "configs").rglob("*.yml")):
        for labels in re.findall(r"group_by: \[([^]]*)\]", file.read_text()):
            if "cluster" not in labels.split(", "):
                wrong.append(f"{file.relative_to(ROOT)}: [{labels}] does not keep clusters apart")


def dashboards():
    return {file: json.loads(file.read_text()) for file in sorted((ROOT / "dashboards").glob("*.json"))}


def expressions(board):
    """Where, and which expression: of panels, annotations and variables."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']!r}, query {target['refId']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']!r}", annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']!r}", variable["query"]["query"]


def check_names():
    known = exported()
    histograms = {name + end for name in known if name.endswith("_duration_seconds") for end in ("_bucket", "_sum", "_count")}
    recorded = {rule["record"] for _, rules in rule_files() for rule in rules if "record" in rule}
    used = set()

    def look(where, expr, more=()):
        check_matched(where, expr)
        for name in names(expr):
            used.add(re.sub(r"_(bucket|sum|count)$", "", name) if name in histograms else name)
            if name not in known | AWAITED | histograms | recorded | OF_PROMETHEUS and not name.startswith(tuple(more)):
                wrong.append(f"{where}: {name} is no metric of docs/metrics.md")

    for file, rules in rule_files():
        for rule in rules:
            look(f"{file.name}: {rule.get('alert') or rule['record']}", rule["expr"], ["node_"] if "node-exporter" in file.name else [])
    for file, board in dashboards().items():
        for where, expr in expressions(board):
            look(f"{file.name}: {where}", expr)
    for name in sorted(AWAITED & known):
        print(f"note: {name} is exported now and needs no place in AWAITED any more")
    unused = sorted(known - used)
    print(f"{len(known & used)} of our {len(known)} metrics are used in rules and dashboards; not used:")
    print("  " + " ".join(unused))


def plain(value):
    return json.loads(json.dumps(value, cls=JSONEncoder))


def lost(ours, theirs, path=""):
    """What of ours does not come back from Grafana's types: keys they do not have, values they do not allow."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if path.startswith(".annotations") and key in OF_THE_SOURCE:
                continue
            if key not in theirs and value not in ("", [], {}, None, False):
                yield f"{path}.{key} is no key of Grafana's"
            elif key in theirs:
                yield from lost(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (a, b) in enumerate(zip(ours, theirs)):
            yield from lost(a, b, f"{path}[{index}]")
    elif ours != theirs:
        yield f"{path} is {ours!r}, Grafana reads {theirs!r}"


def check_types(value, path=""):
    """The types are hints, so a wrong scalar would pass: compare it with the hint of its class."""
    import typing

    if isinstance(value, list):
        for index, each in enumerate(value):
            check_types(each, f"{path}[{index}]")
    elif hasattr(value, "to_json") and not isinstance(value, enum.Enum):
        hints = typing.get_type_hints(type(value))
        for key, hint in hints.items():
            each = getattr(value, key, None)
            allowed = typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)
            simple = {int, float, str, bool}
            enums = tuple(each for each in allowed if isinstance(each, type) and issubclass(each, enum.Enum))
            if enums and each is not None and each not in [member for of in enums for member in of]:
                wrong.append(f"{path}.{key}: {each!r} is no {enums[0].__name__}")
            if each is not None and allowed and set(allowed) <= simple | {type(None)}:
                fits = type(each) in allowed or (type(each) is int and float in allowed) or (isinstance(each, enum.Enum) and str in allowed)
                if not fits:
                    wrong.append(f"{path}.{key}: {each!r} is no {hint}")
            check_types(each, f"{path}.{key}")


def check_dashboards():
    plugins.register_default_plugins()
    uids = {board["uid"] for board in dashboards().values()}
    for file, board in dashboards().items():
        read = Dashboard.from_json(json.loads(file.read_text()))
        wrong.extend(f"{file.name}: {each}" for each in lost(board, plain(read)))
        check_types(read, file.name)
        if [variable["type"] for variable in board["templating"]["list"][:1]] != ["datasource"]:
            wrong.append(f"{file.name}: the first variable must be the data source")
        for found in re.findall(r'"uid": "([^"]*)"', file.read_text()):
            if found not in uids | {"${datasource}"}:
                wrong.append(f"{file.name}: {found!r} is the uid of somebody's Grafana")
        for found in re.findall(r"/d/([a-z-]+)", file.read_text()):
            if found not in uids:
                wrong.append(f"{file.name}: link to {found}, which is not shipped")
        for item in [board, *board["panels"], *board["annotations"]["list"]]:
            if item.get("id") is not None:
                wrong.append(f"{file.name}: {item.get('title')!r} has the id {item['id']}")
        titles = [panel["title"] for panel in board["panels"]]
        wrong.extend(f"{file.name}: two panels {title!r}" for title in set(titles) if titles.count(title) > 1)
        for panel in board["panels"]:
            refs = [target["refId"] for target in panel.get("targets", [])]
            if len(set(refs)) != len(refs):
                wrong.append(f"{file.name}: panel {panel['title']!r} has two queries of one name")
            if panel["type"] not in ("row", "table") and "unit" not in panel["fieldConfig"]["defaults"]:
                wrong.append(f"{file.name}: panel {panel['title']!r} has no unit")
    for text in [*(ROOT / "docs/runbooks").glob("*.md")]:
        for title in re.findall(r"panel \*([^*]+)\*", text.read_text()):
            known = [p["title"].replace("$mountpoint", "MOUNTPOINT") for board in dashboards().values() for p in board["panels"]]
            if title not in known:
                wrong.append(f"{text.name}: there is no panel {title!r}")


if __name__ == "__main__":
    alerts = check_rules()
    check_names()
    check_groups()
    check_dashboards()
    for each in wrong:
        print(f"WRONG: {each}")
    panels = sum(len(list(expressions(board))) for board in dashboards().values())
    print(f"{len(alerts)} alerts, {len(dashboards())} dashboards with {panels} queries: {len(wrong)} wrong")
    sys.exit(bool(wrong))
