"""The hub's own pages: a wrong password, the start with its progress, home, log-out."""

import re

from driver import START_LIMIT, URL, Person, chromium, done, expect, wait_until


def main():
    with chromium() as browser:
        alice = Person(browser, "alice")
        wrong_password(alice)
        progress(alice)
        stop_and_start_again(alice)
        menu_of_lab(alice)
        log_out(alice)


def wrong_password(alice):
    page = alice.page
    page.goto(URL + "/hub/login")
    with page.expect_response(re.compile("/hub/login")) as answer:
        alice.fill_login(password="wrong")
    assert answer.value.status == 403, answer.value.status
    expect(page.locator("p.login_error")).to_contain_text("Invalid username or password")
    assert page.get_by_label("Username:").input_value() == alice.name
    assert page.get_by_label("Password:").input_value() == ""
    done("a wrong password is refused", text=page.locator("p.login_error").inner_text())


def progress(alice):
    page = alice.page
    seen = []
    page.on("requestfinished", lambda request: seen.append(request.url))
    alice.fill_login()
    page.wait_for_url(re.compile(f"/hub/spawn-pending/{re.escape(alice.name)}"))
    bar = page.locator("#progress-bar")
    expect(bar).to_have_attribute("role", "progressbar")
    expect(page.locator("#progress-log .progress-log-event").first).to_be_attached()
    events = page.locator("#progress-log .progress-log-event").all_text_contents()
    alice.wait_for_lab()
    assert any("/progress" in url for url in seen), seen
    done("the start shows its progress and ends in JupyterLab", events=events)


def stop_and_start_again(alice):
    page = alice.page
    page.goto(URL + "/hub/home")
    page.wait_for_function("window._jupyterhub_page_loaded === true")
    expect(page.locator("#start")).to_have_text(re.compile("My Server"))
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text(re.compile("Start My Server"), timeout=START_LIMIT)
    done("a server can be stopped on the home page")
    page.locator("#start").click()
    alice.wait_for_lab()
    done("and started again")


def menu_of_lab(alice):
    """JupyterLab's own entries that lead to the hub."""
    page = alice.page

    def choose(entry):
        page.get_by_role("menuitem", name="File", exact=True).click()
        page.get_by_role("menuitem", name=entry).click()

    with page.context.expect_page() as opened:
        choose("Hub Control Panel")
    panel = opened.value
    expect(panel.locator("#stop")).to_be_visible()
    assert panel.url == URL + "/hub/home", panel.url
    panel.close()
    done("JupyterLab's Hub Control Panel is the home page")
    choose("Log Out")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(URL + "/hub/home")
    wait_until(page, "the login page", lambda: "/hub/login?next=" in page.url)
    page.goto(f"{URL}/user/{alice.name}/lab")
    wait_until(page, "the login page", lambda: "/hub/login?next=" in page.url)
    done("JupyterLab's Log Out ends the login")
    alice.fill_login()
    alice.wait_for_lab()


def log_out(alice):
    page = alice.page
    page.goto(URL + "/hub/home")
    page.locator("#logout").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(URL + "/hub/home")
    wait_until(page, "the login page", lambda: "/hub/login?next=" in page.url)
    done("after log-out the home page asks for a login")


main()
