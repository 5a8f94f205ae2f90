//! From what is written in a test file to what it means: worlds, alerts, times. Every mistake is reported.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnostic::{Raised, Sink};
use super::super::source::{At, Sources};
use super::super::types::Policies;
use super::super::yaml::{Entries, Field, Listed};
use super::names::Names;
use super::read::did_you_mean;
use super::syntax::{self, File, Strategy};
use super::text::{SeriesText, TextOr};
use super::types::{Answers, Deployment, Instant, Named, Revision, Series, Test, TestFile};
use super::{Beside, series};
use crate::model::TargetRef;

/// What lowering needs everywhere.
pub(super) struct Lower<'s> {
    pub(super) sink: &'s Sink,
    pub(super) sources: &'s Sources<'s>,
    /// Else nothing can be said of what is missing.
    pub(super) is_read: bool,
}

/// Long before any story.
const BEFORE: Instant = Instant(i64::MIN / 4);

/// A map of facts as it is written.
type Facts = Field<Entries<TextOr<SeriesText, Entries<SeriesText>>>>;

impl Lower<'_> {
    pub(super) fn nothing_in_it(&self) {
        let raised = Raised::error("empty-file", At::default(), "the file holds nothing");
        self.raise(raised.expected("`policy_files` and `tests`"));
    }

    pub(super) fn beside(&self, file: &File) -> Beside {
        let named = |field: &Field<Listed<Field<String>>>| {
            let items = field.get().into_iter().flat_map(|Listed(items)| items);
            items.filter_map(Field::placed).map(|(text, at)| Named { text: text.clone(), at }).collect()
        };
        Beside { policies: named(&file.policy_files), rules: named(&file.rule_files) }
    }

    /// The whole file. `policies`: those that it names, where they could be read.
    pub(super) fn file(&self, file: &File, policies: Option<&Policies>) -> TestFile {
        let names = policies.map(Names::of);
        for (key, is_missing) in [("policy_files", is_none(&file.policy_files)), ("tests", file.tests.is_missing())] {
            if is_missing && self.is_read {
                let raised = Raised::error("missing-key", At::default(), format!("`{key}` is missing"));
                self.raise(raised.missing_in(At::default()).expected("`policy_files` and `tests`"));
            }
        }
        let minute = Duration::from_secs(60);
        let interval = self.duration(&file.evaluation_interval).unwrap_or(minute);
        if let (true, Some(at)) = (interval < Duration::from_secs(1), file.evaluation_interval.at()) {
            self.raise(Raised::error("bad-duration", at, "rules are evaluated once a second at most"));
        }
        let mut known: BTreeMap<String, At> = BTreeMap::new();
        let mut tests = Vec::new();
        for (test, at) in file.tests.get().into_iter().flatten().filter_map(Field::placed) {
            if let Some((name, at)) = test.name.placed() {
                match known.get(name) {
                    Some(first) => {
                        let line = self.sources.line_of(*first);
                        let message = format!("a test of the name `{name}` is already there, in line {line}");
                        self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
                    }
                    None => drop(known.insert(name.clone(), at)),
                }
            }
            tests.push(self.test(test, at, names.as_ref()));
        }
        TestFile { evaluation_interval: interval, tests }
    }

    fn test(&self, test: &syntax::Test, at: At, names: Option<&Names<'_>>) -> Test {
        self.required("name", &test.name, at);
        self.required("expect", &test.expect, at);
        let default = syntax::World::default();
        let world = test.world.get().unwrap_or(&default);
        let deployments = self.deployments(world, at);
        let deeds = self.deeds(&test.people, &deployments, names);
        let mut images: Vec<&str> = deployments.iter().flat_map(|d| &d.revisions).map(|r| r.image.as_str()).collect();
        images.extend(deeds.iter().filter_map(|(_, deed)| deed.image()));
        let facts = self.facts(&test.facts, &images, names);
        let floors = self.facts(&test.floors, &images, names);
        let alerts = test.alerts.get().into_iter().flatten().filter_map(Field::placed);
        let alerts = alerts.map(|(alert, at)| self.alert(alert, at, &facts, &deployments)).collect();
        let mut made = Test {
            name: test.name.get().cloned().unwrap_or_default(),
            spot: self.spot(test.name.at().unwrap_or(at)),
            start: self.timestamp(&test.start),
            until: Instant::default(),
            cluster: test.cluster.get().cloned().unwrap_or_else(|| "prod".to_owned()),
            channels: self.texts(&world.channels),
            alertmanagers: world.alertmanagers.get().copied().unwrap_or(1),
            http: self.http(world, &images),
            documents: self.documents(world),
            watching_since: self.instant(&world.watching_since).unwrap_or(Instant(-2 * 86_400_000)),
            deployments,
            jobs: self.jobs(world),
            facts,
            floors,
            alerts,
            deeds,
            down: self.down(&test.down),
            expect: Vec::new(),
        };
        made.expect = self.expectations(&test.expect, &made, names);
        made.until = self.instant(&test.until).unwrap_or_else(|| last_time(&made));
        self.too_late(test, made.until);
        made
    }

    /// What lies behind the end of the story would never be looked at.
    fn too_late(&self, test: &syntax::Test, until: Instant) {
        for (line, _) in test.expect.get().into_iter().flatten().filter_map(Field::placed) {
            let at = line.at.at().unwrap_or_default();
            if self.peek(&line.at).is_some_and(|wanted| wanted > until) {
                let message = format!("the story ends at {until}, before this");
                self.raise(Raised::error("too-late", at, message).help("let `until` be later, or leave it out"));
            }
        }
    }

    fn deployments(&self, world: &syntax::World, test: At) -> Vec<Deployment> {
        let mut made: Vec<Deployment> = Vec::new();
        for (written, at) in world.deployments.get().into_iter().flatten().filter_map(Field::placed) {
            self.required("name", &written.name, at);
            self.required("namespace", &written.namespace, at);
            self.required("revisions", &written.revisions, at);
            let (Some(name), Some(namespace)) = (written.name.get(), written.namespace.get()) else { continue };
            let target = match TargetRef::deployment(namespace, name) {
                Ok(target) => target,
                Err(why) => {
                    self.raise(Raised::error("bad-name", written.name.at().unwrap_or(at), why));
                    continue;
                }
            };
            if made.iter().any(|known| known.at == target) {
                let message = format!("there is a Deployment `{namespace}/{name}` already");
                self.raise(Raised::error("duplicate-name", at, message).help("write its releases as `revisions` of one"));
                continue;
            }
            let map = |field: &Field<Entries<String>>| self.map(field);
            made.push(Deployment {
                at: target,
                replicas: written.replicas.get().map_or(2, |replicas| i32::try_from(*replicas).unwrap_or(i32::MAX)),
                ready_after: self.duration(&written.ready_after).unwrap_or(Duration::from_secs(10)),
                history_limit: written.history_limit.get().map_or(10, |limit| *limit as usize),
                recreate: matches!(written.strategy.get(), Some(Strategy::Recreate)),
                annotations: map(&written.annotations),
                labels: map(&written.labels),
                revisions: self.revisions(&written.revisions),
            });
        }
        if made.is_empty() && world.deployments.get().is_some() {
            let at = world.deployments.at().unwrap_or(test);
            self.raise(Raised::warning("nothing-runs", at, "nothing runs in this world"));
        }
        made
    }

    /// Releases with the times at which they came. Those that say how long they lived count back from the next one.
    fn revisions(&self, field: &Field<Vec<Field<syntax::Revision>>>) -> Vec<Revision> {
        let written: Vec<(&syntax::Revision, At)> = field.get().into_iter().flatten().filter_map(Field::placed).collect();
        let mut made: Vec<Revision> = Vec::new();
        let mut next = Instant::default();
        for (revision, at) in written.iter().rev() {
            self.required("image", &revision.image, *at);
            let deployed = self.instant(&revision.deployed_at);
            let lived = self.duration(&revision.live_for);
            let came = match (deployed, lived) {
                (Some(came), None) => came,
                (None, Some(lived)) => next.before(lived),
                (None, None) if revision.deployed_at.is_missing() && revision.live_for.is_missing() => {
                    let raised = Raised::error("missing-key", *at, "nothing says when this release came").missing_in(*at);
                    self.raise(raised.expected("`deployed_at`, or `live_for`: how long it was there before the next one"));
                    next
                }
                (Some(_), Some(_)) => {
                    let at = revision.live_for.at().unwrap_or(*at);
                    let raised =
                        Raised::error("contradiction", at, "both `deployed_at` and `live_for` say when this release came");
                    self.raise(raised.help("remove one of the two"));
                    next
                }
                (None, None) => next,
            };
            if !made.is_empty() && came >= next {
                let at = revision.deployed_at.at().unwrap_or(*at);
                let message = format!("this release came at {came}, and the next one at {next}");
                self.raise(Raised::error("out-of-order", at, message).help("write the oldest release first"));
            }
            next = came;
            made.push(Revision {
                image: revision.image.get().cloned().unwrap_or_default(),
                at: came,
                by: revision.by.get().cloned().unwrap_or_else(|| "ci".to_owned()),
                ready: self.flag(&revision.ready).unwrap_or(true),
                annotations: self.map(&revision.annotations),
            });
        }
        made.reverse();
        made
    }

    fn http(&self, world: &syntax::World, images: &[&str]) -> BTreeMap<String, Answers> {
        let mut http = BTreeMap::new();
        for (url, answers) in world.http.get().into_iter().flat_map(|Entries(entries)| entries) {
            let (Some(url), Some((answers, at))) = (url.get(), answers.placed()) else { continue };
            let answers = match answers {
                TextOr::Text(SeriesText(text)) => match text.parse() {
                    Ok(status) => Answers::Always(status),
                    Err(_) => {
                        let raised = Raised::error("bad-value", at, format!("`{text}` is no HTTP status"));
                        self.raise(raised.expected("a status such as `200`, or one for each image"));
                        continue;
                    }
                },
                TextOr::Other(Entries(entries)) => Answers::ByImage(self.by_image(entries, images, |status, _| Some(*status))),
            };
            http.insert(url.clone(), answers);
        }
        http
    }

    fn documents(&self, world: &syntax::World) -> BTreeMap<String, Vec<(Instant, String)>> {
        let mut documents = BTreeMap::new();
        for (url, written) in world.documents.get().into_iter().flat_map(|Entries(entries)| entries) {
            let (Some(url), Some((written, at))) = (url.get(), written.placed()) else { continue };
            let mut from: Vec<(Instant, String)> = match written {
                TextOr::Text(SeriesText(text)) => self.document(text, at).map(|text| (BEFORE, text)).into_iter().collect(),
                TextOr::Other(Entries(entries)) => {
                    let entry = |(time, text): &(Field<String>, Field<String>)| {
                        let (text, at) = text.placed()?;
                        Some((self.time(time)?, self.document(text, at)?))
                    };
                    entries.iter().filter_map(entry).collect()
                }
            };
            from.sort_by_key(|(time, _)| *time);
            documents.insert(url.clone(), from);
        }
        documents
    }

    /// What is no JSON would be found nowhere, and the fact would be unknown for a reason that nobody meant.
    fn document(&self, text: &str, at: At) -> Option<String> {
        match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Some(text.to_owned()),
            Err(error) => {
                let raised = Raised::error("bad-document", at, format!("this is no JSON: {error}"));
                self.raise(raised.expected("a JSON document in quotes, such as `'{\"users\": 80}'`"));
                None
            }
        }
    }

    /// The entries of a map whose keys are images of this world.
    fn by_image<T, U>(
        &self,
        entries: &[(Field<String>, Field<T>)],
        images: &[&str],
        value: impl Fn(&T, At) -> Option<U>,
    ) -> BTreeMap<String, U> {
        let mut made = BTreeMap::new();
        for (image, written) in entries {
            let (Some((image, at)), Some((written, place))) = (image.placed(), written.placed()) else { continue };
            if !images.contains(&image.as_str()) {
                let raised = Raised::error("unknown-image", at, format!("no release of this world has the image `{image}`"));
                self.raise(raised.maybe_help(did_you_mean(image, images.iter().copied())));
            }
            made.extend(value(written, place).map(|value| (image.clone(), value)));
        }
        made
    }

    fn facts(&self, field: &Facts, images: &[&str], names: Option<&Names<'_>>) -> BTreeMap<String, Series> {
        let mut facts = BTreeMap::new();
        for (name, written) in field.get().into_iter().flat_map(|Entries(entries)| entries) {
            let (Some((name, at)), Some((written, place))) = (name.placed(), written.placed()) else { continue };
            if let Some(names) = names {
                self.known("fact", name, at, names.facts.iter().copied());
            }
            let series = match written {
                TextOr::Text(text) => self.series(text, place).map(Series::Everywhere),
                TextOr::Other(Entries(entries)) => {
                    Some(Series::ByImage(self.by_image(entries, images, |text, at| self.series(text, at))))
                }
            };
            facts.extend(series.map(|series| (name.clone(), series)));
        }
        facts
    }

    fn series(&self, SeriesText(text): &SeriesText, at: At) -> Option<Vec<series::Value>> {
        series::parse(text).map_err(|problem| self.problem("bad-series", problem, at, text)).ok()
    }
}

/// The last time that a test speaks of.
fn last_time(test: &Test) -> Instant {
    let expected = test.expect.iter().map(|line| line.at);
    let fired = test.alerts.iter().flat_map(|alert| &alert.windows).flat_map(|window| [Some(window.from), window.to]).flatten();
    let done = test.deeds.iter().map(|(at, _)| *at);
    let ran = test.jobs.iter().flat_map(|job| &job.moments).map(|(at, _)| *at);
    expected.chain(fired).chain(done).chain(ran).max().unwrap_or_default()
}

fn is_none<T>(field: &Field<Listed<T>>) -> bool {
    match field {
        Field::Missing => true,
        Field::Bad => false,
        Field::Is(Listed(items), _) => items.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{one, read, world, wrong};
    use super::*;

    #[test]
    fn a_file_without_policies_or_tests_is_told_so() {
        let tests = "tests: [{name: a, expect: [{at: 9m, nothing: true}]}]\n";
        for (text, missing) in [
            (tests.to_owned(), "`policy_files` is missing"),
            (format!("policy_files: []\n{tests}"), "`policy_files` is missing"),
            ("policy_files: [shop.yaml]\n".to_owned(), "`tests` is missing"),
        ] {
            let messages: Vec<String> = wrong(&text).into_iter().map(|(message, _)| message).collect();
            assert_eq!(messages, [missing], "{text}");
        }
    }

    #[test]
    fn rules_are_evaluated_once_a_second_at_most() {
        let with = |interval: &str| format!("evaluation_interval: {interval}\n{}", world(&[("shop", "api")], ""));
        assert_eq!(read(&with("1s")).evaluation_interval, Duration::from_secs(1));
        let refused = ("rules are evaluated once a second at most".to_owned(), "999ms".to_owned());
        assert_eq!(wrong(&with("999ms")), [refused]);
    }

    #[test]
    fn a_release_says_when_it_came() {
        for (when, message) in [
            ("", "nothing says when this release came"),
            (", deployed_at: soon", "`soon` is not a duration"),
            (", live_for: long", "`long` is not a duration"),
            (", deployed_at: -3d, live_for: 1d", "both `deployed_at` and `live_for` say when this release came"),
        ] {
            let deployment = format!("{{namespace: shop, name: api, revisions: [{{image: 'v:1'{when}}}]}}");
            let found = wrong(&one(&format!("world: {{deployments: [{deployment}]}}\nexpect: [{{at: 9m, nothing: true}}]")));
            let messages: Vec<&str> = found.iter().map(|(message, _)| message.as_str()).collect();
            assert_eq!(messages, [message], "{when}");
        }
    }
}
