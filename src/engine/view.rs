//! Answers to questions, from the book. Shapes are public: `docs/` and the command line rely on them.

use serde_json::{Value, json};

use crate::decide::book::Book;
use crate::decide::incident::Incident;
use crate::decide::limits::Limits;
use crate::decide::memory::{self, Memory};
use crate::decide::report;
use crate::model::Time;
use crate::policy::types::Policies;
use crate::ports::{ControlError, IncidentFilter, Question, Recall, ReportFormat};

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
            Question::Incidents { state, limit } => Ok(self.incidents(*state, *limit)),
            Question::Incident(id) => Ok(report::json(self.incident(id)?)),
            Question::Report { incident, format: ReportFormat::Json } => Ok(report::json(self.incident(incident)?)),
            Question::Report { incident, format: ReportFormat::Markdown } => {
                Ok(Value::String(report::markdown(self.incident(incident)?)))
            }
            Question::Pauses => {
                let pauses: Vec<_> = self.book.pauses.values().filter(|pause| pause.until > self.now).collect();
                Ok(json!({ "pauses": pauses }))
            }
            Question::Policies => Ok(self.policies()),
            Question::Recall(recall) => self.recall(recall),
            Question::Status => Ok(json!({
                "version": env!("CARGO_PKG_VERSION"),
                "now": self.now.to_string(),
                "cluster": self.cluster,
                "policies": self.policies.hash,
                "incidents_open": self.book.open().count(),
                "reload_problem": self.refused,
            })),
        }
    }

    fn incident(&self, id: &crate::model::IncidentId) -> Result<&Incident, ControlError> {
        self.book.incidents.get(id).ok_or_else(|| ControlError::NotFound(format!("there is no incident `{id}`")))
    }

    fn incidents(&self, state: IncidentFilter, limit: usize) -> Value {
        let mut chosen: Vec<&Incident> = self
            .book
            .incidents
            .values()
            .filter(|incident| match state {
                IncidentFilter::Open => incident.is_open(),
                IncidentFilter::Closed => !incident.is_open(),
                IncidentFilter::All => true,
            })
            .collect();
        chosen.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
        let total = chosen.len();
        let rows: Vec<Value> = chosen.into_iter().take(limit).map(row).collect();
        json!({ "incidents": rows, "total": total, "now": self.now.to_string() })
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
            Recall::Bad(what) => Ok(json!({ "what": what, "bad": memory::known_bad(self.book, what), "now": now })),
            Recall::Revisions(target) => {
                let policy = self.policies.policies.iter().find(|policy| policy.targets.iter().any(|t| t.covers(target)));
                let numbers = policy.and_then(|policy| policy.brakes.fit_target.on()).copied().unwrap_or_default();
                let none = || ControlError::NotFound(format!("nothing is remembered of `{target}`"));
                let rows = memory::revisions(self.book, target, &numbers, self.now).ok_or_else(none)?;
                let policy = policy.map(|policy| policy.name.as_str());
                Ok(json!({ "target": target.to_string(), "policy": policy, "revisions": rows, "now": now }))
            }
        }
    }

    fn policies(&self) -> Value {
        let rows = self.policies.policies.iter().map(|policy| {
            json!({
                "name": policy.name,
                "place": format!("{}:{}", policy.place.file, policy.place.line),
                "mode": policy.mode,
                "paging": policy.paging,
                "targets": policy.targets.iter().map(|target| target.0.as_str()).collect::<Vec<_>>(),
            })
        });
        json!({
            "policies": rows.collect::<Vec<_>>(),
            "hash": self.policies.hash,
            "commit": self.policies.commit,
            "reload_problem": self.refused,
        })
    }
}

/// One line of the list of incidents.
fn row(incident: &Incident) -> Value {
    let until = match incident.phase {
        crate::decide::incident::Phase::Countdown { until } => until,
        crate::decide::incident::Phase::Approval { until } => Some(until),
        _ => None,
    };
    json!({
        "id": incident.id,
        "state": incident.phase.as_str(),
        "lane": incident.lane.key(),
        "policy": incident.policy,
        "target": incident.target.as_ref().map(ToString::to_string),
        "opened_at": incident.opened_at.to_string(),
        "outcome": incident.decision.as_ref().map(|decision| decision.outcome),
        "reason": reason(incident),
        "brake": incident.decision.as_ref().and_then(|decision| decision.brake),
        "summary": incident.decision.as_ref().map(|decision| decision.summary.as_str()),
        "plan": incident.plan.as_ref().map(crate::model::Plan::hash),
        "until": until.map(|at| at.to_string()),
        "alerts": incident.members.len(),
        "attempts": incident.attempts.len(),
    })
}

fn reason(incident: &Incident) -> Option<crate::model::Reason> {
    match incident.phase {
        crate::decide::incident::Phase::Closed { reason, .. } => Some(reason),
        _ => incident.page.as_ref().map(|page| page.reason).or(incident.decision.as_ref().map(|decision| decision.reason)),
    }
}
