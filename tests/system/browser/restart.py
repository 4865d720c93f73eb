"""The hub dies while alice works. Her tab, her kernel and its variables live on."""

import re
import sys

from driver import RECONNECT_LIMIT, URL, Person, ask, chromium, done, expect


def main():
    with chromium() as browser:
        alice = Person(browser, "alice")
        alice.start_lab()
        alice.open_notebook()
        value = alice.run_cell("import random; kept = random.random(); print(kept)")
        done("a variable is set", value=value)
        ask("kill the hub and start it")
        again = alice.run_cell("print(kept)", limit=RECONNECT_LIMIT)
        assert again == value, (again, value)
        done("the open tab reconnected and the variable has its value", value=again)
        if "lose-database" in sys.argv:
            without_the_database(alice, value)


def without_the_database(alice, value):
    ask("kill the hub, remove its database and start it")
    alice.page.close()
    alice.page = alice.context.new_page()
    alice.context.clear_cookies()
    alice.log_in("/hub/login?next=%2Fhub%2Fhome")
    stop = alice.page.get_by_role("button", name="Stop My Server")
    expect(stop).to_be_visible()
    done("the home page shows the server that was never stopped")
    alice.page.goto(f"{URL}/user/{alice.name}/lab")
    alice.wait_for_lab()
    alice.find_notebook()
    again = alice.run_cell("print(kept)", limit=RECONNECT_LIMIT)
    assert again == value, (again, value)
    done("the kernel is the same one", value=again)
    alice.page.goto(f"{URL}/hub/home")
    expect(stop).to_be_visible()
    # The page's script must be bound before the button is of use.
    alice.page.wait_for_function("window._jupyterhub_page_loaded === true")
    stop.click()
    expect(alice.page.locator("#start")).to_have_text(re.compile("Start My Server"))
    done("the server can be stopped")


main()
