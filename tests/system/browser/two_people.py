"""Alice and bob work at the same time; neither gets at the other's server."""

from driver import PEOPLE, URL, Person, chromium, done, expect


def main():
    with chromium() as browser:
        alice, bob = Person(browser, "alice"), Person(browser, "bob")
        for person in (alice, bob):
            person.start_lab()
            done("JupyterLab is open", person=person.name)
        for person in (alice, bob):
            person.open_notebook()
        for key, person in (("alice", alice), ("bob", bob)):
            uid = person.run_cell("import os; print(os.getuid(), os.getcwd())")
            assert uid == f"{PEOPLE[key]['uid']} {PEOPLE[key]['home']}", uid
            done("a cell runs as its owner", person=person.name, printed=uid)
        terminal_is_hers(alice)
        bob_is_kept_out(alice, bob)


def terminal_is_hers(alice):
    found = alice.run_in_terminal("echo I am $(whoami) on $(tty)", r"I am (\S+) on (/dev/pts/\d+)")
    assert found.group(1) == PEOPLE["alice"].get("account", alice.name), found.group(0)
    done("a terminal works", printed=found.group(0))


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
