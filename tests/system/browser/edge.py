"""JupyterLab without a Python package of the hub: hubd asks who comes."""

from driver import URL, Person, chromium, done, expect, wait_until


def main():
    with chromium() as browser:
        alice, bob = Person(browser, "alice"), Person(browser, "bob")
        sockets = []
        alice.page.on("websocket", lambda socket: sockets.append(socket))
        alice.start_lab()
        alice.open_notebook()
        uid = alice.run_cell("import os; print(os.environ['USER'], 'HUB' in os.environ.get('JUPYTERHUB_CLIENT', ''))")
        assert uid == f"{alice.name} False", uid
        done("a cell runs in plain JupyterLab", printed=uid)
        names = {cookie["name"]: cookie["path"] for cookie in alice.context.cookies()}
        assert names["__Secure-hubd-edge"] == f"/user/{alice.name}/", names
        strangers_are_kept_out(alice)
        bob_visits(alice, bob)
        logging_out_closes_everything(alice, sockets)


def fetched(page, path):
    """The status that a script of a page gets, or nothing if the browser keeps it from asking."""
    return page.evaluate("path => fetch(path).then(answer => answer.status, () => null)", path)


def strangers_are_kept_out(alice):
    stranger = alice.context.browser.new_context(ignore_https_errors=True)
    page = stranger.new_page()
    page.goto(f"{URL}/user/{alice.name}/lab")
    assert "/hub/login" in page.url, page.url
    assert stranger.request.get(f"{URL}/user/{alice.name}/api/contents").status == 403
    done("strangers are sent to the login, and their scripts refused")
    stranger.close()


def bob_visits(alice, bob):
    """Bob is an admin: he may, but his browser keeps what he sees there away from all else on this host."""
    bob.start_lab()
    page = bob.page
    page.goto(f"{URL}/user/{alice.name}/lab")
    expect(page.get_by_role("heading", name="Open somebody else's server?")).to_be_visible()
    page.get_by_role("button", name="Access Server").click()
    expect(page.get_by_role("button", name="New Launcher").first).to_be_visible(timeout=60_000)
    done("bob is asked, and sees alice's JupyterLab")
    statuses = {path: fetched(page, path) for path in own_and_others(alice, bob)}
    assert list(statuses.values()) == [200, None, None], statuses
    assert page.evaluate("window.open('/hub/home')") is None
    reached = page.evaluate(
        """path => new Promise(done => {
            const socket = new WebSocket(path.replace('http', 'ws'));
            socket.onopen = () => done(true);
            socket.onerror = () => done(false);
        })""",
        f"{URL}/user/{bob.name}/api/events/subscribe",
    )
    assert not reached
    done("alice's pages cannot ask bob's server or the hub in his name", statuses=statuses)
    page.goto(f"{URL}/user/{bob.name}/lab")
    bob.wait_for_lab()
    assert fetched(page, f"/user/{bob.name}/api/contents") == 200
    # Bob's own page may lead to alice's server, but not use it.
    assert fetched(page, f"/user/{alice.name}/api/contents") == 403
    done("bob's own pages use his own server alone")


def own_and_others(alice, bob):
    return [f"/user/{alice.name}/api/contents", f"/user/{bob.name}/api/contents", "/hub/api/user"]


def logging_out_closes_everything(alice, sockets):
    opened = [socket for socket in sockets if not socket.is_closed()]
    assert opened, "the kernel's WebSocket is open"
    other = alice.context.new_page()
    other.goto(f"{URL}/hub/logout")
    assert fetched(alice.page, f"/user/{alice.name}/api/contents") == 403
    done("scripts of an open page are refused after the logout")
    closed = lambda: all(socket.is_closed() for socket in opened)  # noqa: E731
    wait_until(alice.page, "the end of the WebSockets", closed, lambda: len(opened), 20_000)
    done("open WebSockets are closed", sockets=len(opened))


main()
