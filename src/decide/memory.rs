//! What is remembered, for who asks from outside: the part of the book that an explanation needs, what was rolled back from, the
//! releases of a target. Changes nothing, and judges nothing: what `fit` says is what the ledger alone can tell.

use std::collections::BTreeSet;
use std::time::Duration;

use rpds::VectorSync;
use serde::{Deserialize, Serialize};

use super::book::{Book, History, Release};
use super::incident::Incident;
use super::limits::Limits;
use crate::model::{Digest, PostedChange, TargetRef, Time};
use crate::policy::duration;
use crate::policy::types::FitTarget;

/// Targets besides those asked for that an excerpt tells of, the ones that changed last first.
const OTHERS: usize = 2_000;
/// Open incidents on other targets that an excerpt tells of, the newest first.
const INCIDENTS: usize = 2_000;
/// Releases of another target that an excerpt tells of.
const OTHERS_RELEASES: usize = 2;
/// How long ago one that is over may have been heard of.
const LATELY: Duration = Duration::from_secs(24 * 60 * 60);
/// The fewest hex digits of a release's digest that name it.
const LEAST_DIGEST: usize = 12;

/// What an explanation outside of the service judges with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The part of the book.
    pub book: Book,
    /// As of when.
    pub at: Time,
    /// The times in force.
    pub limits: Limits,
    /// The cluster's name, where the settings give one.
    pub cluster: Option<String>,
    /// Whether parts about other targets were left out because there are too many.
    pub cut: bool,
}

/// The part of the book that judging these targets needs: all that is known of them, and of the others what brakes compare with.
/// Nothing of it is evidence, a log, or an alert that is not of an incident. `true`: too much was there for all of it.
pub fn excerpt(book: &Book, targets: &BTreeSet<TargetRef>) -> (Book, bool) {
    let names: BTreeSet<String> = targets.iter().map(ToString::to_string).collect();
    let mut others: Vec<(&String, &History)> = book.targets.iter().filter(|(name, _)| !names.contains(*name)).collect();
    let changed = |history: &History| history.releases.last().map(|release| release.live_since);
    others.sort_by_key(|(name, history)| (std::cmp::Reverse(changed(history)), *name));
    let is_asked = |incident: &Incident| incident.target.as_ref().is_some_and(|target| targets.contains(&target.at));
    // One that is over may still show who else had the same, and when.
    let lately = |incident: &Incident| book.alive_at.is_none_or(|now| now.since(incident.heard_at) <= LATELY);
    let mut beside: Vec<&Incident> =
        book.incidents.values().filter(|one| (one.is_open() || lately(one)) && !is_asked(one)).collect();
    beside.sort_by_key(|incident| (std::cmp::Reverse(incident.opened_at), incident.id.clone()));
    let cut = others.len() > OTHERS || beside.len() > INCIDENTS;

    let asked = book.targets.iter().filter(|(name, _)| names.contains(*name)).map(|(name, all)| (name.clone(), all.clone()));
    let known = asked.chain(others.into_iter().take(OTHERS).map(|(name, history)| (name.clone(), outline(history))));
    let own = book.incidents.values().filter(|incident| is_asked(incident));
    let incidents = own
        .map(|incident| Incident { evidence: None, ..incident.clone() })
        .chain(beside.into_iter().take(INCIDENTS).map(bare))
        .map(|incident| (incident.id.clone(), incident));
    let mut excerpt = Book {
        incidents: incidents.collect(),
        pending: Default::default(),
        seen: Default::default(),
        targets: known.collect(),
        pauses: book.pauses.clone(),
        latches: book.latches.clone(),
        wrongs: book.wrongs.clone(),
        gaps: book.gaps.clone(),
        alive_at: book.alive_at,
        watch_heard_at: book.watch_heard_at,
        consumed_through: 0,
        consumed: BTreeSet::new(),
        policies: book.policies.clone(),
        changes: book
            .changes
            .iter()
            .map(|(name, all)| (name.clone(), changes(all, names.contains(name), book)))
            .filter(|(_, kept)| !kept.is_empty())
            .collect(),
        forgot_at: book.forgot_at,
        next: book.next,
        index: Default::default(),
    };
    excerpt.reindex();
    (excerpt, cut)
}

/// All changes of a target that is asked for; of another one those that may matter to who shows the same.
fn changes(all: &[PostedChange], is_asked: bool, book: &Book) -> Vec<PostedChange> {
    let lately = |change: &&PostedChange| book.alive_at.is_none_or(|now| now.since(change.at) <= LATELY);
    all.iter().filter(|change| is_asked || lately(change)).cloned().collect()
}

/// Of another target: what runs and what ran before it, and what was rolled back.
fn outline(history: &History) -> History {
    let earlier = history.releases.len().saturating_sub(OTHERS_RELEASES);
    History { releases: history.releases.iter().skip(earlier).cloned().collect(), damping: Default::default(), ..history.clone() }
}

/// Of an incident on another target: that it is there, and its alerts.
fn bare(incident: &Incident) -> Incident {
    Incident {
        evidence: None,
        decision: None,
        plan: None,
        preflight: None,
        untold: None,
        notes: VectorSync::default(),
        ..incident.clone()
    }
}

/// A release that was rolled back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBad {
    /// Of which target.
    pub target: String,
    /// The release.
    pub release: Digest,
    /// Its images.
    pub images: Vec<String>,
    /// When it was rolled back from.
    pub at: Time,
    /// By which incident, or by whom.
    pub by: String,
    /// Whether it runs there now.
    pub runs: bool,
}

/// Where this was rolled back from: an image as it stands in a template, an image's digest (`sha256:…`), or a release's digest
/// (its first 12 hex digits or more). An image that a release which is not known bad runs there as well is not to blame.
pub fn known_bad(book: &Book, what: &str) -> Vec<KnownBad> {
    let mut found = Vec::new();
    for (target, history) in &book.targets {
        let current = history.releases.last().map(|release| &release.digest);
        for release in &history.releases {
            let Some((at, by)) = &release.bad else { continue };
            let innocent = |other: &Release| other.bad.is_none() && other.last_available.is_some() && runs(other, what);
            if is_named(&release.digest, what) || (runs(release, what) && !history.releases.iter().any(innocent)) {
                found.push(KnownBad {
                    target: target.clone(),
                    release: release.digest.clone(),
                    images: release.images.clone(),
                    at: *at,
                    by: by.clone(),
                    runs: current == Some(&release.digest),
                });
            }
        }
    }
    found.sort_by_key(|bad| std::cmp::Reverse(bad.at));
    found
}

fn is_named(digest: &Digest, what: &str) -> bool {
    let hex = digest.0.rsplit(':').next().unwrap_or_default();
    digest.0 == what || (what.len() >= LEAST_DIGEST && hex.starts_with(what))
}

/// Whether a release runs this image. A digest says which image for certain; a name says it as far as names do.
fn runs(release: &Release, what: &str) -> bool {
    match what.rfind("sha256:").map(|at| &what[at..]) {
        Some(digest) => release.images.iter().chain(release.image_digests.values()).any(|known| known.ends_with(digest)),
        None => release.images.iter().any(|image| image == what),
    }
}

/// A release of a target, with what the ledger says of going back to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// What identifies it.
    pub release: Digest,
    /// Its images.
    pub images: Vec<String>,
    /// Whether it runs now.
    pub runs: bool,
    /// Since when it was the target's release, the last time.
    pub live_since: Time,
    /// When it was last fully available.
    pub last_available: Option<Time>,
    /// How long it was fully available in all, in milliseconds.
    pub healthy_ms: u64,
    /// Whether that was watched, or only re-learned from the cluster.
    pub watched: bool,
    /// Who put it there.
    pub by: Option<String>,
    /// Whether the ledger lets a rollback go to it.
    pub fit: bool,
    /// Why, or why not.
    pub why: String,
}

/// The releases of a target that are remembered, the one that runs first. `None`: nothing is remembered of it.
pub fn revisions(book: &Book, target: &TargetRef, numbers: &FitTarget, now: Time) -> Option<Vec<Revision>> {
    let history = book.targets.get(&target.to_string())?;
    let (current, others) = history.releases.split_last()?;
    let usable = |release: &&Release| release.bad.is_none() && release.last_available.is_some();
    let candidate = others.iter().filter(usable).max_by_key(|release| (release.last_available, release.live_since));
    let mut rows = vec![revision(current, now, (true, Err("it runs now".to_owned())))];
    let mut others: Vec<&Release> = others.iter().collect();
    others.sort_by_key(|release| std::cmp::Reverse(release.live_since));
    for release in others {
        let fit = match candidate {
            _ if !usable(&release) => Err(unusable(release)),
            _ if current.by_us => Err("backout put the release there that runs now: it never goes further back".to_owned()),
            Some(candidate) if candidate.digest == release.digest => fit(history, release, numbers, now),
            Some(candidate) => Err(format!("a rollback goes to {} or nowhere", candidate.digest.short())),
            None => Err(unusable(release)),
        };
        rows.push(revision(release, now, (false, fit)));
    }
    Some(rows)
}

fn unusable(release: &Release) -> String {
    match &release.bad {
        Some((at, by)) => format!("rolled back from at {at} by {by}"),
        None => "it was never seen fully available".to_owned(),
    }
}

/// What the ledger says of the candidate, by the numbers of `fit_target`.
fn fit(history: &History, release: &Release, numbers: &FitTarget, now: Time) -> Result<String, String> {
    let span = duration::format;
    if release.healthy < numbers.healthy {
        return Err(format!("available for {} in all; at least {} are required", short(release.healthy), span(numbers.healthy)));
    }
    let ago = release.last_available.map_or(Duration::MAX, |at| now.since(at));
    if ago > numbers.last_live {
        return Err(format!("last available {} ago; at most {} are allowed", short(ago), span(numbers.last_live)));
    }
    let back = history.releases.iter().filter(|other| other.live_since > release.live_since).count();
    if back > numbers.back as usize {
        return Err(format!("{back} releases back; at most {} are allowed", numbers.back));
    }
    if !release.watched {
        return Ok("in shadow and approve only: its health was re-learned from the cluster, not watched".to_owned());
    }
    Ok("a rollback would go here; the cluster is asked for its template and references before".to_owned())
}

fn short(span: Duration) -> String {
    duration::format(Duration::from_secs(span.as_secs()))
}

fn revision(release: &Release, now: Time, (runs, fit): (bool, Result<String, String>)) -> Revision {
    Revision {
        release: release.digest.clone(),
        images: release.images.clone(),
        runs,
        live_since: release.live_since,
        last_available: release.last_available,
        healthy_ms: u64::try_from(release.healthy_for(now).as_millis()).unwrap_or(u64::MAX),
        watched: release.watched,
        by: release.by.clone(),
        fit: fit.is_ok(),
        why: fit.unwrap_or_else(|why| why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::book::Damping;
    use crate::decide::brakes::fixture::World;
    use crate::decide::ledger;
    use crate::decide::phase::Phase;
    use crate::decide::transition::Event;
    use crate::decide::untold::News;
    use crate::model::{Evidence, IncidentId, Moment, PreflightReport, Reason, TargetId, Urgency, WatchEvent};

    const MOMENT: Duration = Duration::from_millis(1);

    fn at(minute: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + minute * 60_000)
    }

    fn event(name: &str, release: &str, minute: i64) -> WatchEvent {
        WatchEvent {
            target: TargetId { at: TargetRef::deployment("shop", name).expect("a name"), uid: format!("u-{name}") },
            release: Digest(format!("v1:{}", release.repeat(64))),
            images: vec![format!("shop:{release}"), "sidecar:1".to_owned()],
            replica_set: None,
            first_write: at(minute),
            by: Some("ci".to_owned()),
            by_us: false,
            available: true,
            relearned: false,
            landed_at: None,
            gone: false,
        }
    }

    /// `web` ran a, b and c; b was rolled back from. `cart` runs d.
    fn book() -> Book {
        let mut book = Book::default();
        let web = book.targets.entry("deployment/shop/web".to_owned()).or_default();
        for (release, minute) in [("a", 0), ("b", 60), ("c", 70)] {
            ledger::watched(web, &event("web", release, minute), at(minute));
        }
        let bad = Digest(format!("v1:{}", "b".repeat(64)));
        ledger::mark_bad(web, &bad, "i0123456789ab", at(70));
        let cart = book.targets.entry("deployment/shop/cart".to_owned()).or_default();
        for (release, minute) in [("e", 0), ("d", 5)] {
            ledger::watched(cart, &event("cart", release, minute), at(minute));
        }
        book
    }

    #[test]
    fn an_excerpt_tells_all_of_what_was_asked_and_little_of_the_rest() {
        let target = TargetRef::deployment("shop", "web").expect("a name");
        let (excerpt, cut) = excerpt(&book(), &BTreeSet::from([target]));
        assert!(!cut);
        assert_eq!(excerpt.targets["deployment/shop/web"], book().targets["deployment/shop/web"]);
        let cart = &excerpt.targets["deployment/shop/cart"];
        assert_eq!(cart.releases.iter().map(|release| release.images[0].as_str()).collect::<Vec<_>>(), ["shop:e", "shop:d"]);
    }

    #[test]
    fn too_many_targets_are_cut_and_said() {
        let mut book = book();
        for number in 0..OTHERS {
            let history = book.targets.entry(format!("deployment/shop/n{number}")).or_default();
            ledger::watched(history, &event("n", "f", 100), at(100));
        }
        let target = TargetRef::deployment("shop", "web").expect("a name");
        let (excerpt, cut) = excerpt(&book, &BTreeSet::from([target]));
        assert_eq!((excerpt.targets.len(), cut), (OTHERS + 1, true));
        assert!(!excerpt.targets.contains_key("deployment/shop/cart"), "the one that changed first is left out");
    }

    #[test]
    fn what_was_rolled_back_from_is_known_by_each_of_its_names() {
        let mut book = book();
        let web = book.targets.get_mut("deployment/shop/web").expect("known");
        web.releases[1].image_digests.insert("shop:b".to_owned(), "registry/shop@sha256:77".to_owned());
        for name in ["shop:b", "sha256:77", "registry/shop@sha256:77", "bbbbbbbbbbbb", &format!("v1:{}", "b".repeat(64))] {
            let found = known_bad(&book, name);
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!((found[0].by.as_str(), found[0].runs), ("i0123456789ab", false));
        }
        for name in ["shop:a", "shop:c", "shop:d", "bbbb", "shop", "sha256:7", "b"] {
            assert_eq!(known_bad(&book, name), [], "{name}");
        }
        assert_eq!(known_bad(&book, "sidecar:1"), [], "good releases run it, too");
    }

    #[test]
    fn each_release_says_whether_a_rollback_would_go_there() {
        let target = TargetRef::deployment("shop", "web").expect("a name");
        let of = |book: &Book, numbers: &FitTarget, minute: i64| {
            let rows = revisions(book, &target, numbers, at(minute)).expect("remembered");
            rows.into_iter().map(|row| (row.images[0].clone(), row.fit, row.why)).collect::<Vec<_>>()
        };
        let rows = of(&book(), &FitTarget::default(), 80);
        assert_eq!(rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["shop:c", "shop:b", "shop:a"]);
        assert!(!rows[0].1 && rows[0].2 == "it runs now");
        assert!(!rows[1].1 && rows[1].2.contains("by i0123456789ab"), "{}", rows[1].2);
        assert!(rows[2].1, "{}", rows[2].2);
        let healthier = FitTarget { healthy: Duration::from_secs(2 * 3600), ..FitTarget::default() };
        assert!(of(&book(), &healthier, 80)[2].2.contains("available for 1h in all; at least 2h"));
        assert!(of(&book(), &FitTarget::default(), 80 + 24 * 60)[2].2.contains("at most 1d are allowed"));
        let other = TargetRef::deployment("shop", "nothing").expect("a name");
        assert_eq!(revisions(&book(), &other, &FitTarget::default(), at(80)), None);
    }
    fn asked(name: &str) -> BTreeSet<TargetRef> {
        BTreeSet::from([TargetRef::deployment("shop", name).expect("a name")])
    }

    /// The fixture's incident, on `web`, with everything that an incident may have.
    fn full() -> World {
        let mut world = World::new();
        world.attempt();
        let news = News {
            message: "m1".to_owned(),
            moment: Moment::Verified,
            urgency: Urgency::Announce,
            title: "it worked".to_owned(),
            text: "it worked".to_owned(),
            to: Vec::new(),
            at: world.now,
        };
        let prepared = Event::Prepared { report: PreflightReport::default(), evidence: Evidence::default().into() };
        for event in [prepared, Event::MustTell { news: Box::new(news) }, Event::Noted { text: "looked".to_owned() }] {
            world.incident.apply(&event, world.now).expect("it is possible in every phase");
        }
        world.book.alive_at = Some(world.now);
        world
    }

    #[test]
    fn an_excerpt_tells_what_an_incident_rests_on_only_where_it_was_asked_for() {
        let mut world = full();
        world.keep();
        let (web, _) = excerpt(&world.book, &asked("web"));
        let own = &web.incidents[&world.incident.id];
        assert!(world.incident.evidence.is_some());
        assert_eq!(*own, Incident { evidence: None, ..world.incident.clone() }, "evidence may hold a log");
        let (cart, _) = excerpt(&world.book, &asked("cart"));
        let beside = &cart.incidents[&world.incident.id];
        assert!(beside.evidence.is_none() && beside.decision.is_none() && beside.plan.is_none() && beside.preflight.is_none());
        assert!(beside.untold.is_none() && beside.notes.is_empty());
        assert_eq!((&beside.members, &beside.attempts), (&world.incident.members, &world.incident.attempts));
        assert!(web.is_indexed() && cart.is_indexed());
    }

    #[test]
    fn what_is_over_stands_in_an_excerpt_for_a_day_and_what_was_asked_for_always() {
        for (asked_for, open, ago, is_there) in [
            ("cart", true, LATELY + MOMENT, true),
            ("cart", false, LATELY, true),
            ("cart", false, LATELY + MOMENT, false),
            ("web", false, LATELY + MOMENT, true),
        ] {
            let mut world = full();
            world.incident.heard_at = world.ago(ago);
            if !open {
                world.incident.phase = Phase::Closed { reason: Reason::Verified, at: world.ago(ago) };
            }
            world.keep();
            let (excerpt, _) = excerpt(&world.book, &asked(asked_for));
            assert_eq!(excerpt.incidents.len(), usize::from(is_there), "{asked_for} {open} {ago:?}");
        }
    }

    #[test]
    fn changes_that_were_posted_lately_are_told_of_every_target() {
        for (asked_for, ago, is_there) in
            [("web", LATELY + MOMENT, true), ("cart", LATELY, true), ("cart", LATELY + MOMENT, false)]
        {
            let mut world = full();
            world.post(ago, false, None);
            let (excerpt, _) = excerpt(&world.book, &asked(asked_for));
            let kept = if is_there { world.book.changes.clone() } else { Default::default() };
            assert_eq!(excerpt.changes, kept, "{asked_for} {ago:?}");
        }
    }

    #[test]
    fn of_another_target_the_last_two_releases_are_told_and_no_flaps() {
        let mut book = book();
        book.targets.get_mut("deployment/shop/web").expect("known").damping.insert("live".to_owned(), Damping::default());
        let history = |name: &str| {
            let web = excerpt(&book, &asked(name)).0.targets["deployment/shop/web"].clone();
            (web.releases.iter().map(|release| release.images[0].clone()).collect::<Vec<_>>(), web.damping.len())
        };
        assert_eq!(history("cart"), (vec!["shop:b".to_owned(), "shop:c".to_owned()], 0));
        assert_eq!(history("web"), (vec!["shop:a".to_owned(), "shop:b".to_owned(), "shop:c".to_owned()], 1));
    }

    #[test]
    fn as_many_as_an_excerpt_has_room_for_are_not_cut() {
        let mut world = full();
        for (count, is_cut) in [(OTHERS, false), (OTHERS + 1, true)] {
            let number = |number| (format!("deployment/shop/n{number}"), History::default());
            let book = Book { targets: (0..count).map(number).collect(), ..Book::default() };
            let (excerpt, cut) = excerpt(&book, &asked("cart"));
            assert_eq!((excerpt.targets.len(), cut), (OTHERS, is_cut));
        }
        world.forget();
        world.incident.decision = None;
        for (count, is_cut) in [(INCIDENTS, false), (INCIDENTS + 1, true)] {
            let id = |number| IncidentId(format!("i{number}"));
            let one = |number| (id(number), Incident { id: id(number), ..world.incident.clone() });
            world.book.incidents = (0..count).map(one).collect();
            let (excerpt, cut) = excerpt(&world.book, &asked("cart"));
            assert_eq!((excerpt.incidents.len(), cut), (INCIDENTS, is_cut));
        }
    }

    #[test]
    fn a_release_is_fit_up_to_each_number_of_the_brake() {
        let target = TargetRef::deployment("shop", "web").expect("a name");
        let of_a = |book: &Book, numbers: &FitTarget, minute: i64| {
            let row = revisions(book, &target, numbers, at(minute)).expect("remembered").remove(2);
            assert_eq!(row.images[0], "shop:a");
            (row.fit, row.why)
        };
        let day = 24 * 60;
        let hour = Duration::from_secs(3600);
        let exact = FitTarget { healthy: hour, last_live: 24 * hour, back: 2 };
        let goes = "a rollback would go here; the cluster is asked for its template and references before";
        assert_eq!(of_a(&book(), &exact, 60 + day), (true, goes.to_owned()));
        let mut relearned = book();
        relearned.targets.get_mut("deployment/shop/web").expect("known").releases[0].watched = false;
        let (fit, why) = of_a(&relearned, &exact, 60 + day);
        assert!(fit && why.starts_with("in shadow and approve only"), "{why}");
        for (numbers, minute, words) in [
            (FitTarget { healthy: hour + MOMENT, ..exact }, 80, "available for 1h in all"),
            (exact, 61 + day, "last available 1d1m ago; at most 1d are allowed"),
            (FitTarget { back: 1, ..exact }, 80, "2 releases back; at most 1 are allowed"),
        ] {
            let (fit, why) = of_a(&book(), &numbers, minute);
            assert!(!fit && why.contains(words), "{why}");
        }
    }

    #[test]
    fn a_rollback_goes_to_one_release_and_never_further_back_than_one_of_ours() {
        let target = TargetRef::deployment("shop", "web").expect("a name");
        let mut book = book();
        let of = |book: &Book| {
            let rows = revisions(book, &target, &FitTarget::default(), at(80)).expect("remembered");
            rows.into_iter().map(|row| (row.images[0].clone(), row.why)).collect::<std::collections::BTreeMap<_, _>>()
        };

        let mut good = book.targets["deployment/shop/web"].clone();
        good.releases[1].bad = None;
        book.targets.insert("deployment/shop/web".to_owned(), good.clone());
        let older = format!("a rollback goes to {} or nowhere", good.releases[1].digest.short());
        assert_eq!(of(&book)["shop:a"], older);
        assert_ne!(of(&book)["shop:b"], older);
        good.releases[2].by_us = true;
        book.targets.insert("deployment/shop/web".to_owned(), good);
        for image in ["shop:a", "shop:b"] {
            assert!(of(&book)[image].starts_with("backout put the release there that runs now"), "{:?}", of(&book));
        }
    }
}
