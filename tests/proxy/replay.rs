//! What fuzzers start from and what they have found, once more: `tests/fuzz/README.md` says how to look for more.

use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

#[path = "../fuzz/targets.rs"]
mod targets;

/// What went wrong on any task, since a task takes its panic with it.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes panics of the proxy and of the servers behind it.
fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", std::panic::Location::file);
            if file.contains("fuzz/targets.rs") || file.contains("src/proxy/") {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
            }
            usual(panic);
        }));
    });
}

fn replay(name: &str, target: fn(&[u8])) {
    watch_for_panics();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        target(&std::fs::read(&path).unwrap());
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(panics.is_empty(), "{}: {}", path.display(), panics.join("\n"));
        count += 1;
    }
    assert!(count > 2, "the corpus of {name} is gone");
}

#[test]
fn nothing_that_was_ever_sent_reaches_a_server_in_a_wrong_form() {
    replay("connection", targets::connection);
}

#[test]
fn what_front_proxies_say_of_others_is_never_passed_on_in_a_wrong_form() {
    replay("forwarded", targets::forwarded);
}

#[test]
fn broken_introductions_end_the_connection_only() {
    replay("proxy_protocol", targets::proxy_protocol);
}

#[test]
fn the_rest_api_takes_any_text() {
    replay("routes_api", targets::routes_api);
}

#[test]
fn websockets_carry_any_bytes() {
    replay("websocket", targets::websocket);
}
