//! Where the built programs are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A program that `tests/bed/build.sh` builds or fetches, which is done first if it is not there.
pub(crate) fn built(name: &str) -> PathBuf {
    static BED: OnceLock<PathBuf> = OnceLock::new();
    BED.get_or_init(|| folder("tests/bed/build.sh")).join(name)
}

/// The same for `tests/bed/tools.sh`: what checks, and is not served by anybody.
pub(crate) fn tool(name: &str) -> PathBuf {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| folder("tests/bed/tools.sh")).join(name)
}

/// `promtool` or `amtool`, which lie beside the server that they came with.
pub(crate) fn beside(server: &str, name: &str) -> PathBuf {
    std::fs::canonicalize(built(server)).expect("the server's program").with_file_name(name)
}

/// The folder that a script prints when it has built what is in it.
fn folder(script: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new("bash").arg(&script).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(output.status.success(), "{} failed: {}", script.display(), output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
