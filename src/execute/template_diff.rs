//! What differs between two pod templates, fit for a report: images, names of variables and what they refer to, never their values.
//! Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::references::needs;
use crate::model::manifest::{items, text};
use crate::model::template::{containers, digest};

/// One line for each difference; empty when nothing that may be shown differs.
pub(super) fn diff(from: &Value, to: &Value) -> String {
    let (before, after) = (facts(from), facts(to));
    let mut lines = Vec::new();
    for (name, was) in &before {
        match after.get(name) {
            None => lines.push(format!("- {name}: {}", was.shown)),
            Some(is) if is.compared != was.compared => lines.push(format!("~ {name}: {} -> {}", was.shown, is.shown)),
            Some(_) => {}
        }
    }
    lines
        .extend(after.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(name, is)| format!("+ {name}: {}", is.shown)));
    lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    lines.join("\n")
}

/// A property: what is compared stays here, what is shown goes out.
struct Fact {
    shown: String,
    compared: String,
}

fn facts(template: &Value) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    let mut tell = |name: String, shown: String, compared: String| {
        facts.insert(name, Fact { shown, compared });
    };
    for container in containers(template) {
        let of = text(container, "/name").unwrap_or_default();
        for field in ["image", "command", "args", "resources", "livenessProbe", "readinessProbe", "startupProbe", "ports"] {
            let Some(value) = container.get(field) else { continue };
            // Command lines carry passwords: that they changed is said, what they say is not.
            let shown = if field == "image" { value.as_str().unwrap_or_default().to_owned() } else { short(value) };
            tell(format!("container {of} {field}"), shown, value.to_string());
        }
        for variable in items(container, "/env") {
            let name = text(variable, "/name").unwrap_or_default();
            let shown = match variable.get("valueFrom") {
                Some(from) => reference(from),
                None => "(value not shown)".to_owned(),
            };
            tell(format!("container {of} env {name}"), shown, variable.to_string());
        }
    }
    for volume in items(template, "/spec/volumes") {
        tell(format!("volume {}", text(volume, "/name").unwrap_or_default()), short(volume), volume.to_string());
    }
    for ((kind, name), keys) in needs(template) {
        let keys: Vec<_> = keys.into_iter().collect();
        let shown = if keys.is_empty() { "whole".to_owned() } else { keys.join(", ") };
        tell(format!("needs {} {name}", kind.name()), shown.clone(), shown);
    }
    facts
}

/// `configMapKeyRef cfg/level`.
fn reference(from: &Value) -> String {
    let Some((kind, what)) = from.as_object().and_then(|map| map.iter().next()) else { return String::new() };
    match (text(what, "/name"), text(what, "/key")) {
        (Some(name), Some(key)) => format!("{kind} {name}/{key}"),
        _ => kind.clone(),
    }
}

/// Stands for a value that is not shown.
fn short(value: &Value) -> String {
    format!("({})", &digest(value).short()[..8])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_changed_and_no_value() {
        let from = json!({"spec": {"containers": [{"name": "web", "image": "web:2", "args": ["--password=hunter2"], "env": [
            {"name": "TOKEN", "value": "hunter2"}, {"name": "NEW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pw"}}}]}]}});
        let to = json!({"spec": {"containers": [{"name": "web", "image": "web:1", "args": ["--password=hunter1"], "env": [
            {"name": "TOKEN", "value": "hunter1"}]}]}});
        let text = diff(&from, &to);
        assert!(!text.contains("hunter"), "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[1], "- container web env NEW: secretKeyRef db/pw");
        assert_eq!(lines[2], "~ container web env TOKEN: (value not shown) -> (value not shown)");
        assert_eq!(lines[3], "~ container web image: web:2 -> web:1");
        assert_eq!(lines[4], "- needs Secret db: pw");
        assert_eq!(diff(&to, &to), "");
    }
}
