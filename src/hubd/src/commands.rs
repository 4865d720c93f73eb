//! What `hubd COMMAND` does instead of running the daemon.

use std::fmt::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hubd_store::Existing;
use serde_json::Value;

use crate::cli::{Command, CommandLine};
use crate::config::plan::Plan;
use crate::run::{self, Environment};
use crate::{config, control, database_commands, output, start, token_command};

/// Does it.
pub fn act(command: &Command, command_line: &CommandLine, environment: &Environment) -> anyhow::Result<()> {
    match command {
        Command::Check => check(command_line, environment),
        Command::Status { json } => asked(command_line, environment, "status", *json, status),
        Command::Servers { json } => asked(command_line, environment, "servers", *json, servers),
        Command::Users { json, remove: None } => asked(command_line, environment, "users", *json, users),
        Command::Users { json, remove: Some(name) } => {
            asked(command_line, environment, &format!("remove {name}"), *json, |_| {
                format!("removed {name}\n")
            })
        }
        Command::Reload { json } => asked(command_line, environment, "reload", *json, reload),
        Command::UpgradeDb { dry_run: true } => {
            database_commands::list(&database(command_line, environment)?)
        }
        Command::UpgradeDb { dry_run: false } => {
            database_commands::upgrade(&database(command_line, environment)?)
        }
        Command::Backup { file, force } => {
            let existing = if *force { Existing::Replace } else { Existing::Keep };
            database_commands::backup(&database(command_line, environment)?, file, existing)
        }
        Command::Token { name } => {
            token_command::print(&configured(command_line, environment)?.1, name.as_deref())
        }
        Command::Doctor { json } => doctor(command_line, environment, *json),
        Command::ImportConfig { file, output } => import(file, output.as_deref(), command_line.yes),
        Command::Completions { shell } => {
            let mut command = crate::cli::with_all_options();
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command, "hubd", &mut text);
            Ok(output::print(&String::from_utf8_lossy(&text))?)
        }
    }
}

/// The database that the configuration names.
fn database(command_line: &CommandLine, environment: &Environment) -> anyhow::Result<PathBuf> {
    Ok(configured(command_line, environment)?.1.database)
}

/// `hubd check`: reads everything, opens and makes nothing.
fn check(command_line: &CommandLine, environment: &Environment) -> anyhow::Result<()> {
    let (values, plan) = configured(command_line, environment)?;
    start::examine(&plan)?;
    for warning in &values.warnings {
        eprintln!("warning: {warning}");
    }
    for warning in config::access::warnings(&values, &plan.settings.authenticator) {
        eprintln!("warning: {warning}");
    }
    for file in &values.files {
        println!("read {}", file.display());
    }
    for (name, later, earlier) in &values.replaced {
        println!("{name}: {later} wins over {earlier}");
    }
    if let Some(text) = people_by_record(&plan) {
        eprintln!("warning: {text}");
    }
    println!("The configuration is good: hubd would run at {}", plan.public_url);
    Ok(())
}

/// Who gets in by the database alone, if a running hubd can tell.
fn people_by_record(plan: &Plan) -> Option<String> {
    let access = &plan.settings.authenticator;
    if access.allow_all || !access.allow_existing_users {
        return None;
    }
    match control::ask(&plan.control_socket, "users") {
        Ok(users) => {
            let names = users.as_array()?.iter().filter(|user| user["only_by_record"] == true);
            let names: Vec<String> = names.filter_map(|user| Some(user["name"].as_str()?.to_owned())).collect();
            (!names.is_empty()).then(|| run::by_record(&names))
        }
        Err(_) => Some(
            "everybody in the database may log in (allow_existing_users); hubd is not running, or not yours to ask, so \
             who that is cannot be said here: see its log at the start"
                .to_owned(),
        ),
    }
}

fn configured(
    command_line: &CommandLine,
    environment: &Environment,
) -> anyhow::Result<(config::Values, Plan)> {
    Ok(run::configured(command_line.config.as_deref(), command_line.arguments(), environment)?)
}

/// Asks the running daemon, and prints its answer as JSON or as text.
fn asked(
    command_line: &CommandLine,
    environment: &Environment,
    question: &str,
    json: bool,
    text: impl Fn(&Value) -> String,
) -> anyhow::Result<()> {
    let (_, plan) = configured(command_line, environment)?;
    let answer = control::ask(&plan.control_socket, question)?;
    if json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
    } else {
        output::print(&text(&answer))?;
    }
    Ok(())
}

fn status(answer: &Value) -> String {
    let helper = if answer["helper_reachable"] == true {
        "reachable"
    } else {
        "NOT REACHABLE: nobody can log in or start a server; see hubd doctor"
    };
    format!(
        "hubd {} (JupyterHub {}), process {}\nat       {}\nup       {}\nusers    {}, {} of them active\nservers  {}, {} of them starting\nhelper   {helper}\n",
        shown(&answer["version"]),
        shown(&answer["jupyterhub"]),
        answer["pid"],
        shown(&answer["url"]),
        duration(answer["up_seconds"].as_u64().unwrap_or(0)),
        answer["users"],
        answer["users_active"],
        answer["servers"],
        answer["servers_starting"],
    )
}

fn servers(answer: &Value) -> String {
    let head = ["USER", "SERVER", "STATE", "STARTED", "LAST ACTIVITY"];
    let keys = ["user", "server", "state", "started", "last_activity"];
    table(&head, answer, |row| keys.iter().map(|key| shown(&row[*key])).collect())
}

fn users(answer: &Value) -> String {
    table(&["NAME", "ADMIN", "LAST ACTIVITY", "MAY LOG IN"], answer, |row| {
        let admin = if row["admin"] == true { "yes" } else { "" };
        let why = if row["only_by_record"] == true { "only because it is known here" } else { "" };
        vec![shown(&row["name"]), admin.to_owned(), shown(&row["last_activity"]), why.to_owned()]
    })
}

fn reload(answer: &Value) -> String {
    let mut text = String::new();
    for (key, head) in [
        ("applied", "applied"),
        ("needs_restart", "changed, but only a restart applies it (servers keep running)"),
        ("problems", "problems"),
    ] {
        let items = answer[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if !items.is_empty() {
            let items: Vec<String> = items.iter().map(shown).collect();
            writeln!(text, "{head}: {}", items.join(", ")).ok();
        }
    }
    if text.is_empty() { "nothing changed\n".to_owned() } else { text }
}

/// Rows in columns as wide as they have to be.
fn table(head: &[&str], rows: &Value, cells: impl Fn(&Value) -> Vec<String>) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|&word| word.to_owned()).collect()];
    lines.extend(rows.as_array().into_iter().flatten().map(cells));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end()).ok();
    }
    text
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `hubd doctor`: fails if anything is wrong.
fn doctor(command_line: &CommandLine, environment: &Environment, json: bool) -> anyhow::Result<()> {
    let found = crate::doctor::findings(command_line, environment);
    if json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
    } else {
        output::print(&crate::doctor::text(&found))?;
    }
    if crate::doctor::is_ill(&found) { bail!("not everything is in order") } else { Ok(()) }
}

/// `hubd import-config`: the file to `output`, what is not in it to standard error.
fn import(file: &Path, output: Option<&Path>, replace: bool) -> anyhow::Result<()> {
    let import = crate::import::file(file, &|name| std::env::var(name).ok())?;
    for remark in &import.remarks {
        eprintln!("{}:{}: {}\n    {}", file.display(), remark.line, remark.what, remark.how);
    }
    let Some(output) = output else {
        return Ok(output::print(&import.toml)?);
    };
    if replace && output.exists() {
        std::fs::remove_file(output).with_context(|| format!("cannot replace {}", output.display()))?;
    }
    // It may hold secrets, and the daemon's group has to read it.
    let mut made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(output)
        .with_context(|| format!("cannot make {}; -y replaces it", output.display()))?;
    std::io::Write::write_all(&mut made, import.toml.as_bytes())?;
    println!("wrote {}; check it: hubd check -f {}", output.display(), output.display());
    Ok(())
}

/// `hubd --generate-config`.
pub fn generate(file: Option<&Path>, replace: bool) -> anyhow::Result<()> {
    let text = config::generate::default_file();
    let Some(file) = file else {
        return Ok(output::print(&text)?);
    };
    if file.exists() && !replace {
        bail!("{} exists already\n    cure: name another file, or replace it with -y", file.display());
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    println!("Writing default config to: {}", file.display());
    Ok(())
}

/// `hubd --show-config` and `--show-config-json`.
pub fn show(command_line: &CommandLine, environment: &Environment) -> anyhow::Result<()> {
    let (values, _) = configured(command_line, environment)?;
    if command_line.show_config_json {
        let json = config::generate::shown_json(&values);
        output::print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
    } else {
        output::print(&config::generate::shown(&values))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_told_in_clear_text() {
        let rows = json!([{"user": "alice", "server": "", "state": "running", "started": null, "last_activity": "2026"}]);
        let text = servers(&rows);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("\nalice          running"), "{text}");
        let text = users(&json!([{"name": "eve\u{1b}[31m", "admin": true, "only_by_record": true}]));
        assert!(text.contains("eve[31m") && text.contains("only because"), "{text}");
        assert_eq!(reload(&json!({"applied": [], "needs_restart": [], "problems": []})), "nothing changed\n");
        assert!(reload(&json!({"needs_restart": ["JupyterHub.port"]})).contains("JupyterHub.port"));
        assert_eq!(duration(90_061), "1 d 1 h");
        let answer = json!({"version": "1", "url": "http://:8000/", "helper_reachable": false});
        assert!(status(&answer).contains("NOT REACHABLE"));
    }
}
