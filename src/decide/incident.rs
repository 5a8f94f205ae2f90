//! One incident: what is remembered of it. How it changes stands in `transition`; what is decided of it, in `step`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rpds::VectorSync;
use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::limits::{ALLOWED_FOR, LOST};
use super::members::Members;
use super::observation::Purpose;
use super::pages::Cause;
pub use super::phase::Phase;
use super::untold::Untold;
use crate::model::{
    Alert, Applied, Brake, Dependency, Digest, Evidence, IncidentId, Mark, Mode, Onset, Paging, Plan, PlanHash, PreflightReport,
    Reason, TargetId, Time, VerifyPlan,
};
use crate::planted::{self, Bug};

/// Which hands an incident has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "lane", content = "policy")]
pub enum Lane {
    /// Decided by the first policy that is not in shadow.
    Live,
    /// Decided by this policy in shadow, beside the others; takes nothing away from anybody and never acts.
    Shadow(String),
}

impl Lane {
    /// A key for maps and ids. No policy's name holds a slash.
    pub fn key(&self) -> String {
        match self {
            Self::Live => "live".to_owned(),
            Self::Shadow(policy) => format!("shadow/{policy}"),
        }
    }

    /// Whether nothing may be done here.
    pub fn is_shadow(&self) -> bool {
        matches!(self, Self::Shadow(_))
    }
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// As last received.
    pub alert: Alert,
    /// When its first notification was committed.
    pub received_at: Time,
    /// When its condition began.
    pub onset: Onset,
    /// When it was last said to be resolved; `None` while it fires.
    pub resolved_at: Option<Time>,
    /// Whether a notification that held it was cut.
    pub truncated: bool,
}

/// A page, from its opening to the incident's close.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Why a human is needed.
    pub reason: Reason,
    /// The brake that holds, where one does.
    #[serde(default)]
    pub brake: Option<Brake>,
    /// What others may be paged about too.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// The incident whose page this one is part of.
    #[serde(default)]
    pub folded_into: Option<IncidentId>,
    /// Since when it is part of that page and in no message of it.
    #[serde(default)]
    pub unlisted_since: Option<Time>,
    /// When it was opened for this cause.
    #[serde(default)]
    pub opened_at: Option<Time>,
    /// What the page says.
    pub text: String,
    /// Whether it is announced only (in shadow, or beside the alert's own route): nobody is woken, nobody reminded.
    #[serde(default)]
    pub announced: bool,
    /// When it was last known that no channel took it.
    #[serde(default)]
    pub unheard: Option<Time>,
    /// Whether no channel is known to have it: it was not taken when it was last answered.
    #[serde(default)]
    pub untaken: bool,
    /// When it was last sent.
    pub sent_at: Time,
    /// How many messages were sent under it.
    pub count: u32,
}

impl Page {
    /// What the page of this incident is called in every channel: itself, or the incident that it folded into.
    pub fn key<'a>(&'a self, own: &'a IncidentId) -> &'a IncidentId {
        self.folded_into.as_ref().unwrap_or(own)
    }
}

/// One attempt to go back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was to be done.
    pub plan: Arc<Plan>,
    /// When its intent was committed; the budget is spent from here.
    pub intended_at: Time,
    /// How many times the write was begun: again after it was certain that nothing was written.
    #[serde(default)]
    pub intents: u32,
    /// When it was last begun.
    #[serde(default)]
    pub last_intended_at: Option<Time>,
    /// What the write's answer was, once there is one.
    pub applied: Option<Applied>,
    /// When the rollout was seen complete.
    pub rolled_back_at: Option<Time>,
    /// Since when every check holds.
    pub holds_since: Option<Time>,
    /// The end of the tail.
    pub tail_until: Option<Time>,
    /// How many stages of the proof hold for good; the next one is being proven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stage: usize,
    /// Since when that stage is being proven, where it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_since: Option<Time>,
    /// What the checks last said.
    pub checks: BTreeMap<String, String>,
    /// How it ended.
    pub ended: Option<(Time, Reason)>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Attempt {
    /// What is being proven.
    pub fn verify(&self) -> &VerifyPlan {
        self.plan.verify.stage(self.stage)
    }

    /// Whether it is known that the release was put back, by us or by somebody.
    pub fn is_written(&self) -> bool {
        matches!(self.applied, Some(Applied::Done { .. } | Applied::Already { .. }))
    }
}

/// An observation that is under way or due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Numbered, so that a late answer is known for one.
    pub id: u64,
    /// What for.
    pub purpose: Purpose,
    /// When it was asked.
    pub at: Time,
    /// How many times in a row it came back with something unknown.
    pub tries: u32,
    /// Whether an alert began to fire since: who was asked before that says nothing about it.
    #[serde(default)]
    pub outdated: bool,
}

/// An observation that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// What for.
    pub purpose: Purpose,
    /// When.
    pub at: Time,
    /// How many times in a row it came back with something unknown.
    pub tries: u32,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Time,
    /// What happened, one line.
    pub text: String,
}

/// One target and the release that ran there at the onset of its first alert. That pair never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Names it everywhere.
    pub id: IncidentId,
    /// Which hands it has.
    pub lane: Lane,
    /// The policy that decides.
    pub policy: String,
    /// That policy's routing when the incident was opened.
    pub paging: Option<Paging>,
    /// The target, unless it could not be found.
    pub target: Option<TargetId>,
    /// What was looked for; why it was not found.
    pub unresolved: Option<String>,
    /// What did not answer when the target was looked for.
    #[serde(default)]
    pub blind_on: Option<Dependency>,
    /// The release that ran at the onset.
    pub release: Option<Digest>,
    /// When the first receipt was committed.
    pub opened_at: Time,
    /// When its target and the onset were found, or given up: this took its part of the patience with what is unknown.
    #[serde(default)]
    pub located_at: Option<Time>,
    /// Every alert of it, by occurrence.
    pub members: Members,
    /// Alerts of it that ended and are not kept: only the last ones are.
    #[serde(default)]
    pub forgotten_alerts: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The observation that is awaited.
    pub asked: Option<Asked>,
    /// The observation that is due later.
    pub retry: Option<Retry>,
    /// Names of facts that reached rules read.
    pub wanted: Vec<String>,
    /// The last decision.
    pub decision: Option<Arc<Decision>>,
    /// The plan that waits or is carried out.
    pub plan: Option<Arc<Plan>>,
    /// Who approved which plan.
    pub approval: Option<Approval>,
    /// When the wait was over: somebody said yes, or nobody vetoed. Journals from before it was written down do not say.
    #[serde(default)]
    pub allowed_at: Option<Time>,
    /// What preflight found last.
    pub preflight: Option<PreflightReport>,
    /// What was collected before the write.
    pub evidence: Option<Arc<Evidence>>,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// Levels that preflight refused, with nothing touched: the procedure, and why.
    #[serde(default)]
    pub passed_over: Vec<(String, String)>,
    /// The open page.
    pub page: Option<Page>,
    /// What no channel is known to have, and somebody must hear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Untold>,
    /// Who has it.
    pub acknowledged: Option<(Time, String)>,
    /// Who vetoed.
    pub vetoed: Option<(Time, String, String)>,
    /// Since when no alert of it fires, confirmed.
    pub quiet_since: Option<Time>,
    /// When anything was last heard of its alerts, either way.
    pub heard_at: Time,
    /// When the change landed that put the release there.
    pub change_landed_at: Option<Time>,
    /// When the first verdict fell.
    pub decided_at: Option<Time>,
    /// Since when a rule says rollback, whatever brakes say of it.
    #[serde(default)]
    pub rollback_wanted_at: Option<Time>,
    /// Numbers the observations and messages.
    pub next: u64,
    /// Numbers the preparations and writes: the answer to an earlier one is late.
    #[serde(default)]
    pub begun: u64,
    /// What happened, for the report. Bounded.
    pub notes: VectorSync<Note>,
    /// What a person last said of the rollback.
    #[serde(default)]
    pub marked: Option<Marked>,
}

/// What a person says of a rollback afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// When it was said.
    pub at: Time,
    /// Whether it was right.
    pub mark: Mark,
    /// Who says so.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A yes to a plan's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// To what.
    pub plan: PlanHash,
    /// Brakes that the approver overrides, by name.
    pub overrides: Vec<String>,
}

impl Member {
    /// Whether the alert says that it is critical.
    pub fn is_critical(&self) -> bool {
        self.alert.label("severity") == "critical"
    }
}

impl Incident {
    /// One that begins with this alert. What it is about, its caller says.
    pub(super) fn new(id: IncidentId, lane: Lane, policy: String, first: Member, phase: Phase) -> Self {
        Self {
            id,
            lane,
            policy,
            paging: None,
            target: None,
            unresolved: None,
            forgotten_alerts: 0,
            blind_on: None,
            release: None,
            opened_at: first.received_at,
            located_at: None,
            heard_at: first.received_at,
            members: Members::from_iter([first]),
            phase,
            asked: None,
            retry: None,
            wanted: Vec::new(),
            decision: None,
            plan: None,
            approval: None,
            allowed_at: None,
            preflight: None,
            evidence: None,
            attempts: Vec::new(),
            passed_over: Vec::new(),
            page: None,
            untold: None,
            acknowledged: None,
            vetoed: None,
            quiet_since: None,
            change_landed_at: None,
            decided_at: None,
            rollback_wanted_at: None,
            next: 0,
            begun: 0,
            notes: VectorSync::default(),
            marked: None,
        }
    }

    /// Whether it is not over.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }

    /// Whether the write may still be made on the strength of a wait that is over.
    pub fn is_allowed(&self, now: Time) -> bool {
        self.allowed_at.is_some_and(|at| now.since(at) <= ALLOWED_FOR) || planted::is(Bug::NeverLapses)
    }

    /// The yes that counts: to the plan that waits, and not long ago.
    pub fn approved(&self, now: Time) -> Option<&Approval> {
        let (approval, plan) = self.approval.as_ref().zip(self.plan.as_ref())?;
        (approval.plan == plan.hash() && self.is_allowed(now)).then_some(approval)
    }

    /// The attempt that is under way or was the last.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// The brake that holds its rollback, or held it to the end: the one that its page names, which may have come after the decision,
    /// else the decision's.
    pub fn held_by(&self) -> Option<Brake> {
        let held = matches!(self.phase, Phase::Paged | Phase::Closed { reason: Reason::BrakeHeld, .. });
        let paged = self.page.as_ref().and_then(|page| page.brake).filter(|_| held);
        paged.or_else(|| self.decision.as_ref()?.brake)
    }

    /// Whether its last attempt is over and is not known to have written anything.
    pub fn is_given_up(&self) -> bool {
        self.attempt().is_some_and(|attempt| attempt.ended.is_some() && !attempt.is_written())
    }

    /// Whether an attempt is not over.
    pub fn is_attempting(&self) -> bool {
        self.attempt().is_some_and(|attempt| attempt.ended.is_none())
    }

    /// Until when a write that was not answered may still be made; `None` when every write was answered.
    pub fn may_land_until(&self) -> Option<Time> {
        let attempt = self.attempt()?;
        match attempt.applied {
            None | Some(Applied::Doubtful { .. }) => Some(attempt.last_intended_at.unwrap_or(attempt.intended_at) + LOST),
            Some(Applied::Done { .. } | Applied::Already { .. } | Applied::Refused { .. }) => None,
        }
    }

    /// How many procedures were tried and are over.
    pub fn tried(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.ended.is_some()).count()
    }

    /// How many levels had their turn: tried, or passed over as unfit.
    pub fn levels_done(&self) -> usize {
        self.tried() + self.passed_over.len()
    }

    /// The release that is expected to run: what our last write put there, else the one that ran at the onset.
    pub fn expected_release(&self) -> Option<&Digest> {
        self.attempts
            .iter()
            .rev()
            .find(|attempt| attempt.is_written())
            .map(|attempt| &attempt.plan.to.digest)
            .or(self.release.as_ref())
    }

    /// The mode of its plan, else shadow for a lane in shadow.
    pub fn mode(&self) -> Mode {
        self.plan.as_ref().map_or(Mode::Shadow, |plan| plan.mode)
    }

    /// The members that fire, as far as we were told.
    pub fn firing(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.resolved_at.is_none())
    }

    /// The firing member with the earliest onset: what `alert` means in conditions. Any member where none fires.
    pub fn lead(&self) -> Option<&Member> {
        let key = |member: &&Member| (member.onset.at.clone().unwrap_or(member.alert.starts_at), member.alert.fingerprint);
        self.firing().min_by_key(key).or_else(|| self.members.values().min_by_key(key))
    }

    /// The earliest onset among its alerts; unknown as soon as one is.
    pub fn onset(&self) -> Result<Time, String> {
        let mut earliest: Option<Time> = None;
        for member in self.members.values() {
            match &member.onset.at {
                Ok(at) => earliest = Some(earliest.map_or(*at, |known| known.min(*at))),
                Err(why) => return Err(why.detail.clone()),
            }
        }
        earliest.ok_or_else(|| "the incident has no alert".to_owned())
    }

    /// Whether any notification of it was cut.
    pub fn truncated(&self) -> bool {
        self.members.any_truncated()
    }

    /// `critical` where any alert says so, else the lead's `severity` label (bounded text for people only).
    pub fn critical(&self) -> bool {
        self.members.any_critical()
    }

    /// How long the trouble lasted: from onset to proof, or to the close.
    pub fn downtime(&self) -> Option<Duration> {
        let end = self.attempts.iter().rev().find_map(|a| a.ended.filter(|(_, r)| *r == Reason::Verified)).map(|(at, _)| at);
        let end = end.or(self.quiet_since)?;
        Some(end.since(self.onset().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, minutes};
    use super::*;

    #[test]
    fn the_brake_of_its_page_counts_while_people_have_it_and_where_that_was_its_end() {
        let World { mut incident, now, .. } = World::new();
        incident.page = Some(Page {
            reason: Reason::BrakeHeld,
            brake: Some(Brake::Storm),
            cause: None,
            folded_into: None,
            unlisted_since: None,
            opened_at: Some(now),
            text: String::new(),
            announced: false,
            unheard: None,
            untaken: false,
            sent_at: now,
            count: 1,
        });
        let closed = |reason| Phase::Closed { at: now, reason };
        for (phase, held) in [
            (Phase::Paged, Some(Brake::Storm)),
            (closed(Reason::BrakeHeld), Some(Brake::Storm)),
            (closed(Reason::Recovered), None),
            (Phase::Deciding { since: now }, None),
        ] {
            incident.phase = phase.clone();
            assert_eq!(incident.held_by(), held, "{phase:?}");
        }
    }

    #[test]
    fn trouble_lasts_until_the_rollback_is_proven_else_until_it_is_quiet() {
        let mut world = World::new();
        world.attempt();
        let World { mut incident, now, .. } = world;
        assert_eq!(incident.downtime(), None, "it lasts");
        incident.quiet_since = Some(now - minutes(2));
        incident.attempts[0].ended = Some((now - minutes(3), Reason::Failed));
        assert_eq!(incident.downtime(), Some(minutes(8)), "what failed ended nothing");
        incident.attempts[0].ended = Some((now - minutes(3), Reason::Verified));
        assert_eq!(incident.downtime(), Some(minutes(7)));
    }

    #[test]
    fn the_stage_of_a_proof_is_written_down_once_it_is_not_the_first() {
        let mut world = World::new();
        world.attempt();
        let mut attempt = world.incident.attempts[0].clone();
        for stage in [0, 2] {
            attempt.stage = stage;
            let written = serde_json::to_value(&attempt).expect("it can be written");
            assert_eq!(written.get("stage").is_some(), stage > 0);
            assert_eq!(serde_json::from_value::<Attempt>(written).expect("it can be read").stage, stage);
        }
    }
}
