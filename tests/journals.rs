//! Journals of every version that was ever written open for ever: those in `tests/journals/` are read by the program as it is now.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Backout, Setup};

/// A copy of a journal that was kept, in a folder of its own.
fn copy(kept: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals").join(kept);
    fs::copy(from, data.join("journal.db")).expect("copied");
    (folder, data)
}

/// One rollback on a real control plane, from the alert to its close, written by 0.1.0.
#[tokio::test]
async fn version_2_of_a_rollback_that_was_verified() {
    let (_folder, data) = copy("v2-verified.db");
    let verified = Backout::run(&["journal", "verify", "--data", data.to_str().expect("text"), "--output", "json"]).await;
    let verified: Value = serde_json::from_slice(&verified.stdout).expect("json");
    assert_eq!(verified["sound"], true, "{verified:#}");

    let backout = Backout::start(Setup { data: Some(data), ..Setup::default() }).await;
    let all = backout.get("/api/v1/incidents?state=all").await.expect("incidents");
    assert_eq!(all["total"], 1, "{all:#}");
    let row = &all["incidents"][0];
    for (name, wanted) in [("state", "closed"), ("reason", "verified"), ("outcome", "rollback")] {
        assert_eq!(row[name], wanted, "{row:#}");
    }
    assert_eq!(row["attempts"], 1);
    let id = row["id"].as_str().expect("an id");
    let detail = backout.get(&format!("/api/v1/incidents/{id}")).await.expect("the incident");
    let incident = &detail["incident"];
    let attempt = &incident["attempts"][0];
    assert!(attempt["applied"].to_string().contains("done") && attempt["ended"].to_string().contains("verified"), "{attempt:#}");
    assert_eq!(incident["decision"]["rules"][0]["rule"], "many-errors", "{incident:#}");
    assert!(incident["evidence"].is_object() && incident["preflight"].is_object(), "{incident:#}");
}
