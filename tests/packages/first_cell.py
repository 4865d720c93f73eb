"""Somebody's first notebook, in Chromium: first_cell.py PICTURE

Opens https://localhost:8000/, logs in as alice, makes a notebook with the classic Jupyter Notebook (6.4) that opens, runs
a cell, and waits for its result. The address is all that is known: the rest is what the pages offer.
"""

import os
import sys

from playwright.sync_api import sync_playwright

# On a machine that does other things, too.
WAIT_MILLISECONDS = 90_000

with sync_playwright() as playwright:
    path = os.environ.get("HUBD_TEST_CHROMIUM", "/usr/bin/chromium")
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_context(ignore_https_errors=True).new_page()
    page.set_default_timeout(WAIT_MILLISECONDS)
    page.goto("https://localhost:8000/")
    page.get_by_label("Username:").fill("alice")
    page.get_by_label("Password:").fill("pass of alice")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/user/alice/**")
    page.get_by_role("button", name="New").click()
    with page.context.expect_page() as opened:
        page.get_by_text("Python 3 (ipykernel)").click()
    notebook = opened.value
    notebook.locator("#kernel_indicator_icon.kernel_idle_icon").wait_for()
    notebook.locator(".CodeMirror").first.click()
    notebook.keyboard.type("import getpass; getpass.getuser(), 6 * 7")
    notebook.keyboard.press("Control+Enter")
    notebook.locator(".output_text").filter(has_text="('alice', 42)").first.wait_for()
    if sys.argv[1] != "/dev/null":
        notebook.screenshot(path=sys.argv[1])
    browser.close()
