//! Runs the production brain over an alert until every incident that it opens has a verdict. There is no second evaluator: these
//! are `decide::step`, the book and the engine's hands; only what is done after a verdict is left out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::decide::book::Book;
use crate::decide::effect::{Context, Effect, Heard, Input};
use crate::decide::incident::{Incident, Phase};
use crate::decide::limits::Limits;
use crate::decide::{self};
use crate::engine::Hands;
use crate::model::{Alert, Notification, Time};
use crate::policy::types::Policies;

/// Steps before something is wrong with us: an alert takes some ten for each lane.
const MOST_STEPS: usize = 2_000;

/// What came of it.
pub(super) struct Explained {
    /// When it was decided.
    pub(super) now: Time,
    /// Each alert, and what became of it.
    pub(super) heard: Vec<(Alert, Heard)>,
    /// Every incident that was opened, the live ones first.
    pub(super) incidents: Vec<Incident>,
}

/// Brings an alert in as if it had been firing for as long as its policy waits, and decides.
///
/// # Errors
/// A defect: a record does not fit the book, or there is no end.
pub(super) async fn explain(
    policies: &Policies,
    cluster: Option<&str>,
    hands: &Hands,
    notification: Notification,
) -> Result<Explained, String> {
    // What is unknown now is unknown: nobody waits for it to be known.
    let limits = Limits { patience: Duration::ZERO, ..Limits::default() };
    let ctx = Context { policies, limits: &limits, cluster };
    // The alert came in so long ago that the longest settling is over.
    let settle = policies.policies.iter().map(|policy| policy.settle).max().unwrap_or_default();
    let came_in = hands.clock.now() - settle;
    let alerts = notification.alerts.clone();
    let mut brain = Brain { ctx, book: Book::default(), effects: VecDeque::new(), heard: Vec::new(), steps: 0 };
    brain.step(Input::Started { program: env!("CARGO_PKG_VERSION").to_owned() }, came_in)?;
    brain.step(Input::Loaded, came_in)?;
    brain.step(Input::Received { seq: 1, at: came_in, notification: Some(notification) }, came_in)?;
    brain.run(hands).await?;
    let heard = alerts.into_iter().zip(std::mem::take(&mut brain.heard)).collect();
    let mut incidents: Vec<Incident> = brain.book.incidents.into_values().collect();
    incidents.sort_by(|a, b| (&a.lane, &a.id).cmp(&(&b.lane, &b.id)));
    Ok(Explained { now: hands.clock.now(), heard, incidents })
}

struct Brain<'a> {
    ctx: Context<'a>,
    book: Book,
    effects: VecDeque<Effect>,
    heard: Vec<Heard>,
    steps: usize,
}

impl Brain<'_> {
    async fn run(&mut self, hands: &Hands) -> Result<(), String> {
        loop {
            while let Some(effect) = self.effects.pop_front() {
                if let Some(input) = hands.perform(effect).await {
                    self.step(input, hands.clock.now())?;
                }
            }
            let now = hands.clock.now();
            let due = decide::wake_at(&self.book, self.ctx.limits).is_some_and(|at| at <= now);
            if !due || !self.book.incidents.values().any(is_undecided) {
                return Ok(());
            }
            self.step(Input::Tick, now)?;
        }
    }

    fn step(&mut self, input: Input, now: Time) -> Result<(), String> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(format!("no verdict after {MOST_STEPS} steps"));
        }
        let step = decide::step(&self.ctx, &self.book, input, now);
        for stamped in &step.records {
            self.book.fold(stamped).map_err(|error| error.to_string())?;
        }
        self.heard.extend(step.heard.into_iter().map(|(_, heard)| heard));
        let book = &self.book;
        // Looking is all that is done: what a verdict leads to is shown, never carried out.
        self.effects.extend(step.effects.into_iter().filter(|effect| match effect {
            Effect::Locate { .. } => true,
            Effect::Observe { incident, .. } => book.incidents.get(incident).is_some_and(is_undecided),
            Effect::Prepare { .. } | Effect::Apply { .. } | Effect::Tell(_) | Effect::ClosePage(_) | Effect::Event { .. } => {
                false
            }
        }));
        Ok(())
    }
}

fn is_undecided(incident: &Incident) -> bool {
    matches!(incident.phase, Phase::Settling { .. } | Phase::Deciding { .. })
}
