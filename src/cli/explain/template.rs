//! What a plan changes: the pod template that runs beside the one that is gone back to, as a difference of lines. Values that may be
//! secrets are not in it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::Value;
use similar::TextDiff;

use crate::execute::redact;
use crate::model::manifest::controller;
use crate::model::{Plan, ReleaseRef, template};
use crate::ports::Store;

/// How long one read may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Lines around a change that are shown.
const AROUND: usize = 3;
/// The most lines that are shown.
const MOST_LINES: usize = 400;

/// Stands for a text that may be a secret.
const SAME: &str = "[redacted]";

/// Parts of the names of variables whose values are secrets.
const SECRET: [&str; 12] =
    ["pass", "pwd", "secret", "token", "key", "credential", "auth", "private", "cert", "dsn", "connection", "salt"];

/// The difference, from the templates that the cluster holds.
pub(super) async fn of_cluster(client: &Client, plan: &Plan) -> Result<String, String> {
    let (from, to) = tokio::join!(read(client, plan, &plan.from), read(client, plan, &plan.to));
    Ok(diff(plan, &from?, &to?))
}

/// The difference, from the templates that a journal keeps.
pub(super) async fn of_journal(journal: &dyn Store, plan: &Plan) -> Result<String, String> {
    let kept = async |release: &ReleaseRef| {
        let bytes = journal.template(release.digest.clone()).await.map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("the journal keeps no template of {}", release.label()))?;
        serde_json::from_slice::<Value>(&bytes).map_err(|error| format!("the template of {}: {error}", release.label()))
    };
    Ok(diff(plan, &kept(&plan.from).await?, &kept(&plan.to).await?))
}

/// The template of a release, from the ReplicaSet that the plan names.
async fn read(client: &Client, plan: &Plan, release: &ReleaseRef) -> Result<Value, String> {
    let label = release.label();
    let name = release.replica_set.as_ref().ok_or_else(|| format!("which ReplicaSet holds {label} is not known"))?;
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets/{name}", plan.target.at.namespace);
    let request = Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let set = match tokio::time::timeout(LIMIT, client.request::<Value>(request)).await {
        Ok(answer) => answer.map_err(|error| format!("the template of {label} cannot be read: {error}"))?,
        Err(_) => return Err(format!("the template of {label} was not answered within {} s", LIMIT.as_secs())),
    };
    let held = set.pointer("/spec/template").filter(|_| controller(&set).is_some_and(|(.., uid)| uid == plan.target.uid));
    let held = held.filter(|held| template::digest(held) == release.digest);
    held.map(template::without_hash_label).ok_or_else(|| format!("the ReplicaSet `{name}` is not that of {label} any more"))
}

/// Both templates as YAML, line by line.
pub(super) fn diff(plan: &Plan, from: &Value, to: &Value) -> String {
    let (before, after) = redacted(from, to);
    let header = |release: &ReleaseRef| {
        let revision = release.revision.map_or_else(String::new, |number| format!(" revision {number}"));
        one_line(&format!("{}{revision}", release.label()))
    };
    let (before, after) = (yaml(&before), yaml(&after));
    let diff = TextDiff::from_lines(&before, &after);
    let text = diff.unified_diff().context_radius(AROUND).header(&header(&plan.from), &header(&plan.to)).to_string();
    let lines = text.lines().count();
    if lines <= MOST_LINES {
        return text;
    }
    let shown: Vec<&str> = text.lines().take(MOST_LINES).collect();
    format!("{}\n({} more lines)\n", shown.join("\n"), lines - MOST_LINES)
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn yaml(value: &Value) -> String {
    // What cannot be written as YAML is shown as what it is.
    serde_saphyr::to_string(value).unwrap_or_else(|_| format!("{value:#}\n"))
}

/// Both without what may be a secret; that one differs is still seen.
fn redacted(from: &Value, to: &Value) -> (Value, Value) {
    let mut before = BTreeMap::new();
    let first = cleaned(from, "", false, &mut |path, raw| {
        before.insert(path.to_owned(), raw.to_owned());
        SAME.to_owned()
    });
    let second = cleaned(to, "", false, &mut |path, raw| match before.get(path) {
        Some(was) if was != raw => "[redacted, another value]".to_owned(),
        _ => SAME.to_owned(),
    });
    (first, second)
}

/// A copy in which each text that may be a secret is replaced. Paths name things where they have a name, so that a thing that moved in
/// its list is still the same.
fn cleaned(value: &Value, path: &str, secret: bool, replace: &mut dyn FnMut(&str, &str) -> String) -> Value {
    match value {
        Value::String(text) if secret && !text.is_empty() => Value::String(replace(path, text)),
        // Part of a text: the rest of it says what it is about.
        Value::String(text) => match redact(text) {
            clean if clean == *text => value.clone(),
            clean => match replace(path, text) {
                same if same == SAME => Value::String(clean),
                other => Value::String(format!("{clean} ({other})")),
            },
        },
        Value::Array(items) => {
            let name = |(index, item): (usize, &Value)| match item.get("name").and_then(Value::as_str) {
                Some(name) => format!("{path}/{name}"),
                None => format!("{path}/{index}"),
            };
            Value::Array(items.iter().enumerate().map(|item| cleaned(item.1, &name(item), secret, &mut *replace)).collect())
        }
        Value::Object(map) => {
            let variable = map.get("name").and_then(Value::as_str).filter(|_| map.contains_key("value"));
            let is_secret = |key: &str| key == "value" && variable.is_some_and(is_secret);
            let entry = |(key, item): (&String, &Value)| {
                (key.clone(), cleaned(item, &format!("{path}/{key}"), is_secret(key), &mut *replace))
            };
            Value::Object(map.iter().map(entry).collect())
        }
        other => other.clone(),
    }
}

fn is_secret(variable: &str) -> bool {
    let name = variable.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_differ_and_are_not_shown() {
        let of = |image: &str, word: &str, url: &str| {
            json!({"spec": {"containers": [{
                "name": "web", "image": image, "args": ["--level=3", format!("--password={word}")],
                "env": [{"name": "DB_PASSWORD", "value": word}, {"name": "LEVEL", "value": "info"},
                        {"name": "URL", "value": url}, {"name": "API_TOKEN", "value": "same-token"},
                        {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
            }]}})
        };
        let from = of("web:2", "hunter2", "postgres://shop:hunter2@db/shop");
        let (before, after) = redacted(&from, &of("web:1", "hunter3", "postgres://shop:hunter3@db/shop"));
        for text in [before.to_string(), after.to_string()] {
            assert!(!text.contains("hunter") && !text.contains("same-token"), "{text}");
            assert!(text.contains("\"info\"") && text.contains("--level=3"), "what is no secret is shown: {text}");
        }
        let variable = |of: &Value, at: usize| of.pointer(&format!("/spec/containers/0/env/{at}/value")).cloned();
        assert_eq!(variable(&after, 0), Some(json!("[redacted, another value]")));
        assert_eq!((variable(&before, 3), variable(&after, 3)), (Some(json!("[redacted]")), Some(json!("[redacted]"))));
        assert_ne!(variable(&before, 2), variable(&after, 2), "that the address differs is seen");
        let yaml = yaml(&before);
        assert!(yaml.contains("image: ") && yaml.contains("web:2"), "{yaml}");
    }
}
