//! hubd-helper: checks logins with PAM and starts people's servers as themselves.

use std::process::ExitCode;

fn main() -> ExitCode {
    hubd_helper::connection::run(hubd_helper::dispatch::serve)
}
