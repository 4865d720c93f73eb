#!/usr/bin/env python3
"""The hub itself, beside the real JupyterHub: making users, reading one, a page of many, the pages that people see, and the start.

    cargo build --release -p hubd
    tests/bench/hub.py target/release/hubd [/opt/venv-with-jupyterhub]

As an ordinary user; needs wrk (Debian package), and Python alone otherwise. Both programs get one thread. Beside wall times
stands the processor time of the hub, which says more on a machine that is not idle. Everything is in a directory of
its own, on ports 23900 to 23902 of the loopback interface, and gone at the end.
"""

import asyncio
import hashlib
import http.client
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PUBLIC, INNER, ROUTES = 23900, 23901, 23902
TOKEN = "b" * 32
USERS = int(os.environ.get("USERS", 100_000))
SESSIONS = int(os.environ.get("SESSIONS", 2000))
SECONDS = os.environ.get("SECONDS_EACH", "5")
TICK = os.sysconf("SC_CLK_TCK")


def hubd_configuration(directory):
    open(f"{directory}/hubd.toml", "w").write(f"""
[JupyterHub]
bind_url = "http://127.0.0.1:{PUBLIC}/"
hub_port = {INNER}
helper_socket = "run/helper.sock"
authenticator_class = "dummy"
spawner_class = "simple"
log_level = "ERROR"
[Authenticator]
admin_users = ["boss"]
[[JupyterHub.services]]
name = "bench"
admin = true
api_token = "{TOKEN}"
""")
    os.chmod(f"{directory}/hubd.toml", 0o600)


JUPYTERHUB = f"""
from jupyterhub.proxy import Proxy
class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {{}}
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_port = {INNER}
c.JupyterHub.bind_url = "http://127.0.0.1:{PUBLIC}/"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.Authenticator.allow_all = True
c.JupyterHub.services = [dict(name="bench", admin=True, api_token="{TOKEN}")]
c.JupyterHub.log_level = "ERROR"
"""


class Hub:
    """One of the two programs, running."""

    def __init__(self, command, directory, port):
        self.command, self.directory, self.port = command, directory, port

    def start(self):
        began = time.monotonic()
        log = open(f"{self.directory}/log", "a")
        environment = dict(os.environ, TOKIO_WORKER_THREADS="1")
        self.process = subprocess.Popen(self.command, cwd=self.directory, stdout=log, stderr=log, env=environment)
        while True:
            try:
                if self.ask("GET", "/hub/health")[0] == 200:
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.005)
            if self.process.poll() is not None:
                sys.exit(open(f"{self.directory}/log").read())

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request(method, path, body, {"Authorization": f"token {TOKEN}"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mb(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def timed(self, method, path, body=None):
        cpu, began = self.cpu(), time.monotonic()
        status, answer = self.ask(method, path, body)
        assert status in (200, 201), (status, answer[:500])
        return time.monotonic() - began, self.cpu() - cpu, answer

    def make_users(self, prefix, count):
        names = [f"{prefix}{number}" for number in range(count)]
        return self.timed("POST", "/hub/api/users", json.dumps({"usernames": names}))

    def api_rate(self, path):
        # A token as people have them: one from the configuration costs 16,384 rounds of hashing each time.
        token = json.loads(self.timed("POST", f"{path}/tokens", "{}")[2])["token"]
        return self.rate(path, f"Authorization: token {token}")

    def rate(self, path, header="Accept: */*"):
        """Answers per second, and processor time of the hub for each, in microseconds."""
        cpu = self.cpu()
        url = f"http://127.0.0.1:{self.port}{path}"
        output = subprocess.run(
            ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "-H", header, url],
            capture_output=True, text=True, check=True,
        ).stdout
        done = int(re.search(r"(\d+) requests in", output)[1])
        assert "Non-2xx" not in output, output
        return done / float(SECONDS), (self.cpu() - cpu) / done * 1e6


    def admin_page(self):
        """Seconds and bytes of the admin page, for somebody who has just logged in."""
        browser = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        jar = {}

        def go(method, path, body=None):
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
            if body:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            began = time.monotonic()
            browser.request(method, path, body, headers)
            answer = browser.getresponse()
            text = answer.read()
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, value = cookie.split(";")[0].split("=", 1)
                jar[name] = value
            return time.monotonic() - began, answer.status, text

        go("GET", "/hub/login")
        form = urllib.parse.urlencode({"_xsrf": jar["_xsrf"], "username": "boss", "password": ""})
        assert go("POST", "/hub/login", form)[1] == 302
        looks = [go("GET", "/hub/admin") for _ in range(20)]
        assert all(status == 200 for _, status, _ in looks)
        return statistics.median(seconds for seconds, _, _ in looks), len(looks[0][2])


def fake_sessions(directory, count):
    """What hubd-helper's sessions would answer, for servers that run since long ago."""
    os.makedirs(f"{directory}/run/sessions", exist_ok=True)

    def status(number):
        user = f"fill0-{number}"
        digest = hashlib.sha512(b"0" * 16 + user.encode()).hexdigest()
        hashed = f"sha512:1:{'0' * 16}:{digest}"
        note = {"token_hash": hashed, "token_prefix": user[:4], "client_secret_hash": hashed,
                "client_id": f"jupyterhub-user-{user}", "redirect_uri": f"/user/{user}/oauth_callback",
                "server_url": f"/user/{user}/"}
        return {"status": {
            "session": f"u{os.getuid()}-{number:016x}", "user": user, "uid": os.getuid(), "server": "",
            "profile": "default", "pid": 100_000 + number, "started_at": 1_700_000_000,
            "endpoint": {"unix": f"/nonexistent/{number}"}, "note": json.dumps(note), "stopping": False,
            "memory_bytes": None, "memory_limit_bytes": None, "cpu_microseconds": None}}

    async def serve():
        def handler(number):
            async def talk(reader, writer):
                while head := await reader.read(8):
                    await reader.readexactly(int.from_bytes(head[4:8], "big"))
                    body = json.dumps(status(number)).encode()
                    writer.write(head[:4] + len(body).to_bytes(4, "big") + body)
            return talk

        for number in range(count):
            path = f"{directory}/run/sessions/u{os.getuid()}-{number:016x}.sock"
            await asyncio.start_unix_server(handler(number), path)
        ready.set()
        await asyncio.Event().wait()

    # Two descriptors for each session: it listens, and the hub stays connected.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ready = threading.Event()
    server = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    server.start()
    while not ready.wait(0.1):
        if not server.is_alive():
            sys.exit("the sessions that pretend could not be made: see above")


def measure(name, hub, fill):
    rows = [("start, empty", f"{hub.start():.3f} s", "")]
    taken = [hub.make_users(f"{prefix}-", 1000)[:2] for prefix in "abc"[: 3 if fill else 1]]
    wall, cpu = min(taken)
    rows.append(("1,000 users in one call", f"{wall:.3f} s", f"{cpu:.3f} s"))
    for path, (rate, each) in [
        ("/hub/api/users/NAME", hub.api_rate("/hub/api/users/a-7")),
        ("/hub/login", hub.rate("/hub/login")),
    ]:
        rows.append((f"GET {path}", f"{rate:,.0f} /s", f"{each:,.1f} µs each"))
    if fill:
        for part in range(USERS // 10_000):
            hub.make_users(f"fill{part}-", 10_000)
            if part == 0:
                seconds, size = hub.admin_page()
                rows.append(("admin page, 10,000 users and more", f"{seconds * 1000:.1f} ms", f"{size:,} bytes"))
        pages = [hub.timed("GET", f"/hub/api/users?limit=200&offset={USERS // 2}")[:2] for _ in range(20)]
        wall, cpu = statistics.median(wall for wall, _ in pages), statistics.mean(cpu for _, cpu in pages)
        rows.append((f"page of 200 of {USERS:,}", f"{wall * 1000:.1f} ms", f"{cpu * 1000:.1f} ms"))
        hub.stop()
        fake_sessions(hub.directory, SESSIONS)
        first = hub.start()
        rows.append((f"start, {SESSIONS:,} sessions, no rows", f"{first:.3f} s", f"{hub.cpu():.2f} s"))
        hub.stop()
        again = hub.start()
        rows.append(("the same, their rows there", f"{again:.3f} s", f"{hub.cpu():.2f} s"))
        rows.append(("memory then", f"{hub.memory_mb():.0f} MB", ""))
        found = json.loads(hub.ask("GET", "/hub/api/users?state=active&limit=200")[1])
        assert len(found) == min(200, SESSIONS), "the sessions were not taken"
    hub.stop()
    for what, wall, cpu in rows:
        print(f"{name:12} {what:34} {wall:>14} {cpu:>18}", flush=True)


def main():
    if len(sys.argv) < 2 or os.getuid() == 0:
        sys.exit(__doc__)
    directory = tempfile.mkdtemp(prefix="hubd-bench-")
    try:
        print(f"{'':12} {'':34} {'wall':>14} {'processor':>18}")
        os.mkdir(f"{directory}/ours")
        hubd_configuration(f"{directory}/ours")
        ours = Hub([os.path.abspath(sys.argv[1]), "-f", "hubd.toml"], f"{directory}/ours", INNER)
        measure("hubd", ours, True)
        if len(sys.argv) > 2:
            os.mkdir(f"{directory}/theirs")
            open(f"{directory}/theirs/jupyterhub_config.py", "w").write(JUPYTERHUB)
            theirs = Hub([f"{sys.argv[2]}/bin/jupyterhub"], f"{directory}/theirs", INNER)
            measure("JupyterHub", theirs, False)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


main()
