//! The first thing that a new user runs.

use std::process::Command;

#[test]
fn the_demo_tells_both_stories() {
    let told = Command::new(env!("CARGO_BIN_EXE_backout")).args(["demo", "--listen", "127.0.0.1:0"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{}\n{text}\n{}", told.status, String::from_utf8_lossy(&told.stderr));
    let mut rest = &*text;
    for expected in [
        "Story 1",
        "checkout:1.5.0 by ci",
        "decided rollback",
        "=> countdown",
        "checkout:1.4.2 by backout",
        "=> verified",
        "Story 2",
        "brake `recent_change` holds",
        "=> paged",
        "both stories went as they should",
    ] {
        let at = rest.find(expected).unwrap_or_else(|| panic!("`{expected}` is missing, or too early:\n{text}"));
        rest = &rest[at + expected.len()..];
    }
}
