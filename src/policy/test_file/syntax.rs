//! A test file as it is written: one set of types makes the reader and the schema.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::syntax::{CelText, DurationText, MatcherText};
use super::super::yaml::{Entries, Field, Listed, OneOrMany, Refused, Short, Shorthand};
use super::text::{FlagText, InstantText, SeriesText, SpanText, TextOr, TimestampText};

/// A test file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "test file")]
#[schemars(deny_unknown_fields, extend("required" = ["policy_files", "tests"]), rename = "test_file")]
pub(super) struct File {
    /// The policies that are tested: files, or folders with all that is in them; as seen from this file.
    pub(super) policy_files: Field<Listed<Field<String>>>,
    /// Prometheus' rule files: alerts of this name take `for` and the tail from them.
    pub(super) rule_files: Field<Listed<Field<String>>>,
    /// How often Prometheus evaluates rules (1m).
    pub(super) evaluation_interval: Field<DurationText>,
    /// The tests.
    pub(super) tests: Field<Vec<Field<Test>>>,
}

/// One story, and what is expected of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "test")]
#[schemars(deny_unknown_fields, extend("required" = ["name", "expect"]))]
pub(super) struct Test {
    /// What it shows; unique in the file.
    pub(super) name: Field<String>,
    /// The calendar time of minute 0 (2026-03-02T09:00:00Z, a Monday).
    pub(super) start: Field<TimestampText>,
    /// When the story ends (at its last time).
    pub(super) until: Field<InstantText>,
    /// The cluster's name, as the label `cluster` has it (prod).
    pub(super) cluster: Field<String>,
    /// What runs.
    pub(super) world: Field<World>,
    /// What each fact is as time goes by: a series, or one for each image.
    pub(super) facts: Field<Entries<TextOr<SeriesText, Entries<SeriesText>>>>,
    /// The traffic that floors of facts ask for, by the fact's name; what is not said is enough.
    pub(super) floors: Field<Entries<TextOr<SeriesText, Entries<SeriesText>>>>,
    /// The alerts, and when they fire.
    pub(super) alerts: Field<Vec<Field<Alert>>>,
    /// What people and pipelines do.
    pub(super) people: Field<Vec<Field<Deed>>>,
    /// What is down, and when.
    pub(super) down: Field<Vec<Field<Down>>>,
    /// What is expected, and when.
    pub(super) expect: Field<Vec<Field<Expect>>>,
}

/// What runs in a world.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "world")]
#[schemars(deny_unknown_fields)]
pub(super) struct World {
    /// The Deployments.
    pub(super) deployments: Field<Vec<Field<Deployment>>>,
    /// Jobs that change data, as if they carried the label `backout.dev/migration`.
    pub(super) jobs: Field<Vec<Field<Job>>>,
    /// Channels in the order of the settings (those that the policies name, then `default`).
    pub(super) channels: Field<Listed<Field<String>>>,
    /// How many Alertmanager peers there are (1).
    pub(super) alertmanagers: Field<u32>,
    /// What health addresses answer: a status, or one for each image.
    pub(super) http: Field<Entries<TextOr<SeriesText, Entries<u16>>>>,
    /// The JSON documents that `http` facts are found in, by address: a text, or one from each of some times on.
    pub(super) documents: Field<Entries<TextOr<SeriesText, Entries<String>>>>,
    /// Since when backout has been watching (-2d).
    pub(super) watching_since: Field<InstantText>,
}

/// A Deployment and its history.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "Deployment")]
#[schemars(deny_unknown_fields, extend("required" = ["name", "namespace", "revisions"]))]
pub(super) struct Deployment {
    /// Its name.
    pub(super) name: Field<String>,
    /// Its namespace.
    pub(super) namespace: Field<String>,
    /// Its releases, the oldest first.
    pub(super) revisions: Field<Vec<Field<Revision>>>,
    /// How many pods (2).
    pub(super) replicas: Field<u32>,
    /// How long a pod takes to become ready (10s).
    pub(super) ready_after: Field<DurationText>,
    /// `revisionHistoryLimit` (10).
    pub(super) history_limit: Field<u32>,
    /// `RollingUpdate` (the default) or `Recreate`.
    pub(super) strategy: Field<Strategy>,
    /// Its annotations.
    pub(super) annotations: Field<Entries<String>>,
    /// Its labels.
    pub(super) labels: Field<Entries<String>>,
}

/// A Job that changes data. Says when it ran: `started_at`, and `completed_at` or `failed_at`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "Job")]
#[schemars(deny_unknown_fields, extend("required" = ["name", "namespace"]))]
pub(super) struct Job {
    /// Its name.
    pub(super) name: Field<String>,
    /// Its namespace.
    pub(super) namespace: Field<String>,
    /// Its image (migrate:1).
    pub(super) image: Field<String>,
    /// Since when it runs.
    pub(super) started_at: Field<InstantText>,
    /// When it completed.
    pub(super) completed_at: Field<InstantText>,
    /// When it failed for good.
    pub(super) failed_at: Field<InstantText>,
    /// When it was deleted.
    pub(super) deleted_at: Field<InstantText>,
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "strategy")]
pub(super) enum Strategy {
    /// Some at a time.
    RollingUpdate,
    /// All at once.
    Recreate,
}

/// A release of a Deployment. Says one of `deployed_at` and `live_for`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "revision")]
#[schemars(deny_unknown_fields, extend("required" = ["image"]))]
pub(super) struct Revision {
    /// Its image.
    pub(super) image: Field<String>,
    /// When it was deployed.
    pub(super) deployed_at: Field<InstantText>,
    /// How long it was there before the next one came; the last one: before minute 0.
    pub(super) live_for: Field<DurationText>,
    /// Who deployed it (ci).
    pub(super) by: Field<String>,
    /// `false`: its pods never become ready.
    pub(super) ready: Field<FlagText>,
    /// Annotations of its pod template.
    pub(super) annotations: Field<Entries<String>>,
}

/// An alert.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "test alert")]
#[schemars(deny_unknown_fields, extend("required" = ["labels", "firing"]), rename = "test_alert")]
pub(super) struct Alert {
    /// Its labels, `alertname` among them.
    pub(super) labels: Field<Entries<String>>,
    /// Its annotations.
    pub(super) annotations: Field<Entries<String>>,
    /// How long its condition holds before it fires: the onset lies so long before.
    #[serde(rename = "for")]
    pub(super) hold: Field<DurationText>,
    /// How long it may still fire after everything is well (two evaluations).
    pub(super) tail: Field<DurationText>,
    /// When it fires: `5m to 20m`, `5m`, or a map; or a list of them.
    pub(super) firing: Field<OneOrMany<TextOr<SpanText, Firing>>>,
    /// The Deployment that facts in `while` are about, as `namespace/name` (the one that its labels name, or the only one).
    pub(super) of: Field<String>,
}

/// When an alert fires.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "firing")]
#[schemars(deny_unknown_fields, extend("required" = ["from"]))]
pub(super) struct Firing {
    /// Its `startsAt`.
    pub(super) from: Field<InstantText>,
    /// Its end.
    pub(super) to: Field<InstantText>,
    /// Only while this holds; looked at at each evaluation.
    #[serde(rename = "while")]
    pub(super) condition: Field<CelText>,
    /// Again and again, so often; needs `lasting`.
    pub(super) every: Field<DurationText>,
    /// How long each time.
    pub(super) lasting: Field<DurationText>,
}

/// What somebody does: exactly one thing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "line of `people`")]
#[schemars(deny_unknown_fields, extend("required" = ["at"]), rename = "deed")]
pub(super) struct Deed {
    /// When.
    pub(super) at: Field<InstantText>,
    /// Who (ann; what is deployed: ci).
    pub(super) by: Field<String>,
    /// Which incident, by its number in the story (the latest open one).
    pub(super) incident: Field<u32>,
    /// Says yes to the plan that waits; with the brakes that are overridden.
    pub(super) approve: Field<Short<Approve>>,
    /// Says no, for this reason.
    pub(super) veto: Field<String>,
    /// Takes the incident over.
    pub(super) acknowledge: Field<FlagText>,
    /// Says of a rollback that it was right or wrong.
    pub(super) mark: Field<MarkWord>,
    /// Silences alerts.
    pub(super) silence: Field<Short<Silence>>,
    /// Tells backout to stand down.
    pub(super) pause: Field<Pause>,
    /// Ends the pause of that number.
    pub(super) resume: Field<u32>,
    /// Looked at the data, so that the latch of that number lets go.
    pub(super) clear_latch: Field<u32>,
    /// Deploys another image.
    pub(super) deploy: Field<Deploy>,
    /// Scales.
    pub(super) scale: Field<Scale>,
    /// Annotates a Deployment.
    pub(super) annotate: Field<Annotate>,
    /// Deletes a Deployment, `namespace/name`.
    pub(super) delete: Field<String>,
}

/// Right or wrong.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "mark", rename_all = "snake_case")]
pub(super) enum MarkWord {
    /// It was right.
    Right,
    /// It was wrong.
    Wrong,
}

/// A yes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "approve")]
#[schemars(deny_unknown_fields)]
pub(super) struct Approve {
    /// Brakes that are overridden.
    pub(super) overrides: Field<Listed<Field<String>>>,
}

impl Shorthand for Approve {
    const NAME: &'static str = "$short:overrides";
    type Value = Listed<String>;
}

/// A silence.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "silence")]
#[schemars(deny_unknown_fields, extend("required" = ["matchers"]))]
pub(super) struct Silence {
    /// What is silenced.
    pub(super) matchers: Field<Listed<Field<MatcherText>>>,
    /// For how long (until the end).
    #[serde(rename = "for")]
    pub(super) span: Field<DurationText>,
}

impl Shorthand for Silence {
    const NAME: &'static str = "$short:matchers";
    type Value = Listed<MatcherText>;
}

/// A pause.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "pause")]
#[schemars(deny_unknown_fields, extend("required" = ["reason"]))]
pub(super) struct Pause {
    /// `global`, `namespace/NAME`, `target/NAMESPACE/NAME` or `policy/NAME` (global).
    pub(super) scope: Field<String>,
    /// Why.
    pub(super) reason: Field<String>,
    /// For how long (1h).
    #[serde(rename = "for")]
    pub(super) span: Field<DurationText>,
}

/// A deployment of another image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "deploy")]
#[schemars(deny_unknown_fields, extend("required" = ["image"]))]
pub(super) struct Deploy {
    /// Which Deployment, `namespace/name` (the only one).
    pub(super) deployment: Field<String>,
    /// The image.
    pub(super) image: Field<String>,
    /// Annotations of its pod template.
    pub(super) annotations: Field<Entries<String>>,
}

/// Another number of pods.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "scale")]
#[schemars(deny_unknown_fields, extend("required" = ["replicas"]))]
pub(super) struct Scale {
    /// Which Deployment, `namespace/name` (the only one).
    pub(super) deployment: Field<String>,
    /// How many.
    pub(super) replicas: Field<u32>,
}

/// An annotation of a Deployment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "annotate")]
#[schemars(deny_unknown_fields, extend("required" = ["key", "value"]))]
pub(super) struct Annotate {
    /// Which Deployment, `namespace/name` (the only one).
    pub(super) deployment: Field<String>,
    /// Its name.
    pub(super) key: Field<String>,
    /// Its value.
    pub(super) value: Field<String>,
}

/// Something that does not answer for a while.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "line of `down`")]
#[schemars(deny_unknown_fields, extend("required" = ["what", "during"]), rename = "down")]
pub(super) struct Down {
    /// `cluster`, `watch`, `prometheus`, `evaluation`, `alertmanager`, `channels`, `channel NAME` or `backout`.
    pub(super) what: Field<String>,
    /// `5m to 20m`.
    pub(super) during: Field<SpanText>,
}

/// What is expected at a time. Every key that is written must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "line of `expect`")]
#[schemars(deny_unknown_fields, extend("required" = ["at"]), rename = "expect")]
pub(super) struct Expect {
    /// When it is looked at.
    pub(super) at: Field<InstantText>,
    /// Which target's incident is meant, `namespace/name`.
    pub(super) of: Field<String>,
    /// Which policy's incident is meant.
    pub(super) policy: Field<String>,
    /// Which incident is meant, by its number in the story. Without any of these three: the latest one; live before shadow.
    pub(super) incident: Field<u32>,
    /// Nothing has happened: no incident, no message, no write.
    pub(super) nothing: Field<FlagText>,
    /// What was decided, or what came of it.
    pub(super) outcome: Field<String>,
    /// Where the incident stands.
    pub(super) state: Field<String>,
    /// The rule that decided.
    pub(super) rule: Field<String>,
    /// Brakes that hold.
    pub(super) brake: Field<Listed<Field<String>>>,
    /// Latches that hold on the target: `corruption`, `migration`.
    pub(super) latch: Field<Listed<Field<String>>>,
    /// What could not be told: `facts.errors`.
    pub(super) unknown: Field<Listed<Field<String>>>,
    /// Procedures that do not fit, so that the next one's turn came.
    pub(super) unfit: Field<Listed<Field<String>>>,
    /// The release that is gone back to.
    pub(super) to: Field<Short<Release>>,
    /// The release that is left.
    pub(super) from: Field<Short<Release>>,
    /// The steps of the plan, in order.
    pub(super) steps: Field<Listed<Field<String>>>,
    /// The procedures that were tried, in order.
    pub(super) levels: Field<Listed<Field<String>>>,
    /// Messages that were sent by then, in this order; others may lie between. `[]`: none.
    pub(super) messages: Field<Listed<Field<Short<Message>>>>,
    /// How many pages were sent by then.
    pub(super) pages: Field<u32>,
    /// How many times something was written by then.
    pub(super) actions: Field<u32>,
    /// The same, at most.
    pub(super) actions_at_most: Field<u32>,
}

/// A release.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "release")]
#[schemars(deny_unknown_fields, extend("required" = ["image"]))]
pub(super) struct Release {
    /// One of its images.
    pub(super) image: Field<String>,
}

impl Shorthand for Release {
    const NAME: &'static str = "$short:image";
    type Value = String;
}

/// A message.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "message")]
#[schemars(deny_unknown_fields, extend("required" = ["moment"]))]
pub(super) struct Message {
    /// When in the incident's life: `opened`, `decided`, `paged`, …
    pub(super) moment: Field<String>,
    /// A channel that has it.
    pub(super) to: Field<String>,
    /// A text that its title holds.
    pub(super) title: Field<String>,
}

impl Shorthand for Message {
    const NAME: &'static str = "$short:moment";
    type Value = String;
}

/// What the language of tests knows and this version does not carry out, by the type that holds it.
const LATER: &[(&str, &[&str])] = &[
    ("world", &["services", "configmaps"]),
    ("line of `people`", &["handback", "answer"]),
    ("line of `expect`", &["objectives", "to_revision"]),
];

/// Keys that are written otherwise here: what to write.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("test file", "policies", "name the file with the policies in `policy_files`"),
    ("test", "input_series", "write `facts: {NAME: series}`"),
    ("test", "interval", "facts have one value a minute"),
    ("test", "alert_rule_test", "Prometheus' rules are tested by promtool; write `alerts` with `firing`"),
    ("test", "deployments", "write it under `world`"),
    ("line of `people`", "ack", "write `acknowledge: true`"),
];

/// The code, message and help for a key that a type knows and refuses.
pub(super) fn refused(holder: &str, name: &str) -> Option<Refused> {
    if let Some((_, _, help)) = OTHERWISE.iter().find(|(at, key, _)| *at == holder && *key == name) {
        let message = format!("`{name}` is written otherwise in a test of policies");
        return Some(Refused { code: "misplaced-key", message, help: (*help).to_owned() });
    }
    let (_, names) = LATER.iter().find(|(at, _)| *at == holder)?;
    let message = format!("`{name}` is not carried out yet");
    names.contains(&name).then(|| Refused { code: "not-yet", message, help: "remove the key".to_owned() })
}
