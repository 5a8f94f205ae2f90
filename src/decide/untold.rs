//! News that people must hear, and that no channel is known to have: that something was rolled back, what became of it, and tickets. It
//! is remembered with the commit of what it tells of, sent with it, and sent again until a channel took it, also after a restart. Who
//! hears of it late gets the last word, with what they missed before it, and not each word that was said meanwhile.
//!
//! Pages are kept up by themselves, see `pages`; what only informs before anything is done is said once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::effect::Effect;
use super::incident::Incident;
use super::tell;
use super::transition::Event;
use crate::model::{Delivery, Message, Moment, Time, Urgency};
use crate::planted::{self, Bug};
use crate::policy::duration;

/// Minutes until it is sent again, after the first failure and those that follow. Not a setting: folding an old journal must give the
/// same book.
const AGAIN: [u64; 3] = [1, 2, 5];
/// Every delivery is answered within this; what is not was lost with its answer.
const ANSWERED: Duration = Duration::from_secs(10 * 60);
/// After so many rounds in vain, which are minutes, every other channel hears what none of those takes that it is for: once.
const FALL_BACK: u32 = 1;
/// What nobody took for so long is no news any more.
const GIVEN_UP: Duration = Duration::from_secs(24 * 60 * 60);
/// News of one incident that are remembered; the oldest give way.
const MOST: usize = 16;

/// What no channel is known to have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Untold {
    /// The news, oldest first.
    pub news: Vec<News>,
    /// When it is sent again, if nothing is heard of it until then.
    pub again_at: Time,
    /// How many times it was sent again.
    pub rounds: u32,
    /// Whether every other channel was told that those which it is for do not take it.
    #[serde(default)]
    pub fell_back: bool,
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// The id of the message that carries it: the same each time, so that a channel which has it knows it again.
    pub message: String,
    /// When in the incident's life.
    pub moment: Moment,
    /// What is asked of the reader.
    pub urgency: Urgency,
    /// One line.
    pub title: String,
    /// What happened, without what every message ends with.
    pub text: String,
    /// Channels by name; empty: all that take it.
    pub to: Vec<String>,
    /// When it was first sent.
    pub at: Time,
}

impl News {
    fn has_the_readers_of(&self, other: &Self) -> bool {
        (&self.to, self.urgency) == (&other.to, other.urgency)
    }
}

impl Incident {
    /// It must be told, and is being sent.
    pub(super) fn must_tell(&mut self, news: &News, at: Time) {
        let before = self.untold.take();
        let fell_back = before.as_ref().is_some_and(|untold| untold.fell_back);
        let mut all = before.map(|untold| untold.news).unwrap_or_default();
        all.push(news.clone());
        all.drain(..all.len().saturating_sub(MOST));
        self.untold = Some(Untold { news: all, again_at: at + ANSWERED, rounds: 0, fell_back });
    }

    /// Whether a message carries such news.
    pub(super) fn is_untold(&self, message: &str) -> bool {
        self.untold.iter().flat_map(|untold| &untold.news).any(|news| news.message == message)
    }

    /// All of it is being sent again.
    pub(super) fn telling_again(&mut self, at: Time) {
        if let Some(untold) = &mut self.untold {
            untold.fell_back |= untold.rounds >= FALL_BACK;
            untold.rounds = untold.rounds.saturating_add(1);
            untold.again_at = at + ANSWERED;
        }
    }

    /// These are not sent any more.
    pub(super) fn let_go(&mut self, messages: &[String]) {
        self.keep_untold(|news| !messages.contains(&news.message));
    }

    /// A page says what became of it, and is sent until somebody has it: it is the last word for who would have heard the others.
    pub(super) fn page_tells(&mut self) {
        self.keep_untold(|news| !news.to.is_empty());
        self.no_ticket();
    }

    /// The verdict is another one now: nobody needs to fix it forward.
    pub(super) fn no_ticket(&mut self) {
        self.keep_untold(|news| news.urgency != Urgency::Ticket);
    }

    /// A delivery was answered. A later word makes the earlier ones to the same readers old news; where nobody reads such messages,
    /// none is missed.
    pub(super) fn news_answered(&mut self, message: &str, delivery: &Delivery, at: Time) {
        let Some(untold) = &mut self.untold else { return };
        let Some(place) = untold.news.iter().position(|news| news.message == message) else { return };
        if delivery.delivered.is_empty() && !delivery.has_no_reader() {
            let minutes = AGAIN.get(untold.rounds as usize).or(AGAIN.last()).copied().unwrap_or_default();
            untold.again_at = at + Duration::from_secs(60 * minutes);
            return;
        }
        let taken = untold.news.get(place).cloned();
        let mut places = 0..;
        self.keep_untold(|news| {
            let later = places.next().is_none_or(|at| at > place);
            later || !taken.as_ref().is_some_and(|taken| taken.has_the_readers_of(news))
        });
    }

    fn keep_untold(&mut self, keep: impl FnMut(&News) -> bool) {
        if let Some(untold) = &mut self.untold {
            untold.news.retain(keep);
        }
        self.untold = self.untold.take().filter(|untold| !untold.news.is_empty());
    }
}

impl Draft<'_> {
    /// Sends a message, and remembers it until a channel has it, where somebody must hear it. `text`: without what it ends with.
    pub(super) fn tell(&mut self, message: Message, text: &str) {
        if self.must_be_heard(&message) {
            let Message { id, moment, urgency, title, to, .. } = message.clone();
            let news = News { message: id, moment, urgency, title, text: text.to_owned(), to, at: self.now };
            self.record(Event::MustTell { news: Box::new(news) });
        }
        self.effect(Effect::Tell(Box::new(message)));
    }

    /// Work for somebody, all about a rollback, and the end of what nobody heard of.
    fn must_be_heard(&self, message: &Message) -> bool {
        let untaken = self.incident.page.as_ref().is_some_and(|page| page.untaken);
        let is_news = message.urgency == Urgency::Ticket
            || !self.incident.attempts.is_empty()
            || (message.moment == Moment::Closed && untaken);
        is_news && !self.incident.lane.is_shadow() && !planted::is(Bug::NewsDropped)
    }

    /// Sends what no channel is known to have: to each circle of readers its last word.
    pub(super) fn tell_again(&mut self) {
        let Some(untold) = self.incident.untold.clone() else { return };
        let (old, news): (Vec<News>, Vec<News>) = untold.news.into_iter().partition(|news| self.now.since(news.at) >= GIVEN_UP);
        if !old.is_empty() {
            let titles: Vec<&str> = old.iter().map(|news| news.title.as_str()).collect();
            self.note(format!("NOT told, no channel took it for {}: {}", duration::format(GIVEN_UP), titles.join("; ")));
            self.record(Event::NotTold { messages: old.into_iter().map(|news| news.message).collect() });
        }
        if news.is_empty() {
            return;
        }
        self.record(Event::TellingAgain);
        let mut told: BTreeSet<(&[String], Urgency)> = BTreeSet::new();
        for last in news.iter().rev().filter(|news| told.insert((news.to.as_slice(), news.urgency))) {
            let before = news.iter().filter(|other| other.has_the_readers_of(last) && other.message != last.message);
            let mut lines = vec![last.text.clone(), String::new()];
            lines.push(format!("told late: this was at {}, and no channel is known to have it", last.at));
            lines.extend(before.map(|missed| format!("- before, at {}: {}", missed.at, missed.title)));
            let text = lines.join("\n");
            let mut message = tell::message(self, last.moment, last.urgency, &last.title, &text, last.to.clone());
            message.id.clone_from(&last.message);
            self.effect(Effect::Tell(Box::new(message)));
        }
        if untold.rounds >= FALL_BACK
            && !untold.fell_back
            && let Some(last) = news.iter().rfind(|news| !news.to.is_empty())
        {
            self.fall_back(last);
        }
    }

    /// Tells every channel what those do not take that it is for. They are asked on.
    fn fall_back(&mut self, news: &News) {
        let text = format!("{}\ntold here because {} does not take it", news.text, news.to.join(", "));
        let message = tell::message(self, news.moment, Urgency::Announce, &news.title, &text, Vec::new());
        let News { moment, title, .. } = news.clone();
        let again =
            News { message: message.id.clone(), moment, urgency: Urgency::Announce, title, text, to: Vec::new(), at: self.now };
        self.record(Event::MustTell { news: Box::new(again) });
        self.effect(Effect::Tell(Box::new(message)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, policies};
    use super::*;
    use crate::decide::book::Book;
    use crate::decide::effect::{Context, Input, Step};
    use crate::decide::incident::{Lane, Member, Phase};
    use crate::decide::limits::Limits;
    use crate::decide::step::{step, wake_at};
    use crate::journal::record::Record;
    use crate::model::{Alert, AlertStatus, Fingerprint, IncidentId, Onset, Reason, Texts};
    use crate::policy::types::Policies;

    fn at(minute: u64) -> Time {
        Time::from_millis(1_772_442_000_000) + Duration::from_secs(60 * minute)
    }

    fn news(message: &str, to: &[&str], minute: u64) -> News {
        News {
            message: message.to_owned(),
            moment: Moment::Verified,
            urgency: Urgency::Announce,
            title: format!("title of {message}"),
            text: format!("text of {message}"),
            to: to.iter().map(|name| (*name).to_owned()).collect(),
            at: at(minute),
        }
    }

    /// One that is over, with these news.
    fn closed(all: &[News]) -> Incident {
        let alert = Alert {
            fingerprint: Fingerprint(1),
            status: AlertStatus::Firing,
            labels: Texts::default(),
            annotations: Texts::default(),
            starts_at: at(0),
            ends_at: None,
            generator_url: String::new(),
        };
        let onset = Onset { at: Ok(at(0)), source: "test".to_owned() };
        let member = Member { alert, received_at: at(0), onset, resolved_at: Some(at(1)), truncated: false };
        let phase = Phase::Closed { reason: Reason::Verified, at: at(1) };
        let mut incident = Incident::new(IncidentId("i1".to_owned()), Lane::Live, "shop".to_owned(), member, phase);
        all.iter().for_each(|one| incident.must_tell(one, one.at));
        incident
    }

    fn left(incident: &Incident) -> Vec<&str> {
        incident.untold.iter().flat_map(|untold| &untold.news).map(|news| news.message.as_str()).collect()
    }

    fn answer(delivered: &[&str]) -> Delivery {
        Delivery { delivered: delivered.iter().map(|name| (*name).to_owned()).collect(), failed: Vec::new() }
    }

    fn all() -> Incident {
        closed(&[news("a", &[], 0), news("b", &["status"], 1), news("c", &[], 2), news("d", &[], 3)])
    }

    #[test]
    fn a_later_word_makes_earlier_ones_to_the_same_readers_old_news() {
        let mut incident = all();
        incident.news_answered("c", &answer(&["pager"]), at(4));
        assert_eq!(left(&incident), ["b", "d"], "another reader's, and what came later, stay");
        incident.news_answered("c", &answer(&["pager"]), at(4));
        incident.news_answered("x", &answer(&["pager"]), at(4));
        assert_eq!(left(&incident), ["b", "d"], "what is not owed is no matter");
        incident.page_tells();
        assert_eq!(left(&incident), ["b"], "a page is the last word for who has no list of his own");
        incident.news_answered("b", &answer(&["status"]), at(5));
        assert_eq!(incident.untold, None);
    }

    #[test]
    fn a_ticket_is_void_once_the_verdict_is_another_one() {
        let ticket = News { urgency: Urgency::Ticket, ..news("t", &["tracker"], 0) };
        let both = || closed(&[ticket.clone(), news("b", &["status"], 1)]);
        for void in [Incident::page_tells as fn(&mut Incident), Incident::no_ticket] {
            let mut incident = both();
            void(&mut incident);
            assert_eq!(left(&incident), ["b"]);
        }
    }

    #[test]
    fn what_failed_is_sent_again_ever_later_and_what_is_not_answered_too() {
        let mut incident = closed(&[news("a", &[], 0)]);
        let failed = Delivery { delivered: Vec::new(), failed: vec![("pager".to_owned(), "no answer".to_owned())] };
        let again = |incident: &Incident| incident.untold.as_ref().map(|untold| untold.again_at);
        assert_eq!(again(&incident), Some(at(10)), "nobody answers for ten minutes");
        for (minute, next) in [(1, 2), (2, 4), (4, 9), (9, 14)] {
            incident.news_answered("a", &failed, at(minute));
            assert_eq!(again(&incident), Some(at(next)));
            incident.telling_again(at(next));
        }
    }

    #[test]
    fn what_nobody_reads_is_not_sent_again() {
        let mut incident = closed(&[news("a", &[], 0)]);
        let nobody = vec![(Delivery::NOBODY.to_owned(), "no channel takes messages of the kind `announce`".to_owned())];
        incident.news_answered("a", &Delivery { delivered: Vec::new(), failed: nobody }, at(1));
        assert_eq!(incident.untold, None);
    }

    #[test]
    fn no_more_are_remembered_than_anybody_reads() {
        let many: Vec<News> = (0..40).map(|minute| news(&format!("m{minute}"), &[], minute)).collect();
        let incident = closed(&many);
        assert_eq!((left(&incident).len(), left(&incident)[0]), (MOST, "m24"));
    }

    /// Lets the time go by until that minute; the messages that were sent.
    fn live(book: &mut Book, until: u64) -> Vec<Message> {
        let (policies, limits) = (Policies::default(), Limits::default());
        let ctx = Context { policies: &policies, limits: &limits, cluster: Some("prod") };
        let mut sent = Vec::new();
        while let Some(now) = wake_at(book, &limits).filter(|now| *now <= at(until)) {
            let tick = step(&ctx, book, Input::Tick, now);
            take(book, tick, &mut sent);
            // Nobody takes it.
            if let Some(Message { id, incident, .. }) = sent.last().cloned() {
                let failed = vec![("pager".to_owned(), "no answer".to_owned())];
                let delivery = Delivery { delivered: Vec::new(), failed };
                let told = Input::Told { incident, folded: Vec::new(), message: id, page: false, delivery };
                let told = step(&ctx, book, told, now);
                take(book, told, &mut Vec::new());
            }
        }
        sent
    }

    fn take(book: &mut Book, step: Step, sent: &mut Vec<Message>) {
        step.records.iter().for_each(|stamped| book.fold(stamped).expect("it fits"));
        sent.extend(step.effects.into_iter().filter_map(|effect| match effect {
            Effect::Tell(message) => Some(*message),
            _ => None,
        }));
        assert!(book.is_indexed());
    }

    fn book(incident: Incident) -> Book {
        let mut book = Book::default();
        book.incidents.insert(incident.id.clone(), incident);
        book.reindex();
        book
    }

    #[test]
    fn each_circle_gets_its_last_word_under_its_id_and_what_it_missed() {
        let mut book = book(all());
        let sent = live(&mut book, 13);
        let ids: Vec<&str> = sent.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(ids, ["d", "b"], "what was not answered for ten minutes was lost");
        let text = &sent[0].text;
        assert!(text.starts_with("text of d\n"), "{text}");
        for missed in ["told late: this was at 2026-03-02T09:03", "title of a", "title of c"] {
            assert!(text.contains(missed), "no {missed:?} in {text}");
        }
        assert!(!text.contains("title of b"), "who has a list of his own is told of it himself: {text}");
    }

    #[test]
    fn after_a_day_it_is_given_up_and_the_report_says_so() {
        let mut book = book(closed(&[news("a", &[], 0)]));
        let sent = live(&mut book, 3 * 24 * 60);
        assert!((250..350).contains(&sent.len()), "every five minutes for a day: {}", sent.len());
        let incident = &book.incidents[&IncidentId("i1".to_owned())];
        assert_eq!(incident.untold, None);
        let notes: Vec<&str> = incident.notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(notes.iter().filter(|note| note.contains("NOT told, no channel took it for 1d: title of a")).count(), 1);
        assert!(notes.len() < 5, "one that fails again and again is not written down each time: {}", notes.len());
        let before = at(30 * 24 * 60);
        let forgotten = crate::journal::record::Stamped { at: before, record: Record::Forgotten { before } };
        book.fold(&forgotten).expect("it fits");
        assert!(book.incidents.is_empty() && book.is_indexed());
    }

    #[test]
    fn what_is_still_to_be_told_is_not_forgotten() {
        let mut book = book(all());
        let forgotten = crate::journal::record::Stamped { at: at(5), record: Record::Forgotten { before: at(5) } };
        book.fold(&forgotten).expect("it fits");
        assert!(book.incidents.len() == 1 && book.is_indexed(), "it is over when people know");
        let _ = live(&mut book, 3 * 24 * 60);
        book.fold(&forgotten).expect("it fits");
        assert!(book.incidents.is_empty() && book.is_indexed(), "given up: {book:?}");
    }

    #[test]
    fn a_clock_that_is_set_makes_no_news_older() {
        for by in [48 * 3_600_000, -3_600_000] {
            let mut book = book(all());
            let now = at(5).shifted(by);
            let (policies, limits) = (Policies::default(), Limits::default());
            let ctx = Context { policies: &policies, limits: &limits, cluster: Some("prod") };
            let set = step(&ctx, &book, Input::ClockSet { by, away: false }, now);
            take(&mut book, set, &mut Vec::new());
            let untold = book.incidents[&IncidentId("i1".to_owned())].untold.clone().expect("it waits");
            assert_eq!((untold.again_at, untold.news[0].at), (at(13).shifted(by), at(0).shifted(by)));
        }
    }

    #[test]
    fn work_a_rollback_and_the_end_of_what_nobody_heard_of_must_be_heard_unless_it_is_shadow() {
        for (urgency, moment, untaken, attempted, shadow, owed) in [
            (Urgency::Announce, Moment::Closed, true, false, false, true),
            (Urgency::Announce, Moment::Closed, false, false, false, false),
            (Urgency::Announce, Moment::Decided, true, false, false, false),
            (Urgency::Announce, Moment::Decided, false, true, false, true),
            (Urgency::Ticket, Moment::Decided, false, false, false, true),
            (Urgency::Ticket, Moment::Closed, true, true, true, false),
        ] {
            let mut world = World::new();
            if attempted {
                world.attempt();
            }
            let (reason, text) = (Reason::Rule, "a human is needed".to_owned());
            let paged = Event::Paged { reason, brake: None, cause: None, folded_into: None, announced: false, text };
            world.incident.apply(&paged, world.now).expect("it is possible in every phase");
            world.incident.page.as_mut().expect("it was paged").untaken = untaken;
            if shadow {
                world.incident.lane = Lane::Shadow("web".to_owned());
            }
            let _ = world.draft(&policies(""), |draft| {
                let message = tell::message(draft, moment, urgency, "a title", "a text", Vec::new());
                draft.tell(message, "a text");
            });
            assert_eq!(world.incident.untold.is_some(), owed, "{urgency:?} {moment:?} {untaken} {attempted} {shadow}");
        }
    }
}
