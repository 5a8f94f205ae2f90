//! `quiet_start`: what began while we did not look is for people. We would be guessing what happened in between.

use std::time::Duration;

use super::Scene;
use super::words::{clock, span};
use crate::decide::book::{Gap, History};
use crate::decide::decision::Judgement;
use crate::model::{Brake, PauseScope, Time};

/// More than clocks that are kept in step differ by.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::QuietStart;
    let onset = match scene.incident.onset() {
        Ok(at) => at,
        Err(why) => return Judgement::blind(BRAKE, format!("when the trouble began is not known: {why}")),
    };
    if onset.since(scene.now) > CLOCKS_DIFFER {
        let ahead = span(onset.since(scene.now));
        return Judgement::blind(BRAKE, format!("the trouble begins {ahead} from now: our clock or Prometheus' is wrong"));
    }
    let Some(history) = scene.history() else {
        return Judgement::blind(BRAKE, "nothing is remembered of this target");
    };
    let began = format!("onset {}", clock(onset, scene.now));
    if let Some(longest) = scene.policy.brakes.quiet_start.on() {
        let hidden = |gap: &&Gap| gap.length() > *longest && gap.to > onset && !known_before(scene, gap);
        // A pause of everything that ran out is a gap like one that was ended.
        let over = |pause: &&crate::decide::book::Pause| pause.scope == PauseScope::Global && pause.until <= scene.now;
        let ran_out = scene.book.pauses.values().filter(over).map(|pause| Gap::away(Some(pause.from), pause.until));
        let gaps: Vec<Gap> = ran_out.chain(scene.book.gaps.iter().rev().copied()).collect();
        if let Some(gap) = gaps.iter().find(hidden) {
            let (to, most) = (clock(gap.to, scene.now), span(*longest));
            let length = gap.from.map_or_else(|| "since ever".to_owned(), |from| format!("for {}", span(gap.to.since(from))));
            let because = format!("{began} lies before {to}, until when we saw nothing {length}; {most} are allowed");
            return Judgement::held(BRAKE, because);
        }
    }
    if let Some(why) = uncovered(scene, history, onset) {
        return Judgement::held(BRAKE, format!("{began} is not covered by the target's revision history: {why}"));
    }
    Judgement::free(BRAKE, format!("{began} lies in a time that we watched"))
}

/// An incident that we knew before the gap goes on: its facts were taken while we looked. Where only the watch was silent,
/// incidents were opened in the gap.
fn known_before(scene: &Scene<'_>, gap: &Gap) -> bool {
    // A receipt alone is no knowledge: it may have waited in the journal all that time.
    let Some(located_at) = scene.incident.located_at else { return false };
    if gap.unwatched { gap.from.is_some_and(|from| located_at <= from) } else { located_at < gap.to }
}

/// Why nobody can say what ran at the onset, if so.
fn uncovered(scene: &Scene<'_>, history: &History, onset: Time) -> Option<String> {
    let watched = history.at(onset).is_some_and(|release| release.watched);
    match history.watched_since {
        Some(since) if since <= onset || watched || scene.incident.located_at.is_some_and(|at| at < since) => None,
        Some(since) => Some(format!("it is watched since {}", clock(since, scene.now))),
        None => Some("it was never watched".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, hours, minutes, on};
    use super::*;
    use crate::decide::book::Gap;
    use crate::decide::decision::Grip;

    type Case = (&'static str, fn(&mut World), Grip, &'static str);

    #[test]
    fn holds_where_we_did_not_look() {
        let cases: &[Case] = &[
            ("watched", |_| {}, Grip::Free, "onset 09:14:00Z lies in a time that we watched"),
            (
                "onset in a gap",
                |w| gap(w, Some(15), 9),
                Grip::Held,
                "before 09:15:00Z, until when we saw nothing for 6m; 5m are allowed",
            ),
            (
                "onset before a gap",
                |w| {
                    w.onset(w.now - minutes(30));
                    gap(w, Some(25), 9);
                },
                Grip::Held,
                "for 16m",
            ),
            ("the first start", |w| gap(w, None, 9), Grip::Held, "since ever"),
            ("a gap that is short enough", |w| gap(w, Some(14), 9), Grip::Free, "watched"),
            ("a gap before the onset", |w| gap(w, Some(60), 10), Grip::Free, "watched"),
            ("an incident that we knew", |w| gap(w, Some(15), 7), Grip::Free, "watched"),
            (
                "its receipt waited while we were away",
                |w| {
                    gap(w, Some(15), 7);
                    w.incident.located_at = Some(w.now - minutes(6));
                },
                Grip::Held,
                "for 8m",
            ),
            (
                "the trouble has yet to begin, but for what clocks differ by",
                |w| {
                    w.onset(w.now + minutes(1));
                },
                Grip::Free,
                "watched",
            ),
            (
                "the trouble has yet to begin",
                |w| {
                    w.onset(w.now + minutes(2));
                },
                Grip::Blind,
                "begins 2m from now: our clock or Prometheus' is wrong",
            ),
            (
                "located as we came back",
                |w| {
                    gap(w, Some(15), 7);
                    w.incident.located_at = Some(w.ago(minutes(7)));
                },
                Grip::Held,
                "for 8m",
            ),
            ("a pause of everything ran out", |w| pause(w, PauseScope::Global, w.ago(minutes(9))), Grip::Held, "for 11m"),
            ("it runs out just now", |w| pause(w, PauseScope::Global, w.now), Grip::Held, "for 20m"),
            ("it goes on", |w| pause(w, PauseScope::Global, w.now + minutes(1)), Grip::Free, "watched"),
            (
                "a pause of one namespace ran out",
                |w| pause(w, PauseScope::Namespace("shop".to_owned()), w.ago(minutes(9))),
                Grip::Free,
                "watched",
            ),
            ("the watch was silent", |w| silence(w, 16, 9), Grip::Held, "for 7m"),
            ("opened while the watch was silent", |w| silence(w, 16, 7), Grip::Held, "for 9m"),
            ("an incident from before the silence", |w| silence(w, 7, 1), Grip::Free, "watched"),
            ("watched later, re-learned", |w| late(w, 9, false), Grip::Held, "it is watched since 09:15:00Z"),
            ("watched later, known from before", |w| late(w, 9, true), Grip::Free, "watched"),
            ("watched later, incident known", |w| late(w, 7, false), Grip::Free, "watched"),
            ("watched since it was located", |w| late(w, 8, false), Grip::Held, "it is watched since 09:16:00Z"),
            ("never watched", |w| w.history().watched_since = None, Grip::Held, "never watched"),
            (
                "nothing so old",
                |w| {
                    w.onset(w.now - hours(100));
                },
                Grip::Held,
                "watched since 2026-02-27T09:24:00Z",
            ),
        ];
        for (name, spoil, grip, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, *grip, "{name}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{name}: {}", judgement.because);
        }
    }

    #[test]
    fn holds_when_blind() {
        for spoil in [World::lose_onset as fn(&mut World), World::forget] {
            let mut world = World::new();
            spoil(&mut world);
            assert_eq!(judge(&world.scene()).grip, Grip::Blind);
        }
    }

    fn gap(world: &mut World, from: Option<u64>, to: u64) {
        let gap = Gap::away(from.map(|m| world.ago(minutes(m))), world.ago(minutes(to)));
        world.book.gaps.push(gap);
    }

    /// One that began 20 minutes ago, and an incident that was located in no time that we know.
    fn pause(world: &mut World, scope: PauseScope, until: Time) {
        world.incident.located_at = None;
        let (reason, by, from) = ("migration".to_owned(), "ann".to_owned(), world.ago(minutes(20)));
        let pause = crate::decide::book::Pause { id: 3, scope, reason, by, identity: None, from, until };
        world.book.pauses.insert(3, pause);
    }

    fn silence(world: &mut World, from: u64, to: u64) {
        gap(world, Some(from), to);
        world.book.gaps.iter_mut().for_each(|gap| gap.unwatched = true);
    }

    fn late(world: &mut World, since: u64, watched: bool) {
        let at = world.ago(minutes(since));
        world.history().watched_since = Some(at);
        world.history().releases.iter_mut().for_each(|release| release.watched = watched);
    }

    proptest! {
        /// Another time in which we did not look never lets go, and a shorter allowance neither.
        #[test]
        fn more_blindness_never_lets_go(gaps in proptest::collection::vec((1_u64..60, 0_u64..60), 0..6), more in (1_u64..60, 0_u64..60), allowed in 0_u64..20) {
            let world = |gaps: &[(u64, u64)], allowed: u64| {
                let mut world = World::new();
                world.policy.brakes.quiet_start = on(minutes(allowed));
                gaps.iter().for_each(|(length, end)| gap(&mut world, Some(length + end), *end));
                world
            };
            let before = judge(&world(&gaps, allowed).scene()).holds();
            let all: Vec<(u64, u64)> = gaps.iter().copied().chain([more]).collect();
            prop_assert!(!before || judge(&world(&all, allowed).scene()).holds());
            prop_assert!(!before || judge(&world(&gaps, allowed.saturating_sub(1)).scene()).holds());
        }
    }
}
