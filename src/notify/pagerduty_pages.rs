//! Which of our pages are open at PagerDuty, and under which keys. Pure bookkeeping. A page may cover several incidents; it is
//! resolved with the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::{IncidentId, Message, Time};

/// How many are remembered. More pages than this are no pages any more; the oldest is forgotten, and resolved by hand.
const MOST: usize = 1000;
/// Rounds that are resolved of a page from before a restart: how many there were is forgotten, and resolving what never was does nothing.
const ROUNDS_BEFORE: u32 = 3;
/// A dedup key's length over there.
const KEY: usize = 255;

/// Pages by their lead: the key of the first message about them.
#[derive(Debug, Default)]
pub(super) struct PagesOut {
    open: BTreeMap<String, Open>,
    /// Where the next turn of asking begins.
    asked: String,
}

#[derive(Debug, Default)]
struct Open {
    /// The incidents that are not over.
    members: BTreeSet<IncidentId>,
    /// Those that somebody has, as we were told elsewhere.
    held: BTreeSet<IncidentId>,
    /// How often somebody had it and it had to wake people again: each time under a new key.
    round: u32,
    is_taken: bool,
    since: Option<Time>,
}

impl PagesOut {
    /// The page that has all of a message's incidents already.
    pub(super) fn lead_of(&self, message: &Message) -> Option<String> {
        let incidents = message.incidents();
        let first = *incidents.first()?;
        let lead = self.lead_with(first)?;
        let members = &self.open.get(&lead)?.members;
        incidents.iter().all(|incident| members.contains(*incident)).then_some(lead)
    }

    /// The page that has an incident.
    pub(super) fn lead_with(&self, incident: &IncidentId) -> Option<String> {
        self.open.iter().find(|(_, open)| open.members.contains(incident)).map(|(lead, _)| lead.clone())
    }

    /// The key of a page that is open and that nobody has.
    pub(super) fn current_key(&self, lead: &str) -> Option<String> {
        self.open.get(lead).filter(|open| !open.is_taken).map(|open| key(lead, open.round))
    }

    /// The key that the next trigger goes under: a new one where somebody has the page, else it would wake nobody.
    pub(super) fn key_for(&self, lead: &str) -> String {
        self.open.get(lead).map_or_else(|| key(lead, 0), |open| key(lead, open.round + u32::from(open.is_taken)))
    }

    /// A trigger was taken under [`Self::key_for`].
    pub(super) fn triggered(&mut self, lead: &str, message: &Message) {
        let full = self.open.len() >= MOST && !self.open.contains_key(lead);
        if full && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.since).map(|(lead, _)| lead.clone()) {
            self.open.remove(&oldest);
        }
        let open = self.open.entry(lead.to_owned()).or_default();
        open.round += u32::from(open.is_taken);
        open.is_taken = false;
        open.since = Some(message.at);
        for incident in message.incidents() {
            open.members.insert(incident.clone());
            open.held.remove(incident);
        }
    }

    /// The keys to resolve, now that an incident is over: none while its page has others. Of a page that is not known (from
    /// before a restart) the incident itself is the key, for some rounds.
    pub(super) fn keys_to_resolve(&mut self, incident: &IncidentId) -> Vec<String> {
        let Some(lead) = self.lead_with(incident) else {
            return (0..=ROUNDS_BEFORE).map(|round| key(incident.as_str(), round)).collect();
        };
        let Some(open) = self.open.get_mut(&lead) else { return Vec::new() };
        if open.members.len() > 1 {
            open.members.remove(incident);
            return Vec::new();
        }
        (0..=open.round).map(|round| key(&lead, round)).collect()
    }

    /// Whether the page of an incident has others that are not over.
    pub(super) fn has_others(&self, incident: &IncidentId) -> bool {
        self.lead_with(incident).and_then(|lead| self.open.get(&lead)).is_some_and(|open| open.members.len() > 1)
    }

    /// Those keys are resolved.
    pub(super) fn resolved(&mut self, incident: &IncidentId) {
        if let Some(lead) = self.lead_with(incident) {
            self.open.remove(&lead);
        }
    }

    /// The key to acknowledge, now that somebody has an incident: only when all incidents of its page are had.
    pub(super) fn key_to_acknowledge(&mut self, incident: &IncidentId) -> Option<String> {
        let lead = self.lead_with(incident)?;
        let open = self.open.get_mut(&lead)?;
        open.held.insert(incident.clone());
        let all = open.members.iter().all(|member| open.held.contains(member));
        (all && !open.is_taken).then(|| key(&lead, open.round))
    }

    /// Somebody has the page. Its incidents.
    pub(super) fn taken_by_somebody(&mut self, lead: &str) -> Vec<IncidentId> {
        let Some(open) = self.open.get_mut(lead) else { return Vec::new() };
        open.is_taken = true;
        open.members.iter().cloned().collect()
    }

    /// The next pages to ask about, with their keys: those that nobody has, in turns.
    pub(super) fn next_to_ask(&mut self, most: usize) -> Vec<(String, String)> {
        let free = |(_, open): &(&String, &Open)| !open.is_taken && !open.members.is_empty();
        let after = self.open.range::<str, _>((Bound::Excluded(self.asked.as_str()), Bound::Unbounded));
        let before = self.open.range::<str, _>((Bound::Unbounded, Bound::Included(self.asked.as_str())));
        let turn = after.chain(before).filter(free).take(most);
        let turn: Vec<_> = turn.map(|(lead, open)| (lead.clone(), key(lead, open.round))).collect();
        if let Some((last, _)) = turn.last() {
            self.asked.clone_from(last);
        }
        turn
    }
}

fn key(lead: &str, round: u32) -> String {
    let lead: String = lead.chars().take(KEY - 12).collect();
    if round == 0 { lead } else { format!("{lead}-{round}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::fixture::message;

    fn id(name: &str) -> IncidentId {
        IncidentId(name.to_owned())
    }

    fn page(incident: &str, folded: &[&str]) -> Message {
        Message { incident: Some(id(incident)), folded: folded.iter().map(|name| id(name)).collect(), ..message() }
    }

    #[test]
    fn a_page_of_several_is_resolved_with_the_last() {
        let mut out = PagesOut::default();
        out.triggered("a", &page("a", &["b", "c"]));
        assert_eq!(out.keys_to_resolve(&id("a")), [""; 0]);
        assert_eq!(out.keys_to_resolve(&id("c")), [""; 0]);
        assert_eq!(out.lead_of(&page("b", &[])), Some("a".to_owned()), "said again, it stays the same page");
        assert_eq!(out.lead_of(&page("b", &["x"])), None, "one more is another page");
        assert_eq!(out.keys_to_resolve(&id("b")), ["a"]);
        assert_eq!(out.keys_to_resolve(&id("b")), ["a"], "as long as it is not done");
        out.resolved(&id("b"));
        assert_eq!(out.keys_to_resolve(&id("b")), ["b", "b-1", "b-2", "b-3"], "not known any more");
    }

    #[test]
    fn who_has_a_page_is_woken_again_under_a_new_key() {
        let mut out = PagesOut::default();
        out.triggered("a", &page("a", &[]));
        assert_eq!((out.key_for("a"), out.next_to_ask(5).len()), ("a".to_owned(), 1));
        assert_eq!(out.taken_by_somebody("a"), [id("a")]);
        assert_eq!((out.key_for("a"), out.next_to_ask(5).len()), ("a-1".to_owned(), 0));
        out.triggered("a", &page("a", &[]));
        assert_eq!(out.next_to_ask(5), [("a".to_owned(), "a-1".to_owned())]);
        assert_eq!(out.keys_to_resolve(&id("a")), ["a", "a-1"]);
    }

    #[test]
    fn a_page_is_acknowledged_when_all_of_it_is() {
        let mut out = PagesOut::default();
        out.triggered("a", &page("a", &["b"]));
        assert_eq!(out.key_to_acknowledge(&id("b")), None);
        assert_eq!(out.key_to_acknowledge(&id("a")), Some("a".to_owned()));
        out.taken_by_somebody("a");
        assert_eq!(out.key_to_acknowledge(&id("a")), None, "said already");
        assert_eq!(out.key_to_acknowledge(&id("x")), None);
    }

    #[test]
    fn pages_are_asked_about_in_turns_and_bounded() {
        let mut out = PagesOut::default();
        for number in 0..MOST + 5 {
            let name = format!("i{number:04}");
            out.triggered(&name, &Message { at: Time::from_millis(number as i64), ..page(&name, &[]) });
        }
        assert_eq!(out.open.len(), MOST);
        let first: Vec<_> = out.next_to_ask(2).into_iter().map(|(lead, _)| lead).collect();
        let second: Vec<_> = out.next_to_ask(2).into_iter().map(|(lead, _)| lead).collect();
        assert_eq!([first, second], [["i0005", "i0006"], ["i0007", "i0008"]]);
        out.asked = "i9".to_owned();
        assert_eq!(out.next_to_ask(1)[0].0, "i0005", "and from the start again");
    }
}
