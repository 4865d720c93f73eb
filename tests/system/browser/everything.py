"""Every page of the hub: pictures of it, or axe on it, and every button without and with JavaScript.

tests/screenshots starts a trial hub with dummy logins (password "right", admin "ada") for this.
"""

import os
import pathlib
import re
import time
from urllib.parse import quote, urlsplit

from driver import PICTURES, START_LIMIT, URL, chromium, done, expect

CHECK = os.environ["HUBD_TEST_CHECK"] == "yes"
WIDTHS = [360, 1280, 2560]
# Bytes of a page with everything that it loads.
WEIGHT_MAX = 50 * 1024
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


def new_page(browser, script=True, **options):
    context = browser.new_context(java_script_enabled=script, reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    return page


def log_in(page, name, password="right"):
    page.goto(URL + "/hub/login?next=/hub/home")
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
    """The bytes of a page and all that it loads, and that all of it comes from the hub."""
    answers = []

    def add(response):
        assert response.url.startswith(URL), response.url
        answers.append(response)

    page.on("response", add)
    page.goto(URL + path)
    page.wait_for_load_state("networkidle")
    page.remove_listener("response", add)
    sizes = {urlsplit(answer.url).path: len(answer.body()) for answer in answers if answer.status == 200}
    total = sum(sizes.values())
    assert total < WEIGHT_MAX, (path, total, sizes)
    return total


def strangers(browser, eye):
    page = new_page(browser)
    page.goto(URL + "/hub/login")
    eye.look(page, "login")
    log_in(page, "alice", "wrong")
    expect(page.locator(".login_error")).to_be_visible()
    eye.look(page, "login-refused")
    page.goto(URL + "/hub/nope")
    eye.look(page, "error-404")
    page.goto(URL + "/hub/error/503")
    eye.look(page, "error-503")
    if CHECK:
        done("the login page is light", bytes=weigh(new_page(browser), "/hub/login"))


def people(browser, eye):
    page = new_page(browser)
    log_in(page, "alice")
    expect(page.locator("#start")).to_be_visible()
    eye.look(page, "home-stopped")
    page.goto(URL + "/hub/user/alice/lab")
    eye.look(page, "not-running")
    page.goto(URL + "/hub/spawn")
    eye.look(page, "spawn-options")
    page.goto(URL + "/hub/spawn?opt-profile=none")
    eye.look(page, "spawn-options-refused")
    page.goto(URL + "/hub/spawn")
    page.get_by_label("Experimental").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Spawn failed")).to_be_visible(timeout=START_LIMIT)
    assert "tornado_is_missing" in page.locator("#failure-log").inner_text()
    eye.look(page, "spawn-failed")
    page.goto(URL + "/hub/spawn")
    page.get_by_label("Everyday").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("spawn-pending|/user/alice"))
    if "spawn-pending" in page.url:
        with_stopped_events(page, eye)
    wait_ready(page, "alice")
    page.goto(URL + "/hub/home")
    eye.look(page, "home-running")
    if CHECK:
        done("the home page is light", bytes=weigh(page, "/hub/home"))
    page.goto(URL + "/hub/log/alice")
    eye.look(page, "log")
    page.goto(URL + "/hub/stop/alice")
    eye.look(page, "ask-stop")
    page.goto(URL + "/hub/token")
    page.get_by_label("Note").fill(NASTY)
    page.get_by_role("button", name="Request new API token").click()
    expect(page.locator("#token-result")).to_be_visible()
    assert page.locator(".note-col", has_text="onerror").count() == 1
    eye.look(page, "token")
    page.goto(URL + "/hub/share/alice")
    page.get_by_role("button", name="New link").click()
    link = page.locator("#share-link").inner_text()
    eye.look(page, "share")
    page.goto(URL + "/hub/admin")
    eye.look(page, "error-403")
    bob = new_page(browser)
    log_in(bob, "bob")
    bob.goto(link)
    eye.look(bob, "accept-share")
    bob.get_by_role("button", name="Accept invitation").click()
    bob.goto(URL + "/hub/home")
    expect(bob.get_by_role("heading", name="Shared with you")).to_be_visible()
    eye.look(bob, "home-shared")


def with_stopped_events(page, eye):
    """The progress page moves on by itself; what can be seen of it depends on the machine."""
    try:
        page.locator("#progress-bar").wait_for(timeout=1_000)
        other = page.context.new_page()
        other.route("**/progress**", lambda route: route.abort())
        other.goto(page.url)
        if "spawn-pending" in other.url and other.locator("#progress-bar").count():
            eye.look(other, "spawn-pending")
        other.close()
    except Exception as error:  # noqa: BLE001
        if "Timeout" not in str(error) and "destroyed" not in str(error):
            raise


def wait_ready(page, name):
    end = time.monotonic() + START_LIMIT / 1000
    while time.monotonic() < end:
        page.goto(URL + "/hub/home")
        if page.locator("#server-state", has_text="is running").count():
            return
        page.wait_for_timeout(300)
    raise AssertionError(f"the server of {name} did not start: {page.inner_text('main')}")


def admins(browser, eye):
    page = new_page(browser)
    log_in(page, "ada")
    expect(page.locator("#start")).to_be_visible()
    names = [f"student-{number:03}" for number in range(1, 131)]
    assert call(page, "POST", "users", {"usernames": names}) == 201
    for group in ["chemistry 101", "physics", NASTY]:
        assert call(page, "POST", f"groups/{quote(group, safe='')}", {"users": names[:7]}) == 201, group
    assert call(page, "POST", "announcements", {"text": f"Maintenance tonight at 22:00.\n{NASTY}", "level": "warning"}) == 201
    page.goto(URL + "/hub/admin")
    eye.look(page, "admin")
    page.goto(URL + "/hub/admin?state=active")
    eye.look(page, "admin-active")
    page.goto(URL + "/hub/admin?user_search=nobody-at-all")
    eye.look(page, "admin-nobody")
    for path, name in [
        ("admin/add", "admin-add"),
        ("admin/user/alice", "admin-user"),
        ("admin/groups", "admin-groups"),
        ("admin/group?name=physics", "admin-group"),
        ("admin/hub", "admin-hub"),
        ("admin/open/alice", "admin-open"),
    ]:
        page.goto(URL + "/hub/" + path)
        eye.look(page, name)


def without_script(browser):
    """Every button, with forms alone."""
    page = new_page(browser, script=False)
    log_in(page, "carol")
    expect(page.locator("#noscript")).to_be_visible()
    page.fill(".new-server-name", "My second")
    page.click(".new-server-btn")
    page.click("text=Cancel")
    page.click("#start")
    page.check("#profile-small")
    page.click("#spawn_form button[type=submit]")
    wait_ready(page, "carol")
    page.click("#log")
    page.goto(URL + "/hub/home")
    page.click("#stop")
    page.click("#ask-form button")
    expect(page.locator("body")).to_contain_text(re.compile("is stopping|is not running"))
    page.goto(URL + "/hub/token")
    page.fill("#token-note", "no script")
    page.click("#request-token-form button")
    expect(page.locator("#token-result")).not_to_be_empty()
    rows = page.locator("#api-tokens-table tr.token-row")
    before = rows.count()
    page.locator("tr.token-row", has_text="no script").get_by_role("button", name="revoke").click()
    expect(rows).to_have_count(before - 1)
    page.locator(".announcement button").first.click()
    expect(page.locator(".announcement")).to_have_count(0)
    page.click("#logout")
    expect(page.locator("#login_submit")).to_be_visible()
    done("a person needs no JavaScript")

    page = new_page(browser, script=False)
    log_in(page, "ada")
    page.goto(URL + "/hub/admin")
    page.click("text=Add Users")
    page.fill("#names", "zoe\nzacharias")
    page.click("[data-testid=submit]")
    expect(page.locator("[data-testid=user-row-zoe]")).to_be_visible()
    page.fill("[name=user_search]", "zo")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tr.user-row")).to_have_count(1)
    page.click("[data-testid=user-name-div-zoe]")
    page.fill("[data-testid=edit-username-input]", "zoe2")
    page.get_by_label("physics").check()
    page.click("[data-testid=submit]")
    expect(page.locator("h2", has_text="zoe2")).to_be_visible()
    page.click("[data-testid=delete-user]")
    page.click("#ask-form button")
    expect(page.locator(".results")).to_contain_text("deleted")
    page.goto(URL + "/hub/admin?user_search=student&sort=-name")
    expect(page.locator(".user-row").first).to_contain_text("student-130")
    page.click("[data-testid=paginate-next]")
    page.click("[data-testid=paginate-prev]")
    page.locator("input[name=user]").first.check()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".results li")).to_have_count(1)
    page.goto(URL + "/hub/admin/groups")
    page.fill("[data-testid=group-input]", "geology")
    page.click("[data-testid=submit]")
    page.fill("#members", "student-001")
    page.get_by_role("button", name="Save members").click()
    page.check("[name=sure]")
    page.click("[data-testid=delete-group]")
    expect(page.locator("body")).not_to_contain_text("geology")
    page.goto(URL + "/hub/admin/hub")
    page.get_by_role("button", name="Withdraw").first.click()
    expect(page.get_by_role("button", name="Withdraw")).to_have_count(0)
    done("an admin needs no JavaScript")


def with_script(browser):
    page = new_page(browser)
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    log_in(page, "ada")
    page.goto(URL + "/hub/admin?user_search=alice")
    page.wait_for_function("window._jupyterhub_page_loaded === true")
    row = page.locator("[data-testid=user-row-alice]").first
    row.get_by_role("button", name="Stop Server").click()
    expect(page.locator("#bulk-results li")).to_have_count(1)
    expect(row.get_by_role("button", name="Start Server")).to_be_visible(timeout=START_LIMIT)
    expect(page.locator("#bulk-status")).to_contain_text("1 of 1 done")
    page.goto(URL + "/hub/admin?user_search=student&limit=25")
    page.locator("#choose-all").check()
    assert page.locator("input[name=user]:checked").count() == 25
    page.locator("#choose-all").uncheck()
    page.select_option("select[name=state]", "inactive")
    page.wait_for_url(re.compile("state=inactive"))
    page.goto(URL + "/hub/home")
    theme = page.evaluate("document.documentElement.dataset.bsTheme")
    page.click("#dark-theme-toggle")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.bsTheme") != theme
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    assert not errors, errors
    done("scripts add progress and live rows")
    german = new_page(browser, locale="de-DE")
    german.goto(URL + "/hub/login")
    expect(german.locator("#login_submit")).to_have_value("Anmelden")
    assert german.evaluate("document.documentElement.lang") == "de"
    done("the pages speak German to a German browser")


def main():
    with chromium() as browser:
        eye = Eye()
        strangers(browser, eye)
        people(browser, eye)
        admins(browser, eye)
        assert not eye.problems, "\n".join(eye.problems)
        done("every page was looked at", pages=len(eye.seen), checked=CHECK)
        if CHECK:
            without_script(browser)
            with_script(browser)


main()
