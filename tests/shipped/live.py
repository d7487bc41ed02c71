#!/usr/bin/env python3
"""The shipped rules, configs and dashboards at work: real Prometheus and Alertmanager, real daemons, time 60 times as
fast.

Two daemons are scraped. One runs on a simulated host whose file systems fill; one shows a recorded host, for what the
simulated one lacks (thin pools, RAID, snapshots, missing disks). Between Alertmanager and the daemon stands a receiver
that writes down what comes by and passes it on; a second one is "people". Asserted at the end from what they got:

- the daemon got triggers and nothing else, and volumes grew;
- people got nothing of what the daemon could deal with, and what it could not deal with;
- every query of every panel, annotation and variable has data.

Faster: each duration in rules and configs is divided by 60, and the simulated host's time passes 60 times as fast.
Nothing else of the shipped files is changed but addresses.

usage: live.py TOOLS_FOLDER DAEMON [--pictures FOLDER]
"""

import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import check
import yaml

ROOT = check.ROOT
FASTER = 60
SECONDS = 60  # an hour there
HOST, RECORDED = "db1.example.com:19845", "recorded.example.com:19845"

# 1 MiB/s there is 60 MiB/s here. What is to happen to each file system, in minutes there:
#   data_lv   fills all the time and has room: it grows again and again and is no news
#   media_lv  grows once, to its max_size, and is over its threshold again after 10: a person must do something
#   busy_lv   grows at once, is over 90 % at 10 within its cooldown and over 97 % at 27: news only then
#   old_lv    is no target and 95 % full: a person must do something, at once
#   calm_lv   is what most file systems are
SIMULATED = """
names: [db1.example.com]
speed: 60
volume_groups:
  - name: storage_vg
    physical_volumes: [{ name: /dev/sdb, size: 200GiB }]
    logical_volumes:
      - { name: data_lv, size: 8GiB, filesystem: { type: ext4, mount_point: /data, used: 76%, fill: 2MiB } }
      - { name: busy_lv, size: 10GiB, filesystem: { type: xfs, mount_point: /busy, used: 87.7%, fill: 740KiB } }
      - { name: old_lv, size: 4GiB, filesystem: { type: ext4, mount_point: /old, used: 95% } }
      - { name: calm_lv, size: 4GiB, filesystem: { type: ext4, mount_point: /calm, used: 30% } }
  - name: media_vg
    physical_volumes: [{ name: /dev/sdc, size: 6GiB }]
    logical_volumes:
      - { name: media_lv, size: 4GiB, filesystem: { type: xfs, mount_point: /srv/media, used: 78%, fill: 1MiB } }
"""
CONFIG = """
defaults: { cooldown: 5m }
monitor:
  targets:
    - { lv_path: /dev/storage_vg/data_lv, mount_point: /data, increment: 4GiB }
    - { lv_path: /dev/storage_vg/busy_lv, mount_point: /busy, threshold_percent: 88, increment: 256MiB, cooldown: 4h }
    - { lv_path: /dev/media_vg/media_lv, mount_point: /srv/media, increment: 1GiB, max_size: 5GiB }
volume_groups: [{ name: storage_vg, reserve: 5%% }]
state: { directory: %(folder)s/state }
audit: { file: %(folder)s/audit.jsonl }
report: { interval: 10m }
notify: [{ webhook: { url: "%(told)s" } }]
"""
RECORDING = "tests/data/fullreport-2.03.16.json"


# --- faster -----------------------------------------------------------------------------------------------------------

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def shorter(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|[smhd])", duration).groups()
    return f"{max(1, round(int(number) * UNITS[unit] * 1000 / FASTER))}ms"


def faster_expr(expr):
    expr = re.sub(r"(?<=\[)\w+(?=\])|(?<=offset )\w+", lambda found: shorter(found[0]), expr)
    return expr.replace("3600", str(3600 // FASTER))


def faster(value):
    """A copy with every duration divided."""
    if isinstance(value, list):
        return [faster(each) for each in value]
    if not isinstance(value, dict):
        return value
    copy = {key: faster(each) for key, each in value.items()}
    for key in ("for", "keep_firing_for", "group_wait", "group_interval", "repeat_interval", "scrape_interval", "evaluation_interval"):
        if key in copy:
            copy[key] = shorter(copy[key])
    if isinstance(copy.get("expr"), str):
        copy["expr"] = faster_expr(copy["expr"])
    return copy


# --- programs ---------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def wait_for(what, is_so, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if is_so():
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"FAILED: waited {seconds} s in vain for {what}")


class Receiver:
    """Writes down what alerts it gets, and passes them on if told where to."""

    def __init__(self, forward=None):
        self.got = []  # (seconds since the start, alert)
        self.answers = []
        self.began = time.monotonic()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                at = time.monotonic() - receiver.began
                receiver.got += [(at, alert) for alert in json.loads(body).get("alerts", [])]
                status = 200
                if forward:
                    request = urllib.request.Request(forward, body, {"Content-Type": "application/json"})
                    try:
                        with urllib.request.urlopen(request, timeout=10) as answer:
                            status = answer.status
                    except urllib.error.HTTPError as error:
                        status = error.code
                receiver.answers.append(status)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def firing(self, **labels):
        return [(at, alert) for at, alert in self.got
                if alert["status"] == "firing" and all(alert["labels"].get(key) == value for key, value in labels.items())]


class World:
    """Everything that runs, and the folder it runs in."""

    def __init__(self, tools, daemon):
        self.tools, self.daemon = pathlib.Path(tools), daemon
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lvm-autoscaler-live."))
        self.running = []

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "w")
        self.running.append(subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=self.folder))

    def write(self, name, of):
        (self.folder / name).write_text(of if isinstance(of, str) else yaml.safe_dump(of))
        return self.folder / name

    def begin(self):
        host, recorded, self.prometheus, alertmanager = (free_port() for _ in range(4))
        self.told = Receiver()
        self.write("host.yaml", SIMULATED)
        self.write("config.yaml", CONFIG % {"folder": self.folder, "told": self.told.url})
        self.start("simulated", self.daemon, "serve", "--config.file=config.yaml", "--simulate=host.yaml",
                   f"--web.listen-address=127.0.0.1:{host}")
        # A program called lvm that says what was recorded: the daemon does not see the difference.
        lvm = self.write("lvm", f"#!/bin/sh\nexec cat {ROOT / RECORDING}\n")
        lvm.chmod(0o755)
        self.write("recorded.yaml", f"tools: {{ lvm: {lvm} }}\n")
        self.start("recorded", self.daemon, "serve", "--config.file=recorded.yaml", f"--web.listen-address=127.0.0.1:{recorded}")
        self.autoscaler = Receiver(f"http://127.0.0.1:{host}/webhook/alertmanager")
        self.people = Receiver()
        self.start_alertmanager(alertmanager)
        self.start_prometheus({HOST: host, RECORDED: recorded}, alertmanager)
        wait_for("the simulated host", lambda: get(f"http://127.0.0.1:{host}/metrics"))
        wait_for("Prometheus", lambda: get(f"http://127.0.0.1:{self.prometheus}/-/ready"))
        wait_for("both hosts to be scraped", lambda: len(self.query("lvm_up == 1")) == 2)
        self.began = time.time()

    def start_alertmanager(self, port):
        config = faster(yaml.safe_load((ROOT / "configs/alertmanager.yml").read_text()))
        receivers = {each["name"]: each for each in config["receivers"]}
        receivers["lvm-autoscaler"]["webhook_configs"][0]["url"] = self.autoscaler.url
        receivers["people"]["webhook_configs"] = [{"url": self.people.url}]
        self.start("alertmanager", *self.with_templates(), self.tools / "alertmanager", f"--config.file={self.write('alertmanager.yml', config)}",
                   f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", f"--storage.path={self.folder / 'am'}")
        wait_for("Alertmanager", lambda: get(f"http://127.0.0.1:{port}/-/ready"))

    def with_templates(self):
        """Debian's Alertmanager reads its templates from /usr/share even if it was only unpacked somewhere."""
        share = self.tools.parent / "share"
        if pathlib.Path("/usr/share/prometheus/alertmanager").exists() or not share.exists():
            return []
        return ["unshare", "--mount", "--map-root-user", "sh", "-c", f'mount --bind {share} /usr/share && exec "$@"', "sh"]

    def start_prometheus(self, hosts, alertmanager):
        config = faster(yaml.safe_load((ROOT / "configs/prometheus.yml").read_text()))
        files = []
        for file in config["rule_files"]:
            rules = yaml.safe_load((ROOT / "configs" / file).read_text())
            files.append(str(self.write(pathlib.Path(file).name, faster(rules))))
        config["rule_files"] = files
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
        config["scrape_configs"][0]["static_configs"] = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": instance}} for instance, port in hosts.items()
        ]
        self.start("prometheus", self.tools / "prometheus", f"--config.file={self.write('prometheus.yml', config)}",
                   f"--web.listen-address=127.0.0.1:{self.prometheus}", f"--storage.tsdb.path={self.folder / 'tsdb'}",
                   # By default an alert that fires is sent again once a minute.
                   "--rules.alert.resend-delay=1s")

    def api(self, path, **arguments):
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            answer = json.loads(get(url))
        except urllib.error.HTTPError as error:
            raise SystemExit(f"FAILED: {arguments}: {error.read().decode()}") from None
        return answer["data"]

    def query(self, expr):
        return self.api("query", query=expr)["result"]

    def history(self, expr, step="250ms"):
        now = time.time()
        return self.api("query_range", query=expr, start=now - SECONDS - 5, end=now, step=step)["result"]

    def end(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# --- what is asserted -------------------------------------------------------------------------------------------------

failures = []


def expect(fact, sentence):
    print(f"{'ok  ' if fact else 'FAIL'} {sentence}")
    if not fact:
        failures.append(sentence)


def check_autoscaler(world):
    got = world.autoscaler
    expect(got.got and all(alert["labels"].get("lvm_autoscaler") == "extend" for _, alert in got.got),
           f"the daemon got {len(got.got)} alerts, all of them triggers")
    expect(set(got.answers) == {202}, f"and answered 202 to each of {len(got.answers)} requests")
    expect(all(alert["status"] == "firing" for _, alert in got.got), "it is not told of resolved ones")
    for lv, vg, place in (("data_lv", "storage_vg", "/data"), ("busy_lv", "storage_vg", "/busy"), ("media_lv", "media_vg", "/srv/media")):
        expect(got.firing(instance=HOST, vg=vg, lv=lv, mountpoint=place), f"{lv} reached it with instance, vg, lv and mountpoint")
        grown = world.query(f'lvm_autoscaler_operations_total{{lv="{lv}", outcome="grown"}}')
        expect(float(grown[0]["value"][1]) >= (2 if lv == "data_lv" else 1), f"{lv} grew, {grown[0]['value'][1]} times")
    expect(not got.firing(lv="old_lv") and not got.firing(lv="calm_lv"), "what is no target did not reach it")
    grown = float(world.query('lvm_autoscaler_operations_total{lv="data_lv", outcome="grown"}')[0]["value"][1])
    periods = len(apart(world.history('count(ALERTS{alertname="LvmFileSystemFilling", alertstate="firing", lv="data_lv"})')))
    expect(1 <= periods <= grown + 1, f"its alert fired {periods} times for {grown:.0f} growths: it does not flap")


def apart(found):
    """The periods in which a query had a result."""
    times = [at for at, _ in found[0]["values"]] if found else []
    return [at for before, at in zip([0, *times], times) if at - before > 0.6]


def check_people(world):
    got = world.people
    on_host = [(at, alert) for at, alert in got.got if alert["labels"].get("instance") == HOST]
    names = sorted({(alert["labels"]["alertname"], alert["labels"].get("lv", "")) for _, alert in on_host})
    print(f"     people got: {', '.join(f'{name} {lv}'.strip() for name, lv in names)}")
    expect(not [1 for _, alert in got.got if "lvm_autoscaler" in alert["labels"]], "people got no trigger")
    expect(not got.firing(lv="data_lv") and not got.firing(lv="calm_lv"), "people heard nothing of what the daemon deals with")
    expect(got.firing(alertname="LvmFileSystemNearlyFull", lv="old_lv"), "people heard that old_lv, no target, is nearly full")
    expect(got.firing(alertname="LvmAutoscalerOutOfHeadroom", lv="media_lv"), "people heard that media_lv is out of headroom")
    expect(not got.firing(alertname="LvmFileSystemNearlyFull", lv="media_lv"), "and, of media_lv, only the cause")
    held = world.history('lvm_filesystem:usage:ratio{lv="busy_lv"} > 0.9 and on (lv) lvm_autoscaler_target:grows_by_itself')
    expect(held and len(held[0]["values"]) > 28, "busy_lv was over 90 % for longer than the alert waits, and could grow by itself")
    early = world.history('ALERTS{alertname="LvmFileSystemNearlyFull", lv="busy_lv"} and on (lv) lvm_filesystem:usage:ratio < 0.965')
    expect(not early, "and was not nearly full, not even pending")
    told = [at for at, _ in got.firing(alertname="LvmFileSystemNearlyFull", lv="busy_lv")]
    over = world.history('lvm_filesystem:usage:ratio{lv="busy_lv"} >= 0.97')
    expect(over and told, "people heard of busy_lv in the end, over 97 %")
    if over and told:
        since = over[0]["values"][0][0] - (time.time() - time.monotonic()) - got.began
        expect(min(told) >= since - 0.5, f"and not before: over 97 % after {since:.1f} s, told after {min(told):.1f} s")
    of_recorded = {alert["labels"]["alertname"] for _, alert in got.firing(instance=RECORDED)}
    expect("LvmPhysicalVolumeMissing" in of_recorded, "people heard of the missing disk of the recorded host")


def check_told(world):
    grown = sum(float(each["value"][1]) for each in world.query('lvm_autoscaler_operations_total{outcome="grown"}'))
    expect(len(world.told.answers) >= grown - 1 > 0, f"{len(world.told.answers)} notifications came of {grown:.0f} growths")
    written = (world.folder / "audit.jsonl.simulated").read_text().count('"event":"result"')
    expect(written >= grown, f"and the audit log has {written} results")


def has_data(world, expr, variables):
    """For any host; a query of a panel that is repeated has all values of its variable here."""
    for instance in (HOST, RECORDED):
        asked = expr
        for name, value in ({"instance": instance, "vg": ".*", "mountpoint": ".*", "__range": "5m", "__rate_interval": "15s"}).items():
            asked = asked.replace(f"${name}", value)
        if match := re.fullmatch(r"label_values\((.*), (\w+)\)", asked):
            found = world.api(f"label/{match[2]}/values", **{"match[]": match[1]})
        else:
            found = world.history(asked, "1s")
        if found:
            return True
    return False


def check_dashboards(world):
    exported = check.exported()
    asked = excused = 0
    for file, board in check.dashboards().items():
        for where, expr in check.expressions(board):
            missing = check.names(expr) & check.AWAITED - exported
            if missing:
                excused += 1
                print(f"     not asked, {file.name}: {where}: {', '.join(missing)} is not exported yet")
                continue
            asked += 1
            if not has_data(world, expr, {}):
                expect(False, f"{file.name}: {where} has data: {expr}")
    expect(asked > 60, f"{asked} queries of panels, annotations and variables were asked, {excused} not")


def main():
    tools, daemon = sys.argv[1:3]
    world = World(tools, os.path.abspath(daemon))
    try:
        world.begin()
        time.sleep(SECONDS)
        check_autoscaler(world)
        check_people(world)
        check_told(world)
        check_dashboards(world)
        if "--pictures" in sys.argv:
            import pictures

            pictures.draw(world, pathlib.Path(sys.argv[sys.argv.index("--pictures") + 1]))
    finally:
        world.end()
    if failures:
        sys.exit(f"{len(failures)} FAILED; logs are in {world.folder}")
    shutil.rmtree(world.folder)


if __name__ == "__main__":
    main()
