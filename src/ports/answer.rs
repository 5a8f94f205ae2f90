//! What the engine answers to questions and operations, as it goes out over the API. Shapes are public: the OpenAPI document is
//! made of them, and the command line relies on them. Times are RFC 3339 texts, except inside of `incident`, which is the journal's.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One line of the list of incidents.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = IncidentSummary)]
pub struct IncidentRow {
    /// `i` and 12 hex digits; names it everywhere.
    #[schema(pattern = "^i[0-9a-f]{12}$")]
    pub id: String,
    /// Where it stands: `settling`, `deciding`, `countdown`, … `closed`.
    pub state: String,
    /// `live`, or `shadow/POLICY` for what a policy in shadow decides beside the others.
    pub lane: String,
    /// The policy that decides.
    pub policy: String,
    /// The target, `deployment/NAMESPACE/NAME`; absent when it could not be found.
    pub target: Option<String>,
    /// When its first alert was received.
    #[schema(format = DateTime)]
    pub opened_at: String,
    /// The last verdict: `rollback`, `page` or `fix_forward`.
    pub outcome: Option<String>,
    /// Why it stands where it does.
    pub reason: Option<String>,
    /// The brake that held the rollback.
    pub brake: Option<String>,
    /// The last verdict in one sentence.
    pub summary: Option<String>,
    /// The hash of the plan, 16 hex digits: what an approval names.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub plan: Option<String>,
    /// When the countdown or the wait for an approval ends.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// How many alerts belong to it.
    pub alerts: usize,
    /// How many times a rollback was begun.
    pub attempts: usize,
    /// What a person last said of the rollback: `right` or `wrong`.
    pub mark: Option<String>,
}

/// A page of incidents, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IncidentList {
    /// The incidents.
    pub incidents: Vec<IncidentRow>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins: the parameter `cursor` of the next question. Absent on the last page.
    pub next: Option<String>,
    /// The service's clock.
    #[schema(format = DateTime)]
    pub now: String,
}

/// An incident with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IncidentDetail {
    /// The same as in the list.
    pub summary: IncidentRow,
    /// The incident as it is remembered, in the journal's form: alerts, decision, plan, attempts, notes. Fields may be added.
    #[schema(value_type = Object)]
    pub incident: Value,
    /// The figures kept for it; spans are `{secs, nanos}`.
    #[schema(value_type = Object)]
    pub figures: Value,
    /// Changes of its target that were posted, from a day before its onset.
    pub changes: Vec<ChangeRow>,
}

/// A pause that holds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Pause)]
pub struct PauseRow {
    /// Its number.
    pub id: u64,
    /// What it covers.
    pub scope: PauseScopeRow,
    /// Why.
    pub reason: String,
    /// Who, as he says.
    pub by: String,
    /// As whom he is known: his credential.
    pub identity: Option<String>,
    /// Since when.
    #[schema(format = DateTime)]
    pub from: String,
    /// Until when.
    #[schema(format = DateTime)]
    pub until: String,
}

/// What a pause covers.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = PauseScope)]
pub struct PauseScopeRow {
    /// `global`, `namespace`, `target` or `policy`.
    pub scope: String,
    /// The name of the namespace, target (`NAMESPACE/NAME`) or policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
}

/// The pauses that hold.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PauseList {
    /// The pauses.
    pub pauses: Vec<PauseRow>,
}

/// A latch: nothing is rolled back on what it covers until a named person looked at the data.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Latch)]
pub struct LatchRow {
    /// Its number.
    pub id: u64,
    /// What began it: `corruption` or `migration`.
    pub cause: String,
    /// The same in words.
    pub because: String,
    /// The target on which it began, `NAMESPACE/NAME`, where that was found.
    pub target: Option<String>,
    /// What it covers besides: patterns of `NAMESPACE/NAME`.
    pub covers: Vec<String>,
    /// The policy that wanted it.
    pub policy: String,
    /// The incident that began it.
    pub incident: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub from: String,
    /// Who let go of it; absent while it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cleared: Option<ClearedRow>,
}

/// Who let go of a latch.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Cleared)]
pub struct ClearedRow {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who, as he says.
    pub by: String,
    /// As whom he is known: his credential.
    pub identity: Option<String>,
    /// What was found.
    pub reason: String,
}

/// The latches that hold, and those that were cleared and are remembered.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LatchList {
    /// The latches, the newest last.
    pub latches: Vec<LatchRow>,
}

/// A latch was cleared.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LatchCleared {
    /// Always true.
    pub done: bool,
    /// Its number.
    pub latch: u64,
}

/// A change that was posted.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = PostedChange)]
pub struct ChangeRow {
    /// `c` and 12 hex digits.
    #[schema(pattern = "^c[0-9a-f]{12}$")]
    pub id: String,
    /// The target, `NAMESPACE/NAME`.
    pub target: String,
    /// `template`, `config`, `helm`, `flag` or `external`.
    pub kind: String,
    /// What was there before.
    pub from: Option<String>,
    /// What is there now.
    pub to: Option<String>,
    /// Who changed it.
    pub by: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Whether an older release cannot work on the data any more.
    pub barrier: bool,
    /// Where more is to be read.
    pub url: Option<String>,
}

/// Changes that were posted, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ChangeList {
    /// The changes.
    pub changes: Vec<ChangeRow>,
    /// How many there are in all.
    pub total: usize,
}

/// A change was told of.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ChangeTold {
    /// As it is kept.
    pub change: ChangeRow,
    /// Whether it was known already: posted again, nothing was written.
    pub known: bool,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct PolicyRow {
    /// Its name.
    pub name: String,
    /// Its file and line.
    pub place: String,
    /// `shadow`, `approve` or `enforce`.
    pub mode: String,
    /// `in_front` or `beside`.
    pub paging: Option<String>,
    /// What it may act on: patterns of `NAMESPACE/NAME`.
    pub targets: Vec<String>,
    /// Why it asks for approval whatever its mode: rollbacks of it were marked wrong. Absent while it is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distrust: Option<String>,
}

/// The policies in use.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PolicyList {
    /// In the order in which they decide.
    pub policies: Vec<PolicyRow>,
    /// The hash of all of them.
    pub hash: String,
    /// The commit of their folder, where it is a git work tree.
    pub commit: Option<String>,
    /// What was wrong with the last reload.
    pub reload_problem: Option<String>,
}

/// A policy is trusted again.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PolicyRearmed {
    /// Always true.
    pub done: bool,
    /// Which.
    pub policy: String,
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusAnswer {
    /// The program's version.
    pub version: String,
    /// The service's clock.
    #[schema(format = DateTime)]
    pub now: String,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// The hash of the policies in use.
    pub policies: String,
    /// How many incidents are open.
    pub incidents_open: usize,
    /// What was wrong with the last reload.
    pub reload_problem: Option<String>,
}

/// An operation about an incident was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IncidentTold {
    /// Always true.
    pub done: bool,
    /// Which incident.
    pub incident: String,
    /// Where it stands now.
    pub state: Option<String>,
}

/// A pause was begun.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PauseBegun {
    /// Always true.
    pub done: bool,
    /// The pause's number.
    pub pause: u64,
}

/// A pause was ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PauseEnded {
    /// Always true.
    pub done: bool,
}
