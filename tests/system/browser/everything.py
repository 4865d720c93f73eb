"""Every page of the hub: pictures of it, or axe on it, and every button without and with JavaScript.

tests/screenshots starts a trial hub with dummy logins (password "right", admin "ada") for this, and a second one
whose logins ask questions.
"""

import re

from buttons import Mode, press_all
from corners import shut_down
from driver import START_LIMIT, URL, chromium, done, expect
from eye import CHECK, PAM_URL, Eye, log_in, new_page
from sights import admins, people, strangers


def live_rows(browser):
    """What scripts add: rows that change by themselves, the theme, and no errors on the console."""
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
            for script in [False, True]:
                for scheme in ["light", "dark"]:
                    press_all(Mode(browser, script, scheme))
            live_rows(browser)
            # Nothing is there to look at any more after that.
            shut_down(Mode(browser, False, "dark"), PAM_URL, "code")
            shut_down(Mode(browser, True, "light"), URL, "ada")
            done("the hub ends when an admin says so")


main()
