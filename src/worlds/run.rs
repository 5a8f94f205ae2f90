//! Runs tests: lets a world live until the next thing that is expected, and judges.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::build::{Surroundings, driver, zero};
use super::coverage::Coverage;
use super::files::Loaded;
use super::got::Got;
use super::judge::{self, Miss};
use crate::model::Time;
use crate::policy::test_file::types::{self, Expectation, Spot, Test};
use crate::policy::types::Policies;
use crate::simulate::Driver;

/// How a test went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub spot: Spot,
    /// What was not as expected, by time.
    pub failures: Vec<Failure>,
    /// Defects of the engine that came to light: none, ever.
    pub defects: Vec<String>,
    /// The world's timeline, where something was not as expected.
    pub timeline: Vec<Line>,
    /// How long it took to live through it, in our time.
    pub took: Duration,
}

impl Report {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.defects.is_empty()
    }
}

/// A line of `expect` that does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it was looked at.
    pub at: types::Instant,
    /// Where it stands.
    pub spot: Spot,
    /// What of it is not so.
    pub misses: Vec<Miss>,
    /// What of it is so.
    pub held: Vec<(&'static str, String)>,
}

/// A line of a timeline.
#[derive(Clone, Debug)]
pub enum Line {
    /// Something that happened: its time as it stands before the line, and the line.
    Happened(String, String),
    /// A line of `expect`: its time, what it expects, and whether that holds.
    Expected(String, String, bool),
}

/// Virtual time that goes by before decisions are counted and let go.
const CHUNK: Duration = Duration::from_secs(6 * 60 * 60);

/// Runs the tests of a file whose names a filter takes, in order.
pub fn run_all(loaded: &Loaded, filter: impl Fn(&Test) -> bool, coverage: &mut Coverage) -> Vec<Report> {
    let tests = loaded.file.tests.iter().filter(|test| filter(test));
    tests.map(|test| run(test, &loaded.policies, &loaded.surroundings, coverage)).collect()
}

/// Runs one test. Where it fails it is run once more, with its timeline written down.
pub fn run(test: &Test, policies: &Arc<Policies>, around: &Surroundings, coverage: &mut Coverage) -> Report {
    let begin = Instant::now();
    let mut lived = driver(test, policies, around);
    lived.transcript.mute();
    lived.world.forget_messages();
    lived.keep.decisions = true;
    let failures = live(&mut lived, test, policies, coverage);
    let defects = lived.violations().to_vec();
    let (name, spot, took) = (test.name.clone(), test.spot.clone(), begin.elapsed());
    let mut report = Report { name, spot, failures, defects, timeline: Vec::new(), took };
    if !report.passed() {
        report.timeline = timeline(test, policies, around, &report);
    }
    report
}

/// Lives through a world; what is not as expected on the way.
fn live(lived: &mut Driver, test: &Test, policies: &Policies, coverage: &mut Coverage) -> Vec<Failure> {
    let zero = zero(test);
    let mut failures = Vec::new();
    for expected in &test.expect {
        until(lived, expected.at.from(zero), policies, coverage);
        failures.extend(failure(lived, policies, expected));
    }
    until(lived, test.until.from(zero), policies, coverage);
    lived.finish();
    failures
}

pub(super) fn until(lived: &mut Driver, end: Time, policies: &Policies, coverage: &mut Coverage) {
    loop {
        let next = end.min(lived.now() + CHUNK);
        lived.run_until(next);
        for (_, _, decision) in lived.decisions.drain(..) {
            coverage.count(policies, &decision);
        }
        if next == end {
            return;
        }
    }
}

fn failure(lived: &Driver, policies: &Policies, expected: &Expectation) -> Option<Failure> {
    let got = Got::of(lived, policies, &expected.subject);
    let mut misses = Vec::new();
    let mut held = Vec::new();
    for wanted in &expected.wanted {
        match judge::judge(wanted, &got) {
            Some(miss) => misses.push(miss),
            None => held.push((wanted.key(), judge::words(wanted))),
        }
    }
    let (at, spot) = (expected.at, expected.spot.clone());
    (!misses.is_empty()).then_some(Failure { at, spot, misses, held })
}

/// What happened in a world, with what was expected in between.
fn timeline(test: &Test, policies: &Arc<Policies>, around: &Surroundings, report: &Report) -> Vec<Line> {
    let zero = zero(test);
    let mut told = driver(test, policies, around);
    told.keep.invariants = false;
    let begins = test.expect.iter().map(|line| line.at).chain(test.deeds.iter().map(|(at, _)| *at));
    let fired = test.alerts.iter().flat_map(|alert| &alert.windows).map(|window| window.from);
    told.transcript.begin(begins.chain(fired).min().unwrap_or_default().from(zero));
    let end = report.failures.last().map_or(test.until, |failure| failure.at);
    told.run_until(end.from(zero));
    let mut lines = Vec::new();
    let mut expected = test.expect.iter().take_while(|line| line.at <= end).peekable();
    let clock = |at: Time| told.transcript.clock(at);
    let shown = |line: &Expectation| {
        let holds = !report.failures.iter().any(|failure| failure.spot == line.spot);
        let words: Vec<String> = line.wanted.iter().map(|wanted| format!("{} {}", wanted.key(), judge::words(wanted))).collect();
        Line::Expected(clock(line.at.from(zero)), words.join(", "), holds)
    };
    for (at, text) in told.transcript.lines() {
        while let Some(line) = expected.next_if(|line| line.at.from(zero) < *at) {
            lines.push(shown(line));
        }
        lines.push(Line::Happened(clock(*at), text.clone()));
    }
    lines.extend(expected.map(shown));
    lines
}
