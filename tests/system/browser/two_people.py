"""Alice and bob work at the same time; neither gets at the other's server."""

from driver import PEOPLE, URL, Person, chromium, done, expect


def main():
    with chromium() as browser:
        alice, bob = Person(browser, "alice"), Person(browser, "bob")
        for person in (alice, bob):
            person.start_lab()
            done("JupyterLab is open", person=person.name)
        handshakes = websocket_handshakes(alice)
        for person in (alice, bob):
            person.open_notebook()
        for key, person in (("alice", alice), ("bob", bob)):
            uid = person.run_cell("import os; print(os.getuid(), os.getcwd())")
            assert uid == f"{PEOPLE[key]['uid']} {PEOPLE[key]['home']}", uid
            done("a cell runs as its owner", person=person.name, printed=uid)
        terminal_is_hers(alice)
        http2_carries_everything(alice, handshakes)
        bob_is_kept_out(alice, bob)


def terminal_is_hers(alice):
    found = alice.run_in_terminal("echo I am $(whoami) on $(tty)", r"I am (\S+) on (/dev/pts/\d+)")
    assert found.group(1) == PEOPLE["alice"].get("account", alice.name), found.group(0)
    done("a terminal works", printed=found.group(0))


def websocket_handshakes(person):
    """The statuses of the answers to WebSocket requests from now on: 200 is HTTP/2's, 101 is HTTP/1.1's."""
    statuses = []
    protocol = person.context.new_cdp_session(person.page)
    protocol.send("Network.enable")
    protocol.on(
        "Network.webSocketHandshakeResponseReceived",
        lambda event: statuses.append(event["response"]["status"]),
    )
    return statuses


def http2_carries_everything(person, handshakes):
    kinds = "['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
    protocols = person.page.evaluate(f"[...new Set({kinds}.map(entry => entry.nextHopProtocol))]")
    assert set(protocols) - {""} == {"h2"}, protocols
    # The kernel's and the terminal's, at least.
    assert len(handshakes) >= 2 and set(handshakes) == {200}, handshakes
    done("pages and WebSockets come over HTTP/2", handshakes=handshakes)


def bob_is_kept_out(alice, bob):
    page = bob.context.new_page()
    answer = page.goto(f"{URL}/user/{alice.name}/lab")
    assert answer.status == 403, (answer.status, page.url, page.inner_text("body"))
    expect(page.get_by_role("heading", name="403")).to_be_visible()
    done("bob gets 403 on alice's server")
    answer = page.request.get(f"{URL}/user/{alice.name}/api/contents")
    assert answer.status == 403, answer.status
    done("bob gets 403 on alice's files")


main()
