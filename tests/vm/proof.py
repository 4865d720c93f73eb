"""What is proved on the machine: proof.py limits|selinux FOLDER PORT"""

import http.client
import json
import pathlib
import re
import shutil
import ssl
import sys
import time
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from machine import Machine

# The page of a hub that has just started, on an emulated processor.
ANSWER_SECONDS = 120
# Everything of a server that has been asked to end.
END_SECONDS = 90


class Web:
    """Cookies, redirects, one connection for each request; the hub's certificate is of its own making."""

    def __init__(self, port):
        self.port, self.cookies = port, {}
        self.trust = ssl.create_default_context()
        self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE

    def ask(self, target, form=None):
        """One request; gives status, headers and text."""
        path = urlsplit(target).path
        fitting = {n: v for (n, p), v in sorted(self.cookies.items(), key=lambda c: len(c[0][1])) if path.startswith(p)}
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in fitting.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS, context=self.trust)
        try:
            connection.request("GET" if form is None else "POST", target, form and urlencode(form), headers)
            answer = connection.getresponse()
            for line in answer.headers.get_all("Set-Cookie") or []:
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name, morsel["path"] or "/"] = morsel.value
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def page(self, target, form=None):
        """Follows redirects; gives status and text."""
        for _ in range(20):
            status, headers, text = self.ask(target, form)
            if status not in (301, 302, 303, 307):
                return status, text
            target, form = urljoin(target, headers["Location"]), None
            target = urlsplit(target)._replace(scheme="", netloc="").geturl()
        raise AssertionError(f"too many redirects, the last one to {target}")

    def log_in(self, user):
        self.user = user
        self.page("/hub/login")
        xsrf = self.cookies["_xsrf", "/hub/"]
        form = {"_xsrf": xsrf, "username": user, "password": f"pass of {user}"}
        status, _, text = self.ask("/hub/login", form)
        assert status == 302, f"the login got {status}: {words(text)}"

    def start(self):
        self.page(f"/hub/spawn/{self.user}")
        return wait_for("the server", lambda: self.server("who"), ANSWER_SECONDS)

    def server(self, action):
        """What the person's own server answers, if it does."""
        status, _, text = self.ask(f"/user/{self.user}/{action}")
        return json.loads(text) if status == 200 and text.startswith("{") else None

    def stop(self):
        xsrf = self.cookies["_xsrf", "/hub/"]
        status, _, text = self.ask(f"/hub/stop/{self.user}", {"_xsrf": xsrf})
        assert status in (302, 303), f"the stop got {status}: {words(text)}"


def words(text):
    return " ".join(re.sub("<[^>]*>", " ", re.sub("(?s)<(script|style).*?</\\1>", " ", text)).split())


def wait_for(what, condition, seconds=END_SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = condition()
        except (OSError, http.client.HTTPException):
            found = None
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"after {seconds} s there was still not: {what}")


def good(text):
    print(f"  good: {text}", flush=True)


class Host:
    """What root sees on the machine."""

    def __init__(self, machine):
        self.machine, self.run, self.output = machine, machine.run, machine.output

    def processes(self, user, pattern="."):
        return self.output(f"pgrep -u {user} -f '{pattern}'")[1].split()

    def all_end(self, user, what):
        wait_for(f"the end of everything of {user}'s server: {what}",
                 lambda: not self.processes(user, "hubd-tests/bin/server|sleep 432"))
        groups = f"ls -d /sys/fs/cgroup/hubd.slice/*/*/u$(id -u {user})-*"
        wait_for("the control group to be gone", lambda: self.output(groups)[0] != 0)


def limits(machine, web):
    host = Host(machine)
    lsm = machine.run("cat /sys/kernel/security/lsm")
    assert "apparmor" in lsm, lsm
    enforced = machine.run("cat /sys/kernel/security/apparmor/profiles")
    assert "hubd (enforce)" in enforced, enforced
    daemon = machine.run("cat /proc/$(systemctl show hubd -P MainPID)/attr/current")
    assert daemon.startswith("hubd (enforce)"), daemon
    good("hubd runs with its AppArmor profile enforced")

    web.log_in("alice")
    who = web.start()
    group = "/sys/fs/cgroup" + who["cgroup"].split("::", 1)[1]
    assert who["cgroup"].startswith("0::/hubd.slice/hubd-users.slice/hubd-helper@"), who
    assert re.search(r"/u1000-[0-9a-f]{16}$", group), who
    assert who["environment"]["MEM_LIMIT"] == str(192 << 20) and "XDG_SESSION_ID" in who["environment"], who
    files = {"memory.max": str(192 << 20), "memory.swap.max": "0", "cpu.max": "50000 100000", "pids.max": "60"}
    for file, value in files.items():
        status, found = machine.output(f"cat {group}/{file}")
        assert found == value or (file == "memory.swap.max" and status), f"{file}: {found}"
    good("the server is in a group of its own with the limits of the policy")

    unit = re.search(r"hubd-helper@[^/]*", group).group()
    status = machine.run(f"systemctl status --no-pager -l {unit}")
    assert 'Status: "start accepted user=alice uid=1000 ' in status and "hubd-users.slice" in status, status
    tree = machine.run("systemd-cgls --no-pager -l /hubd.slice")
    assert group.rsplit("/", 1)[1] in tree and "hubd-tests/bin/server" in tree, tree
    assert " alice " in machine.run("loginctl list-sessions --no-legend"), "logind does not know the session"
    good("systemctl, systemd-cgls and loginctl show whose it is")

    text = wait_for("figures", lambda: (lambda t: t if " MB" in t else None)(words(web.page("/hub/home")[1])))
    good("the home page has figures: " + re.search(r"[\d.]+ MB[^.]{0,20}", text).group())
    share = web.server("spin")["share"]
    assert 0.3 < share < 0.65, f"two busy processes got {share} processors of 0.5"
    good(f"two busy processes got {share:.2f} processors of 0.5")
    forks = web.server("forks")
    assert 20 < forks["count"] < 60 and forks["error"], forks
    good(f"of 60 processes {forks['count']} could be started, then: {forks['error']}")

    restarts(host, web, who)
    background(host, web)
    memory(host, web)
    killed(host, web)
    slice_ends(host, web)
    denied = machine.output("journalctl -k --no-pager | grep -F 'apparmor=\"DENIED\"'")[1]
    assert not denied, denied
    good("AppArmor denied nothing")


def restarts(host, web, who):
    """Nobody's server ends with hubd or the helper's socket."""
    for command in ["systemctl restart hubd", "systemctl kill --signal=KILL hubd", "systemctl restart hubd-helper.socket",
                    "systemctl stop hubd hubd-helper.socket; systemctl start hubd"]:
        host.run(command)
        now = wait_for("the server after " + command, lambda: web.server("who"), ANSWER_SECONDS)
        assert now["pid"] == who["pid"], f"{command}: another process"
        good("the server lives on: " + command)
    bob = Web(web.port)
    bob.log_in("bob")
    bob.start()
    bob.stop()
    host.all_end("bob", "a stop")
    good("and somebody else logs in, starts and stops")


def background(host, web):
    count = web.server("background")["count"]
    wait_for("the processes in the background", lambda: len(host.processes("alice", "sleep 432")) >= 2)
    web.stop()
    host.all_end("alice", "a stop, with processes in the background")
    assert not host.output("loginctl list-sessions --no-legend | grep -w alice")[1], "the session is still open"
    good(f"a stop ended all {count} processes, of which some had sessions of their own or did not hear SIGTERM")


def memory(host, web):
    web.start()
    try:
        web.server("eat")
    except (OSError, http.client.HTTPException):
        pass
    text = wait_for("the reason", lambda: (lambda t: t if "used all of its" in t else None)(
        words(web.page("/hub/home")[1])))
    good("the home page says: " + re.search(r"[^.]*used all of its [^.]*\.", text).group().strip())
    host.all_end("alice", "its limit of memory")
    host.run("journalctl --no-pager -t hubd-helper HUBD_REQUEST=exit | grep -F 'out of memory'")


def killed(host, web):
    who = web.start()
    web.server("background")
    unit = re.search(r"hubd-helper@[^/]*", who["cgroup"]).group()
    host.run(f"systemctl kill --kill-who=main --signal=KILL '{unit}'")
    host.all_end("alice", "its session process was killed")
    wait_for("the unit to be gone", lambda: not host.output(f"systemctl is-active '{unit}'")[1] == "active")
    good("with the process above a server, everything of it ends")


def slice_ends(host, web):
    web.start()
    host.run("systemctl stop hubd-users.slice")
    host.all_end("alice", "its slice was stopped")
    good("stopping the slice ends all servers")
    web.start()
    web.stop()
    host.all_end("alice", "a stop")
    good("and they start again")


def selinux(machine, web):
    assert machine.run("getenforce") == "Enforcing"
    host = Host(machine)
    daemon = machine.run("ps -o label= -p $(systemctl show hubd -P MainPID)")
    assert ":hubd_t:" in daemon, daemon
    for user, domain in [("alice", ":unconfined_t:"), ("bob", ":user_t:")]:
        web = Web(web.port)
        web.log_in(user)
        waiting = machine.run("ps -e -o label=,args= | grep '[h]ubd-helper'")
        assert ":hubd_helper_t:" in waiting, waiting
        who = web.start()
        assert domain in who["context"], who
        above = machine.run(f"ps -o label= -p $(ps -o ppid= -p {who['pid']})")
        assert ":hubd_session_t:" in above, above
        answering = machine.run("ps -e -o label=,comm= | grep hubd-session")
        assert ":hubd_control_t:" in answering, answering
        good(f"{user}'s login in hubd_helper_t, session in hubd_session_t, server in {who['context']}, asked in hubd_control_t")
        words(web.page("/hub/home")[1])
        web.server("background")
        machine.run("systemctl restart hubd")
        now = wait_for("the server", lambda: web.server("who"), ANSWER_SECONDS)
        assert now["pid"] == who["pid"]
        web.stop()
        host.all_end(user, "a stop")
        good(f"{user}'s server was found again by a new hubd, and stopped")
    credentials(machine)
    denied = machine.output("ausearch -m avc,user_avc,selinux_err -i | grep -E 'hubd' ; journalctl -k --no-pager | grep -E 'avc: .*hubd'")[1]
    assert not denied, denied
    good("nothing was denied to hubd_t, hubd_helper_t, hubd_session_t, hubd_control_t")


def credentials(machine):
    """A secret that only systemd can read, and hands over."""
    drop_in = "/etc/systemd/system/hubd.service.d"
    machine.run(f"mkdir -p /etc/credstore {drop_in}; printf {'ab' * 32} >/etc/credstore/secret; chmod -R go= /etc/credstore; "
                f"printf '[Service]\nLoadCredential=cookie_secret:/etc/credstore/secret\n' >{drop_in}/secret.conf; "
                "systemctl daemon-reload; systemctl restart hubd")
    machine.run("journalctl --no-pager -u hubd | grep 'Loading cookie_secret from systemd credential'")
    good("hubd reads what systemd hands over")


def main():
    proof, folder, port = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    # The proofs leave things behind: each has a disk of its own.
    disk = folder / f"{proof}.qcow2"
    shutil.copyfile(folder / "disk.qcow2", disk)
    command_line = {"limits": "security=apparmor apparmor=1", "selinux": "security=selinux selinux=1"}[proof]
    began = time.monotonic()
    print(f"{proof}:", flush=True)
    with Machine(folder, disk, port, command_line) as machine:
        good(f"the machine is up after {time.monotonic() - began:.0f} s")
        web = Web(port)
        try:
            wait_for("the login page", lambda: web.ask("/hub/login")[0] == 200, ANSWER_SECONDS)
            {"limits": limits, "selinux": selinux}[proof](machine, web)
        except Exception:
            (folder / f"{proof}.journal").write_text(machine.output("journalctl --no-pager -b -n 500 -o short-monotonic")[1])
            print(f"  the machine's journal: {folder / proof}.journal", flush=True)
            raise
    disk.unlink()
    print(f"  {time.monotonic() - began:.0f} s", flush=True)


main()
