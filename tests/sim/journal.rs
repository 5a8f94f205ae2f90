//! What the service's own journal says of its incidents: which alerts they hold, when it meant to write. Taken as a record of what it
//! meant and in which order, never for what was so.

use std::collections::BTreeMap;
use std::sync::Arc;

use backout::decide::book::Book;
use backout::decide::incident::Phase;
use backout::decide::transition::Event;
use backout::journal::record::{self, Record};
use backout::model::{IncidentId, Labels, Plan, Reason, TargetRef, Time};

/// An incident as the journal has it.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) shadow: bool,
    pub(crate) policy: String,
    pub(crate) target: Option<TargetRef>,
    pub(crate) opened: Time,
    /// Its alerts, by when they joined.
    pub(crate) members: Vec<(Time, Labels)>,
    pub(crate) phases: Vec<(Time, Phase)>,
    /// When a write was meant, and by which plan.
    pub(crate) intents: Vec<(Time, Arc<Plan>)>,
    /// When attempts ended.
    pub(crate) ended: Vec<Time>,
    pub(crate) closed: Option<(Time, Reason)>,
    plan: Option<Arc<Plan>>,
}

impl Noted {
    /// Intents of writes; a person's own rollback that is only proven has no steps.
    pub(crate) fn writes(&self) -> impl DoubleEndedIterator<Item = &(Time, Arc<Plan>)> {
        self.intents.iter().filter(|(_, plan)| !plan.steps.is_empty())
    }

    pub(crate) fn is_open(&self, at: Time) -> bool {
        self.opened <= at && self.closed.as_ref().is_none_or(|(closed, _)| at < *closed)
    }

    /// The phase that it was in.
    pub(crate) fn phase(&self, at: Time) -> Option<&Phase> {
        self.phases.iter().rev().find(|(since, _)| *since <= at).map(|(_, phase)| phase)
    }

    pub(crate) fn is_attempting(&self, at: Time) -> bool {
        let begun = self.writes().filter(|(since, _)| *since <= at).map(|(since, _)| *since).next_back();
        begun.is_some_and(|begun| !self.ended.iter().any(|ended| begun <= *ended && *ended <= at))
    }
}

/// Reads rows, as they became durable: what they say of incidents, and the book that they give, or why they give none.
pub(crate) fn read(rows: &[(Time, Vec<u8>)]) -> (BTreeMap<IncidentId, Noted>, Result<Book, String>) {
    let (mut incidents, mut book) = (BTreeMap::new(), Ok(Book::default()));
    for (at, bytes) in rows {
        let records = match record::decode(bytes) {
            Ok(records) => records,
            Err(why) => return (incidents, Err(why.to_string())),
        };
        for stamped in records {
            book = book.and_then(|mut book| book.fold(&stamped).map(|()| book).map_err(|why| why.to_string()));
            if let Record::Incident { id, event } = stamped.record {
                note(&mut incidents, *at, id, event);
            }
        }
    }
    (incidents, book)
}

fn note(incidents: &mut BTreeMap<IncidentId, Noted>, at: Time, id: IncidentId, event: Event) {
    if let Event::Opened { incident } = event {
        let noted = Noted {
            shadow: incident.lane.is_shadow(),
            policy: incident.policy.clone(),
            target: incident.target.as_ref().map(|target| target.at.clone()),
            opened: at,
            members: incident.members.values().map(|member| (at, member.alert.labels.to_map())).collect(),
            phases: vec![(at, incident.phase.clone())],
            intents: Vec::new(),
            ended: Vec::new(),
            closed: None,
            plan: None,
        };
        incidents.insert(id, noted);
        return;
    }
    let Some(noted) = incidents.get_mut(&id) else { return };
    match event {
        Event::Joined { member } => noted.members.push((at, member.alert.labels.to_map())),
        Event::Phase { to } => {
            if let Phase::Closed { reason, .. } = to {
                noted.closed = Some((at, reason));
            }
            noted.phases.push((at, to));
        }
        Event::Policy { name, .. } => noted.policy = name,
        Event::Planned { plan } => noted.plan = Some(plan),
        Event::Intended => noted.intents.extend(noted.plan.clone().map(|plan| (at, plan))),
        Event::AttemptEnded { .. } => noted.ended.push(at),
        _ => {}
    }
}
