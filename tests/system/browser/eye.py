"""Looks at pages: pictures of them, or axe on them, and what they weigh."""

import os
import pathlib
import time
from urllib.parse import urlsplit

from driver import PICTURES, START_LIMIT, URL

CHECK = os.environ["HUBD_TEST_CHECK"] == "yes"
WIDTHS = [360, 1280, 2560]
# Bytes on the wire of a page with everything that it loads.
WEIGHT_MAX = 50 * 1024
# A second hub, whose logins ask questions.
PAM_URL = os.environ["HUBD_TEST_PAM_URL"]
# A third one, which lets nobody in and shows no form.
CLOSED_URL = os.environ["HUBD_TEST_CLOSED_URL"]
NASTY = "<img src=x onerror=alert(1)> \"quoted\" & 'more'"


def axe_source():
    import axe_playwright_python

    return (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


class Eye:
    """Looks at pages."""

    def __init__(self):
        self.axe = axe_source() if CHECK else ""
        self.seen = []
        self.problems = []

    def look(self, page, name):
        self.seen.append(name)
        for scheme in ["light", "dark"]:
            page.evaluate("scheme => { document.documentElement.dataset.bsTheme = scheme }", scheme)
            if CHECK:
                self.check(page, f"{name} ({scheme})")
                continue
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 1440 if width == 2560 else 800})
                page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=width < 2560)
        if CHECK:
            page.set_viewport_size({"width": 320, "height": 640})
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > 320:
                self.problems.append(f"{name}: {wide} pixels wide at 320")
            page.set_viewport_size({"width": 1280, "height": 800})

    def check(self, page, name):
        page.evaluate(self.axe)
        # A transition of colours would be measured half way.
        page.evaluate("Promise.all(document.getAnimations().map(a => { try { a.finish() } catch { a.cancel() } }))")
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = page.evaluate("tags => axe.run({ runOnly: tags })", tags)
        for problem in found["violations"]:
            where = [node["target"] for node in problem["nodes"]][:4]
            self.problems.append(f"{name}: {problem['id']}: {problem['help']} {where}")


def new_page(browser, script=True, scheme="light", **options):
    context = browser.new_context(
        java_script_enabled=script, reduced_motion="reduce", color_scheme=scheme, **options
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    return page


def log_in(page, name, password="right", url=URL):
    page.goto(url + "/hub/login?next=/hub/home")
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    page.click("#login_submit")


def call(page, method, path, body=None):
    """Calls the API as the person of the page."""
    return page.evaluate(
        """async ([method, path, body]) => {
            const url = `/hub/api/${path}?_xsrf=${encodeURIComponent(jhdata.xsrf_token)}`;
            const options = { method, headers: { "Content-Type": "application/json" } };
            if (body) options.body = JSON.stringify(body);
            return (await fetch(url, options)).status;
        }""",
        [method, path, body],
    )


def weigh(page, path):
    """The bytes of a page and all that it loads for the first time, and that all of it comes from the hub."""
    state = page.context.storage_state()
    page = page.context.browser.new_context(storage_state=state).new_page()
    answers = []

    def add(response):
        assert response.url.startswith(URL), response.url
        answers.append(response)

    page.on("response", add)
    page.goto(URL + path)
    page.wait_for_load_state("networkidle")
    answers = [answer for answer in answers if answer.status == 200]
    sizes = {urlsplit(answer.url).path: answer.request.sizes()["responseBodySize"] for answer in answers}
    total = sum(sizes.values())
    page.context.close()
    assert total < WEIGHT_MAX, (path, total, sizes)
    return total


def wait_ready(page, name):
    end = time.monotonic() + START_LIMIT / 1000
    while time.monotonic() < end:
        page.goto(URL + "/hub/home")
        if page.locator("#server-state", has_text="is running").count():
            return
        page.wait_for_timeout(300)
    raise AssertionError(f"the server of {name} did not start: {page.inner_text('main')}")
