"""A start that fails: the page says which step, why, the server's last lines, and what to do."""

import json
import os

from driver import START_LIMIT, Person, chromium, done, expect

WANTED = json.loads(os.environ["HUBD_TEST_WANTED"])


def main():
    with chromium() as browser:
        alice = Person(browser, "alice")
        alice.log_in("/")
        for text in WANTED:
            expect(alice.page.locator("body")).to_contain_text(text, ignore_case=True, timeout=START_LIMIT)
        done("the page explains the failure", text=alice.page.locator("body").inner_text())
        expect(alice.page.get_by_role("button", name="Relaunch Server")).to_be_visible()
        done("the page offers to try again")


main()
