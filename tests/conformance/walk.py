"""A person's way through JupyterHub with `hubd proxy` before it, which stays while the hub is started again:
login, a server, a kernel over a WebSocket; the kernel goes on while there is no hub, and after it has come back.

    python walk.py HUBD          with a Python that has jupyterhub and jupyterlab
"""

import asyncio
import contextlib
import http.cookiejar
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

CONFIGURATION = """
c.JupyterHub.bind_url = "http://127.0.0.1:{public}/"
c.JupyterHub.hub_port = {inner}
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{routes}"
c.ConfigurableHTTPProxy.auth_token = "walk"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.cleanup_servers = False
c.Authenticator.allow_all = True
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
"""
LIMIT = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)
    return found


class Site:
    def __init__(self, hubd, here):
        self.here, self.log = here, open(here / "log", "ab")
        ports = {name: free_port() for name in ("public", "inner", "routes")}
        self.address = f"http://127.0.0.1:{ports['public']}"
        (here / "config.py").write_text(CONFIGURATION.format(**ports))
        command = [hubd, "proxy", "--ip", "127.0.0.1", "--port", ports["public"], "--api-ip", "127.0.0.1"]
        command += ["--api-port", ports["routes"], "--error-target", f"http://127.0.0.1:{ports['inner']}/hub/error"]
        self.proxy = self.start([str(part) for part in command])
        self.jar = http.cookiejar.CookieJar()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def start(self, command):
        environment = dict(os.environ, CONFIGPROXY_AUTH_TOKEN="walk")
        return subprocess.Popen(command, cwd=self.here, stdout=self.log, stderr=self.log, env=environment)

    def start_hub(self):
        self.hub = self.start([sys.executable, "-m", "jupyterhub", "-f", "config.py"])
        until("an answer of the hub", lambda: self.status("/hub/health") == 200)

    def stop_hub(self):
        self.hub.terminate()
        self.hub.wait(LIMIT)

    def open(self, path, data=None, method=None, **headers):
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with self.browser.open(request, timeout=LIMIT) as answer:
            return answer.status, answer.read()

    def status(self, path):
        try:
            return self.open(path)[0]
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def cookie(self, name, path):
        return next(cookie.value for cookie in self.jar if cookie.name == name and cookie.path == path)

    def log_in(self):
        self.open("/hub/login")
        form = {"username": "ada", "password": "x", "_xsrf": self.cookie("_xsrf", "/hub/")}
        self.open("/hub/login?next=%2Fhub%2Fspawn", urllib.parse.urlencode(form).encode())
        # The page leads through the OAuth of the server; before it runs, it is the hub's.
        until("the server's page", lambda: self.status("/user/ada/lab") == 200 and self.status("/user/ada/api/status") == 200)

    def new_kernel(self):
        token = self.cookie("_xsrf", "/user/ada/")
        return json.loads(self.open("/user/ada/api/kernels", b"{}", **{"X-XSRFToken": token})[1])["id"]

    async def connect(self, kernel):
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar if "/user/ada/".startswith(cookie.path))
        address = self.address.replace("http", "ws") + f"/user/ada/api/kernels/{kernel}/channels"
        return await websocket_connect(HTTPRequest(address, headers={"Cookie": cookies, "Origin": self.address}))

    def end(self):
        # Servers outlive the hub.
        with contextlib.suppress(OSError, StopIteration):
            self.open("/hub/api/users/ada/server", method="DELETE", **{"X-XSRFToken": self.cookie("_xsrf", "/hub/")})
        for process in (self.hub, self.proxy):
            process.terminate()
            process.wait(LIMIT)


async def computes(socket, code):
    """What a kernel prints."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "walk", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(message))
    while True:
        answer = json.loads(await asyncio.wait_for(socket.read_message(), LIMIT))
        if answer["msg_type"] == "stream":
            return answer["content"]["text"].strip()


async def walk(site):
    site.start_hub()
    site.log_in()
    kernel = site.new_kernel()
    socket = await site.connect(kernel)
    assert await computes(socket, "number = 6 * 7; print(number)") == "42"
    print("a server, and a kernel over a WebSocket")
    site.stop_hub()
    assert await computes(socket, "print(number + 1)") == "43"
    assert site.status("/hub/home") == 503
    print("the kernel goes on without the hub, whose pages are 503")
    site.start_hub()
    assert await computes(socket, "print(number + 2)") == "44"
    again = await site.connect(kernel)
    assert await computes(again, "print(number + 3)") == "45"
    assert site.status("/hub/home") == 200
    assert site.proxy.poll() is None
    print("hub, server and kernel are there after the hub has started again")


def main():
    with tempfile.TemporaryDirectory(prefix="hubd-walk-") as folder:
        here = pathlib.Path(folder).resolve()
        site = Site(str(pathlib.Path(sys.argv[1]).resolve()), here)
        try:
            asyncio.run(walk(site))
        except BaseException:
            print((here / "log").read_text(), file=sys.stderr)
            raise
        finally:
            site.end()


main()
