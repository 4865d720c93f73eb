//! Every page in Chromium: axe in both schemes, narrow windows, and the buttons with and without JavaScript.

use std::process::Command;

use hubd_tests::{notebook_program, programs, repository, test_python};

use crate::Case;
use crate::suite::{Suite, out};

pub const CASES: &[Case] = &[("every page is usable by everybody", every_page)];

/// `tests/screenshots` starts a trial hub of its own, so that pictures of it can be made without this suite.
fn every_page(_: &mut Suite) {
    let folder = out().join("pages");
    std::fs::create_dir_all(&folder).unwrap();
    let programs = programs();
    let program = notebook_program();
    let environment = program.parent().and_then(|bin| bin.parent()).unwrap();
    let output = Command::new(repository().join("tests/screenshots"))
        .arg("--check")
        .arg(&folder)
        .env("HUBD_TEST_PYTHON", test_python())
        .env("HUBD_TEST_JUPYTERHUB", environment)
        .env("HUBD_TEST_HUBD", &programs.hubd)
        .env("HUBD_TEST_HELPER", &programs.helper)
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
