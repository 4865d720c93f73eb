"""Limits, slices, restarts, with AppArmor enforced."""

import http.client
import re

from people import ANSWER_SECONDS, Host, Web, good, words

COMMAND_LINE = "security=apparmor apparmor=1"


def prove(machine, web):
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

    text = web.machine.wait_for("figures", lambda: on_home(web, " MB"))
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


def on_home(web, part):
    """The words of the home page, if this is among them."""
    text = words(web.page("/hub/home")[1])
    return text if part in text else None


def restarts(host, web, who):
    """Nobody's server ends with hubd or the helper's socket."""
    for command in ["systemctl restart hubd", "systemctl kill --signal=KILL hubd", "systemctl restart hubd-helper.socket",
                    "systemctl stop hubd hubd-helper.socket; systemctl start hubd"]:
        host.run(command)
        now = web.machine.wait_for("the server after " + command, lambda: web.server("who"), ANSWER_SECONDS)
        assert now["pid"] == who["pid"], f"{command}: another process"
        good("the server lives on: " + command)
    bob = Web(web.machine)
    bob.log_in("bob")
    bob.start()
    bob.stop()
    host.all_end("bob", "a stop")
    good("and somebody else logs in, starts and stops")


def background(host, web):
    count = web.server("background")["count"]
    web.machine.wait_for("the processes in the background", lambda: len(host.processes("alice", "sleep 432")) >= 2)
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
    text = web.machine.wait_for("the reason", lambda: on_home(web, "used all of its"))
    good("the home page says: " + re.search(r"The server was stopped because it used all of its [^.]*\.", text).group().strip())
    host.all_end("alice", "its limit of memory")
    host.run("journalctl --no-pager -t hubd-helper HUBD_REQUEST=exit | grep -F 'out of memory'")


def killed(host, web):
    who = web.start()
    web.server("background")
    unit = re.search(r"hubd-helper@[^/]*", who["cgroup"]).group()
    host.run(f"systemctl kill --kill-who=main --signal=KILL '{unit}'")
    host.all_end("alice", "its session process was killed")
    web.machine.wait_for("the unit to be gone", lambda: not host.output(f"systemctl is-active '{unit}'")[1] == "active")
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
