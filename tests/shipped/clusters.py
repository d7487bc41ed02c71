#!/usr/bin/env python3
"""The tests of alerts/tests once more, as a Prometheus of two clusters has their series (Mimir, Thanos).

Each case is cluster "a", and the next one of its file is cluster "b": the same job, instances, groups and volumes, with
other troubles. What the case says must be so in cluster "a", with that label, as if the other one were not there. A
rule that finds two where it may find one is an error of promtool's. So is a query of the dashboards: they are asked of
all these series at once.

usage: clusters.py PROMTOOL
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALERTS = ROOT / "alerts"
# What the dashboards join with and no rule needs.
OF_THE_DAEMON = [f'{name}{{instance="db1:19845", job="lvm-autoscaler", version="1"}}' for name in ("lvm_up", "lvm_autoscaler_build_info")]
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$instance": "db1:19845", "$vg": ".*", "$mountpoint": ".*"}


def labelled(text, cluster):
    """A series, or an expression: each of its selectors gets the label."""
    assert "{" in text or ":" in text, f"{text}: write it with braces"
    bare = re.sub(r"\b(?:lvm|node)_\w+:[\w:]+(?![{:\w])", r"\g<0>{}", text)
    return re.sub(r"(?<=\w)\{", f'{{cluster="{cluster}", ', bare).replace(", }", "}")


def series(case, cluster):
    return [each | {"series": labelled(each["series"], cluster)} for each in case["input_series"]]


def selector(labels):
    return "{" + ", ".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def asked(case):
    for test in case.get("promql_expr_test", []):
        samples = test["exp_samples"]
        if " by (" not in test["expr"]:
            samples = [each | {"labels": each["labels"].replace("{", '{cluster="a", ', 1)} for each in samples]
        yield test | {"expr": labelled(test["expr"], "a"), "exp_samples": samples}
    # An `alert_rule_test` would have to list the alerts of the other cluster too.
    for test in case.get("alert_rule_test", []):
        of = {"alertname": test["alertname"], "alertstate": "firing", "cluster": "a"}
        samples = [{"labels": "ALERTS" + selector(of | alert["exp_labels"]), "value": 1} for alert in test["exp_alerts"]]
        yield {"expr": "ALERTS" + selector(of), "eval_time": test["eval_time"], "exp_samples": samples}


def doubled(file):
    tests = yaml.safe_load(file.read_text())
    cases = tests["tests"]
    tests["rule_files"] = [str((file.parent / rules).resolve()) for rules in tests["rule_files"]]
    tests["tests"] = [
        {"name": case["name"], "interval": case["interval"], "input_series": series(case, "a") + series(other, "b"), "promql_expr_test": [*asked(case)]}
        for case, other in zip(cases, [*cases[1:], cases[0]])
    ]
    return tests


def queries():
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield re.sub(r"\$\w+", lambda found: VARIABLES[found[0]], target["expr"])


def check_dashboards(promtool, folder):
    """None is expected to have no data: only whether they can be answered is of interest."""
    cases = [case for file in ALERTS.glob("tests/*_test.yml") for case in yaml.safe_load(file.read_text())["tests"]]
    names = {each["series"] for case in cases for each in case["input_series"] if "cluster=" not in each["series"] and "replica=" not in each["series"]}
    every = [{"series": labelled(name, cluster), "values": "5+1x59"} for name in sorted({*names, *OF_THE_DAEMON}) for cluster in "ab"]
    asked = [{"expr": query, "eval_time": "50m", "exp_samples": [{"labels": "none", "value": 0}]} for query in queries()]
    case = {"interval": "1m", "input_series": every, "promql_expr_test": asked}
    rules = [str(ALERTS / f"{name}.yml") for name in ("triggers", "recording")]
    file = pathlib.Path(folder) / "dashboards_of_two_clusters.yml"
    file.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": [case]}, width=10000))
    done = subprocess.run([promtool, "test", "rules", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    answered = len(re.findall(r"^ +got: \{", done.stdout, re.MULTILINE))
    wrong = re.findall(r"^.*\berr: .*$", done.stdout, re.MULTILINE)
    print(f"{len(asked)} queries of the dashboards asked of two clusters, {answered} have data, {len(wrong)} wrong", *wrong, sep="\n")
    return not wrong and answered > len(asked) / 2


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for rules in sorted(ALERTS.glob("*.yml")):
            files.append(pathlib.Path(folder) / f"{rules.stem}_of_two_clusters.yml")
            files[-1].write_text(yaml.safe_dump(doubled(ALERTS / f"tests/{rules.stem}_test.yml"), width=1000))
        answered = check_dashboards(sys.argv[1], folder)
        sys.exit(subprocess.run([sys.argv[1], "test", "rules", *files]).returncode or not answered)


if __name__ == "__main__":
    main()
