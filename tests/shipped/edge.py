#!/usr/bin/env python3
"""TLS, certificates of clients, users and tokens with the programs that use them: the commented lines of
configs/prometheus.yml and configs/alertmanager.yml, uncommented, checked by promtool and amtool, and then at work.

Two daemons on simulated hosts: one asks everybody for a certificate, one for a user and password; the webhook of both
for a token. A real Prometheus scrapes both, a real Alertmanager makes both grow a volume, and without the credentials,
or with wrong ones, nothing of that works.

usage: edge.py TOOLS_FOLDER DAEMON
"""

import copy
import os
import re
import shutil
import subprocess
import sys

import live
import yaml

HOST = """
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 20GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 90% } }
"""
CONFIG = """
monitor: { targets: [{ lv_path: /dev/vg/data, mount_point: /data, increment: 1GiB }] }
webhook: { authorization: { credentials_file: %s } }
state: { directory: %s }
"""
TLS = "tls_server_config: { cert_file: server.crt, key_file: server.key%s }\n"
CLIENTS = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"
# A vector of the tests of Go's bcrypt.
USERS = "basic_auth_users: { prometheus: $2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga }\n"
PASSWORD, TOKEN = "allmine", "t0ken-of-the-webhook"

KEYS = "http_config|authorization|credentials_file|tls_config|ca_file|cert_file|key_file|scheme|basic_auth|username|password_file"


def uncommented(file):
    """As a person would who removes the marks in front of those settings and nothing else."""
    text, count = re.subn(rf"(?m)^( *)# ( *)({KEYS}):(?= |$)", r"\1\2\3:", (live.ROOT / file).read_text())
    assert count > 5, f"{file} has only {count} such settings"
    return text


def elsewhere(text, folder):
    """With the files of this test in place of those of a host."""
    return re.sub(r"/etc/(?:alertmanager|prometheus)/", f"{folder}/", text)


class World(live.World):
    def certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *curve, "-days", "1", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt")
        self.write("extensions", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for name in ("server", "prometheus", "alertmanager"):
            openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
                    "-extfile", "extensions", "-out", f"{name}.crt")
        self.write("lvm-autoscaler.password", PASSWORD)
        self.write("lvm-autoscaler.token", TOKEN)
        self.write("wrong", "wr0ng")

    def daemon_with(self, name, web):
        port = live.free_port()
        self.write("host.yaml", HOST)
        token = self.folder / "lvm-autoscaler.token"
        self.write(f"{name}.yaml", CONFIG % (token, self.folder / f"state-{name}"))
        self.write(f"{name}-web.yml", web)
        self.start(name, self.daemon, "serve", f"--config.file={name}.yaml", "--simulate=host.yaml",
                   f"--web.config.file={name}-web.yml", f"--web.listen-address=127.0.0.1:{port}")
        return port

    def checked(self, tool, *arguments):
        done = subprocess.run([str(self.tools / tool), *map(str, arguments)], capture_output=True, text=True, cwd=self.folder)
        live.expect(done.returncode == 0, f"{tool} takes the config with TLS and credentials uncommented")
        if done.returncode:
            print(done.stdout, done.stderr)

    def prometheus_over_tls(self, ports):
        config = yaml.safe_load(elsewhere(uncommented("configs/prometheus.yml"), self.folder))
        config["rule_files"] = []
        del config["alerting"]
        [whole] = config["scrape_configs"]

        def job(name, daemon, *without, **other):
            made = copy.deepcopy(whole)
            made.update(job_name=name, static_configs=[{"targets": [f"127.0.0.1:{ports[daemon]}"]}])
            for key in without:
                (made["tls_config"] if key.endswith("_file") else made).pop(key)
            if other:
                made["basic_auth"].update(other)
            return made

        certificate = ("cert_file", "key_file")
        config["scrape_configs"] = [
            job("clients", "clients", "basic_auth"), job("users", "users", *certificate),
            job("no certificate", "clients", "basic_auth", *certificate),
            job("no user", "users", "basic_auth", *certificate),
            job("wrong password", "users", *certificate, password_file=str(self.folder / "wrong")),
            job("plain text", "users", *certificate) | {"scheme": "http"},
        ]
        # Long enough to check a password, which takes a debug build a second.
        config["global"] = {"scrape_interval": "5s", "scrape_timeout": "5s"}
        path = self.write("prometheus.yml", config)
        self.checked("promtool", "check", "config", path)
        self.prometheus = live.free_port()
        self.start("prometheus", self.tools / "prometheus", f"--config.file={path}", f"--web.listen-address=127.0.0.1:{self.prometheus}",
                   f"--storage.tsdb.path={self.folder / 'tsdb'}")

    def alertmanager_over_tls(self, ports):
        config = live.faster(yaml.safe_load(elsewhere(uncommented("configs/alertmanager.yml"), self.folder)))
        [receiver] = [each for each in config["receivers"] if each["name"] == "lvm-autoscaler"]
        [whole] = receiver["webhook_configs"]

        def to(daemon, credentials=None, certificate=True):
            made = copy.deepcopy(whole)
            made["url"] = f"https://127.0.0.1:{ports[daemon]}/webhook/alertmanager"
            if credentials:
                made["http_config"]["authorization"]["credentials_file"] = str(credentials)
            for key in () if certificate else ("cert_file", "key_file"):
                made["http_config"]["tls_config"].pop(key)
            return made

        wrong = self.folder / "wrong"
        receiver["webhook_configs"] = [
            to("clients"), to("users", certificate=False), to("users", wrong, certificate=False), to("clients", wrong),
        ]
        path = self.write("alertmanager.yml", config)
        self.checked("amtool", "check-config", path)
        port = live.free_port()
        self.start("alertmanager", *self.with_templates(), self.tools / "alertmanager", f"--config.file={path}",
                   f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", f"--storage.path={self.folder / 'am'}")
        live.wait_for("Alertmanager", lambda: live.get(f"http://127.0.0.1:{port}/-/ready"), 60)
        subprocess.run([str(self.tools / "amtool"), f"--alertmanager.url=http://127.0.0.1:{port}", "alert", "add", "alertname=Full",
                        "lvm_autoscaler=extend", "instance=db1", "vg=vg", "lv=data", "mountpoint=/data"], check=True)

    def is_one(self, expr):
        found = self.query(expr)
        return len(found) == 1 and float(found[0]["value"][1]) >= 1


def main():
    world = World(*sys.argv[1:2], os.path.abspath(sys.argv[2]))
    try:
        world.certificates()
        ports = {"clients": world.daemon_with("clients", TLS % CLIENTS), "users": world.daemon_with("users", TLS % "" + USERS)}
        world.prometheus_over_tls(ports)
        live.wait_for("Prometheus", lambda: live.get(f"http://127.0.0.1:{world.prometheus}/-/ready"), 60)
        for job, sentence in (("clients", "with a certificate"), ("users", "with user and password")):
            live.wait_for(f"a scrape {sentence}", lambda: world.is_one(f'lvm_up{{job="{job}"}}'), 60)
            live.expect(world.is_one(f'up{{job="{job}"}}'), f"a real Prometheus scrapes over TLS {sentence}")
        for job in ("no certificate", "no user", "wrong password", "plain text"):
            live.wait_for(f"a scrape with {job}", lambda: world.query(f'up{{job="{job}"}}'), 60)
            live.expect(not world.is_one(f'max_over_time(up{{job="{job}"}}[5m])'), f"with {job} it does not")
        world.alertmanager_over_tls(ports)
        for job in ("clients", "users"):
            for what, expr in (
                ("accepts the alert that came with the token", f'lvm_autoscaler_webhook_requests_total{{job="{job}", code="202"}}'),
                ("grew the volume", f'lvm_autoscaler_operations_total{{job="{job}", outcome="grown"}}'),
                ("refuses the wrong token", f'lvm_autoscaler_webhook_requests_total{{job="{job}", code="401"}}'),
            ):
                live.wait_for(f"{job}: {what}", lambda: world.is_one(expr), 60)
                live.expect(True, f"the daemon that asks for {job} {what}")
    finally:
        world.end()
    if live.failures:
        sys.exit(f"{len(live.failures)} FAILED; logs are in {world.folder}")
    shutil.rmtree(world.folder)


if __name__ == "__main__":
    main()
