//! Somebody who knows only the manual sets hubd up: the blocks of hubd-installation(7), word for word, and the
//! examples of the other pages.

use std::time::Duration;

use hubd_tests::{Web, repository, until};

use crate::Packages;
use crate::machine::Machine;

/// How long hubd may take to answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The literal blocks of a section of a page, as a reader sees them.
fn blocks(page: &str, section: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("man").join(page)).unwrap();
    let heading = format!(".Sh {section}\n");
    let (_, rest) = text.split_once(&heading).unwrap_or_else(|| panic!("{page} has no {section}"));
    let body = rest.split("\n.Sh ").next().unwrap_or_default();
    let literal = body.split(".Bd -literal").skip(1).map(|block| {
        let (_, block) = block.split_once('\n').unwrap();
        block.split("\n.Ed").next().unwrap().to_owned()
    });
    literal.map(|block| block.replace("\\e", "\\").replace("\\-", "-").replace("\\(dq", "\"")).collect()
}

/// Runs the lines of a block as a person types them.
fn typed(machine: &Machine, block: &str) -> String {
    machine.run(&["bash", "-ec", block])
}

/// The whole walk, on one machine.
pub fn newcomer(packages: &Packages) {
    let log = repository().join("tests/out/newcomer.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let machine = Machine::boot(packages.folder.path(), &repository().join("man"), &log);
    let install = blocks("hubd-installation.7", "DEBIAN AND UBUNTU").remove(0);
    typed(
        &machine,
        &format!("mkdir /root/walk && cd /root/walk && cp /packages/hubd_*+1_*.deb . && {install}"),
    );
    machine.enter_network();
    first_steps_are_the_same();
    first_login(&machine);
    port_443(&machine);
    examples(&machine);
}

/// Whoever opens hubd(8) and nothing else types the same.
fn first_steps_are_the_same() {
    let guide = ["FIRST LOGIN", "A CERTIFICATE OF ONE'S OWN, AND PORT 443"];
    let guide: Vec<String> =
        guide.into_iter().flat_map(|section| blocks("hubd-installation.7", section)).collect();
    assert_eq!(blocks("hubd.8", "FIRST STEPS"), guide);
}

/// Three people who may log in, one of them an admin, and one who may not.
fn first_login(machine: &Machine) {
    let certificate = machine.run(&["cat", "/srv/jupyterhub/hubd-self-signed.crt"]);
    let web = trusting(8000, &certificate);
    until("the login page", START_LIMIT, || (web.get("/hub/login").status == 200).then_some(()));
    for name in ["alice", "bob", "carol", "dave"] {
        machine.run(&["adduser", "--quiet", "--disabled-password", "--gecos", "", name]);
        machine.run(&["sh", "-c", "echo \"$1:word of $1\" | chpasswd", "sh", name]);
    }
    let blocks = blocks("hubd-installation.7", "FIRST LOGIN");
    let [people, then] = blocks.as_slice() else { panic!("the section has other blocks: {blocks:?}") };
    assert_eq!(login(&web, "dave"), 302, "everybody with an account may log in until somebody is named");
    machine.write("/etc/jupyterhub/conf.d/people.toml", &format!("{people}\n"));
    let said = typed(machine, then);
    assert!(said.contains("read /etc/jupyterhub/conf.d/people.toml"), "{said}");
    let users: Vec<&str> =
        said.lines().filter(|line| line.contains(" yes") || line.starts_with("carol")).collect();
    assert!(users.iter().any(|line| line.starts_with("alice")), "{said}");
    assert_eq!(["alice", "bob", "carol"].map(|name| login(&web, name)), [302; 3]);
    // dave was let in before, so the database knows him: the page says how to look, and who is there by that alone.
    assert!(said.contains("only because it is known here"), "{said}");
    machine.run(&["hubd", "users", "--remove", "dave"]);
    assert_eq!(login(&web, "dave"), 403);
    let alice = web.fresh();
    alice.log_in("alice", "word of alice");
    alice.get("/hub/home");
    assert_eq!(alice.api("GET", "user", "").json()["admin"], true);
    assert_eq!(alice.get("/hub/admin").status, 200);
    let bob = web.fresh();
    bob.log_in("bob", "word of bob");
    bob.get("/hub/home");
    assert_eq!(bob.get("/hub/admin").status, 403);
}

/// A certificate that an authority signed, on the port of https.
fn port_443(machine: &Machine) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    machine.write("/etc/jupyterhub/hub.crt", &made.cert.pem());
    machine.write("/etc/jupyterhub/hub.key", &made.signing_key.serialize_pem());
    machine.run(&["chmod", "600", "/etc/jupyterhub/hub.key"]);
    let blocks = blocks("hubd-installation.7", "A CERTIFICATE OF ONE'S OWN, AND PORT 443");
    let [address, then] = blocks.as_slice() else { panic!("the section has other blocks: {blocks:?}") };
    machine.write("/etc/jupyterhub/conf.d/address.toml", &format!("{address}\n"));
    // Who forgets to let hubd read the key is told so.
    let doctor = machine.output(&["hubd", "doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("hubd cannot read /etc/jupyterhub/hub.key"), "{text}");
    typed(machine, then);
    let web = trusting(443, &made.cert.pem());
    until("the login page", START_LIMIT, || (web.get("/hub/login").status == 200).then_some(()));
    assert_eq!(login(&web, "bob"), 302);
    let doctor = machine.output(&["hubd", "doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!text.contains("cannot read"), "{text}");
    credentials(machine, &made);
}

/// The key stays root's alone, and systemd hands it over.
fn credentials(machine: &Machine, made: &rcgen::CertifiedKey<rcgen::KeyPair>) {
    let unit = blocks("hubd.8", "CREDENTIALS").remove(0);
    machine.write("/etc/jupyterhub/conf.d/address.toml", "[JupyterHub]\nport = 443\n");
    machine.run(&["mkdir", "--parents", "/etc/credstore", "/etc/letsencrypt/live/hub.example.org"]);
    machine.write("/etc/credstore/hubd-cookie-secret", &"ab".repeat(32));
    machine.write("/etc/letsencrypt/live/hub.example.org/fullchain.pem", &made.cert.pem());
    machine.write("/etc/letsencrypt/live/hub.example.org/privkey.pem", &made.signing_key.serialize_pem());
    machine.run(&["chmod", "--recursive", "go=", "/etc/credstore", "/etc/letsencrypt"]);
    machine.run(&["mkdir", "--parents", "/etc/systemd/system/hubd.service.d"]);
    machine.write("/etc/systemd/system/hubd.service.d/override.conf", &format!("{unit}\n"));
    typed(machine, "systemctl daemon-reload\nsystemctl restart hubd");
    let web = trusting(443, &made.cert.pem());
    until("the login page", START_LIMIT, || (web.get("/hub/login").status == 200).then_some(()));
    let log = machine.run(&["journalctl", "--no-pager", "--unit=hubd"]);
    assert!(log.contains("Loading cookie_secret from systemd credential cookie_secret"), "{log}");
    machine.run(&["rm", "/etc/systemd/system/hubd.service.d/override.conf"]);
}

/// What the pages give as examples is good as it stands.
fn examples(machine: &Machine) {
    for (page, section) in [
        ("hubd.toml.5", "EXAMPLES"),
        ("hubd.toml.5", "DESCRIPTION"),
        ("hubd-front-proxies.7", "DESCRIPTION"),
        ("hubd-installation.7", "FIRST LOGIN"),
    ] {
        let tables = blocks(page, section)
            .into_iter()
            .filter(|block| block.contains("\n["))
            .chain(blocks(page, section).into_iter().filter(|block| block.starts_with('[')));
        for block in tables {
            machine.write("/root/walk/hubd.toml", &format!("{block}\n"));
            machine.run(&["hubd", "check", "-f", "/root/walk/hubd.toml"]);
        }
    }
    for block in blocks("helper.toml.5", "EXAMPLES") {
        machine.write("/root/walk/helper.toml", &format!("{block}\n"));
        machine.run(&["/usr/libexec/hubd/hubd-helper", "check", "--policy", "/root/walk/helper.toml"]);
    }
    typed(machine, "systemctl stop hubd hubd.socket\nrm /etc/jupyterhub/conf.d/address.toml");
    let by_hand = blocks("hubd.8", "EXAMPLES").remove(0);
    let started = format!("timeout --signal=TERM --preserve-status 5 bash -c '{by_hand}'");
    let said = typed(machine, &started);
    assert!(said.contains("JupyterHub is now running at https://:8000/"), "{said}");
}

/// A browser for a port that trusts one certificate.
fn trusting(port: u16, certificate: &str) -> Web {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate).unwrap();
    Web::tls(([127, 0, 0, 1], port).into(), file.path())
}

/// The status of a login: 302 let in, 403 not.
fn login(web: &Web, name: &str) -> u16 {
    web.fresh().log_in(name, &format!("word of {name}")).status
}
