"""A home on a real NFS server that takes root for nobody."""

from people import Host, good

COMMAND_LINE = "security=apparmor apparmor=1 audit=1"
# Somebody of the proof's own, whose home is there alone.
PERSON, HOMES, EXPORTED = "carol", "/net/homes", "/srv/homes"
HOME = f"{HOMES}/{PERSON}"
# What the kernel records: whatever root asks for below the homes, by any system call that names a file.
RULE = f"-a always,exit -F dir={HOMES} -F euid=0 -k homes"


def prove(machine, web):
    host = Host(machine)
    mount(host)
    refused = host.output(f"touch {HOME}/by-root")
    assert refused[0] != 0 and "Permission denied" in refused[1], refused
    assert host.output(f"ls {HOME}")[0] != 0, "root may read the home: it proves nothing"
    good("root may neither read the home nor write in it")

    host.run(f"auditctl {RULE}")
    host.output(f"ls {HOME}")
    machine.wait_for("a record of what root asks for", lambda: "ls" in programs(host))
    web.log_in(PERSON)
    first = web.start()
    home = web.server("home")
    uid = int(host.run(f"id -u {PERSON}"))
    assert (home["directory"], home["uid"]) == (HOME, uid), home
    assert first["uid"] == uid, first
    assert host.run(f"stat -c '%u %s' {EXPORTED}/{PERSON}/written") == f"{uid} 13", "the server has another file"
    good(f"{PERSON} has logged in, and the server wrote a file there as {PERSON}: {home}")
    web.stop()
    host.all_end(PERSON, "a stop")
    second = web.start()
    assert second["pid"] != first["pid"] and web.server("home") == home, second
    web.stop()
    host.all_end(PERSON, "a second stop")
    good("so did the second start, which needed no password")
    asked = programs(host)
    assert not any(program.startswith("hubd") for program in asked), f"root asked for something there: {asked}"
    good(f"of root's programs only these have asked for anything there: {', '.join(sorted(asked))}")


def mount(host):
    """Exports a folder and mounts it on the same machine, over the network of loopback."""
    host.run(f"""
        useradd --no-create-home --home-dir {HOME} --shell /bin/bash {PERSON}
        echo '{PERSON}:pass of {PERSON}' | chpasswd --crypt-method SHA256
        mkdir -p {HOMES} {EXPORTED} && install -d -m 700 -o {PERSON} -g {PERSON} {EXPORTED}/{PERSON}
        echo '{EXPORTED} 127.0.0.1(rw,sync,root_squash,no_subtree_check)' >/etc/exports
        systemctl restart nfs-server
        mount -t nfs4 127.0.0.1:{EXPORTED} {HOMES}
    """)
    kind = host.run(f"findmnt --noheadings --output FSTYPE,SOURCE {HOMES}").split()
    assert kind == ["nfs4", f"127.0.0.1:{EXPORTED}"], kind
    assert "root_squash" in host.run("exportfs -v"), "root is not squashed"
    good(f"{HOMES} is a mount of {kind[1]}, {kind[0]}, with root_squash")


def programs(host):
    """The programs that have asked for something in the homes as root, as the kernel's audit saw it."""
    found = host.output("ausearch --key homes --raw | sed -n 's/.* comm=\"\\([^\"]*\\)\".*/\\1/p' | sort -u")[1]
    return set(found.split())
