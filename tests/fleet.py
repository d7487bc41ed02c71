#!/usr/bin/env python3
"""Five daemons and real Alertmanagers in network namespaces; tests/fleet.sh makes those and starts this in one of them.

All hosts look the same: the same volume group, volumes and mount points, all file systems over their threshold. So an
alert that reached the wrong host would grow something there. Asserted for each of the three ways to reach the right
one:

- relay      two clustered Alertmanagers 0.25, which deliver everything twice, behind one relay; one host is down at
             first: the others have grown before it is started, and it grows after
- template   an Alertmanager whose `url` is a template, without a relay
- generated  `lvm-autoscaler alertmanager-config`, checked by amtool 0.25 and used by an Alertmanager 0.25

Then twenty more hosts, all with other volumes and with one and the same config, whose policies say what may grow: on
each host what they select grew, by the step of the policy that selects it, and nothing else.

And at the end: on each host each of the three volumes grew exactly once, and no alert of another host was ever
delivered.

usage: fleet.py DAEMON OLDER_TOOLS NEWER_TOOLS PREFIX
"""

import json
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

DAEMON, OLDER, NEWER, PREFIX = sys.argv[1:5]
HOSTS = range(1, 6)
DOWN = 5
DEADLINE = 120  # generous: the machine may be busy
TOKEN = "a token for the fleet"
# The volume that each way grows.
WAYS = {"relay": "data_lv", "template": "media_lv", "generated": "more_lv"}

SIMULATED = """
names: [db{n}.fleet.example]
volume_groups:
  - name: storage-vg
    physical_volumes: [{{ name: /dev/sdb, size: 100GiB }}]
    logical_volumes:
      - {{ name: data_lv, size: 4GiB, filesystem: {{ type: ext4, mount_point: /data, used: 88% }} }}
      - {{ name: media_lv, size: 4GiB, filesystem: {{ type: xfs, mount_point: /media, used: 88% }} }}
      - {{ name: more_lv, size: 4GiB, filesystem: {{ type: ext4, mount_point: /more, used: 88% }} }}
"""

CONFIG = """
defaults: {{ increment: 2GiB }}
monitor:
  targets:
    - {{ lv_path: /dev/storage-vg/data_lv, mount_point: /data }}
    - {{ lv_path: /dev/storage-vg/media_lv, mount_point: /media }}
    - {{ lv_path: /dev/storage-vg/more_lv, mount_point: /more }}
webhook:
  instances: [db{n}.fleet.example, 10.231.77.{n}]
state: {{ directory: {folder}/state }}
"""

ALERTMANAGER = """
route:
  receiver: daemons
  group_by: [{group_by}]
  group_wait: 1s
  group_interval: 5s
  repeat_interval: 1h
receivers:
  - name: daemons
    webhook_configs:
      - url: '{url}'
        send_resolved: false
"""

# The same file on all of them; what only one host has is in its config.d.
POLICIES = """
defaults: { max_size: 50GiB, reserve: 5% }
policies:
  - { name: never, match: { vg: "*", mount_point: "/boot*" }, mode: "off" }
  - { name: databases, match: { vg: "data*", mount_point: "/srv/**", fs: [xfs] }, increment: 1GiB }
  - { name: tagged, match: { vg: "data*", tag: autoscale }, increment: 2GiB }
  - { name: logs, match: { vg: "sys", lv: "log*" }, increment: 3GiB }
"""
MANY = range(1, 21)

ROOT = pathlib.Path(__file__).resolve().parent.parent
running = []


def start(*command, log, namespace=None):
    inside = ["ip", "netns", "exec", f"{PREFIX}-{namespace}"] if namespace else []
    with open(log, "w") as out:
        process = subprocess.Popen([*inside, *command], stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    running.append(process)
    return process


def eventually(what, condition):
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            value = condition()
            if value:
                return value
        except OSError:
            pass
        time.sleep(0.2)
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-2000:]}", flush=True)
    sys.exit(f"fleet: waited {DEADLINE} s in vain until {what}")


def get(url, accept=None):
    with urllib.request.urlopen(urllib.request.Request(url), timeout=10) as answer:
        return answer.read().decode()


def metric(base, pattern):
    """The sum of all series that match."""
    found = re.findall(rf"^{pattern} ([0-9.e+-]+)$", get(f"{base}/metrics"), re.M)
    return sum(float(value) for value in found)


def base(n):
    return f"http://10.231.77.{n}:19845"


def grown(n, lv):
    return metric(base(n), rf'lvm_autoscaler_operations_total{{vg="storage-vg",lv="{lv}",outcome="grown"}}')


def daemon(n):
    home = folder / f"host{n}"
    home.mkdir(exist_ok=True)
    (home / "host.yaml").write_text(SIMULATED.format(n=n))
    (home / "config.yaml").write_text(CONFIG.format(n=n, folder=home))
    arguments = [f"--config.file={home}/config.yaml", f"--simulate={home}/host.yaml"]
    # The network is let in by a proxy, as where TLS and credentials are a proxy's.
    start(sys.executable, __file__, "proxy", "", "", PREFIX, f"10.231.77.{n}", namespace=n, log=folder / f"proxy{n}.log")
    start(DAEMON, "serve", *arguments, namespace=n, log=folder / f"daemon{n}.log")
    eventually(f"host {n} answers", lambda: get(f"{base(n)}/-/ready"))


def alertmanager(tools, name, config, port, *arguments):
    (folder / f"{name}.yml").write_text(config)
    subprocess.run([f"{tools}/amtool", "check-config", f"{name}.yml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    # Debian's Alertmanager reads its templates from /usr/share even if it was only unpacked somewhere.
    share = pathlib.Path(tools).parent / "share"
    own_share = ["unshare", "--mount", "sh", "-c", f'mount --bind {share} /usr/share && exec "$@"', "sh"]
    start(
        *own_share, f"{tools}/alertmanager", f"--config.file={name}.yml", f"--storage.path={folder}/{name}",
        f"--web.listen-address=127.0.0.1:{port}", *arguments, log=folder / f"{name}.log",
    )
    eventually(f"{name} is ready", lambda: get(f"http://127.0.0.1:{port}/-/ready"))


def fire(port, instance, way):
    """As node_exporter's rules name a volume: the hyphen of the group's name is doubled in the device's."""
    lv = WAYS[way]
    alerts = [
        {
            "labels": {
                "alertname": "Filling", "lvm_autoscaler": "extend", "severity": "warning", "instance": instance(n),
                "device": f"/dev/mapper/storage--vg-{lv}", "mountpoint": f"/{lv.removesuffix('_lv')}", "fstype": "ext4",
            },
            "annotations": {"summary": "is filling"},
        }
        for n in HOSTS
    ]
    body = json.dumps(alerts).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", body, {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=10).close()


def by_relay():
    hosts = [{"targets": [f"10.231.77.{n}:9100"], "labels": {"instance": f"db{n}.fleet.example"}} for n in HOSTS[:-1]]
    (folder / "hosts.json").write_text(json.dumps(hosts))
    start(DAEMON, "relay", "--targets-file=hosts.json", "--port=19845", log=folder / "relay.log")
    relay = "http://127.0.0.1:19846"
    eventually("the relay answers", lambda: get(f"{relay}/-/ready"))
    # A host that is added to the list needs no restart.
    hosts.append({"targets": [f"10.231.77.{DOWN}:9100"], "labels": {"instance": f"db{DOWN}.fleet.example"}})
    (folder / "hosts.json.new").write_text(json.dumps(hosts))
    (folder / "hosts.json.new").rename(folder / "hosts.json")
    eventually("the relay has read its list again", lambda: metric(relay, "lvm_autoscaler_relay_hosts") == len(HOSTS))
    # One group for all: the alert of the host that is down shares its payload with the others.
    subprocess.run([f"{OLDER}/amtool", "check-config", str(ROOT / "configs/fleet/alertmanager-relay.yml")], check=True,
                   stdout=subprocess.DEVNULL)
    config = ALERTMANAGER.format(group_by="alertname", url=f"{relay}/webhook/alertmanager")
    cluster = ["--cluster.peer-timeout=1ms", "--cluster.settle-timeout=1s"]
    alertmanager(OLDER, "one", config, 9093, "--cluster.listen-address=127.0.0.1:9094", *cluster)
    alertmanager(
        OLDER, "two", config, 9193, "--cluster.listen-address=127.0.0.1:9194", "--cluster.peer=127.0.0.1:9094", *cluster
    )
    two = lambda: json.loads(get("http://127.0.0.1:9193/api/v2/status"))["cluster"]
    eventually("they are a cluster", lambda: len(two()["peers"]) == 2 and two()["status"] == "ready")
    for port in (9093, 9193):
        fire(port, lambda n: f"db{n}.fleet.example:9100", "relay")
    for n in HOSTS[:-1]:
        eventually(f"host {n} grew although host {DOWN} is down", lambda: grown(n, WAYS["relay"]) == 1)
    outcome = r'lvm_autoscaler_relay_deliveries_total{host="db%d[^"]*",outcome="%s"}'
    eventually("the relay said that one was missing", lambda: metric(relay, 'lvm_autoscaler_relay_webhook_requests_total{code="502"}') >= 2)
    assert metric(relay, outcome % (DOWN, "unreachable")) >= 2 and metric(relay, outcome % (DOWN, "accepted")) == 0
    daemon(DOWN)
    eventually(f"host {DOWN} grew when it was back", lambda: grown(DOWN, WAYS["relay"]) == 1)
    eventually("both Alertmanagers got a 2xx", lambda: metric(relay, 'lvm_autoscaler_relay_webhook_requests_total{code="202"}') >= 2)
    twice = min(metric(relay, outcome % (n, "accepted")) for n in HOSTS)
    assert twice >= 2, "each host was meant to get everything twice at the least"
    print(f"fleet: relay: 5 of 5 grew, each was handed its alert {twice:.0f} times or more, one of them was down at first")


def by_template():
    # As shipped, but to people and over plain HTTP: here are no certificates.
    shipped = ROOT / "configs" / "fleet"
    shutil.copy(shipped / "lvm-autoscaler.tmpl", folder)
    shutil.copy(shipped / "alertmanager-templated.yml", folder / "shipped.yml")
    subprocess.run([f"{NEWER}/amtool", "check-config", "shipped.yml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    config = (shipped / "alertmanager-templated.yml").read_text().replace("https://{{", "http://{{")
    config = re.sub(r"        http_config:\n(?:          .*\n)+", "", config).replace("group_wait: 10s", "group_wait: 1s")
    alertmanager(NEWER, "template", config, 9293, "--cluster.listen-address=")
    fire(9293, lambda n: f"10.231.77.{n}:9100", "template")
    for n in HOSTS:
        eventually(f"host {n} grew", lambda: grown(n, WAYS["template"]) == 1)
    print("fleet: template: 5 of 5 grew")


def by_generated():
    (folder / "hosts.txt").write_text("".join(f"10.231.77.{n}\n" for n in HOSTS))
    subprocess.run([DAEMON, "alertmanager-config", f"--hosts={ROOT}/configs/fleet/hosts.json"], check=True, stdout=subprocess.DEVNULL)
    made = subprocess.run(
        [DAEMON, "alertmanager-config", "--hosts=hosts.txt"], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    alertmanager(OLDER, "generated", made.replace("group_wait: 10s", "group_wait: 1s"), 9393, "--cluster.listen-address=")
    for n in HOSTS:
        labels = ["lvm_autoscaler=extend", f"instance=10.231.77.{n}:9100"]
        receiver = f"lvm-autoscaler on 10.231.77.{n}"
        subprocess.run(
            [f"{OLDER}/amtool", "config", "routes", "test", "--config.file=generated.yml", f"--verify.receivers={receiver}",
             *labels], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    fire(9393, lambda n: f"10.231.77.{n}:9100", "generated")
    for n in HOSTS:
        eventually(f"host {n} grew", lambda: grown(n, WAYS["generated"]) == 1)
    # Names that want to be more than names.
    odd = [{"targets": ["10.0.0.9"], "labels": {"instance": "x\"'\n- {{ }}: [#"}}]
    (folder / "odd.json").write_text(json.dumps(odd))
    made = subprocess.run([DAEMON, "alertmanager-config", "--hosts=odd.json", "--credentials-file=/etc/a b\"c"], cwd=folder,
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    (folder / "odd.yml").write_text(made)
    subprocess.run([f"{OLDER}/amtool", "check-config", "odd.yml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    print("fleet: generated: 5 of 5 grew, amtool takes it whatever hosts are called")


def volumes_of(n):
    """What host n has: group, volume, file system, tag, mount point; and by how many GiB it is to grow."""
    dice = random.Random(n)
    for number in range(8):
        vg, lv = dice.choice(["data", "data_2", "sys"]), dice.choice(["pg", "log", "web"]) + str(number)
        fs, tag = dice.choice(["xfs", "ext4"]), dice.choice(["", "autoscale", "autoscaled"])
        folder = dice.choice(["/srv", "/srv/deep", "/boot", "/opt"])
        point = f"/boot{number}" if folder == "/boot" else f"{folder}/{lv}"
        if folder == "/boot":
            step = 0
        elif vg.startswith("data") and folder.startswith("/srv") and fs == "xfs":
            step = 1
        elif vg.startswith("data") and tag == "autoscale":
            step = 2
        else:
            step = 3 if vg == "sys" and lv.startswith("log") else 0
        yield vg, lv, fs, tag, point, step


def by_policies():
    """Twenty hosts with one config, behind the relay, on addresses of their own of this namespace's loopback."""
    hosts = []
    for n in MANY:
        home = folder / f"policies{n}"
        (home / "config.d").mkdir(parents=True)
        (home / "config.yaml").write_text(POLICIES)
        own = {"webhook": {"instances": [f"many{n}.fleet.example"]}, "state": {"directory": f"{home}/state"}}
        (home / "config.d" / "host.yaml").write_text(json.dumps(own))
        groups = []
        for number, vg in enumerate(["data", "data_2", "sys"]):
            lvs = [
                {"name": lv, "size": "4GiB", "tags": [tag] if tag else [],
                 "filesystem": {"type": fs, "mount_point": point, "used": "88%"}}
                for of, lv, fs, tag, point, _ in volumes_of(n) if of == vg
            ]
            disk = {"name": f"/dev/sd{number}", "size": "200GiB"}
            groups.append({"name": vg, "physical_volumes": [disk], "logical_volumes": lvs})
        (home / "host.yaml").write_text(json.dumps({"names": [f"many{n}"], "volume_groups": groups}))
        address = f"127.0.2.{n}:19845"
        start(DAEMON, "serve", f"--config.file={home}/config.yaml", f"--simulate={home}/host.yaml",
              f"--web.listen-address={address}", log=folder / f"many{n}.log")
        hosts.append({"targets": [address], "labels": {"instance": f"many{n}.fleet.example"}})
    (folder / "many.json").write_text(json.dumps(hosts))
    start(DAEMON, "relay", "--targets-file=many.json", "--web.listen-address=127.0.0.1:19946", "--port=19845",
          log=folder / "relay-many.log")
    for n in MANY:
        eventually(f"host {n} answers", lambda: get(f"http://127.0.2.{n}:19845/-/ready"))
    config = ALERTMANAGER.format(group_by="alertname", url="http://127.0.0.1:19946/webhook/alertmanager")
    alertmanager(OLDER, "many", config, 9493, "--cluster.listen-address=")
    alerts = [
        {"labels": {"alertname": "Filling", "lvm_autoscaler": "extend", "instance": f"many{n}.fleet.example:9100", "vg": vg, "lv": lv}}
        for n in MANY for vg, lv, *_ in volumes_of(n)
    ]
    request = urllib.request.Request(
        "http://127.0.0.1:9493/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=10).close()
    grew = refused = 0
    for n in MANY:
        page = f"http://127.0.2.{n}:19845"
        wanted = {f"{vg}/{lv}": step for vg, lv, *_, step in volumes_of(n)}
        eventually(f"host {n} has done what its policies say", lambda: metric(
            page, r'lvm_autoscaler_operations_total{[^}]*outcome="grown"}') == sum(step > 0 for step in wanted.values()))
        text = get(f"{page}/metrics")
        sizes = re.findall(r'^lvm_lv_size_bytes{vg="([^"]*)",lv="([^"]*)"[^}]*} ([0-9.e+]+)$', text, re.M)
        sizes = {f"{vg}/{lv}": float(size) / 2**30 - 4 for vg, lv, size in sizes}
        assert sizes == wanted, f"host {n}: grew by {sizes}, wanted {wanted}"
        grew += sum(step > 0 for step in wanted.values())
        refused += sum(step == 0 for step in wanted.values())
    print(f"fleet: policies: one config on {len(MANY)} hosts, {grew} volumes grew by the step of their policy, {refused} others did not")


def proxy(address):
    """Passes connections to this address on to the daemon, which listens on this host only."""
    listener = socket.create_server((address, 19845))

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for side in (source, sink):
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", 19845))
        except OSError:
            client.close()
            continue
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def main():
    began = time.monotonic()
    for n in HOSTS:
        if n != DOWN:
            daemon(n)
    by_relay()
    by_template()
    by_generated()
    by_policies()
    for n in HOSTS:
        for lv in WAYS.values():
            assert grown(n, lv) == 1, f"{lv} of host {n} grew {grown(n, lv)} times"
        total = metric(base(n), r'lvm_autoscaler_operations_total{[^}]*outcome="[^"]*"}')
        assert total == len(WAYS), f"host {n} has {total} operations"
        strangers = metric(base(n), r'lvm_autoscaler_refusals_total{[^}]*code="other_host"}')
        assert strangers == 0, f"host {n} was handed {strangers} alerts of other hosts"
    print(f"fleet: each alert grew its own target, once; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    if DAEMON == "proxy":
        proxy(sys.argv[5])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lvmas-fleet."))
    try:
        main()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
