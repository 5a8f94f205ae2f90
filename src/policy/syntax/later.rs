//! What the language has and this version does not carry out: read and checked like everything else, and named by `check`. And what
//! stands elsewhere or cannot be set: refused with the reason.

use super::super::yaml::Refused;

/// What it means that a key is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Weight {
    /// People are shown or told less: a warning.
    Tells,
    /// More, or something else, would be done than the file says: an error in any mode but shadow.
    Changes,
}

/// Keys and values that are not carried out, behind the type that holds them.
const LATER: &[(&str, Weight, &[&str])] = &[
    ("file", Weight::Tells, &["drills"]),
    ("policy", Weight::Tells, &["evidence", "follow_ups", "objectives"]),
    ("rule", Weight::Changes, &["first"]),
    // Nobody is asked, so that it stays unknown: nothing acts on it.
    ("fact", Weight::Tells, &["ask"]),
    ("target", Weight::Changes, &["container", "daemonset", "external", "helm", "rollout", "service", "statefulset"]),
    ("announcement", Weight::Tells, &["every", "within"]),
    ("procedure", Weight::Changes, &["carries_back", "on_failure", "unattended"]),
    ("kind", Weight::Changes, &["contain", "recover"]),
    ("approval", Weight::Changes, &["from", "people"]),
    (
        "step",
        Weight::Changes,
        &[
            "config", "docker", "exec", "git", "helm", "http", "image", "isolate", "job", "restart", "scale", "switch",
            "traffic", "wait",
        ],
    ),
    ("step `undo`", Weight::Changes, &["image", "revision", "through", "workload"]),
    ("verify", Weight::Changes, &["announced", "endpoints", "fail_if", "hpa", "jobs", "logs", "quiet"]),
    ("verify", Weight::Tells, &["checklist"]),
    ("HTTP check", Weight::Changes, &["path", "port", "service"]),
    ("HTTP check", Weight::Tells, &["every"]),
    ("expect", Weight::Changes, &["json"]),
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
    ("policy", "verifications", "`verifications` stands at the top of a file", "move it beside `policies`"),
    ("policy", "messages", "`messages` stands at the top of a file", "move it beside `policies`"),
    ("policy", "time_intervals", "`time_intervals` stands at the top of a file", "move it beside `policies`"),
    ("policy", "rules", "the rules of a policy stand under `decide`", "rename it to `decide`"),
    ("rule", "then", "a rule says directly what to do", "write `rollback`, `page` or `fix_forward` beside its condition"),
    ("rule", "if", "the condition of a rule stands under `when`", "rename it to `when`"),
];

/// Every key or value that is not carried out, behind the name of what holds it; and whether leaving it out would change what is done.
pub(in super::super) fn not_yet() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    LATER.iter().flat_map(|(holder, weight, names)| names.iter().map(|name| (*holder, *name, *weight == Weight::Changes)))
}

/// What it means that this key is not carried out; nothing, where it is.
pub(in super::super) fn weight(holder: &str, name: &str) -> Option<Weight> {
    LATER.iter().find(|(at, _, names)| *at == holder && names.contains(&name)).map(|(_, weight, _)| *weight)
}

/// The code, message and help for a key that a type knows and refuses.
pub(in super::super) fn refused(holder: &str, name: &str) -> Option<Refused> {
    let (_, _, why, help) = NEVER.iter().find(|(at, key, _, _)| *at == holder && *key == name)?;
    Some(Refused { code: "misplaced-key", message: (*why).to_owned(), help: (*help).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_not_carried_out_is_named_with_its_weight() {
        let all: Vec<_> = not_yet().collect();
        for (holder, name, changes) in [
            ("file", "drills", false),
            ("policy", "objectives", false),
            ("target", "helm", true),
            ("verify", "quiet", true),
            ("verify", "checklist", false),
            ("expect", "json", true),
        ] {
            assert!(all.contains(&(holder, name, changes)), "`{name}` of `{holder}`");
        }
        for (holder, name, changes) in all {
            assert_eq!(weight(holder, name).map(|weight| weight == Weight::Changes), Some(changes), "`{name}` of `{holder}`");
        }
    }
}
