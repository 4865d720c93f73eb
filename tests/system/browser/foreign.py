"""Links, images and frames on somebody else's page: the hub asks before anything happens."""

from driver import URL, expect
from eye import wait_ready

ELSEWHERE = "http://elsewhere.test/"
# What such a page may have. The options are in the address, so that no form comes first.
PAGE = f"""<!DOCTYPE html><title>Elsewhere</title>
<a id="start" href="{URL}/hub/spawn?opt-profile=stubborn">Look at this notebook</a>
<a id="leave" href="{URL}/hub/logout">Win a prize</a>
<img src="{URL}/hub/spawn?opt-profile=stubborn" alt=""><img src="{URL}/hub/logout" alt="">
<iframe src="{URL}/hub/logout"></iframe>"""


def elsewhere(page, link):
    """Goes to the other site and follows a link there."""
    page.route(ELSEWHERE, lambda route: route.fulfill(content_type="text/html", body=PAGE))
    page.goto(ELSEWHERE)
    page.click(link)


def nothing_happened(page):
    page.goto(URL + "/hub/home")
    expect(page.get_by_role("button", name="Start My Server")).to_be_visible()


def questions(mode, page, name):
    """Both questions, each denied once; the last answer logs out."""
    elsewhere(page, "#start")
    expect(page.get_by_role("heading", name="Start your server?")).to_be_visible()
    mode.press(page, page.get_by_role("button", name="Cancel"))
    nothing_happened(page)
    elsewhere(page, "#start")
    mode.press(page, page.get_by_role("button", name="Start server"))
    wait_ready(page, name)
    elsewhere(page, "#leave")
    expect(page.get_by_role("heading", name="Log out?")).to_be_visible()
    mode.press(page, page.get_by_role("button", name="Cancel"))
    page.goto(URL + "/hub/token")
    expect(page.locator("#request-token-form")).to_be_visible()
    elsewhere(page, "#leave")
    mode.press(page, page.get_by_role("button", name="Log out", exact=True))
    expect(page.locator("#login_submit")).to_be_visible()
    page.goto(URL + "/hub/home")
    expect(page.locator("#login_submit")).to_be_visible()
