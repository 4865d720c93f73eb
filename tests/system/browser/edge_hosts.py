"""JupyterLab without a Python package of the hub, on a host of alice's own: hubd asks who comes."""

from urllib.parse import urlsplit

from driver import URL, Person, chromium, done

HUB = urlsplit(URL).hostname


def main():
    with chromium() as browser:
        alice = Person(browser, "alice")
        alice.start_lab()
        host = urlsplit(alice.page.url).hostname
        assert host == f"{alice.name}.{HUB}", alice.page.url
        protocol = alice.page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert protocol == "h2", protocol
        alice.open_notebook()
        uid = alice.run_cell("import os; print('HUB' in os.environ.get('JUPYTERHUB_CLIENT', ''))")
        assert uid == "False", uid
        done("a cell runs in plain JupyterLab on alice's host, over HTTP/2", host=host)
        cookies = {cookie["name"]: (cookie["domain"], cookie["path"]) for cookie in alice.context.cookies()}
        assert cookies["__Secure-hubd-edge"] == (host, f"/user/{alice.name}/"), cookies
        done("the server's cookie is for its own part of its own host")
        own = f"/user/{alice.name}/api/contents"
        assert alice.page.evaluate("path => fetch(path).then(answer => answer.status)", own) == 200
        other = alice.context.new_page()
        other.goto(f"{URL}/hub/home")
        foreign = "url => fetch(url, {credentials: 'include'}).then(answer => answer.status, () => 'refused')"
        server = URL.replace(HUB, host)
        assert other.evaluate(foreign, f"{server}{own}") == "refused"
        done("a page of the hub's host cannot use the server")
        other.goto(f"{URL}/hub/logout")
        assert alice.page.evaluate("path => fetch(path).then(answer => answer.status)", own) == 403
        done("the logout at the hub's host ends it")


main()
