"""Alice works on a host of her own, and what her server serves cannot use her login at the hub."""

from urllib.parse import urlsplit

from driver import PEOPLE, URL, Person, chromium, done

HUB = urlsplit(URL).hostname


def main():
    with chromium() as browser:
        alice = Person(browser, "alice")
        alice.start_lab()
        host = urlsplit(alice.page.url).hostname
        assert host == f"{alice.name}.{HUB}", alice.page.url
        done("JupyterLab is open on alice's host", host=host)
        alice.open_notebook()
        uid = alice.run_cell("import os; print(os.getuid())")
        assert uid == str(PEOPLE["alice"]["uid"]), uid
        done("a cell runs over a WebSocket of alice's host")
        login_stays_at_the_hub(alice)
        the_hub_is_not_on_her_host(alice)


def login_stays_at_the_hub(alice):
    cookies = {cookie["name"]: cookie["domain"] for cookie in alice.context.cookies()}
    assert cookies["__Host-jupyterhub-hub-login"] == HUB, cookies
    assert cookies[f"__Host-jupyterhub-user-{alice.name}"] == f"{alice.name}.{HUB}", cookies
    assert cookies["hubd-ticket"] == HUB, cookies
    assert cookies["jupyterhub-session-id"] == f".{HUB}", cookies
    done("each login cookie is for its own host alone")


def the_hub_is_not_on_her_host(alice):
    landed = alice.page.evaluate("fetch('/hub/home').then(answer => answer.url, () => 'refused')")
    assert landed == "refused", landed
    page = alice.context.new_page()
    page.goto(f"{URL.replace(HUB, f'{alice.name}.{HUB}')}/hub/home")
    assert urlsplit(page.url).hostname == HUB and page.url.endswith("/hub/home"), page.url
    done("pages of the hub are shown on the hub's host only")


main()
