//! Nothing is stuck, nothing is closed that is not over, and the journal gives the same book.

use std::time::Duration;

use backout::decide::incident::Phase;
use backout::journal::snapshot;
use backout::model::{Labels, Reason};

use super::{Case, Violation};

pub(crate) fn judge(case: &Case<'_>, found: &mut Vec<Violation>) {
    for (id, noted) in &case.incidents {
        let number = case.driver.transcript.number_of(id).unwrap_or(0);
        let Some((at, reason)) = &noted.closed else {
            // As long as our clock is wrong nobody can tell how old anything is.
            if case.truth.ahead != 0 || !is_well(case) {
                continue;
            }
            let phase = noted.phase(case.truth.end).map_or("nowhere", |phase| phase.as_str());
            found.push(Violation {
                check: "stuck",
                text: format!("#{number} is {phase} at the end, and all was well for an hour"),
            });
            continue;
        };
        // Whoever put it back or took the policy away ended it for a reason of its own.
        if matches!(reason, Reason::HumanRestored | Reason::PolicyChanged) {
            continue;
        }
        // Whatever waited for quiet was quiet for ten minutes; what is over before anything was done is over now.
        let back = match reason {
            Reason::Recovered if case.truth.meddled > 0 => Duration::from_secs(240),
            Reason::Recovered => Duration::from_secs(2) + case.truth.latency.read * 2,
            _ => Duration::from_secs(12 * 60),
        };
        // Where the commit hung, it was found long before. By our clock: not where that was set.
        let found_at = noted.phases.iter().find_map(|(_, phase)| match phase {
            Phase::Closed { at, .. } if case.truth.leaps.is_empty() => Some(*at),
            _ => None,
        });
        let over = found_at.map_or(*at, |found_at| found_at.min(*at));
        let window = (over - back, over);
        let fires = |labels: &Labels| {
            let alert = case.truth.alerts.get(labels);
            alert.is_some_and(|alert| alert.fires.always(window, |fires| *fires)) && !case.truth.ever_silenced(labels, window)
        };
        if noted.members.iter().any(|(_, labels)| fires(labels)) {
            let text = format!("{} #{number} was closed ({reason}), and an alert of it fires", case.clock(*at));
            found.push(Violation { check: "closed", text });
        }
    }
    same_bytes(case, found);
}

/// Whether nothing is down at the end: what waited for a moment in an incident's life may break something again after the calm.
fn is_well(case: &Case<'_>) -> bool {
    let truth = &case.truth;
    [&truth.lives, &truth.cluster, &truth.watch, &truth.prometheus, &truth.evaluation, &truth.speaks]
        .into_iter()
        .all(|up| *up.at(truth.end))
}

/// The rows of the journal give the book that lives, byte by byte.
fn same_bytes(case: &Case<'_>, found: &mut Vec<Violation>) {
    let same = match &case.replayed {
        Ok(book) => snapshot::encode(book).ok() == snapshot::encode(case.driver.book()).ok(),
        Err(why) => {
            found.push(Violation { check: "replay", text: why.clone() });
            return;
        }
    };
    if !same {
        found.push(Violation { check: "replay", text: "the journal gives another book than the live one".to_owned() });
    }
}
