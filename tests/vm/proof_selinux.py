"""Login, start, restart, stop and new accounts with SELinux enforcing."""

import json

from people import ANSWER_SECONDS, Host, Web, good, words

COMMAND_LINE = "security=selinux selinux=1"


def prove(machine, web):
    assert machine.run("getenforce") == "Enforcing"
    host = Host(machine)
    daemon = machine.run("ps -o label= -p $(systemctl show hubd -P MainPID)")
    assert ":hubd_t:" in daemon, daemon
    for user, domain in [("alice", ":unconfined_t:"), ("bob", ":user_t:")]:
        web = Web(machine)
        web.log_in(user)
        waiting = machine.run("ps -e -o label=,args= | grep '[h]ubd-helper'")
        assert ":hubd_helper_t:" in waiting, waiting
        who = web.start()
        assert domain in who["context"], who
        above = machine.run(f"ps -o label= -p $(ps -o ppid= -p {who['pid']})")
        assert ":hubd_session_t:" in above, above
        answering = machine.run("ps -e -o label=,comm= | grep hubd-session")
        assert ":hubd_control_t:" in answering, answering
        good(f"{user}'s login in hubd_helper_t, session in hubd_session_t, server in {who['context']}, asked in hubd_control_t")
        words(web.page("/hub/home")[1])
        web.server("background")
        machine.run("systemctl restart hubd")
        now = machine.wait_for("the server", lambda: web.server("who"), ANSWER_SECONDS)
        assert now["pid"] == who["pid"]
        web.stop()
        host.all_end(user, "a stop")
        good(f"{user}'s server was found again by a new hubd, and stopped")
    credentials(machine)
    accounts(machine)
    denied = machine.output("ausearch -m avc,user_avc,selinux_err -i | grep -E 'hubd|useradd' ; journalctl -k --no-pager | grep -E 'avc: .*(hubd|useradd)'")[1]
    assert not denied, denied
    good("nothing was denied to hubd_t, hubd_helper_t, hubd_session_t, hubd_control_t, hubd_accounts_t")


def credentials(machine):
    """A secret that only systemd can read, and hands over."""
    drop_in = "/etc/systemd/system/hubd.service.d"
    machine.run(f"mkdir -p /etc/credstore {drop_in}; printf {'ab' * 32} >/etc/credstore/secret; chmod -R go= /etc/credstore; "
                f"printf '[Service]\nLoadCredential=cookie_secret:/etc/credstore/secret\n' >{drop_in}/secret.conf; "
                "systemctl daemon-reload; systemctl restart hubd")
    machine.run("journalctl --no-pager -u hubd | grep 'Loading cookie_secret from systemd credential'")
    good("hubd reads what systemd hands over")


def accounts(machine):
    """An admin adds somebody who has no account yet."""
    machine.run("printf '[LocalAuthenticator]\ncreate_system_users = true\n[Authenticator]\nadmin_users = [\"alice\"]\n' "
                ">/etc/jupyterhub/conf.d/accounts.toml; sed -i '1i create_system_users = true' /etc/jupyterhub/helper.toml; "
                "systemctl enable --now hubd-accounts.socket; systemctl restart hubd")
    admin = Web(machine)
    machine.wait_for("the login page", lambda: admin.ask("/hub/login")[0] == 200, ANSWER_SECONDS)
    admin.log_in("alice")
    admin.page("/hub/home")
    status, text = admin.api("POST", "users/carol")
    assert status == 201, f"{status}: {text}"
    record = json.loads(machine.run("journalctl --no-pager -o json -t hubd-helper HUBD_REQUEST=create_account").splitlines()[-1])
    assert "create_account accepted user=carol" in record["MESSAGE"], record
    assert ":hubd_accounts_t:" in record["_SELINUX_CONTEXT"], record
    assert machine.run("getent shadow carol").startswith("carol:!"), "the password is not locked"
    home = machine.run("stat -c '%U %C' /home/carol /home/carol/.bashrc")
    assert home.count("carol ") == 2 and ":user_home_dir_t:" in home and ":user_home_t:" in home, home
    good("an account was made in hubd_accounts_t, with the home of an ordinary user")
