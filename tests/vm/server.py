#!/usr/bin/python3
"""A person's server for the proofs in a virtual machine: what people do to a machine, one action for each path.

usage: server.py SOCKET
"""

import http.server
import json
import os
import resource
import socket
import socketserver
import subprocess
import sys
import time
from urllib.parse import urlsplit

MEGABYTE = 1 << 20
# Seconds that a busy loop runs, long beside the kernel's period of 0.1 s.
SPIN_SECONDS = 3
# More than any limit in the proofs.
FORKS_MAX = 500


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip(" \0\n")


def who():
    """Who this process is, and where the kernel counts it."""
    try:
        context = read("/proc/self/attr/current")
    except OSError:
        context = ""
    variables = {name: value for name, value in os.environ.items() if name.startswith(("MEM_", "CPU_", "XDG_"))}
    return {"pid": os.getpid(), "uid": os.getuid(), "groups": os.getgroups(), "cgroup": read("/proc/self/cgroup"),
            "context": context, "environment": variables, "loginuid": read("/proc/self/loginuid")}


def eat():
    """Takes memory without end."""
    taken = []
    while True:
        taken.append(bytearray(os.urandom(MEGABYTE)))


def spin():
    """What share of one processor two busy processes get."""
    code = f"import time\nend = time.monotonic() + {SPIN_SECONDS}\nwhile time.monotonic() < end: pass"
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]:
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"share": used / (time.monotonic() - begin)}


def forks():
    """How many processes there can be."""
    processes = []
    try:
        while len(processes) < FORKS_MAX:
            processes.append(subprocess.Popen(["sleep", "1000"]))
    except OSError as error:
        return {"count": len(processes), "error": error.strerror}
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {"count": len(processes), "error": ""}


def background():
    """Leaves processes behind that have a session of their own, have lost their parent, and do not hear SIGTERM."""
    subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM HUP; while :; do sleep 4321; done"])
    subprocess.run(["sh", "-c", "(setsid nohup sleep 4322 >/dev/null 2>&1 &)"], check=True)
    return {"count": len(read(f"/sys/fs/cgroup{read('/proc/self/cgroup')[3:]}/cgroup.procs").split())}


def home():
    """Writes a file where the server was started; says where that is, and whose file it is."""
    with open("written", "w", encoding="utf-8") as file:
        file.write("by the server")
    found = os.stat("written")
    return {"directory": os.getcwd(), "uid": found.st_uid, "mode": oct(found.st_mode & 0o7777)}


ACTIONS = {"home": home, "who": who, "eat": eat, "spin": spin, "forks": forks, "background": background}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        action = ACTIONS.get(urlsplit(self.path).path.rsplit("/", 1)[-1], dict)
        body = json.dumps(action()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "hubd"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


# The directory gives the socket to the daemon's group.
os.umask(0o117)
with Server(sys.argv[1], Handler) as server:
    os.umask(0o022)
    print("listening", flush=True)
    server.serve_forever()
