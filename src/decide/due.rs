//! When something is to be done for an incident or a look-up, if nothing else happens. Every phase of an open incident has a
//! deadline, so that nothing is ever silent.

use std::time::Duration;

use super::book::Book;
use super::incident::{Incident, Phase};
use super::limits::{LOST, Limits};
use crate::model::Time;
use crate::planted::{self, Bug};

/// When an incident needs a tick, by what is added to each time: see [`Times::after`]. Kept apart, so that they can be filed without
/// knowing the product's times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Times(pub(super) [Option<Time>; Times::KINDS]);

impl Times {
    /// As it is, to be reminded of, to expire, to be sent again, to be listed in the page that it is part of.
    pub(super) const KINDS: usize = 5;

    /// What is added to each of them.
    fn after(limits: &Limits) -> [Duration; Self::KINDS] {
        [Duration::ZERO, limits.remind_every, limits.expire_after, limits.watch_every, limits.fold_gather]
    }

    /// Those of an incident; once it is over, only what is still to be told.
    pub(super) fn of(incident: &Incident) -> Self {
        let news = incident.untold.as_ref().map(|untold| untold.again_at);
        if !incident.is_open() {
            return Self([news, None, None, None, None]);
        }
        let observation = match (&incident.asked, &incident.retry) {
            (Some(_), _) if planted::is(Bug::LostNotNoticed) => None,
            (Some(asked), _) => Some(asked.at + LOST),
            (None, Some(retry)) => Some(retry.at),
            (None, None) => None,
        };
        let (mut plain, mut reminded, mut expires) = (None, None, None);
        match incident.phase {
            Phase::Settling { until } | Phase::Approval { until } | Phase::Countdown { until: Some(until) } => {
                plain = Some(until)
            }
            Phase::Countdown { until: None } => reminded = suspended_at(incident),
            Phase::Deciding { since } | Phase::Redeciding { since } | Phase::Verifying { since } => {
                plain = observation.is_none().then_some(since);
            }
            Phase::Preparing { since } => plain = Some(since + LOST),
            Phase::Executing { since, doubtful, .. } => {
                plain = match (doubtful, observation) {
                    (true, Some(_)) => None,
                    (true, None) => Some(since),
                    (false, _) => Some(since + LOST),
                };
            }
            Phase::Paged => {
                let reminds = incident.acknowledged.is_none() && incident.quiet_since.is_none();
                let page = incident.page.as_ref().filter(|page| reminds && !page.announced);
                (reminded, expires) = (page.map(|page| page.sent_at), Some(incident.heard_at));
            }
            Phase::Verified | Phase::Shadowed | Phase::FixForward => expires = Some(incident.heard_at),
            Phase::Closed { .. } => {}
        }
        let unheard = incident.page.as_ref().and_then(|page| page.unheard);
        let unlisted = incident.page.as_ref().and_then(|page| page.unlisted_since);
        Self([earliest(news, earliest(observation, plain)), reminded, expires, unheard, unlisted])
    }
}

/// Whoever suspended a countdown has as long as a page waits for an answer to approve or veto; then it is a page like any other.
fn suspended_at(incident: &Incident) -> Option<Time> {
    let decided = incident.decision.as_ref().map(|decision| decision.at);
    incident.acknowledged.as_ref().map(|(at, _)| decided.map_or(*at, |decided| decided.max(*at)))
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

/// The incident or look-up that is due first.
pub(super) fn first_due(book: &Book, limits: &Limits) -> Option<(Time, Due)> {
    let first = |(kind, after)| book.index.first(kind).map(|(at, id)| (at + after, id));
    let incident = Times::after(limits).into_iter().enumerate().filter_map(first).min();
    match (incident, book.index.first_pending()) {
        (Some((at, id)), None) => Some((at, Due::Incident(id.clone()))),
        (Some((at, id)), Some((later, _))) if at <= later => Some((at, Due::Incident(id.clone()))),
        (_, Some((at, key))) => Some((at, Due::Pending(key.to_owned()))),
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

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::World;
    use super::super::transition::Event;
    use super::*;
    use crate::model::Reason;

    #[test]
    fn a_page_is_sent_again_a_minute_after_nobody_took_it_and_listed_in_a_quarter_of_one() {
        let World { mut incident, limits, now, .. } = World::new();
        assert_eq!((unheard(&incident, &limits), unlisted(&incident, &limits)), (None, None), "there is none");
        let (reason, brake, cause, folded_into, text) = (Reason::Rule, None, None, None, String::new());
        let paged = Event::Paged { reason, brake, cause, folded_into, announced: false, text };
        incident.apply(&paged, now).expect("it is possible in every phase");
        assert_eq!((unheard(&incident, &limits), unlisted(&incident, &limits)), (None, None), "it was heard, and is its own");
        let page = incident.page.as_mut().expect("it was paged");
        (page.unheard, page.unlisted_since) = (Some(now), Some(now));
        assert_eq!(unheard(&incident, &limits), Some(now + Duration::from_secs(60)));
        assert_eq!(unlisted(&incident, &limits), Some(now + Duration::from_secs(15)));
    }
}
