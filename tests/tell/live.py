"""Notifications and audit log at work; see tests/tell.sh. Usage: live.py DAEMON

Never asserts a time: that receivers delay nothing is seen from what happened before what.
"""

import email
import email.policy
import http.server
import json
import logging
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings

import jsonschema
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

DAEMON = pathlib.Path(sys.argv[1]).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
# aiosmtpd warns of a password without STARTTLS, not seeing that the connection is encrypted already.
warnings.filterwarnings("ignore", message="Requiring AUTH")
logging.getLogger("mail.log").setLevel(logging.ERROR)
PATIENCE = 120  # seconds; only a bound for what never comes

HOST = """
names: [db1]
volume_groups:
  - name: vg
    physical_volumes: [{ name: /dev/sdb, size: 40GiB }]
    logical_volumes:
      - { name: data, size: 4GiB, filesystem: { type: ext4, mount_point: /data, used: 85% } }
      - { name: media, size: 4GiB, filesystem: { type: xfs, mount_point: "/srv/<b>&me's", used: 85% } }
"""

TARGETS = """
defaults: { threshold_percent: 80, increment: 2GiB }
monitor:
  interval_seconds: 1
  targets:
    - { lv_path: /dev/vg/data, mount_point: /data }
    - { lv_path: /dev/vg/media, mount_point: "/srv/<b>&me's" }
"""


def eventually(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.05)
    return value


class Mailbox:
    """An SMTP server that wants a password, and STARTTLS before it; or one that speaks TLS from the first byte."""

    def __init__(self, folder, password, implicit=False):
        self.mails = []
        self.refused = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

        def authenticate(server, session, envelope, mechanism, data):
            good = data.login == b"lvm" and data.password == password.encode()
            self.refused += not good
            # Not handled: the server then answers 535 itself.
            return AuthResult(success=good, handled=good)

        box = self

        class Handler:
            async def handle_DATA(self, server, session, envelope):
                assert server.transport.get_extra_info("ssl_object") is not None and session.authenticated
                box.mails.append((envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)))
                return "250 taken"

        class Server(Controller):
            def factory(self):
                # aiosmtpd takes only STARTTLS for encryption; without it there is none but the implicit one.
                starttls = dict(auth_require_tls=False) if implicit else dict(tls_context=context, require_starttls=True)
                return SMTP(Handler(), auth_required=True, authenticator=authenticate, hostname="mail.example.com", **starttls)

        self.server = Server(None, hostname="127.0.0.1", port=free_port(), ssl_context=context if implicit else None)
        self.server.start()
        self.port = self.server.port


class Receiver:
    """An HTTP receiver that fails so often first; with a certificate it speaks HTTPS."""

    def __init__(self, fail=0, status=503, certificate=None):
        self.seen, self.failures = [], fail
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
                failing = receiver.failures > 0
                receiver.failures -= failing
                self.send_response(status if failing else 200)
                if status == 302 and failing:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            # The handshake is made by the thread of the connection, so that one that fails stops nobody.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        # A handshake that ends because nobody trusts us is what is wanted.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_port}/hook"


class Dead:
    """Accepts connections and never says a word."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            self.connections.append(self.socket.accept()[0])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


RUNNING = []


class Daemon:
    def __init__(self, folder, config, expect=0):
        self.folder = folder
        (folder / "host.yaml").write_text(HOST)
        (folder / "config.yaml").write_text(config)
        self.log = open(folder / "log", "ab")
        self.begun = self.log.tell()
        self.port = free_port()
        RUNNING.append(self)
        self.process = subprocess.Popen(
            [DAEMON, "serve", f"--config.file={folder}/config.yaml", f"--simulate={folder}/host.yaml",
             f"--web.listen-address=127.0.0.1:{self.port}"], stderr=self.log)

    def said(self):
        return (self.folder / "log").read_bytes()[self.begun:].decode()

    def wait_for(self, what):
        def look():
            assert self.process.poll() is None, self.said()
            return what in self.said()
        eventually(f"{what!r} in the log", look)

    def metric(self, name):
        # A proxy of this machine is none of the daemon's.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        page = opener.open(f"http://127.0.0.1:{self.port}/metrics").read().decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.M)
        return float(found.group(1)) if found else None

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)
        self.log.close()


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def check_audit(records):
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/audit.schema.json").read_text()))
    for record in records:
        schema.validate(record)
    numbers = [record["seq"] for record in records]
    assert numbers == list(range(1, len(numbers) + 1)), f"a gap, or something twice: {numbers}"


def base(folder):
    return f"state: {{ directory: {folder}/state }}\naudit: {{ file: {folder}/audit.jsonl }}\n" + TARGETS


def folder(place, name):
    made = place / name
    made.mkdir()
    return made


def delivered(place):
    """Both kinds arrive, after what failed; what they say is true and stays text."""
    here = folder(place, "delivered")
    box, hook, slack = Mailbox(place, "s3cret"), Receiver(fail=2), Receiver()
    templated, moved, never = Receiver(), Receiver(fail=9, status=302), Receiver(fail=9, status=401)
    (here / "password").write_text("s3cret\n")
    (here / "token").write_text("t0ken\n")
    (here / "url").write_text(slack.url + "\n")
    (here / "page.html").write_text("<p>{{ mount_point }}</p>")
    daemon = Daemon(here, base(here) + f"""
external_url: https://db1.example.com:19845/
notify:
  - webhook: {{ url: "{hook.url}", on: [planned, grown], authorization: {{ credentials_file: {here}/token }} }}
  - webhook: {{ url_file: {here}/url, format: slack }}
  - webhook: {{ url: "{templated.url}", template: '{{"where": {{{{ mount_point }}}}, "n": {{{{ after_bytes }}}}}}' }}
  - webhook: {{ url: "{moved.url}" }}
  - webhook: {{ url: "{never.url}" }}
  - email:
      smarthost: 127.0.0.1:{box.port}
      from: LVM <lvm@example.com>
      to: [ops@example.com, "Böss <boss@example.com>"]
      auth_username: lvm
      auth_password_file: {here}/password
      ca_file: {place}/cert.pem
      subject: "{{{{ host }}}}\\r\\nBcc: evil@example.com\\r\\n{{{{ title }}}}"
      html_file: {here}/page.html
""")
    eventually("two mails", lambda: len(box.mails) == 2)
    # Two failed, and then each of planned and grown of two volumes.
    ids = lambda: {body["id"] for _, body in hook.seen[2:]}
    eventually("four notifications behind two failures", lambda: len(ids()) == 4)
    eventually("slack", lambda: len(slack.seen) == 2)
    eventually("template", lambda: len(templated.seen) == 2)
    failed = 'lvm_autoscaler_notifications_total{kind="webhook",outcome="failed"}'
    eventually("given up at once", lambda: daemon.metric(failed) == 4)
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/notification.schema.json").read_text()))
    for headers, body in hook.seen:
        schema.validate(body)
        assert headers["authorization"] == "Bearer t0ken", headers
    grown = {b["lv"]: b for _, b in hook.seen if b["event"] == "grown"}
    assert grown["data"]["before_bytes"] == 4 << 30 and grown["data"]["after_bytes"] == 6 << 30, grown
    ran = grown["data"]["commands"]
    assert len(ran) == 3 and "lvextend" in ran[1] and "-l 1536 -- vg/data" in ran[1], ran
    assert ran[2] == "resize2fs /dev/mapper/vg-data", ran
    assert grown["data"]["host"] == "db1 (simulated)" and grown["data"]["link"] == "https://db1.example.com:19845/"
    assert grown["media"]["mount_point"] == "/srv/<b>&me's"
    assert {b["where"] for _, b in templated.seen} == {"/data", "/srv/<b>&me's"}, templated.seen
    assert all(b["n"] == 6 << 30 for _, b in templated.seen)
    assert any("/srv/&lt;b&gt;&amp;me's" in b["text"] for _, b in slack.seen), slack.seen
    assert len(moved.seen) == 2 and len(never.seen) == 2, "a redirect was followed, or what is refused was repeated"
    assert daemon.metric('lvm_autoscaler_notifications_total{kind="webhook",outcome="retried"}') == 2
    assert daemon.metric('lvm_autoscaler_notifications_total{kind="email",outcome="sent"}') == 2
    for envelope, mail in box.mails:
        assert envelope.rcpt_tos == ["ops@example.com", "boss@example.com"], envelope.rcpt_tos
        assert mail["Bcc"] is None and "evil@example.com" in mail["Subject"], mail.items()
        assert mail["Subject"].startswith("db1 (simulated)") and mail["Auto-Submitted"] == "auto-generated"
        text = mail.get_body(("plain",)).get_content()
        assert "4 GiB before, 6 GiB now" in text and "-l 1536 -- vg/" in text, text
        assert "https://db1.example.com:19845/" in text
    html = [mail.get_body(("html",)).get_content().strip() for _, mail in box.mails]
    assert "<p>&#x2f;srv&#x2f;&lt;b&gt;&amp;me&#x27;s</p>" in html, html
    said = daemon.said()
    assert "s3cret" not in said and "t0ken" not in said and "/hook" not in said, "a secret is in the log"
    daemon.stop()

    # To try it: the same receivers, and what goes wrong is said.
    run = lambda: subprocess.run([DAEMON, "check-config", "--send-test", here / "config.yaml"], capture_output=True, text=True)
    moved.failures = never.failures = 0
    ran = run()
    assert ran.returncode == 0 and ran.stdout.count(": sent\n") == 6, ran
    assert "a test of notifications" in box.mails[-1][1]["Subject"]
    (here / "password").write_text("wrong")
    ran = run()
    assert ran.returncode == 1 and "notify[5].email: not sent: permanent error (535)" in ran.stdout, ran
    assert box.refused == 1, "a password that was refused was tried again"
    (here / "password").unlink()
    ran = run()
    assert ran.returncode == 1 and f"notify[5].email: {here}/password cannot be read" in ran.stdout, ran
    print("delivered: 2 mails with STARTTLS and a password, 4 notifications behind 2 failures, slack, template, test")


def dead(place):
    """Receivers that hang or are not there: the operations end while they do, and are told when they answer again."""
    here = folder(place, "dead")
    hanging, refusing = Dead(), free_port()
    config = base(here) + f"""
notify:
  - webhook: {{ url: "http://127.0.0.1:{hanging.port}/", timeout: 10m }}
  - email: {{ smarthost: "127.0.0.1:{hanging.port}", from: a@example.com, to: [b@example.com], tls: none, timeout: 10m }}
  - webhook: {{ url: "http://127.0.0.1:{refusing}/" }}
"""
    daemon = Daemon(here, config)
    results = lambda: [r for r in lines(here / "audit.jsonl.simulated") if r["event"] == "result"]
    eventually("both grew", lambda: len(results()) == 2)
    # Both attempts hang at the first message, or have not begun it; none of them can have ended.
    sent = lambda kind: daemon.metric(f'lvm_autoscaler_notifications_total{{kind="{kind}",outcome="sent"}}')
    eventually("both hang", lambda: len(hanging.connections) == 2)
    assert sent("webhook") == 0 and sent("email") == 0
    assert [r["outcome"] for r in results()] == ["grown", "grown"]
    # A crash now: what was not told is told by the next daemon, which has a receiver that lives.
    daemon.stop(signal.SIGKILL)
    hook = Receiver()
    daemon = Daemon(here, base(here) + f'notify: [{{ webhook: {{ url: "{hook.url}" }} }}]\n')
    eventually("told after the crash", lambda: len(hook.seen) >= 2)
    assert {b["lv"] for _, b in hook.seen if b["event"] == "grown"} == {"data", "media"}, hook.seen
    eventually("counted", lambda: sent("webhook") == 2)
    daemon.stop()
    # And not once more.
    told = len(hook.seen)
    daemon = Daemon(here, base(here) + f'notify: [{{ webhook: {{ url: "{hook.url}" }} }}]\n')
    daemon.wait_for("listening")
    time.sleep(1)
    daemon.stop()
    new = [b for _, b in hook.seen[told:] if b["event"] == "grown" and b["id"] in {b["id"] for _, b in hook.seen[:told]}]
    assert not new, new
    print("dead: both operations ended while every receiver hung; told once after the crash")


def audited(place):
    """Nothing is missing in the audit log, whatever happened to the daemon or the file."""
    here = folder(place, "audited")
    log = here / "audit.jsonl.simulated"
    daemon = Daemon(here, base(here))
    eventually("both grew", lambda: sum(r["event"] == "result" for r in lines(log)) == 2)
    daemon.stop(signal.SIGKILL)
    whole = lines(log)
    check_audit(whole)
    operations = {r["operation"] for r in whole if r["event"] == "result"}
    for number in operations:
        steps = [(r["name"], r["state"]) for r in whole if r["event"] == "step" and r["operation"] == number]
        decision = next(r for r in whole if r["event"] == "decision" and r.get("operation") == number)
        check = next(r for r in whole if r["seq"] == decision["check"])
        said = {guard["code"]: guard["verdict"] for guard in check["guards"]}
        # There is no LUKS here to be asked about.
        of_luks = [said.pop(code) for code in ("luks_unsupported", "luks_key")]
        assert check["event"] == "check" and len(said) > 25 and set(said.values()) == {"pass"}, said
        assert of_luks == ["not_asked", "not_asked"], of_luks
        assert [s["name"] for s in decision["steps"]] == [name for name, state in steps if state.endswith("done")], steps
    # A crash tore the last line, and others never came to the file.
    text = log.read_text().splitlines(keepends=True)
    log.write_text("".join(text[:-3]) + text[-3][:20])
    daemon = Daemon(here, base(here))
    eventually("what was missing is there again", lambda: lines_or_none(log, len(whole)))
    again = lines(log)
    assert again[:len(whole)] == whole
    check_audit(again)
    # Rotated by somebody else: SIGHUP opens a new one, and nothing is in both or in neither.
    os.rename(log, here / "moved")
    daemon.process.send_signal(signal.SIGHUP)
    eventually("a new file", log.exists)
    subprocess.run([DAEMON, "pause", "vg/data", f"--config.file={here}/config.yaml"], capture_output=True)
    daemon.stop()
    check_audit(lines(here / "moved") + lines(log))
    assert (os.stat(log).st_mode & 0o777) == 0o640
    # No disk for it: the operations go on, the metric says so, and later nothing is missing.
    there = folder(place, "full")
    (there / "state").mkdir()
    broken = base(there).replace(f"{there}/audit.jsonl", f"{there}/logs/audit.jsonl")
    (there / "logs").write_text("a file where a folder should be")
    daemon = Daemon(there, broken)
    daemon.wait_for("listening")
    grown = lambda vg: daemon.metric(f'lvm_autoscaler_operations_total{{vg="vg",lv="{vg}",outcome="grown"}}')
    eventually("both grew", lambda: grown("data") == 1 and grown("media") == 1)
    assert daemon.metric("lvm_autoscaler_audit_writable") == 0
    (there / "logs").unlink()
    log = there / "logs/audit.jsonl.simulated"
    eventually("caught up", lambda: sum(r["event"] == "result" for r in lines(log)) == 2)
    eventually("writable", lambda: daemon.metric("lvm_autoscaler_audit_writable") == 1)
    daemon.stop()
    check_audit(lines(log))
    print(f"audited: {len(again)} lines, valid, without a gap, after kill, torn end, rename, and no place to write")


def encrypted(place):
    """TLS from the first byte, for both kinds: only to who has the certificate that is trusted, and the password to
    nobody else."""
    here = folder(place, "encrypted")
    box, hook = Mailbox(place, "s3cret", implicit=True), Receiver(certificate=place)
    wrong_box, wrong_hook = Mailbox(place, "s3cret", implicit=True), Receiver(certificate=place)
    (here / "password").write_text("s3cret\n")
    (here / "token").write_text("t0ken\n")
    mail = lambda box, more: (f"email: {{ smarthost: '127.0.0.1:{box.port}', from: a@example.com, to: [b@example.com], tls: tls, "
                              f"auth_username: lvm, auth_password_file: {here}/password{more} }}")
    post = lambda hook, more: f"webhook: {{ url: '{hook.url}', authorization: {{ credentials_file: {here}/token }}{more} }}"
    trusted = f", ca_file: {place}/cert.pem"
    daemon = Daemon(here, base(here) + f"""
notify:
  - {mail(box, trusted)}
  - {post(hook, trusted)}
  - {mail(wrong_box, "")}
  - {post(wrong_hook, "")}
""")
    eventually("two mails", lambda: len(box.mails) == 2)
    eventually("two posts", lambda: len(hook.seen) == 2)
    assert all(headers["authorization"] == "Bearer t0ken" for headers, _ in hook.seen)
    # Of those whose certificate nobody vouches for.
    total = lambda kind, outcome: daemon.metric(f'lvm_autoscaler_notifications_total{{kind="{kind}",outcome="{outcome}"}}')
    for kind in ("email", "webhook"):
        eventually(f"{kind} is tried again", lambda: total(kind, "retried") >= 2)
        assert total(kind, "sent") == 2
    assert not wrong_box.mails and not wrong_hook.seen and not wrong_box.refused, "something was said to a stranger"
    daemon.stop()
    print("encrypted: 2 mails by SMTPS and 2 posts by HTTPS with ca_file; nothing to a certificate that is not trusted")


def reloaded(place):
    """SIGHUP changes receivers: what waited goes to the new one, the old one hears no more, and a wrong config changes
    nothing."""
    here = folder(place, "reloaded")
    refusing, first, second = free_port(), Receiver(), Receiver()

    def reload(notify, targets=TARGETS):
        (here / "config.yaml").write_text(base(here).replace(TARGETS, targets) + notify)
        daemon.process.send_signal(signal.SIGHUP)

    to = lambda url: f'notify: [{{ webhook: {{ url: "{url}", on: [grown] }} }}]\n'
    successful = "lvm_autoscaler_config_last_reload_successful"
    daemon = Daemon(here, base(here) + to(f"http://127.0.0.1:{refusing}/"))
    results = lambda: [r for r in lines_or_none(here / "audit.jsonl.simulated", 0) or [] if r["event"] == "result"]
    eventually("both grew", lambda: len(results()) == 2)
    retried = 'lvm_autoscaler_notifications_total{kind="webhook",outcome="retried"}'
    eventually("tried in vain", lambda: daemon.metric(retried) >= 1)
    reload(to(first.url))
    eventually("what waited is told", lambda: len(first.seen) == 2)
    assert {b["lv"] for _, b in first.seen} == {"data", "media"}, first.seen
    reload("notify: [{ webhook: { url: 'ftp://nowhere/' } }]\n")
    eventually("the wrong one is refused", lambda: daemon.metric(successful) == 0)
    # The receiver before it is still in force, then another one is, while volumes go on growing.
    again = TARGETS.replace("threshold_percent: 80", "threshold_percent: 50, cooldown: 1s")
    reload(to(first.url), again)
    eventually("both grew again", lambda: len(first.seen) == 4)
    again = TARGETS.replace("threshold_percent: 80", "threshold_percent: 30, cooldown: 1s")
    reload(to(second.url), again)
    eventually("the new one is told", lambda: len(second.seen) >= 2)
    assert daemon.metric(successful) == 1
    daemon.stop()
    # Whatever was told, to whom: each operation once.
    told = [b["operation"] for receiver in (first, second) for _, b in receiver.seen]
    grown = [r["operation"] for r in results()]
    assert sorted(told) == sorted(grown) and len(set(told)) == len(told), (told, grown)
    print(f"reloaded: {len(told)} growths told once each, over 4 reloads of which 1 was wrong")


def full(place):
    """The disk of the audit log is full, really: the operations go on, and what is missing is written when there is
    room."""
    here = folder(place, "really-full")
    disk = folder(here, "logs")
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True).returncode == 0
    if not mounted:
        print("SKIPPED: notifications and audit log on a full disk (it needs root, to mount a small tmpfs)")
        assert not os.environ.get("REQUIRE_ALL"), "REQUIRE_ALL is set and something was skipped"
        return
    try:
        # Room for a page: the log begins, and ends in the middle of a line.
        with open(disk / "filler", "wb", buffering=0) as filler:
            filler.write(bytes(60 << 10))
        daemon = Daemon(here, base(here).replace(f"{here}/audit.jsonl", f"{disk}/audit.jsonl"))
        log = disk / "audit.jsonl.simulated"
        grown = lambda lv: daemon.metric(f'lvm_autoscaler_operations_total{{vg="vg",lv="{lv}",outcome="grown"}}')
        daemon.wait_for("listening")
        eventually("both grew", lambda: grown("data") == 1 and grown("media") == 1)
        eventually("not writable", lambda: daemon.metric("lvm_autoscaler_audit_writable") == 0)
        assert os.statvfs(disk).f_bavail == 0, "the disk is not full"
        written = len(log.read_bytes().splitlines())
        (disk / "filler").unlink()
        eventually("caught up", lambda: sum(r["event"] == "result" for r in lines_or_none(log, 0) or []) == 2)
        eventually("writable", lambda: daemon.metric("lvm_autoscaler_audit_writable") == 1)
        assert daemon.metric("lvm_autoscaler_audit_lost_records_total") == 0
        daemon.stop()
        check_audit(lines(log))
        print(f"full: both grew with the log's disk full after {written} lines; then {len(lines(log))} lines without a gap")
    finally:
        for daemon in RUNNING:
            daemon.process.kill()
            daemon.process.wait()
        subprocess.run(["umount", "--lazy", disk], check=True)


def lines_or_none(file, least):
    try:
        found = lines(file)
    except json.JSONDecodeError:
        return None
    return found if len(found) >= least else None


def main():
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", place / "key.pem", "-out", place / "cert.pem", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"],
                       check=True, capture_output=True)
        for test in (delivered, encrypted, reloaded, dead, audited, full):
            try:
                test(place)
            except BaseException:
                for log in place.glob("*/log"):
                    print(f"--- {log}\n{log.read_text()[-6000:]}")
                raise
            finally:
                # A daemon that outlives a failed test would keep whoever reads our output waiting.
                for daemon in RUNNING:
                    daemon.process.kill()


main()
