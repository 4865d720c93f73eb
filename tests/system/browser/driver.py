"""What the browser scripts share: Chromium, people who log in, JupyterLab's cells and terminals.

A script does what people do, in order, and prints one line per step that succeeded. It ends with an
exception and a picture of every open page at the first step that does not. Where the test around it
has to act in between (kill the hub, start it again), the script calls ask(), which prints the wish
and waits for a line.
"""

import contextlib
import json
import os
import pathlib
import re
import sys
import time

from playwright.sync_api import expect, sync_playwright

URL = os.environ["HUBD_TEST_URL"]
PICTURES = pathlib.Path(os.environ["HUBD_TEST_OUT"])
PEOPLE = json.loads(os.environ["HUBD_TEST_PEOPLE"])
CHROMIUM = os.environ.get("HUBD_TEST_CHROMIUM", "/usr/bin/chromium")

# Milliseconds. JupyterLab's first start compiles its Python files and takes longest.
PAGE_LIMIT = 20_000
START_LIMIT = 90_000
# After the hub comes back, JupyterLab tries again in steps of up to 30 seconds.
RECONNECT_LIMIT = 90_000

expect.set_options(timeout=PAGE_LIMIT)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def done(step, **facts):
    """Reports a step that succeeded."""
    print(json.dumps({"done": step, **facts}), flush=True)


def ask(wish):
    """Lets the test around the script act; returns what it answers."""
    print(json.dumps({"ask": wish}), flush=True)
    return sys.stdin.readline().strip()


@contextlib.contextmanager
def chromium():
    """A Chromium; what goes wrong inside leaves pictures of all pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        except BaseException:
            take_pictures(browser)
            raise
        finally:
            browser.close()


def take_pictures(browser):
    PICTURES.mkdir(parents=True, exist_ok=True)
    script = pathlib.Path(sys.argv[0]).stem
    pages = [page for context in browser.contexts for page in context.pages]
    for number, page in enumerate(pages):
        with contextlib.suppress(Exception):
            page.screenshot(path=PICTURES / f"{script}-{number}.png", timeout=5_000)
            (PICTURES / f"{script}-{number}.html").write_text(f"<!-- {page.url} -->\n{page.content()}")
            print(f"page {number} was {page.url}", file=sys.stderr)


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, browser, key):
        self.name = PEOPLE[key]["name"]
        self.password = PEOPLE[key]["password"]
        self.context = browser.new_context(ignore_https_errors=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PAGE_LIMIT)

    def fill_login(self, password=None, name=None):
        """Fills in the login form that is on the screen and sends it."""
        page = self.page
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_label("Username:").fill(name or self.name)
        page.get_by_label("Password:").fill(self.password if password is None else password)
        page.get_by_role("button", name="Sign in").click()

    def log_in(self, path="/hub/login"):
        self.page.goto(URL + path)
        self.fill_login()

    def start_lab(self):
        """Logs in at the front door and waits until JupyterLab is there."""
        self.log_in("/")
        self.wait_for_lab()

    def wait_for_lab(self, limit=START_LIMIT):
        failed = self.page.get_by_role("heading", name="Spawn failed")
        there = lambda: f"/user/{self.name}/lab" in self.page.url or failed.is_visible()  # noqa: E731
        wait_until(self.page, "JupyterLab's address", there, lambda: self.page.url, limit)
        assert not failed.is_visible(), self.page.inner_text("body")
        expect(self.launcher_button()).to_be_visible(timeout=limit)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0, timeout=limit)
        # The question about news would cover what the scripts click on.
        self.page.add_locator_handler(
            self.page.get_by_role("button", name="No", exact=True).first,
            lambda button: button.click(),
        )

    def launcher_button(self):
        return self.page.get_by_role("button", name=re.compile(r"New Launcher \("))

    def open_launcher(self, category):
        """Opens the first card of a new launcher in a category: Notebook, Console or Other."""
        card = self.page.locator(f'.jp-LauncherCard[data-category="{category}"]:visible').first
        if not card.is_visible():
            self.launcher_button().click()
        card.click()

    def open_notebook(self):
        """Opens a new notebook, beside any that JupyterLab brought back, and waits for its kernel."""
        replies = []

        def listen(socket):
            if "/channels" in socket.url:
                socket.on("framereceived", lambda frame: replies.append(b"kernel_info_reply" in as_bytes(frame)))

        self.page.on("websocket", listen)
        panels = self.page.locator(".jp-NotebookPanel")
        ids = lambda: set(panels.evaluate_all("panels => panels.map(panel => panel.id)"))  # noqa: E731
        before = ids()
        self.open_launcher("Notebook")
        wait_until(self.page, "a new notebook", lambda: ids() - before)
        self.notebook = self.page.locator(f'[id="{(ids() - before).pop()}"]')
        expect(self.notebook.locator(".jp-Notebook-cell").first).to_be_visible(timeout=START_LIMIT)
        idle = self.notebook.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        # JupyterLab shows a kernel as idle before it has heard of it, and forgets what is run until then.
        wait_until(self.page, "the kernel's first answer", lambda: any(replies))
        expect(idle).to_be_visible(timeout=START_LIMIT)

    def find_notebook(self):
        """Finds the notebook that JupyterLab brought back."""
        self.notebook = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").last
        expect(self.notebook.locator(".jp-Notebook-cell").last).to_be_visible(timeout=START_LIMIT)

    def run_cell(self, code, limit=START_LIMIT):
        """Types code into the last cell, runs it, and returns the text that it prints."""
        cells = self.notebook.locator(".jp-Notebook-cell")
        number = cells.count() - 1
        cells.nth(number).locator(".cm-content").click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        output = cells.nth(number).locator(".jp-OutputArea-output").last
        output.wait_for(timeout=limit)
        return output.inner_text().strip()

    def run_in_terminal(self, command, wanted):
        """Opens a terminal, types a command, and waits until its output matches the pattern."""
        seen = []

        def listen(socket):
            if "/terminals/websocket/" in socket.url:
                socket.on("framereceived", lambda frame: seen.append(terminal_text(frame)))

        self.page.on("websocket", listen)
        self.open_launcher("Other")
        screen = self.page.locator(".jp-Terminal .xterm-helper-textarea")
        screen.wait_for(state="attached")
        wait_until(self.page, "a prompt of the shell", lambda: "".join(seen).strip())
        screen.focus()
        self.page.keyboard.type(command + "\n")
        found = lambda: re.search(wanted, "".join(seen))  # noqa: E731
        wait_until(self.page, f"{wanted} in the terminal", found, lambda: "".join(seen))
        return found()


def as_bytes(frame):
    return frame.encode() if isinstance(frame, str) else frame


def terminal_text(frame):
    """The text that a terminal's WebSocket frame shows on the screen."""
    with contextlib.suppress(ValueError):
        kind, *rest = json.loads(frame)
        if kind == "stdout":
            return "".join(rest)
    return ""


def wait_until(page, what, condition, explain=lambda: "", limit=START_LIMIT):
    """Lets the page live until the condition holds."""
    end = time.monotonic() + limit / 1000
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}: {explain()}")
        page.wait_for_timeout(50)
