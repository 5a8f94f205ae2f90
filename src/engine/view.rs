//! Answers to questions, from the book. Their shapes stand in `ports::answer`.

use serde::Serialize;
use serde_json::{Value, json as object};

use crate::decide::book::{Book, Pause};
use crate::decide::brakes;
use crate::decide::incident::{Incident, Phase};
use crate::decide::latch::Latch;
use crate::decide::limits::Limits;
use crate::decide::memory::{self, Memory};
use crate::decide::report;
use crate::model::{Identity, IncidentId, PauseScope, Plan, PostedChange, Reason, Time};
use crate::policy::types::{Policies, Policy};
use crate::ports::answer::{
    ChangeList, ChangeRow, ClearedRow, IncidentDetail, IncidentList, IncidentRow, LatchList, LatchRow, PauseList, PauseRow,
    PauseScopeRow, PolicyList, PolicyRow, StatusAnswer,
};
use crate::ports::{ChangeQuery, ControlError, IncidentCursor, IncidentFilter, IncidentQuery, Question, Recall, ReportFormat};

/// What questions are answered from.
pub(super) struct View<'a> {
    pub(super) book: &'a Book,
    pub(super) policies: &'a Policies,
    /// What was wrong with the last reload, if it failed.
    pub(super) refused: Option<&'a str>,
    pub(super) cluster: Option<&'a str>,
    pub(super) limits: &'a Limits,
    pub(super) now: Time,
}

impl View<'_> {
    pub(super) fn answer(&self, question: &Question) -> Result<Value, ControlError> {
        match question {
            Question::Incidents(query) => json(&self.incidents(query)),
            Question::Incident(id) | Question::Report { incident: id, format: ReportFormat::Json } => json(&self.detail(id)?),
            Question::Report { incident, format: ReportFormat::Html } => {
                let incident = self.incident(incident)?;
                let page = report::html(incident, &self.posted(incident));
                page.map(Value::String)
                    .map_err(|error| ControlError::Unavailable(format!("defect: the report's template: {error}")))
            }
            Question::Report { incident, format: ReportFormat::Markdown } => {
                let incident = self.incident(incident)?;
                Ok(Value::String(report::markdown_with(incident, &self.posted(incident))))
            }
            Question::Pauses => {
                let holding = self.book.pauses.values().filter(|pause| pause.until > self.now);
                json(&PauseList { pauses: holding.map(pause_row).collect() })
            }
            Question::Latches => json(&LatchList { latches: self.book.latches.values().map(latch_row).collect() }),
            Question::Recall(recall) => self.recall(recall),
            Question::Changes(query) => json(&self.changes(query)),
            Question::Policies => json(&self.policies()),
            Question::Status => json(&StatusAnswer {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                now: self.now.to_string(),
                cluster: self.cluster.map(str::to_owned),
                policies: self.policies.hash.clone(),
                incidents_open: self.book.open().count(),
                reload_problem: self.refused.map(str::to_owned),
            }),
        }
    }

    fn incident(&self, id: &IncidentId) -> Result<&Incident, ControlError> {
        self.book.incidents.get(id).ok_or_else(|| ControlError::NotFound(format!("there is no incident `{id}`")))
    }

    fn detail(&self, id: &IncidentId) -> Result<IncidentDetail, ControlError> {
        let incident = self.incident(id)?;
        let mut report = report::json(incident);
        Ok(IncidentDetail {
            summary: row(incident),
            incident: report["incident"].take(),
            figures: report["figures"].take(),
            changes: self.posted(incident).into_iter().map(change_row).collect(),
        })
    }

    /// The posted changes that belong to an incident.
    fn posted(&self, incident: &Incident) -> Vec<&PostedChange> {
        let changes = incident.target.as_ref().map_or(&[][..], |target| self.book.changes(&target.at));
        report::around(incident, changes)
    }

    fn incidents(&self, query: &IncidentQuery) -> IncidentList {
        let mut chosen: Vec<&Incident> = self.book.incidents.values().filter(|incident| is_wanted(incident, query)).collect();
        chosen.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
        let total = chosen.len();
        if let Some(IncidentCursor { opened_at, id }) = &query.after {
            chosen.retain(|incident| (incident.opened_at, &incident.id) < (*opened_at, id));
        }
        let more = chosen.len() > query.limit;
        chosen.truncate(query.limit);
        let last = chosen.last().filter(|_| more);
        let next = last.map(|last| IncidentCursor { opened_at: last.opened_at, id: last.id.clone() }.to_string());
        IncidentList { incidents: chosen.into_iter().map(row).collect(), total, next, now: self.now.to_string() }
    }

    fn changes(&self, query: &ChangeQuery) -> ChangeList {
        let mut chosen: Vec<&PostedChange> = self.book.changes.values().flatten().collect();
        chosen.retain(|change| {
            query.target.as_ref().is_none_or(|target| *target == format!("{}/{}", change.target.namespace, change.target.name))
                && query.since.is_none_or(|since| change.at >= since)
        });
        chosen.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        let total = chosen.len();
        ChangeList { changes: chosen.into_iter().take(query.limit).map(change_row).collect(), total }
    }

    fn recall(&self, recall: &Recall) -> Result<Value, ControlError> {
        let now = self.now.to_string();
        match recall {
            Recall::Book(targets) => {
                let (book, cut) = memory::excerpt(self.book, &targets.iter().cloned().collect());
                let cluster = self.cluster.map(str::to_owned);
                let memory = Memory { book, at: self.now, limits: *self.limits, cluster, cut };
                serde_json::to_value(memory).map_err(|error| ControlError::Unavailable(format!("defect: {error}")))
            }
            Recall::Bad(what) => Ok(object!({ "what": what, "bad": memory::known_bad(self.book, what), "now": now })),
            Recall::Revisions(target) => {
                let policy = self.policies.policies.iter().find(|policy| policy.targets.iter().any(|t| t.covers(target)));
                let numbers = policy.and_then(|policy| policy.brakes.fit_target.on()).copied().unwrap_or_default();
                let none = || ControlError::NotFound(format!("nothing is remembered of `{target}`"));
                let rows = memory::revisions(self.book, target, &numbers, self.now).ok_or_else(none)?;
                let policy = policy.map(|policy| policy.name.as_str());
                Ok(object!({ "target": target.to_string(), "policy": policy, "revisions": rows, "now": now }))
            }
        }
    }

    fn policies(&self) -> PolicyList {
        PolicyList {
            policies: self.policies.policies.iter().map(|policy| self.policy_row(policy)).collect(),
            hash: self.policies.hash.clone(),
            commit: self.policies.commit.clone(),
            reload_problem: self.refused.map(str::to_owned),
        }
    }

    fn policy_row(&self, policy: &Policy) -> PolicyRow {
        let paging = policy.paging.map(|paging| match paging {
            crate::model::Paging::InFront => "in_front",
            crate::model::Paging::Beside => "beside",
        });
        PolicyRow {
            name: policy.name.clone(),
            place: format!("{}:{}", policy.place.file, policy.place.line),
            mode: policy.mode.as_str().to_owned(),
            paging: paging.map(str::to_owned),
            targets: policy.targets.iter().map(|target| target.0.clone()).collect(),
            distrust: brakes::distrust(policy, self.book, self.now),
        }
    }
}

/// An answer as JSON.
pub(super) fn json<T: Serialize>(answer: &T) -> Result<Value, ControlError> {
    serde_json::to_value(answer)
        .map_err(|error| ControlError::Unavailable(format!("defect: an answer cannot be written: {error}")))
}

/// One line of the list of incidents.
pub(super) fn row(incident: &Incident) -> IncidentRow {
    let until = match incident.phase {
        Phase::Countdown { until } => until,
        Phase::Approval { until } => Some(until),
        _ => None,
    };
    let decision = incident.decision.as_ref();
    IncidentRow {
        id: incident.id.0.clone(),
        state: incident.phase.as_str().to_owned(),
        lane: incident.lane.key(),
        policy: incident.policy.clone(),
        target: incident.target.as_ref().map(ToString::to_string),
        opened_at: incident.opened_at.to_string(),
        outcome: decision.map(|decision| decision.outcome.as_str().to_owned()),
        reason: reason(incident).map(|reason| reason.as_str().to_owned()),
        brake: incident.held_by().map(|brake| brake.as_str().to_owned()),
        summary: decision.map(|decision| decision.summary.clone()),
        plan: incident.plan.as_deref().map(Plan::hash).map(|hash| hash.0),
        until: until.map(|at| at.to_string()),
        alerts: incident.members.len(),
        attempts: incident.attempts.len(),
        mark: incident.marked.as_ref().map(|marked| marked.mark.as_str().to_owned()),
    }
}

/// A posted change.
pub(super) fn change_row(change: &PostedChange) -> ChangeRow {
    ChangeRow {
        id: change.id.0.clone(),
        target: format!("{}/{}", change.target.namespace, change.target.name),
        kind: change.kind.as_str().to_owned(),
        from: change.from.clone(),
        to: change.to.clone(),
        by: change.by.clone(),
        at: change.at.to_string(),
        barrier: change.barrier,
        url: change.url.clone(),
    }
}

fn is_wanted(incident: &Incident, query: &IncidentQuery) -> bool {
    let over = match query.state {
        IncidentFilter::Open => incident.is_open(),
        IncidentFilter::Closed => !incident.is_open(),
        IncidentFilter::All => true,
    };
    let at = incident.target.as_ref().map(|target| &target.at);
    let is = |wanted: &Option<String>, found: Option<String>| wanted.is_none() || *wanted == found;
    over && is(&query.phase, Some(incident.phase.as_str().to_owned()))
        && is(&query.policy, Some(incident.policy.clone()))
        && is(&query.namespace, at.map(|at| at.namespace.clone()))
        && is(&query.target, at.map(|at| format!("{}/{}", at.namespace, at.name)))
        && query.outcome.is_none_or(|wanted| incident.decision.as_ref().is_some_and(|decision| decision.outcome == wanted))
        && query.since.is_none_or(|since| incident.opened_at >= since)
}

fn pause_row(pause: &Pause) -> PauseRow {
    let (scope, name) = match &pause.scope {
        PauseScope::Global => ("global", None),
        PauseScope::Namespace(name) => ("namespace", Some(name)),
        PauseScope::Target(name) => ("target", Some(name)),
        PauseScope::Policy(name) => ("policy", Some(name)),
    };
    PauseRow {
        id: pause.id,
        scope: PauseScopeRow { scope: scope.to_owned(), name: name.cloned() },
        reason: pause.reason.clone(),
        by: pause.by.clone(),
        identity: pause.identity.as_ref().map(Identity::to_string),
        from: pause.from.to_string(),
        until: pause.until.to_string(),
    }
}

fn latch_row(latch: &Latch) -> LatchRow {
    let cleared = latch.cleared.as_ref().map(|cleared| ClearedRow {
        at: cleared.at.to_string(),
        by: cleared.by.clone(),
        identity: cleared.identity.as_ref().map(Identity::to_string),
        reason: cleared.reason.clone(),
    });
    LatchRow {
        id: latch.id,
        cause: latch.wanted.cause.as_str().to_owned(),
        because: latch.wanted.because.clone(),
        target: latch.target.as_ref().map(|target| format!("{}/{}", target.namespace, target.name)),
        covers: latch.wanted.covers.clone(),
        policy: latch.wanted.policy.clone(),
        incident: latch.incident.0.clone(),
        from: latch.from.to_string(),
        cleared,
    }
}

fn reason(incident: &Incident) -> Option<Reason> {
    match incident.phase {
        Phase::Closed { reason, .. } => Some(reason),
        _ => incident.page.as_ref().map(|page| page.reason).or(incident.decision.as_ref().map(|decision| decision.reason)),
    }
}
