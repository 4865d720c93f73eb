//! What commands print.

use std::io::{ErrorKind, Write};

/// Prints a text. A reader that has seen enough, as in `hubd users | head`, is no error.
///
/// # Errors
/// It cannot be written, for instance to a full disk.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
