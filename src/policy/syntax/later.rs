//! What the language knows and this version does not carry out, or never will: refused with the reason, never ignored.

use super::super::yaml::Refused;

/// Keys and values that are known but not carried out yet, by the type that holds them.
const LATER: &[(&str, &[&str])] = &[
    ("file", &["verifications", "messages", "time_intervals", "drills"]),
    (
        "policy",
        &["announce", "approval", "evidence", "figures", "follow_ups", "links", "objectives", "review_by", "tail", "unattended"],
    ),
    ("rule", &["first", "table"]),
    ("page", &["latch"]),
    ("fact", &["annotation", "as", "ask", "at", "default", "http", "label"]),
    ("target", &["container", "daemonset", "external", "helm", "rollout", "service", "statefulset"]),
    ("procedure", &["announce", "carries_back", "manual", "on_failure", "unattended"]),
    ("kind", &["contain", "recover"]),
    ("approval", &["from", "people"]),
    (
        "step",
        &[
            "config", "docker", "exec", "git", "helm", "http", "image", "isolate", "job", "restart", "scale", "switch",
            "traffic", "wait",
        ],
    ),
    ("step `undo`", &["through", "to", "when", "workload"]),
    ("verify", &["announced", "checklist", "endpoints", "fail_if", "hpa", "jobs", "logs", "name", "quiet"]),
    ("HTTP check", &["every", "path", "port", "service"]),
    ("expect", &["json"]),
    ("brakes", &["control_group", "data_latch", "freeze", "storm"]),
];

/// Keys that stand elsewhere or cannot be set: why, and what to do.
const NEVER: &[(&str, &str, &str, &str)] = &[
    ("file", "channels", "channels are no part of the policies", "they stand in the server's settings, with their secrets"),
    ("file", "tests", "tests do not stand among the policies", "put them into a file that ends in `_test.yaml`"),
    ("file", "policy_files", "tests do not stand among the policies", "put them into a file that ends in `_test.yaml`"),
    ("file", "policy", "the policies of a file stand under `policies`", "rename it to `policies`"),
    ("brakes", "paused", "the brake `paused` cannot be set or switched off", "a pause ends by `backout resume`"),
    (
        "brakes",
        "permission",
        "the brake `permission` cannot be set or switched off",
        "say in `targets` what the policy may touch",
    ),
    (
        "policy",
        "verify",
        "`verify` stands in a procedure",
        "write a procedure with `steps: [undo]` and this `verify`, and name it in `rollback`",
    ),
    (
        "policy",
        "countdown",
        "`countdown` stands in a procedure",
        "write a procedure with `steps: [undo]` and this `countdown`, and name it in `rollback`",
    ),
    ("policy", "procedures", "`procedures` stands at the top of a file", "move it beside `policies`"),
    ("policy", "rules", "the rules of a policy stand under `decide`", "rename it to `decide`"),
];

/// Every key or value that is known and not carried out yet, behind the name of what holds it.
pub(in super::super) fn not_yet() -> impl Iterator<Item = (&'static str, &'static str)> {
    LATER.iter().flat_map(|(holder, names)| names.iter().map(|name| (*holder, *name)))
}

/// The code, message and help for a key (or value) that a type knows and refuses.
pub(in super::super) fn refused(holder: &str, name: &str) -> Option<Refused> {
    if let Some((_, _, why, help)) = NEVER.iter().find(|(at, key, _, _)| *at == holder && *key == name) {
        return Some(Refused { code: "misplaced-key", message: (*why).to_owned(), help: (*help).to_owned() });
    }
    let (_, names) = LATER.iter().find(|(at, _)| *at == holder)?;
    if !names.contains(&name) {
        return None;
    }
    let (message, help) = match holder {
        "kind" => (format!("procedures of the kind `{name}` are not carried out yet"), "remove the procedure".to_owned()),
        "step" => (format!("the step `{name}` is not carried out yet"), "remove the step; `undo` is carried out".to_owned()),
        "brakes" => (format!("the brake `{name}` is not there yet"), "remove the key".to_owned()),
        _ => (format!("`{name}` is not carried out yet"), "remove the key".to_owned()),
    };
    Some(Refused { code: "not-yet", message, help })
}
