"""Every button of the pages, pressed without JavaScript and with it, in both colour schemes."""

import re

from controls import Controls
from corners import closed, conversations, errors, keep_running
from driver import START_LIMIT, URL, done, expect
from eye import new_page, wait_ready
from foreign import questions
from sights import AUTHORIZE

# The hub would be gone; it is pressed when everything else was, see corners.shut_down.
EXEMPT = {("/hub/admin/hub", "POST /hub/admin/hub action=shutdown")}


class Mode:
    """A browser with or without JavaScript."""

    def __init__(self, browser, script, scheme):
        self.browser, self.script, self.scheme = browser, script, scheme
        self.controls = Controls(f"{'with' if script else 'without'} JavaScript, {scheme}")

    def somebody(self, name):
        page = new_page(self.browser, self.script, self.scheme)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(URL + "/hub/login?next=/hub/home")
        if self.script:
            self.press(page, "#toggle_password_visibility")
        page.fill("#username_input", name)
        page.fill("#password_input", "right")
        self.press(page, "#login_submit")
        expect(page.locator("#start")).to_be_visible()
        return page

    def press(self, page, button):
        self.controls.press(page, button)

    def go(self, page, path):
        page.goto(URL + path)
        if self.script:
            page.wait_for_function("window._jupyterhub_page_loaded === true")
        self.controls.look(page)


def choose(mode, page, environment):
    """Starts a server from the options page."""
    page.check(f"#profile-{environment}")
    mode.press(page, "#spawn_form button[type=submit]")


def servers(mode, page, name):
    """Starts, watches and stops servers."""
    mode.press(page, "#start")
    mode.press(page, page.get_by_role("button", name="Cancel"))
    mode.press(page, "#start")
    choose(mode, page, "slow")
    expect(page.locator("#stop-server-btn")).to_be_visible()
    mode.press(page, "#stop-server-btn")
    expect(page.locator("body")).to_contain_text(re.compile("is stopping|not running"), timeout=START_LIMIT)
    wait_stopped(page, name)
    mode.go(page, "/hub/spawn")
    choose(mode, page, "broken")
    expect(page.get_by_role("heading", name="Spawn failed")).to_be_visible(timeout=START_LIMIT)
    mode.press(page, page.get_by_role("button", name="Home"))
    mode.go(page, f"/hub/spawn-pending/{name}")
    mode.press(page, "#start")
    choose(mode, page, "stubborn")
    wait_ready(page, name)
    keep_running(mode, page)
    errors(mode, page)
    mode.go(page, "/hub/home")
    mode.press(page, "#stop")
    if not mode.script:
        mode.press(page, page.get_by_role("button", name="Cancel"))
        mode.press(page, "#stop")
        mode.press(page, "#ask-form button")
        expect(page.locator("#refresh")).to_be_visible()
        mode.press(page, "#refresh")
    wait_stopped(page, name)
    mode.go(page, f"/hub/user/{name}/lab")
    mode.press(page, page.get_by_role("button", name="Home"))
    mode.go(page, f"/hub/user/{name}/lab")
    mode.press(page, "#start")
    choose(mode, page, "small")
    wait_ready(page, name)
    mode.controls.look(page)
    page.click("#log")
    mode.press(page, page.get_by_role("button", name="refresh"))
    mode.go(page, "/hub/home")
    mode.press(page, "#start")
    page.wait_for_url(re.compile(f"/user/{name}/"), wait_until="commit")


def wait_stopped(page, name):
    for _ in range(100):
        page.goto(URL + "/hub/home")
        if page.get_by_role("button", name="Start My Server").count():
            return
        page.wait_for_timeout(300)
    raise AssertionError(f"the server of {name} did not stop")


def named_servers(mode, page, name):
    mode.go(page, "/hub/home")
    page.fill(".new-server-name", "My second")
    mode.press(page, ".new-server-btn")
    choose(mode, page, "stubborn")
    row = page.locator("tr[data-server-name=my-second]")
    for _ in range(100):
        page.goto(URL + "/hub/home")
        if row.locator(".server-link:visible").count():
            break
        page.wait_for_timeout(300)
    mode.press(page, row.get_by_role("button", name="Log of"))
    mode.go(page, "/hub/home")
    mode.press(page, row.get_by_role("button", name="Share"))
    mode.go(page, "/hub/home")
    mode.press(page, row.locator(".stop-server"))
    if not mode.script:
        mode.press(page, "#ask-form button")
    for _ in range(100):
        page.goto(URL + "/hub/home")
        if row.locator(".start-server:visible").count():
            break
        page.wait_for_timeout(300)
    mode.press(page, row.locator(".start-server"))
    mode.press(page, page.get_by_role("button", name="Cancel"))
    if mode.script:
        page.wait_for_function("window._jupyterhub_page_loaded === true")
    mode.press(page, row.locator(".delete-server"))
    if not mode.script:
        mode.press(page, page.get_by_role("button", name="Cancel"))
        mode.press(page, row.locator(".delete-server"))
        mode.press(page, "#ask-form button")
    expect(row).to_have_count(0)


def sharing(mode, page, name):
    mode.go(page, f"/hub/share/{name}")
    page.fill("input[name=name]", "bob")
    mode.press(page, page.get_by_role("button", name="Share", exact=True))
    mode.press(page, page.get_by_role("button", name="Stop sharing with bob"))
    mode.press(page, page.get_by_role("button", name="New link"))
    link = page.locator("#share-link").inner_text()
    if mode.script:
        mode.press(page, "[data-copy]")
    guest = mode.somebody(f"guest-{name}")
    guest.goto(link)
    mode.press(guest, guest.get_by_role("button", name="Cancel"))
    guest.goto(link)
    mode.press(guest, guest.get_by_role("button", name="Accept invitation"))
    mode.go(page, f"/hub/share/{name}")
    mode.press(page, page.get_by_role("button", name="revoke", exact=True).last)


def account(mode, page):
    mode.go(page, "/hub/token")
    page.fill("#token-note", "mine")
    mode.press(page, "#request-token-form button")
    expect(page.locator("#token-result")).not_to_be_empty()
    if mode.script:
        mode.press(page, "[data-copy]")
    row = page.locator("tr.token-row", has_text="mine")
    mode.press(page, row.get_by_role("button", name="revoke"))
    expect(row).to_have_count(0)
    page.goto(AUTHORIZE)
    mode.press(page, page.get_by_role("button", name="Cancel"))
    page.goto(AUTHORIZE)
    mode.press(page, page.get_by_role("button", name="Authorize"))
    mode.go(page, "/hub/home")
    if page.locator(".announcement button").count():
        mode.press(page, ".announcement button")
        expect(page.locator(".announcement")).to_have_count(0)
    mode.go(page, "/hub/error/503")
    mode.press(page, page.get_by_role("button", name="Restart from the hub"))
    mode.go(page, "/hub/error/404")
    mode.press(page, page.get_by_role("button", name="Home"))


def logins(mode, page, name):
    """Ends logins; the last one is the page's own."""
    elsewhere = mode.somebody(name)
    mode.go(page, "/hub/token")
    mode.press(page, page.get_by_role("button", name="Log out of"))
    expect(page.locator("#logins li")).to_have_count(1)
    elsewhere.goto(URL + "/hub/home")
    expect(elsewhere.locator("#login_submit")).to_be_visible()
    mode.press(page, page.get_by_role("button", name="Log out everywhere"))
    expect(page.locator("#login_submit")).to_be_visible()
    page = mode.somebody(name)
    mode.press(page, "#logout")
    expect(page.locator("#login_submit")).to_be_visible()


def people_of_admin(mode, page, names):
    mode.go(page, "/hub/admin")
    mode.press(page, page.get_by_role("button", name="Add Users"))
    mode.press(page, page.get_by_role("button", name="Cancel"))
    mode.press(page, page.get_by_role("button", name="Add Users"))
    page.fill("#names", "\n".join(names))
    mode.press(page, "[data-testid=submit]")
    expect(page.locator(f"[data-testid=user-row-{names[0]}]")).to_be_visible()
    mode.go(page, "/hub/admin/add")
    page.fill("#names", names[0])
    page.click("[data-testid=submit]")
    expect(page.locator(".results")).to_contain_text("was there already")
    mode.press(page, page.get_by_role("button", name="Back"))
    mode.go(page, "/hub/admin?user_search=student")
    mode.press(page, "[data-testid=paginate-next]")
    mode.press(page, "[data-testid=paginate-prev]")
    if not mode.script:
        mode.press(page, page.get_by_role("button", name="Show", exact=True))
    mode.press(page, page.get_by_role("button", name="Show all"))
    page.fill("[name=user_search]", names[0][:4])
    mode.press(page, page.get_by_role("button", name="Search"))
    bulk(mode, page)
    server_of_somebody(mode, page, names[0])
    mode.press(page, page.locator("h2", has_text="Delete User").locator("..").get_by_role("button"))
    mode.press(page, page.get_by_role("button", name="Cancel"))
    mode.go(page, f"/hub/admin/user/{names[0]}")
    mode.press(page, "[data-testid=delete-user]")
    mode.press(page, "#ask-form button")
    expect(page.locator(".results")).to_contain_text("deleted")


def bulk(mode, page):
    """Actions on all that are listed."""
    for action in ["join", "leave", "start", "stop", "start-all", "stop-all", "delete"]:
        back = page.url
        for box in page.locator("input[name=user]").all():
            box.check()
        if page.locator("[name=to_group]").count():
            page.select_option("[name=to_group]", "physics")
        mode.press(page, f"button[name=action][value={action}]")
        if action == "delete":
            mode.press(page, page.get_by_role("button", name="Cancel"))
        elif mode.script and action not in ["join", "leave"]:
            expect(page.locator("#bulk-status")).to_contain_text(re.compile("[0-9]+ of"))
        else:
            expect(page.locator(".results li").first).to_be_visible()
        page.goto(back)


def server_of_somebody(mode, page, name):
    mode.go(page, f"/hub/admin?user_search={name}")
    row = page.locator(f"[data-testid=user-row-{name}]").first
    for button in ["Start Server", "Stop Server"]:
        for _ in range(100):
            if row.get_by_role("button", name=button).count():
                break
            mode.go(page, f"/hub/admin?user_search={name}")
            page.wait_for_timeout(300)
        mode.press(page, row.get_by_role("button", name=button))
    mode.go(page, f"/hub/admin/user/{name}")
    for button, wish in [("Start Server", "start"), ("Access Server", ""), ("Stop Server", "stop")]:
        for _ in range(100):
            mode.go(page, f"/hub/admin/user/{name}")
            if page.get_by_role("button", name=button).count():
                break
            page.wait_for_timeout(300)
        if button == "Access Server":
            mode.press(page, page.get_by_role("button", name="Log", exact=True))
            mode.go(page, f"/hub/admin/user/{name}")
            mode.press(page, page.get_by_role("button", name=button))
            mode.press(page, page.get_by_role("button", name="Cancel"))
            mode.go(page, f"/hub/admin/open/{name}")
            mode.press(page, "#ask-form button")
            mode.go(page, f"/hub/admin/user/{name}")
        else:
            mode.press(page, page.get_by_role("button", name=button))
    mode.go(page, f"/hub/admin/user/{name}")
    page.get_by_label("physics").check()
    mode.press(page, page.get_by_role("button", name="Save"))
    expect(page.get_by_label("physics")).to_be_checked()


def hub_of_admin(mode, page):
    mode.go(page, "/hub/admin/groups")
    page.fill("[data-testid=group-input]", "geology")
    mode.press(page, "[data-testid=submit]")
    page.fill("#members", "student-001")
    mode.press(page, page.get_by_role("button", name="Save members"))
    page.fill("#properties", '{"room": 5}')
    mode.press(page, page.get_by_role("button", name="Save properties"))
    page.check("[name=sure]")
    mode.press(page, "[data-testid=delete-group]")
    expect(page.locator("body")).not_to_contain_text("geology")
    mode.go(page, "/hub/admin/hub")
    page.fill("#news-text", "The lab is closed tomorrow.")
    mode.press(page, page.get_by_role("button", name="Announce"))
    mode.press(page, page.get_by_role("button", name="Withdraw").last)
    expect(page.locator(".news", has_text="closed tomorrow")).to_have_count(0)


def press_all(mode):
    """Goes through everything in one mode; every button that was seen was pressed."""
    conversations(mode)
    closed(mode)
    script, tail = mode.script, f"-{mode.scheme}"
    name, newcomers = ("dora", ["zack1", "zack2"]) if script else ("carol", ["zoe1", "zoe2"])
    name, newcomers = name + tail, [newcomer + tail for newcomer in newcomers]
    page = mode.somebody(name)
    if script:
        mode.press(page, "#dark-theme-toggle")
        mode.press(page, "#dark-theme-toggle")
    servers(mode, page, name)
    named_servers(mode, page, name)
    sharing(mode, page, name)
    account(mode, page)
    logins(mode, page, name)
    guest = f"guest-{name}"
    questions(mode, mode.somebody(guest), guest)
    admin = mode.somebody("ada")
    people_of_admin(mode, admin, newcomers)
    hub_of_admin(mode, admin)
    forgotten = [pair for pair in mode.controls.forgotten() if pair not in EXEMPT]
    assert not forgotten, f"never pressed {mode.controls.mode}:\n" + "\n".join(map(str, forgotten))
    done(f"every button was pressed {mode.controls.mode}", buttons=len(mode.controls.pressed))
