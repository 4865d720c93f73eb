//! hubd, the daemon: JupyterHub's protocols as a native Unix service.
//!
//! This crate reads the configuration, opens ports and files, and joins the hub to the proxy; everything that can be
//! tested below it is below it. Start reading at [`run`].

mod app;
mod certificate;
mod cli;
mod commands;
mod config;
mod control;
mod database_commands;
mod doctor;
mod import;
mod listen;
mod logging;
mod machine;
mod privileges;
mod proxy_command;
mod reload;
mod run;
mod sandbox;
mod secrets;
mod service_manager;
mod sockets;
mod token_command;

use std::process::ExitCode;

use zeroize::Zeroizing;

use cli::CommandLine;
use run::Environment;

fn main() -> ExitCode {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    if arguments.get(1).is_some_and(|command| command == proxy_command::NAME) {
        let token = secret(secrets::PROXY_TOKEN_VARIABLE);
        return proxy_command::main(arguments.into_iter().skip(1), token);
    }
    let command_line = match CommandLine::read(arguments.into_iter()) {
        Ok(command_line) => command_line,
        Err(error) => error.exit(),
    };
    let environment = Environment {
        cookie_secret: secret(secrets::COOKIE_SECRET_VARIABLE),
        proxy_token: secret(secrets::PROXY_TOKEN_VARIABLE),
        crypt_key: secret(secrets::CRYPT_KEY_VARIABLE),
        journal_stream: std::env::var("JOURNAL_STREAM").ok(),
        socket_names: std::env::var("LISTEN_FDNAMES").ok(),
        metrics_prefix: std::env::var("JUPYTERHUB_METRICS_PREFIX").ok(),
    };
    match act(&command_line, environment) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hubd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn secret(variable: &str) -> Option<Zeroizing<String>> {
    std::env::var(variable).ok().map(Zeroizing::new)
}

fn act(command_line: &CommandLine, environment: Environment) -> anyhow::Result<ExitCode> {
    if command_line.help_all {
        print!("{}", config::generate::all_options());
    } else if command_line.generate_config {
        commands::generate(command_line.config.as_deref(), command_line.yes)?;
    } else if command_line.show_config || command_line.show_config_json {
        commands::show(command_line, &environment)?;
    } else if let Some(command) = &command_line.command {
        commands::act(command, command_line, &environment)?;
    } else {
        return run::run(command_line, environment);
    }
    Ok(ExitCode::SUCCESS)
}
