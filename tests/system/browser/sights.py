"""Every page of the hub, in the order in which people meet them."""

import re
from urllib.parse import quote

from driver import START_LIMIT, URL, done, expect
from eye import CHECK, CLOSED_URL, NASTY, PAM_URL, call, log_in, new_page, wait_ready, weigh
from foreign import elsewhere

# What an application sends a browser to that it does not know yet.
AUTHORIZE = (
    f"{URL}/hub/api/oauth2/authorize?client_id=service-grades&response_type=code&state=x"
    f"&redirect_uri={quote('/services/grades/oauth_callback', safe='')}"
)


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
    page.goto(URL + "/dead/")
    eye.look(page, "error-dead")
    page.goto(CLOSED_URL + "/hub/login")
    eye.look(page, "login-closed")
    page.goto(CLOSED_URL + "/hub/logout")
    eye.look(page, "logged-out")
    if CHECK:
        done("the login page is light", bytes=weigh(new_page(browser), "/hub/login"))
    page = new_page(browser)
    log_in(page, "code", url=PAM_URL)
    expect(page.get_by_label("Verification code:")).to_be_visible()
    eye.look(page, "login-code")
    page.get_by_label("Verification code:").fill("no")
    page.click("#login_submit")
    expect(page.locator(".notice")).to_have_text("That was not the code.")
    eye.look(page, "login-code-wrong")
    page.get_by_label("Verification code:").fill("123456")
    page.click("#login_submit")
    expect(page.locator("#start")).to_be_visible()
    page = new_page(browser)
    log_in(page, "expired", url=PAM_URL)
    expect(page.get_by_label("New password:")).to_have_attribute("autocomplete", "new-password")
    eye.look(page, "login-expired")
    page = new_page(browser)
    log_in(page, "warned", url=PAM_URL)
    eye.look(page, "login-notices")
    page.click("#continue")
    expect(page.locator("#start")).to_be_visible()
    page.goto(PAM_URL + "/hub/spawn")
    expect(page.get_by_label("Course")).to_be_visible()
    eye.look(page, "spawn-form")
    page.click("#spawn_form button[type=submit]")
    expect(page.locator("#login-again")).to_be_visible()
    eye.look(page, "login-again")


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
    for slug, name in [("second", "x" * 60), ("third", f"Third {NASTY}")]:
        assert call(page, "PUT", f"users/alice/servers/{slug}", {"display_name": name}) == 201, slug
    page.goto(URL + "/hub/home")
    eye.look(page, "home-named")
    page.set_viewport_size({"width": 360, "height": 800})
    page.click(".navbar-toggler")
    page.click("nav summary")
    eye.look(page, "menu")
    bob = new_page(browser)
    log_in(bob, "bob")
    bob.goto(link)
    eye.look(bob, "accept-share")
    bob.get_by_role("button", name="Accept invitation").click()
    bob.goto(URL + "/hub/home")
    expect(bob.get_by_role("heading", name="Shared with you")).to_be_visible()
    eye.look(bob, "home-shared")
    bob.goto(URL + "/hub/user-redirect/lab/tree/x.ipynb")
    expect(bob.get_by_role("heading", name="Server Options")).to_be_visible()
    assert "next=%2Fuser%2Fbob%2Flab%2Ftree%2Fx.ipynb" in bob.url, bob.url
    eye.look(bob, "user-redirect")
    bob.goto(AUTHORIZE)
    expect(bob.get_by_role("heading", name="Authorize access")).to_be_visible()
    eye.look(bob, "oauth")
    elsewhere(bob, "#leave")
    eye.look(bob, "ask-foreign")
    stopping(bob, eye)


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


def stopping(page, eye):
    """A server that takes its time to end."""
    page.goto(URL + "/hub/spawn")
    page.get_by_label("Stubborn").check()
    page.get_by_role("button", name="Start").click()
    wait_ready(page, "bob")
    page.evaluate(
        "void fetch('/hub/api/users/bob/server?_xsrf=' + jhdata.xsrf_token, { method: 'DELETE', keepalive: true })"
    )
    heading = page.get_by_role("heading", name="is stopping")
    for _ in range(20):
        page.goto(URL + "/hub/spawn-pending/bob")
        if heading.count():
            break
        page.wait_for_timeout(100)
    expect(heading).to_be_visible()
    # It would go on by itself while it is looked at.
    page.route("**/hub/spawn-pending/**", lambda route: route.abort())
    eye.look(page, "stopping")
    page.unroute("**/hub/spawn-pending/**")


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
    if CHECK:
        done("the admin page is light", bytes=weigh(page, "/hub/admin"))
    page.goto(URL + "/hub/admin?state=active")
    eye.look(page, "admin-active")
    page.goto(URL + "/hub/admin?user_search=nobody-at-all")
    eye.look(page, "admin-nobody")
    page.goto(URL + "/hub/admin?user_search=student&limit=25")
    page.check("#choose-all")
    page.click("button[value=join]")
    eye.look(page, "admin-results")
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
