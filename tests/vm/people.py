"""Somebody with a browser, and what root sees: for the proofs."""

import http.client
import json
import re
import ssl
from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode, urljoin, urlsplit

# The page of a hub that has just started, on an emulated processor.
ANSWER_SECONDS = 120
# Everything of a server that has been asked to end.
END_SECONDS = 90
# Without a byte of an answer, by the clock on the wall: many times what it takes on a busy machine.
SILENT_SECONDS = 900


class Web:
    """Cookies, redirects, one connection for each request; the hub's certificate is of its own making."""

    def __init__(self, machine):
        self.machine, self.cookies = machine, {}
        self.trust = ssl.create_default_context()
        self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE

    def ask(self, target, form=None, method=None):
        """One request; gives status, headers and text."""
        path = urlsplit(target).path
        fitting = {n: v for (n, p), v in sorted(self.cookies.items(), key=lambda c: len(c[0][1])) if path.startswith(p)}
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in fitting.items()),
                   "Referer": f"https://127.0.0.1:{self.machine.port}/hub/home"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPSConnection("127.0.0.1", self.machine.port, timeout=SILENT_SECONDS, context=self.trust)
        try:
            connection.request(method or ("GET" if form is None else "POST"), target, form and urlencode(form), headers)
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
        return self.machine.wait_for("the server", lambda: self.server("who"), ANSWER_SECONDS)

    def server(self, action):
        """What the person's own server answers, if it does."""
        status, _, text = self.ask(f"/user/{self.user}/{action}")
        return json.loads(text) if status == 200 and text.startswith("{") else None

    def stop(self):
        xsrf = self.cookies["_xsrf", "/hub/"]
        status, _, text = self.ask(f"/hub/stop/{self.user}", {"_xsrf": xsrf})
        assert status in (302, 303), f"the stop got {status}: {words(text)}"

    def api(self, method, path):
        """Asks the API as this person; gives status and text."""
        target = f"/hub/api/{path}?_xsrf={quote(self.cookies['_xsrf', '/hub/'])}"
        status, _, text = self.ask(target, method=method)
        return status, text


def words(text):
    return " ".join(re.sub("<[^>]*>", " ", re.sub("(?s)<(script|style).*?</\\1>", " ", text)).split())


def good(text):
    print(f"  good: {text}", flush=True)


class Host:
    """What root sees on the machine."""

    def __init__(self, machine):
        self.machine, self.run, self.output = machine, machine.run, machine.output

    def processes(self, user, pattern="."):
        return self.output(f"pgrep -u {user} -f '{pattern}'")[1].split()

    def all_end(self, user, what):
        self.machine.wait_for(f"the end of everything of {user}'s server: {what}",
                              lambda: not self.processes(user, "hubd-tests/bin/server|sleep 432"), END_SECONDS)
        groups = f"ls -d /sys/fs/cgroup/hubd.slice/*/*/u$(id -u {user})-*"
        self.machine.wait_for("the control group to be gone", lambda: self.output(groups)[0] != 0, END_SECONDS)
