//! Whole files: the documents' own, and The Littlest JupyterHub's.

use super::*;

fn import(source: &str) -> Import {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jupyterhub_config.py");
    std::fs::write(&path, source).unwrap();
    std::fs::write(directory.path().join("admins"), "alice\nbob\n").unwrap();
    let environment = |name: &str| (name == "PROXY_TOKEN").then(|| "t0ken".to_owned());
    let import = file(&path, &environment).unwrap();
    // Whatever comes out has to be a configuration.
    let toml = directory.path().join("hubd.toml");
    std::fs::write(&toml, &import.toml).unwrap();
    let mut problems = Vec::new();
    crate::config::load(Some(&toml), &[], &mut problems);
    assert_eq!(problems, [], "{}", import.toml);
    import
}

fn has(import: &Import, line: &str) {
    assert!(import.toml.lines().any(|l| l == line), "{line} is not in\n{}", import.toml);
}

fn remarks(import: &Import, line: usize, how: &str) {
    let found = import.remarks.iter().any(|remark| remark.line == line && remark.how.contains(how));
    assert!(found, "line {line}, {how}: {:?}", import.remarks);
}

#[test]
fn a_usual_file_is_taken_over() {
    let import = import(
        "import os\nc = get_config()  #noqa\n\
         c.JupyterHub.port = 443\n\
         c.JupyterHub.ssl_key = '/etc/ssl/hub.key'; c.JupyterHub.ssl_cert = '/etc/ssl/hub.crt'\n\
         c.Authenticator.allowed_users = {'mal', 'zoe'}\n\
         c.Authenticator.admin_users = set(open('admins').read().split())\n\
         c.Authenticator.allowed_users.add('inara')\n\
         c.Authenticator.allowed_users |= {'kaylee'}\n\
         c.ConfigurableHTTPProxy.auth_token = os.environ['PROXY_TOKEN']\n\
         c.Spawner.environment = dict(A='1')\n\
         c.Spawner.environment.update({'B': '2'})\n\
         c.Spawner.environment['C'] = '3'\n\
         c.Spawner.args.append('--debug')\n\
         c.Spawner.notebook_dir = '~/notebooks'\n\
         c.Spawner.start_timeout = 2 * 60\n",
    );
    assert_eq!(import.remarks, []);
    has(&import, "port = 443");
    has(&import, "allowed_users = [\"mal\", \"zoe\", \"inara\", \"kaylee\"]");
    has(&import, "admin_users = [\"alice\", \"bob\"]");
    has(&import, "auth_token = \"t0ken\"");
    has(&import, "environment = { A = \"1\", B = \"2\", C = \"3\" }");
    has(&import, "args = [\"--debug\"]");
    has(&import, "start_timeout = 120");
    has(&import, "allow_all = false");
    has(&import, "cleanup_servers = true");
}

#[test]
fn what_is_code_is_listed_with_its_line_and_the_other_way() {
    let import = import(
        "def my_hook(spawner):\n    spawner.x = 1\n\
         c.Spawner.pre_spawn_hook = my_hook\n\
         c.Spawner.cmd = ['jupyter-labhub']\n\
         if os.path.exists('/x'):\n    c.JupyterHub.port = 1\n\
         c.JupyterHub.authenticator_class = 'oauthenticator.github.GitHubOAuthenticator'\n\
         c.GitHubOAuthenticator.client_id = 'x'\n\
         load_subconfig('more.py')\n\
         c.JupyterHub.db_url = b'\\xff\\x00'\n\
         c.JupyterHub.hub_port = my_port()\n\
         c.JupyterHub.no_such = 1\n\
         c.JupyterHub.port = 'x'\n\
         c.JupyterHub.admin_users = None\n",
    );
    remarks(&import, 3, "pam_exec");
    remarks(&import, 4, "profile");
    remarks(&import, 5, "line 6");
    remarks(&import, 7, "sssd");
    remarks(&import, 8, "pam.conf(5)");
    remarks(&import, 9, "import-config on that file too");
    remarks(&import, 10, "by hand");
    remarks(&import, 11, "by hand");
    remarks(&import, 12, "neither");
    remarks(&import, 13, "The public port");
    assert_eq!(import.remarks.len(), 10, "{:?}", import.remarks);
    assert!(import.toml.contains("# Not imported:\n#   line 3: c.Spawner.pre_spawn_hook"), "{}", import.toml);
}

#[test]
fn the_littlest_jupyterhubs_own_file_is_understood() {
    let import = import(
        "import os\nfrom glob import glob\nfrom tljh import configurer\nfrom tljh.config import (\n    CONFIG_DIR,\n    INSTALL_PREFIX,\n)\n\
         from tljh.user_creating_spawner import UserCreatingSpawner\n\
         c = get_config()  # noqa\n\
         c.JupyterHub.spawner_class = UserCreatingSpawner\n\
         # leave users running when the Hub restarts\n\
         c.JupyterHub.cleanup_servers = False\n\
         c.JupyterHub.hub_port = 15001\n\
         c.TraefikProxy.should_start = False\n\
         dynamic_conf_file_path = os.path.join(INSTALL_PREFIX, \"state\", \"rules\", \"rules.toml\")\n\
         c.TraefikFileProviderProxy.dynamic_config_file = dynamic_conf_file_path\n\
         c.JupyterHub.proxy_class = TraefikFileProviderProxy\n\
         c.SystemdSpawner.extra_paths = [os.path.join(USER_ENV_PREFIX, \"bin\")]\n\
         c.SystemdSpawner.default_shell = \"/bin/bash\"\n\
         c.SystemdSpawner.unit_name_template = \"jupyter-{USERNAME}\"\n\
         tljh_config = configurer.load_config()\n\
         configurer.apply_config(tljh_config, c)\n\
         for extra in sorted(glob(os.path.join(CONFIG_DIR, \"*.py\"))):\n    load_subconfig(extra)\n",
    );
    has(&import, "cleanup_servers = false");
    has(&import, "hub_port = 15001");
    assert!(!import.toml.contains("cleanup_servers = true"));
    remarks(&import, 10, "helper.toml(5)");
    remarks(&import, 14, "part of hubd");
    remarks(&import, 17, "part of hubd");
    remarks(&import, 19, "root decides");
    remarks(&import, 23, "check whether it matters");
}

#[test]
fn a_missing_variable_and_a_missing_file_are_told() {
    let import = import(
        "c.JupyterHub.cookie_secret = os.environ['NOT_THERE']\nc.Spawner.args = open('none').read()\n",
    );
    assert!(import.remarks[0].what.contains("NOT_THERE is not set now"));
    assert!(import.remarks[1].what.contains("No such file"));
    assert!(file(Path::new("/nonexistent/c.py"), &|_| None).is_err());
}

/// What `tljh-config` writes, with every key that it knows.
const TLJH: &str = "users:
  admin:
  - ann
  allowed:
  - ben
  - carl
  banned:
  - dora
  extra_user_groups:
    video:
    - ben
limits:
  memory: 4G
  cpu: 2
http:
  port: 8080
https:
  enabled: true
  port: 8443
  tls:
    key: /etc/ssl/hub.key
    cert: /etc/ssl/hub.crt
  letsencrypt:
    email: ann@example.org
    domains:
    - hub.example.org
auth:
  type: dummy
  DummyAuthenticator:
    password: some words
user_environment:
  default_app: classic
services:
  cull:
    timeout: 1800
    every: 120
    max_age: 86400
base_url: /hub-of-ann
";

fn import_yaml(source: &str) -> Import {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, source).unwrap();
    let import = file(&path, &|_| None).unwrap();
    let toml = directory.path().join("hubd.toml");
    std::fs::write(&toml, &import.toml).unwrap();
    let mut problems = Vec::new();
    crate::config::load(Some(&toml), &[], &mut problems);
    assert_eq!(problems, [], "{}", import.toml);
    import
}

#[test]
fn the_littlest_jupyterhubs_config_yaml_is_taken_over() {
    let import = import_yaml(TLJH);
    for line in [
        "admin_users = [\"ann\"]",
        "allowed_users = [\"ben\", \"carl\"]",
        "blocked_users = [\"dora\"]",
        "port = 8443",
        "redirect_port = 8080",
        "ssl_key = \"/etc/ssl/hub.key\"",
        "ssl_cert = \"/etc/ssl/hub.crt\"",
        "authenticator_class = \"dummy\"",
        "password = \"some words\"",
        "default_url = \"/tree\"",
        "timeout = 1800",
        "cull_every = 120",
        "max_age = 86400",
        "concurrency = 5",
        "base_url = \"/hub-of-ann\"",
        "cleanup_servers = false",
    ] {
        has(&import, line);
    }
    assert!(!import.toml.contains("allow_all = true"), "{}", import.toml);
    remarks(&import, 10, "usermod -aG");
    remarks(&import, 13, "limits = { mem_limit = \"4G\" }");
    remarks(&import, 14, "limits = { cpu_limit = 2 }");
    remarks(&import, 24, "certbot(1)");
    remarks(&import, 1, "usermod --login NAME");
    remarks(&import, 1, "/opt/tljh/user/bin/jupyterhub-singleuser");
}

#[test]
fn what_the_littlest_jupyterhub_does_by_itself_is_written_out() {
    let import = import_yaml("{}\n");
    for line in ["port = 80", "allow_all = true", "default_url = \"/lab\"", "enabled = true", "timeout = 600"]
    {
        has(&import, line);
    }
    remarks(&import, 1, "ListenStream=80 in hubd.socket");
    let import = import_yaml(
        "auth:\n  type: oauthenticator.github.GitHubOAuthenticator\n  GitHubOAuthenticator:\n    client_id: x\nlimits:\n  memory: null\nwhat: 1\n",
    );
    has(&import, "allow_all = false");
    remarks(&import, 2, "sssd");
    remarks(&import, 4, "pam.conf(5)");
    remarks(&import, 7, "no such key");
}

#[test]
fn functions_may_have_other_names() {
    let import = import(
        "from os.path import join as pj, dirname\nfrom os import environ\nimport os\nget = os.environ.get\n\
         c.JupyterHub.db_url = pj('/srv', 'db')\n\
         c.JupyterHub.pid_file = dirname('/run/x/y')\n\
         c.JupyterHub.ssl_cert = environ['PROXY_TOKEN']\n\
         c.JupyterHub.ssl_key = get('NONE', '/key')\n\
         c.JupyterHub.cookie_secret = bytes.fromhex('00ff')\n",
    );
    assert_eq!(import.remarks, []);
    for line in [
        "db_url = \"/srv/db\"",
        "pid_file = \"/run/x\"",
        "ssl_cert = \"t0ken\"",
        "ssl_key = \"/key\"",
        "cookie_secret = \"00ff\"",
    ] {
        has(&import, line);
    }
}
