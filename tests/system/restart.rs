//! The hub dies; nobody's work does.

use std::fs;

use hubd_tests::until;
use std::time::Duration;

use crate::Case;
use crate::browser::Script;
use crate::suite::Suite;

/// The cases of this file.
pub const CASES: &[Case] = &[("kernels survive a kill of the hub and the loss of its database", killed)];

fn killed(suite: &mut Suite) {
    suite.installation();
    suite.alice();
    suite.fresh_homes();
    let url = suite.installation().url();
    let (installation, people) = suite.installation_and_people();
    Script::new("restart", &people).argument("lose-database").run(&url, |wish| {
        installation.kill_hub();
        if wish.contains("remove its database") {
            for suffix in ["", "-wal", "-shm"] {
                let mut path = installation.database().into_os_string();
                path.push(suffix);
                let _ = fs::remove_file(path);
            }
        }
        let took = installation.start_hub();
        println!("    the hub answers again after {} ms", took.as_millis());
        assert_eq!(installation.sessions().len(), 1);
    });
    until("the end of the stopped session", Duration::from_secs(30), || {
        suite.installation().sessions().is_empty().then_some(())
    });
}
