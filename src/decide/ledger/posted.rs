//! Changes that were posted. What the cluster shows of a release is known better there; these tell what it does not show: flags,
//! things outside, and data that an older release cannot work on.

use std::collections::BTreeMap;

use crate::decide::book::{History, Release};
use crate::model::{Digest, PostedChange};

/// Changes kept of a target.
const CHANGES: usize = 50;
/// Targets of which changes are kept. Whoever may post names targets freely; the book does not grow without end for it.
const TARGETS: usize = 2000;

/// Writes a change down. One that is known already changes nothing.
pub fn posted(changes: &mut BTreeMap<String, Vec<PostedChange>>, change: &PostedChange) {
    let known = changes.entry(change.target.to_string()).or_default();
    if known.iter().any(|other| other.id == change.id) {
        return;
    }
    let place = known.iter().rposition(|other| other.at <= change.at).map_or(0, |place| place + 1);
    known.insert(place, change.clone());
    if known.len() > CHANGES {
        // Barriers stay as long as possible. One that goes goes for newer ones, which hold whatever it held.
        let oldest = known.iter().position(|other| !other.barrier).unwrap_or(0);
        known.remove(oldest);
    }
    if changes.len() > TARGETS {
        let newest = |list: &Vec<PostedChange>| list.last().map(|change| change.at);
        let stale = changes.iter().min_by_key(|(_, list)| newest(list)).map(|(target, _)| target.clone());
        stale.map(|target| changes.remove(&target));
    }
}

/// The data barrier that was posted last and lies between this release and what came after it, if there is one.
///
/// One is known to belong to the release itself, or to one before it, only where that is certain: by its time, or because its
/// `to` names that release and no later one. Whatever may have come after the release lies behind a barrier.
pub fn behind_barrier<'a>(
    changes: &'a [PostedChange],
    history: &History,
    release: &Release,
    later: impl Fn(&Digest) -> bool,
) -> Option<&'a PostedChange> {
    let of_a_later_one = |to: &str| history.releases.iter().any(|other| later(&other.digest) && is_named(other, to));
    let its_own = |change: &PostedChange| {
        let while_it_ran = release.last_available.is_none_or(|last| change.at <= last) || release.available_since.is_some();
        let named = |to: &String| while_it_ran && is_named(release, to) && !of_a_later_one(to);
        change.at <= release.live_since || change.to.as_ref().is_some_and(named)
    };
    changes.iter().rev().filter(|change| change.barrier).find(|change| !its_own(change))
}

/// Whether the text is this release: an image, its tag or digest, or the release's own digest.
fn is_named(release: &Release, text: &str) -> bool {
    let tag = |image: &String| image.rsplit_once(':').is_some_and(|(_, tag)| tag == text && !tag.contains('/'));
    release.images.iter().any(|image| image == text || tag(image))
        || release.image_digests.values().any(|digest| digest == text)
        || release.digest.0 == text
        || release.digest.short() == text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ChangeId, ChangeKind, TargetRef, Time};

    fn at(minute: i64) -> Time {
        Time::from_millis(minute * 60_000)
    }

    fn change(id: &str, minute: i64, barrier: bool) -> PostedChange {
        PostedChange {
            id: ChangeId(id.to_owned()),
            content: String::new(),
            target: TargetRef::deployment("shop", "web").expect("names"),
            kind: ChangeKind::External,
            from: None,
            to: None,
            by: "ci".to_owned(),
            at: at(minute),
            barrier,
            url: None,
        }
    }

    fn release(letter: &str, from: i64, until: Option<i64>) -> Release {
        Release {
            digest: Digest(format!("v1:{}", letter.repeat(64))),
            images: vec![format!("registry:5000/web:{letter}")],
            image_digests: BTreeMap::new(),
            replica_set: None,
            live_since: at(from),
            landed_at: Some(at(from + 1)),
            available_since: until.is_none().then(|| at(from + 1)),
            healthy: Duration::ZERO,
            last_available: Some(at(until.unwrap_or(from + 1))),
            watched: true,
            by: None,
            by_us: false,
            bad: None,
            alerts: BTreeMap::new(),
        }
    }

    #[test]
    fn they_stand_in_order_once_and_bounded() {
        let mut changes = BTreeMap::new();
        for (id, minute, barrier) in [("c", 3, false), ("a", 1, true), ("b", 2, false), ("b", 2, false)] {
            posted(&mut changes, &change(id, minute, barrier));
        }
        let list = |changes: &BTreeMap<String, Vec<PostedChange>>| {
            changes["deployment/shop/web"].iter().map(|change| change.id.0.clone()).collect::<Vec<_>>()
        };
        assert_eq!(list(&changes), ["a", "b", "c"]);
        for minute in 10..70 {
            posted(&mut changes, &change(&format!("n{minute}"), minute, false));
        }
        let ids = list(&changes);
        assert_eq!((ids.len(), ids[0].as_str(), ids[1].as_str()), (CHANGES, "a", "n21"), "the barrier stays");
        for number in 0..TARGETS + 5 {
            let mut other = change("x", 100, false);
            other.target = TargetRef::deployment("shop", &format!("t{number}")).expect("names");
            posted(&mut changes, &other);
        }
        assert_eq!(changes.len(), TARGETS);
        assert!(!changes.contains_key("deployment/shop/web"), "the one that was told of longest ago is forgotten first");
    }

    #[test]
    fn a_barrier_lies_between_unless_it_is_certain_that_it_does_not() {
        let history = History { releases: vec![release("a", 0, Some(60)), release("b", 60, None)], ..History::default() };
        let (a, b) = (&history.releases[0], &history.releases[1]);
        let later_than_a = |digest: &Digest| *digest == b.digest;
        let none = |_: &Digest| false;
        let to = |to: &str, minute| PostedChange { to: Some(to.to_owned()), ..change("x", minute, true) };
        let cases = [
            ("just before the write of b", change("x", 59, true), a, true),
            ("when b was written", change("x", 60, true), a, true),
            ("while b ran", change("x", 90, true), a, true),
            ("before a", change("x", 0, true), a, false),
            ("no barrier", change("x", 59, false), a, false),
            ("while a ran, nobody says for whom", change("x", 5, true), a, true),
            ("while a ran, for a by its tag", to("a", 5), a, false),
            ("while a ran, for a by its image", to("registry:5000/web:a", 5), a, false),
            ("while a ran, for b", to("b", 5), a, true),
            ("for a, and after it", to("a", 61), a, true),
            ("for b, seen from b", to("b", 61), b, false),
            ("before b, seen from b", change("x", 59, true), b, false),
        ];
        for (name, change, release, behind) in cases {
            let changes = [change];
            let found = if release.digest == a.digest {
                behind_barrier(&changes, &history, release, later_than_a)
            } else {
                behind_barrier(&changes, &history, release, none)
            };
            assert_eq!(found.is_some(), behind, "{name}");
        }
    }

    #[test]
    fn a_release_is_known_by_the_digest_of_its_image_too() {
        let mut history = History { releases: vec![release("a", 0, Some(60)), release("b", 60, None)], ..History::default() };
        history.releases[0].image_digests.insert("web".to_owned(), "sha256:1".to_owned());
        let b = history.releases[1].digest.clone();
        for (to, behind) in [("sha256:1", false), ("sha256:2", true)] {
            let changes = [PostedChange { to: Some(to.to_owned()), ..change("x", 5, true) }];
            let found = behind_barrier(&changes, &history, &history.releases[0], |digest| *digest == b);
            assert_eq!(found.is_some(), behind, "{to}");
        }
    }

    #[test]
    fn a_tag_that_both_releases_have_tells_nothing() {
        let mut history = History { releases: vec![release("a", 0, Some(60)), release("b", 60, None)], ..History::default() };
        for release in &mut history.releases {
            release.images = vec!["web:latest".to_owned()];
        }
        let changes = [PostedChange { to: Some("latest".to_owned()), ..change("x", 5, true) }];
        let b = history.releases[1].digest.clone();
        assert!(behind_barrier(&changes, &history, &history.releases[0], |digest| *digest == b).is_some());
    }
}
