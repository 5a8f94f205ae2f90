//! When something is to be done for an incident or a look-up, if nothing else happens. Every phase of an open incident has a
//! deadline, so that nothing is ever silent.

use super::book::Book;
use super::incident::{Incident, Phase};
use super::limits::{LOST, Limits};
use crate::model::Time;

/// When an incident needs a tick.
fn due(incident: &Incident, limits: &Limits) -> Option<Time> {
    if !incident.is_open() {
        return None;
    }
    let observation = match (&incident.asked, &incident.retry) {
        (Some(asked), _) => Some(asked.at + LOST),
        (None, Some(retry)) => Some(retry.at),
        (None, None) => None,
    };
    let phase = match incident.phase {
        Phase::Settling { until } | Phase::Approval { until } => Some(until),
        Phase::Countdown { until } => until.or_else(|| suspended_until(incident, limits)),
        Phase::Deciding { since } if observation.is_none() => Some(since),
        Phase::Preparing { since } => Some(since + LOST),
        Phase::Redeciding { since } | Phase::Verifying { since } if observation.is_none() => Some(since),
        Phase::Executing { since, doubtful, .. } => match (doubtful, observation) {
            (true, Some(_)) => None,
            (true, None) => Some(since),
            (false, _) => Some(since + LOST),
        },
        Phase::Paged => {
            let reminds = incident.acknowledged.is_none() && incident.quiet_since.is_none();
            let page = incident.page.as_ref().filter(|page| reminds && !page.announced);
            let reminder = page.map(|page| page.sent_at + limits.remind_every);
            earliest(reminder, Some(incident.heard_at + limits.expire_after))
        }
        Phase::Verified | Phase::Shadowed | Phase::FixForward => Some(incident.heard_at + limits.expire_after),
        Phase::Deciding { .. } | Phase::Redeciding { .. } | Phase::Verifying { .. } | Phase::Closed { .. } => None,
    };
    let page = earliest(unheard(incident, limits), unlisted(incident, limits));
    earliest(page, earliest(observation, phase))
}

/// Whoever suspended a countdown has this long to approve or veto; then it is a page like any other.
fn suspended_until(incident: &Incident, limits: &Limits) -> Option<Time> {
    let decided = incident.decision.as_ref().map(|decision| decision.at);
    incident.acknowledged.as_ref().map(|(at, _)| decided.map_or(*at, |decided| decided.max(*at)) + limits.remind_every)
}

/// When a page that no channel took is sent again.
pub(super) fn unheard(incident: &Incident, limits: &Limits) -> Option<Time> {
    Some(incident.page.as_ref()?.unheard? + limits.watch_every)
}

/// When those who got the page that this one is part of are told of this one.
pub(super) fn unlisted(incident: &Incident, limits: &Limits) -> Option<Time> {
    Some(incident.page.as_ref()?.unlisted_since? + limits.fold_gather)
}

fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// All incidents and look-ups that are due, the earliest first.
pub(super) fn first_due(book: &Book, limits: &Limits) -> Option<(Time, Due)> {
    let incident = book.open().filter_map(|incident| Some((due(incident, limits)?, &incident.id))).min();
    let pending = book.pending.iter().map(|(key, pending)| (pending.due, key)).min();
    match (incident, pending) {
        (Some((at, id)), None) => Some((at, Due::Incident(id.clone()))),
        (Some((at, id)), Some((later, _))) if at <= later => Some((at, Due::Incident(id.clone()))),
        (_, Some((at, key))) => Some((at, Due::Pending(key.clone()))),
        (None, None) => None,
    }
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// An incident.
    Incident(crate::model::IncidentId),
    /// A look-up.
    Pending(String),
}
