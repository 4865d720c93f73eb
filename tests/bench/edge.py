#!/usr/bin/python3
"""What `auth = "edge"` costs for each request: one server, asked through its guarded route and through one without a guard.

    tests/bench/edge.py HUBD HELPER          as an ordinary user, or as root, which becomes nobody for it

Both routes lead to the same Unix socket, in turns, over connections that stay open; the cookies are those of a person who
has logged in. It prints the rate, and the processor time of hubd (user and system) for one request, each turn and the
median. Needs wrk.
"""

import http.client
import http.cookiejar
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

SECONDS, TURNS = int(os.environ.get("SECONDS_EACH", 3)), int(os.environ.get("TURNS", 5))
TICK = os.sysconf("SC_CLK_TCK")
SERVER = """
import asyncio, os, sys
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nok"
class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.waiting = transport, b""
    def data_received(self, data):
        self.waiting += data
        while b"\\r\\n\\r\\n" in self.waiting:
            _, self.waiting = self.waiting.split(b"\\r\\n\\r\\n", 1)
            self.transport.write(ANSWER)
async def serve():
    await asyncio.get_running_loop().create_unix_server(Answers, sys.argv[1])
    await asyncio.Event().wait()
os.umask(0o007)
asyncio.run(serve())
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


class Trial:
    """Helper and hub in a folder of their own."""

    def __init__(self, here, hubd, helper):
        self.port, self.inner = free_port(), free_port()
        (here / "serve.py").write_text(SERVER)
        (here / "helper.toml").write_text(
            f'[profile.default]\nprogram = ["/usr/bin/python3"]\narguments = ["{here}/serve.py"]\n'
            'unix_arguments = ["{socket}"]\nauth = "edge"\n'
        )
        (here / "hubd.toml").write_text(
            f'[JupyterHub]\nbind_url = "http://127.0.0.1:{self.port}/"\nhub_port = {self.inner}\n'
            'helper_socket = "run/helper.sock"\nauthenticator_class = "dummy"\nspawner_class = "simple"\n'
            'log_level = "ERROR"\n[Authenticator]\nallow_all = true\n[ConfigurableHTTPProxy]\nauth_token = "bench"\n'
        )
        (here / "hubd.toml").chmod(0o600)
        account = []
        if os.geteuid() == 0:
            account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", "--"]
            subprocess.run(["chown", "-R", "nobody:nogroup", here], check=True)
        environment, self.log = dict(os.environ, TOKIO_WORKER_THREADS="1"), here / "log"
        self.started, self.running, self.jar = False, [], http.cookiejar.CookieJar()
        for command in (
            [helper, "--listen", here / "run/helper.sock", "--policy", here / "helper.toml"],
            [hubd, "-f", here / "hubd.toml"],
        ):
            with open(self.log, "ab") as log:
                process = subprocess.Popen([*account, *command], cwd=here, stdout=log, stderr=log, env=environment)
            self.running.append(process)
            until(f"the helper's socket, see {self.log}", (here / "run/helper.sock").exists)
        self.hubd = self.running[1].pid
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.browser.addheaders = [("Accept", "text/html")]

    def open(self, path, form=None):
        data = urllib.parse.urlencode(form).encode() if form else None
        with self.browser.open(f"http://127.0.0.1:{self.port}{path}", data, timeout=30) as answer:
            return answer.read()

    def cookie(self, name):
        return next(cookie.value for cookie in self.jar if cookie.name == name)

    def routes(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.inner, timeout=30)
        connection.request(method, f"/api/routes{path}", body, {"Authorization": "token bench"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, (answer.status, text)
        return json.loads(text) if text else None

    def listens(self):
        try:
            return bool(self.open("/hub/login"))
        except OSError:
            return False

    def works(self):
        try:
            return self.open("/user/anna/") == b"ok"
        except OSError:
            return False

    def begin(self):
        """Logs in, which starts the server, and adds the route without a guard."""
        until("an answer of the hub", self.listens)
        self.open("/hub/login", {"_xsrf": self.cookie("_xsrf"), "username": "anna", "password": ""})
        self.started = True
        until("an answer of the server", self.works)
        target = self.routes("GET", "")["/user/anna"]["target"]
        self.routes("POST", "/plain", json.dumps({"target": target}))
        assert self.open("/plain/") == b"ok"

    def cpu_micros(self):
        fields = pathlib.Path(f"/proc/{self.hubd}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK * 1e6

    def turn(self, path):
        """Requests per second, and processor time of hubd for each."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar if cookie.name.startswith("hubd-edge"))
        cpu = self.cpu_micros()
        output = subprocess.run(
            ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "-H", f"Cookie: {cookies}", "-H", "Sec-Fetch-Site: same-origin",
             f"http://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, check=True,
        ).stdout
        assert "Non-2xx" not in output and "Socket errors" not in output, output
        done = int(re.search(r"(\d+) requests in", output)[1])
        return done / SECONDS, (self.cpu_micros() - cpu) / done

    def end(self):
        # Servers outlive the hub.
        if self.started:
            self.open("/hub/stop/anna", {"_xsrf": self.cookie("_xsrf")})
        for process in reversed(self.running):
            process.terminate()
            process.wait()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    here = pathlib.Path(tempfile.mkdtemp(prefix="hubd-edge-bench-"))
    here.chmod(0o755)
    hubd, helper = (pathlib.Path(name).resolve() for name in sys.argv[1:])
    # The helper calls the programs beside it.
    for program in (hubd, *helper.parent.glob("hubd-*")):
        if program.is_file() and os.access(program, os.X_OK):
            shutil.copy(program, here)
    trial = Trial(here, here / hubd.name, here / helper.name)
    try:
        trial.begin()
        taken = {"/plain/api": [], "/user/anna/api": []}
        for _ in range(TURNS):
            for path, turns in taken.items():
                turns.append(trial.turn(path))
        for path, turns in taken.items():
            rates = ", ".join(f"{rate:,.0f}/s ({micros:.1f} µs)" for rate, micros in turns)
            print(f"{path:16} {statistics.median(micros for _, micros in turns):6.1f} µs   {rates}")
    except BaseException:
        print(trial.log.read_text(), file=sys.stderr)
        raise
    finally:
        trial.end()
        shutil.rmtree(here, ignore_errors=True)


main()
