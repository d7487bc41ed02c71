#!/usr/bin/env python3
"""The tests of alerts/tests once more, as a Prometheus of two clusters has their series (Mimir, Thanos).

Each case is cluster "a", and the next one of its file is cluster "b": the same job, instances, groups and volumes, with
other troubles. What the case says must be so in cluster "a", with that label, as if the other one were not there. A rule
that finds two where it may find one is an error of promtool's.

usage: clusters.py PROMTOOL
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ALERTS = pathlib.Path(__file__).resolve().parents[2] / "alerts"


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


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for rules in sorted(ALERTS.glob("*.yml")):
            files.append(pathlib.Path(folder) / f"{rules.stem}_of_two_clusters.yml")
            files[-1].write_text(yaml.safe_dump(doubled(ALERTS / f"tests/{rules.stem}_test.yml"), width=1000))
        sys.exit(subprocess.run([sys.argv[1], "test", "rules", *files]).returncode)


if __name__ == "__main__":
    main()
