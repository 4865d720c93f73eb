"""Somebody at work in a notebook: logs in, starts the server, and runs cells in one kernel.

usage: notebook.py URL USER PASSWORD

Each line on standard input is a cell; what it prints is the answer, one line on standard output. A
connection that a restart of the hub has cut is made again, to the same kernel, as JupyterLab does.
"""

import asyncio
import json
import re
import ssl
import sys
import uuid

from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

LIMIT_SECONDS = 60


class Browser:
    """Cookies and redirects; certificates are taken as they are."""

    def __init__(self, url):
        self.url, self.cookies = url, {}
        self.trust = ssl.create_default_context()
        self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE

    def header(self, path):
        fitting = {n: v for (n, p), v in sorted(self.cookies.items(), key=lambda c: len(c[0][1])) if path.startswith(p)}
        return "; ".join(f"{name}={value}" for name, value in fitting.items())

    def request(self, target, **more):
        headers = {"Cookie": self.header(urlsplit(target).path), **more.pop("headers", {})}
        return HTTPRequest(urljoin(self.url, target), headers=headers, ssl_options=self.trust, **more)

    async def fetch(self, target, follow=True, **more):
        for _ in range(15):
            answer = await AsyncHTTPClient().fetch(
                self.request(target, follow_redirects=False, request_timeout=LIMIT_SECONDS, **more), raise_error=False)
            for line in answer.headers.get_list("Set-Cookie"):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name, morsel["path"] or "/"] = morsel.value
            if not follow or answer.code not in (301, 302, 303, 307):
                return answer
            target, more = urljoin(urljoin(self.url, target), answer.headers["Location"]), {}
        raise SystemExit(f"too many redirects, the last one to {target}")

    def xsrf(self, path):
        return next((v for (n, p), v in self.cookies.items() if n == "_xsrf" and p == path), "")

    async def log_in(self, user, password):
        page = await self.fetch("/hub/login")
        form = {"_xsrf": self.xsrf("/hub/"), "username": user, "password": password}
        answer = await self.fetch("/hub/login", method="POST", body=urlencode(form), follow=False)
        if answer.code != 302:
            raise SystemExit(f"the login got {page.code}, then {answer.code}: {answer.body.decode()[-2000:]}")

    async def start_server(self, user):
        await self.fetch(f"/hub/spawn/{quote(user)}")
        for _ in range(LIMIT_SECONDS * 5):
            answer = await self.fetch(f"/user/{quote(user)}/lab")
            if answer.code == 200 and b"jupyter-config-data" in answer.body:
                return
            await asyncio.sleep(0.2)
        raise SystemExit(f"no JupyterLab: {answer.code} {re.sub('<[^>]*>', ' ', answer.body.decode())[-2000:]}")


class Kernel:
    """One kernel, whose connection may come and go."""

    def __init__(self, browser, user):
        self.browser, self.base, self.socket = browser, f"/user/{quote(user)}/", None

    async def start(self):
        headers = {"X-XSRFToken": self.browser.xsrf(self.base)}
        answer = await self.browser.fetch(f"{self.base}api/kernels", method="POST", body="{}", headers=headers)
        if answer.code != 201:
            raise SystemExit(f"no kernel: {answer.code} {answer.body.decode()[:500]}")
        self.id = json.loads(answer.body)["id"]

    async def connect(self):
        path = f"{self.base}api/kernels/{self.id}/channels"
        for _ in range(LIMIT_SECONDS * 5):
            try:
                request = self.browser.request(path)
                request.url = request.url.replace("http", "ws", 1)
                self.socket = await websocket_connect(request)
                return
            except (OSError, HTTPClientError):
                await asyncio.sleep(0.2)
        raise SystemExit("the kernel's WebSocket cannot be opened")

    async def run(self, code):
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "s",
                  "version": "5.3", "date": "2026-01-01T00:00:00Z"}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {},
                   "allow_stdin": False, "stop_on_error": True}
        message = json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content,
                              "channel": "shell", "buffers": []})
        output = ""
        await self.socket.write_message(message)
        while True:
            answer = await asyncio.wait_for(self.socket.read_message(), LIMIT_SECONDS)
            if answer is None:
                raise ConnectionError("the WebSocket was closed")
            answer = json.loads(answer)
            if answer["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if answer["msg_type"] == "stream":
                output += answer["content"]["text"]
            elif answer["msg_type"] == "error":
                output += answer["content"]["evalue"]
            elif answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return output.strip()


async def main():
    url, user, password = sys.argv[1:]
    browser = Browser(url)
    await browser.log_in(user, password)
    await browser.start_server(user)
    kernel = Kernel(browser, user)
    await kernel.start()
    await kernel.connect()
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            print(await kernel.run(line.strip()), flush=True)
        except (ConnectionError, OSError, asyncio.TimeoutError) as _:
            await kernel.connect()
            print(await kernel.run(line.strip()), flush=True)
        except Exception as error:
            if type(error).__name__ != "WebSocketClosedError":
                raise
            await kernel.connect()
            print(await kernel.run(line.strip()), flush=True)


asyncio.run(main())
