//! The book (`docs/book`) against the program.

use std::path::Path;
use std::process::Command;

use crate::program::stderr;

#[test]
fn every_link_verb_flag_and_setting_that_the_book_names_is_one_that_there_is() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut check = Command::new(checkout.join("scripts/book"));
    check.arg("--check").env("ELITELOOP", env!("CARGO_BIN_EXE_eliteloop")).current_dir(checkout);
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    assert!(output.status.success(), "{said}");
    // It has looked: `.. 76 commands, 99 flags, 116 settings`.
    let counts: Vec<u32> = said.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert!(counts.iter().filter(|count| **count >= 50).count() >= 3, "{said}");
}
