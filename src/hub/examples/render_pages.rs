//! Writes every page with sample data into a folder, for a look at the design without a running hub:
//! `cargo run -p hubd-hub --example render_pages -- FOLDER`.

use std::path::Path;

use hubd_hub::pages::Templates;
use minijinja::context;
use minijinja::value::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: render_pages FOLDER")?;
    let templates = Templates::new(&[]);
    for (name, template, extra) in samples() {
        let html = templates.render(template, context! { ..extra, ..common(name) })?;
        std::fs::write(Path::new(&folder).join(format!("{name}.html")), html)?;
    }
    Ok(())
}

/// What every page knows. Pages whose name starts with `login` are seen by strangers.
fn common(name: &str) -> Value {
    let user = (!name.starts_with("login")).then(|| context! { name => "alice", admin => false });
    context! {
        base_url => "/hub/",
        prefix => "/",
        user => user,
        logout_url => "/hub/logout",
        login_url => "/hub/login",
        xsrf => "sample",
        nonce => "sample",
        jhdata => context! { base_url => "/hub/", prefix => "/", xsrf_token => "sample" },
    }
}

/// Name of the file, template, variables.
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
fn samples() -> Vec<(&'static str, &'static str, Value)> {
    let login =
        |error: &str| context! { login_error => error, authenticator_login_url => "/hub/login?next=" };
    vec![
        ("login", "login.html", login("")),
        (
            "login_refused",
            "login.html",
            context! { username => "alice", ..login("Invalid username or password") },
        ),
        (
            "login_prompt",
            "login_prompt.html",
            context! {
                username => "alice",
                prompt => "New password:",
                conversation => "0",
                notices => [context! { error => false, text => "Your password has expired. Choose a new one." }],
                ..login("")
            },
        ),
        (
            "login_notices",
            "login_notices.html",
            context! { notices => [context! { text => "Warning: your password will expire in 3 days." }], next_url => "/hub/spawn" },
        ),
        ("logout", "logout.html", context! {}),
        ("home_stopped", "home.html", home("stopped", false)),
        ("home_running", "home.html", home("running", true)),
        ("home_failed", "home.html", home("failed", false)),
        (
            "home_named",
            "home.html",
            context! { allow_named_servers => true, spawners => named(), ..home("running", true) },
        ),
        ("token", "token.html", tokens()),
        ("oauth", "oauth.html", oauth()),
        ("admin", "admin.html", admin()),
        ("spawn_pending", "spawn_pending.html", progress()),
        ("stop_pending", "stop_pending.html", context! {}),
        ("not_running", "not_running.html", context! { spawn_url => "/hub/spawn/alice", owner => "alice" }),
        ("spawn_failed", "not_running.html", failure()),
        (
            "ask",
            "ask.html",
            context! {
                title => "Stop this server?",
                text => "Running notebooks, terminals and everything they hold in memory end. Saved files stay.",
                button => "Stop server", danger => true, cancel_url => "/hub/home",
            },
        ),
        ("error_404", "404.html", context! { status_code => 404, message => "None" }),
        (
            "error_403",
            "error.html",
            context! {
                status_code => 403,
                message => "Action is not authorized with current scopes; requires any of [admin-ui]",
                advice => "If you think that you should be allowed to, ask the people who run this hub.",
            },
        ),
        (
            "error_503",
            "error.html",
            context! {
                status_code => 503,
                message => "Your server is not answering",
                detail => "Your notebook server does not accept connections. It has stopped, or it is just restarting.",
                advice => "Try again in a few seconds. If it stays like this, go to the hub and start your server again.",
                again_url => "/user/alice/lab",
                restart => true,
            },
        ),
    ]
}

/// The home page with the default server in a state.
fn home(state: &str, active: bool) -> Value {
    context! {
        url => "/hub/spawn/alice",
        default_server => context! {
            state => state,
            active => active,
            started => "2026-11-21T20:00:00Z",
            stop_url => "/hub/stop/alice",
            pending_url => "/hub/spawn-pending/alice",
            failure => context! { message => "No notebook program is installed." },
        },
    }
}

/// Two named servers.
fn named() -> Vec<Value> {
    let server = |name: &str, active: bool| {
        context! {
            name => name, display_name => name, active => active, ready => active,
            url => format!("/user/alice/{name}/"),
            started => active.then_some("2026-11-21T20:00:00Z"),
        }
    };
    vec![server("gpu", true), server("teaching", false)]
}

/// A new token beside older ones, and an application.
fn tokens() -> Value {
    let token = |id: &str, note: &str, scopes: &[&str], used: Option<&str>| {
        context! {
            api_id => id, note => note, last_activity => used, created => "2026-11-01T08:00:00Z",
            scopes => scopes.iter().map(|scope| Value::from(*scope)).collect::<Vec<_>>(),
        }
    };
    context! {
        new_token => "0123456789abcdef0123456789abcdef",
        default_note => "Requested via token page",
        api_tokens => [
            token("a2", "nightly report", &["inherit"], Some("2026-11-20T03:00:00Z")),
            token("a1", "dashboard of the chemistry group", &["access:servers", "read:users:activity"], None),
        ],
        oauth_clients => [
            context! { token_id => "jupyterhub-user-alice", description => "Server at /user/alice/", created => "2026-11-21T20:00:00Z" },
        ],
    }
}

/// An application that asks for access.
fn oauth() -> Value {
    let scope = |text: &str, filter: Option<&str>| context! { description => text, filter => filter };
    context! {
        oauth_client => context! { description => "Dashboards", redirect_uri => "/services/dashboards/oauth_callback" },
        scope_descriptions => [scope("Read your name and the names of your groups", None), scope("Start and stop servers", Some("user:alice"))],
        allowed_scopes => ["servers!user=alice"],
    }
}

/// Three people.
fn admin() -> Value {
    let row = |name: &str, state: &str, admin: bool| {
        context! {
            name => name, admin => admin, last_activity => "2026-11-21T20:00:00Z",
            servers => [context! {
                state => state, active => state == "running", url => "/user/x/", stop_url => "/hub/stop/x",
                spawn_url => "/hub/spawn/x", started => (state == "running").then_some("2026-11-21T20:00:00Z"),
            }],
        }
    };
    context! {
        users => [row("alice", "running", true), row("bob", "stopped", false), row("carol", "failed", false)],
        first => 1, last => 3, total => 103, next_url => "/hub/admin?offset=50", server_version => "6.1.1", admin_ui => true,
    }
}

/// A start half way.
fn progress() -> Value {
    let event = |message: &str| context! { message => message };
    context! {
        percent => 60,
        current => "The notebook program is running; waiting for its first answer",
        events => [event("Opening your session"), event("The notebook program is running; waiting for its first answer")],
        spawner => context! { stop_url => "/hub/stop/alice" },
    }
}

/// A start that failed.
fn failure() -> Value {
    context! {
        failed => true,
        failed_message => "The notebook program ended 0.4 seconds after its start with exit status 1.",
        spawn_url => "/hub/spawn/alice",
        failure => context! {
            code => "exited-early",
            step => "starting the notebook program",
            advice => "Read its last words below. A package installed in your home directory may not fit; if in doubt, send this page to the people who run this hub.",
            log => [
                "Traceback (most recent call last):",
                "  File \"/home/alice/.local/lib/python3.11/site-packages/jupyter_server/app.py\", line 12, in <module>",
                "    import tornado.web",
                "ModuleNotFoundError: No module named 'tornado'",
            ],
        },
    }
}
