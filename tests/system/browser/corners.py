"""Buttons of pages that few people meet: further questions of a login, its end, what does not answer, errors."""

import re

from driver import URL, expect
from eye import CLOSED_URL, PAM_URL, new_page
from playwright.sync_api import Error


def conversations(mode):
    """PAM asks for a code, for a new password, and says something; then a ticket turns out to be worthless."""
    page = new_page(mode.browser, mode.script, mode.scheme)
    log_in(mode, page, "code")
    page.get_by_label("Verification code:").fill("123456")
    mode.press(page, "#login_submit")
    expect(page.locator("#start")).to_be_visible()
    page = new_page(mode.browser, mode.script, mode.scheme)
    log_in(mode, page, "expired")
    for field in ["New password:", "Retype new password:"]:
        page.get_by_label(field).fill("a better one")
        if mode.script:
            mode.press(page, "#toggle_password_visibility")
        mode.press(page, "#login_submit")
    expect(page.locator("#start")).to_be_visible()
    page = new_page(mode.browser, mode.script, mode.scheme)
    log_in(mode, page, "warned")
    mode.press(page, "#continue")
    mode.press(page, "#start")
    page.get_by_label("Course").select_option("Geometry")
    page.get_by_label("What for?").fill("homework")
    mode.press(page, "#spawn_form button[type=submit]")
    mode.press(page, "#login-again")
    expect(page.locator("#username_input")).to_be_visible()


def shut_down(mode, url, admin):
    """An admin ends a hub, which says so; afterwards nobody answers there."""
    page = new_page(mode.browser, mode.script, mode.scheme)
    log_in(mode, page, admin, url)
    if admin == "code":
        page.get_by_label("Verification code:").fill("123456")
        page.click("#login_submit")
    expect(page.locator("#start")).to_be_visible()
    page.goto(url + "/hub/admin/hub")
    mode.press(page, "#shutdown-button")
    expect(page.get_by_role("heading", name="Shutdown Hub")).to_be_visible()
    page.get_by_label("I am sure").check()
    mode.press(page, "#shutdown-button")
    expect(page.locator("body")).to_contain_text("Shutting down Hub")
    for _ in range(100):
        try:
            page.request.get(url + "/hub/health")
        except Error:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{url} still answers")


def log_in(mode, page, name, url=PAM_URL):
    page.goto(url + "/hub/login?next=/hub/home")
    page.fill("#username_input", name)
    page.fill("#password_input", "right")
    mode.press(page, "#login_submit")


def closed(mode):
    """A hub without a form says that somebody is out; what does not answer can be tried again."""
    page = new_page(mode.browser, mode.script, mode.scheme)
    page.goto(CLOSED_URL + "/hub/logout")
    expect(page.get_by_role("heading", name="Successfully logged out.")).to_be_visible()
    mode.press(page, page.get_by_role("button", name="Sign in again"))
    expect(page.get_by_role("heading", name="403")).to_be_visible()
    mode.press(page, page.get_by_role("button", name="Home"))
    page.goto(URL + "/dead/")
    with page.expect_navigation(url=re.compile("/dead/$")):
        page.click("#again")
    page.click("#restart, main a:text('Home')")
    expect(page.locator("#login_submit")).to_be_visible()


def keep_running(mode, page):
    """A server that is about to be stopped for idleness stays; it can be put off with a script only."""
    for _ in range(60):
        page.goto(URL + "/hub/home")
        if page.locator(".idle-warning").count():
            break
        page.wait_for_timeout(300)
    expect(page.locator(".idle-warning")).to_contain_text("It will be stopped")
    if mode.script:
        page.wait_for_function("window._jupyterhub_page_loaded === true")
        mode.press(page, ".keep-running")
        expect(page.locator(".idle-warning")).to_have_count(0)
        page.reload()
        expect(page.locator("#stop")).to_be_visible()
        expect(page.locator(".idle-warning")).to_have_count(0)


def errors(mode, page):
    """What a script could not do is told in a dialog, which both of its buttons close."""
    if not mode.script:
        return
    page.route("**/hub/api/users/*/server*", lambda route: route.fulfill(status=500, body="{}"))
    for button in ["OK", "Close"]:
        mode.go(page, "/hub/home")
        page.click("#stop")
        expect(page.locator("#error-dialog")).to_contain_text("API request failed (500)")
        page.locator("#error-dialog").get_by_role("button", name=button).click()
        expect(page.locator("#error-dialog")).to_be_hidden()
    page.unroute("**/hub/api/users/*/server*")
