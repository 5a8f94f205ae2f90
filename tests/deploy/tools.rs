//! The programs that check `deploy/`, and what they print.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::tool;

/// The package's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the package.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program to its end; what it printed, or a panic with it.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// The documents of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("YAML documents")
}

/// What `kustomize build` makes of a folder below `deploy/kustomize`.
pub(crate) fn rendered(folder: &str) -> Vec<Value> {
    let folder = root().join("deploy/kustomize").join(folder);
    documents(&run(Command::new(tool("kustomize")).arg("build").arg(folder)))
}

/// The only object of a kind and name.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"].as_str().is_some_and(|it| it.starts_with(name)))
        .collect();
    assert_eq!(found.len(), 1, "one {kind} `{name}` in {:?}", names(objects));
    found[0]
}

/// Kind and name of each.
pub(crate) fn names(objects: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects.iter().map(|object| format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))).collect()
}
