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
mod credentials;
mod database_commands;
mod doctor;
mod environment;
mod import;
mod listen;
mod logging;
mod machine;
mod output;
mod privileges;
mod proxy_command;
mod reload;
mod run;
mod sandbox;
mod secrets;
mod service_manager;
mod signals;
mod sockets;
mod start;
mod token_command;

use std::process::ExitCode;

use cli::CommandLine;
use environment::Environment;

fn main() -> ExitCode {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    if arguments.get(1).is_some_and(|command| command == proxy_command::NAME) {
        let token = Environment::of_process().proxy_token;
        return proxy_command::main(arguments.into_iter().skip(1), token);
    }
    let command_line = match CommandLine::read(arguments.into_iter()) {
        Ok(command_line) => command_line,
        Err(error) => error.exit(),
    };
    match act(&command_line, Environment::of_process()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hubd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(command_line: &CommandLine, environment: Environment) -> anyhow::Result<ExitCode> {
    if command_line.help_all {
        output::print(&config::generate::all_options())?;
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
