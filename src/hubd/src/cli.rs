//! The command line: JupyterHub's flags, and `--Class.trait=value` for every option.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::options::OPTIONS;
use crate::config::value::Kind;
use crate::config::{self, Argument};

/// hubd's version and that of the protocols it speaks.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (speaks JupyterHub 6.1.1)");

/// Gives every person on this server a notebook server of their own, in the browser.
#[derive(Debug, Parser)]
#[command(name = "hubd", version = VERSION, max_term_width = 100)]
#[command(after_help = "Every option can be set here as --Class.option=value, for instance \
    --Spawner.default_url=/lab; hubd --help-all lists them. The command line wins over the files.\n\n\
    hubd proxy runs the reverse proxy alone, for another JupyterHub: hubd proxy --help.\n\n\
    hubd runs as an ordinary user, never as root; hubd-helper beside it logs people in and starts their \
    servers. See hubd(8) and hubd.toml(5).\n\n\
    Exit status: 0 after SIGTERM, SIGINT or a command that succeeded; 1 if the configuration is wrong or the \
    start fails; 2 if the command line is wrong.")]
pub struct CommandLine {
    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Configuration file; conf.d/*.toml beside it is read too [default: /etc/jupyterhub/hubd.toml]
    #[arg(short = 'f', long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// The same as --log-level=DEBUG
    #[arg(long, global = true)]
    debug: bool,

    /// Write the default configuration to the file named with -f, or to standard output
    #[arg(long)]
    pub generate_config: bool,

    /// Answer yes: --generate-config replaces an existing file
    #[arg(short = 'y')]
    pub yes: bool,

    /// Print every option that is set, with its place
    #[arg(long, global = true)]
    pub show_config: bool,

    /// The same as JSON
    #[arg(long, global = true)]
    pub show_config_json: bool,

    /// Print every option with its default and meaning
    #[arg(long)]
    pub help_all: bool,

    /// Deprecated: does nothing
    #[arg(long, hide = true)]
    pub no_ssl: bool,

    /// `--Class.option=value`, taken out before clap sees the rest, after the short names of options
    #[arg(skip)]
    options: Vec<Argument>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand, PartialEq, Eq)]
pub enum Command {
    /// Check the configuration, say what is wrong, and end
    Check,
    /// Say how the running hubd is
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List users, or remove one
    Users {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Delete this person from the database; homes and accounts are left alone
        #[arg(long, value_name = "NAME")]
        remove: Option<String>,
    },
    /// List the servers that start, run or stop
    Servers {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Apply what can be applied of a changed configuration, and list what needs a restart
    Reload {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for what keeps people from working, and say how to mend it
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn a jupyterhub_config.py, or the config.yaml of The Littlest JupyterHub, into a hubd.toml, and list what has
    /// no counterpart
    ImportConfig {
        /// The file
        file: PathBuf,
        /// Where to write to, with mode 0640; standard output if not given
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Print a new API token for a user or service
    Token {
        /// Whose; without it yours
        name: Option<String>,
    },
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Bring the database of an older JupyterHub, 3.0 or newer, to today's schema, after a copy beside it
    UpgradeDb {
        /// Only list what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Copy the database, also while hubd runs
    Backup {
        /// The copy, mode 0600
        file: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
}

impl CommandLine {
    /// Reads the arguments, the program's name first. Help, version and mistakes come as clap's error.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self, clap::Error> {
        let (classes, rest) = split(arguments)?;
        let matches = command().try_get_matches_from(rest)?;
        let mut command_line = Self::from_arg_matches(&matches)?;
        command_line.options = short_names(&matches);
        if command_line.debug {
            let (class, key, text) = ("JupyterHub".into(), "log_level".into(), "DEBUG".into());
            command_line.options.push(Argument { class, key, text });
        }
        command_line.options.extend(classes);
        Ok(command_line)
    }

    /// What the command line sets, in the order in which it counts.
    pub fn arguments(&self) -> &[Argument] {
        &self.options
    }
}

/// The command with a flag for every option that has a short name.
fn command() -> clap::Command {
    OPTIONS.iter().filter_map(|option| Some((option, option.flag?))).fold(
        CommandLine::command(),
        |command, (option, (flag, value))| {
            let help = format!("{} [{}.{}]", first_sentence(option.help), option.class, option.key);
            let arg = clap::Arg::new(flag).long(flag).global(true).help(help);
            command.arg(match option.kind {
                Kind::Bool => arg.action(clap::ArgAction::SetTrue),
                _ => arg.value_name(value).allow_hyphen_values(true),
            })
        },
    )
}

/// The command with every option under its full name too, for completions.
pub fn with_all_options() -> clap::Command {
    OPTIONS.iter().fold(command(), |command, option| {
        let name = format!("{}.{}", option.class, option.key);
        let hint = match option.kind {
            Kind::Path => clap::ValueHint::FilePath,
            _ => clap::ValueHint::Other,
        };
        let arg = clap::Arg::new(name.clone()).long(name).help(first_sentence(option.help)).value_hint(hint);
        command.arg(match option.kind {
            Kind::Choice(words) => arg.value_parser(clap::builder::PossibleValuesParser::new(words)),
            Kind::Bool => arg.value_parser(["true", "false"]),
            _ => arg,
        })
    })
}

fn first_sentence(help: &str) -> &str {
    help.split_once(". ").map_or(help, |(first, _)| first).trim_end_matches('.')
}

/// What the short names of options set.
fn short_names(matches: &clap::ArgMatches) -> Vec<Argument> {
    let set = OPTIONS.iter().filter_map(|option| {
        let (flag, _) = option.flag?;
        let text = match option.kind {
            Kind::Bool => matches.get_flag(flag).then(|| "true".to_owned()),
            _ => matches.get_one::<String>(flag).cloned(),
        };
        Some(Argument { class: option.class.to_owned(), key: option.key.to_owned(), text: text? })
    });
    set.collect()
}

/// Takes `--Class.option=value`, `--Class.option value` and `--Class.flag` out of the arguments.
fn split(arguments: impl Iterator<Item = String>) -> Result<(Vec<Argument>, Vec<String>), clap::Error> {
    let (mut classes, mut rest) = (Vec::new(), Vec::new());
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let Some((class, key)) = class_and_key(&argument) else {
            rest.push(argument);
            continue;
        };
        let (key, text) = match key.split_once('=') {
            Some((key, text)) => (key.to_owned(), text.to_owned()),
            None if is_flag(&class, &key) && !arguments.peek().is_some_and(|next| is_truth(next)) => {
                (key, "true".to_owned())
            }
            None => match arguments.next_if(|next| !next.starts_with("--")) {
                Some(text) => (key, text),
                None => {
                    let text = format!("--{class}.{key} needs a value: --{class}.{key}=VALUE\n");
                    return Err(CommandLine::command().error(clap::error::ErrorKind::InvalidValue, text));
                }
            },
        };
        classes.push(Argument { class, key, text });
    }
    Ok((classes, rest))
}

fn class_and_key(argument: &str) -> Option<(String, String)> {
    let name =
        argument.strip_prefix("--").filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))?;
    let (class, key) = name.split_once('.')?;
    (!class.contains('=')).then(|| (class.to_owned(), key.to_owned()))
}

fn is_flag(class: &str, key: &str) -> bool {
    config::find(class, key).is_some_and(|option| option.kind == Kind::Bool)
}

fn is_truth(text: &str) -> bool {
    ["true", "false", "1", "0"].contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::read(std::iter::once("hubd").chain(arguments.iter().copied()).map(str::to_owned))
    }

    fn set(arguments: &[&str]) -> Vec<String> {
        let command_line = read(arguments).unwrap();
        let arguments = command_line.arguments();
        arguments.iter().map(|a| format!("{}.{}={}", a.class, a.key, a.text)).collect()
    }

    #[test]
    fn jupyterhubs_flags_set_its_options() {
        assert_eq!(
            set(&["--ip", "::1", "--port=9000", "--debug", "--db=sqlite:///x", "-y", "--no-ssl"]),
            [
                "JupyterHub.ip=::1",
                "JupyterHub.port=9000",
                "JupyterHub.db_url=sqlite:///x",
                "JupyterHub.log_level=DEBUG"
            ]
        );
    }

    #[test]
    fn every_option_can_be_given_by_class() {
        assert_eq!(
            set(&[
                "--Spawner.args=-x",
                "--Spawner.debug",
                "--Spawner.default_url",
                "/lab",
                "--Spawner.debug",
                "false"
            ]),
            ["Spawner.args=-x", "Spawner.debug=true", "Spawner.default_url=/lab", "Spawner.debug=false"]
        );
        assert_eq!(
            set(&["--Spawner.environment=A=b=c", "--ip=1"]),
            ["JupyterHub.ip=1", "Spawner.environment=A=b=c"]
        );
    }

    #[test]
    fn mistakes_on_the_command_line_are_refused() {
        assert!(read(&["--prot=1"]).unwrap_err().to_string().contains("--port"));
        assert!(read(&["--Spawner.default_url"]).unwrap_err().to_string().contains("needs a value"));
        assert!(read(&["extra"]).is_err());
    }

    #[test]
    fn the_version_names_both_programs() {
        let text = read(&["--version"]).unwrap_err().to_string();
        assert!(text.starts_with("hubd 0.") && text.contains("JupyterHub 6.1.1"), "{text}");
        assert_eq!(hubd_hub::hub::JUPYTERHUB_VERSION, "6.1.1");
    }

    #[test]
    fn every_shell_gets_completions_with_every_option() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut with_all_options(), "hubd", &mut text);
            let text = String::from_utf8(text).unwrap();
            for wanted in ["Spawner.notebook_dir", "self-signed", "status"] {
                assert!(text.contains(wanted), "{shell}: {wanted}");
            }
        }
    }

    #[test]
    fn check_takes_the_file_before_or_after() {
        assert_eq!(read(&["check", "-f", "x"]).unwrap().config, Some("x".into()));
        let command_line = read(&["-f", "x", "check", "--port=1", "--self-signed"]).unwrap();
        assert_eq!(command_line.command, Some(Command::Check));
        assert_eq!(command_line.arguments().len(), 2);
    }
}
