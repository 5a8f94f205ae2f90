//! A service to which something happens: a journal that does not commit, a kill around a commit, answers that do not come back. What
//! the engine does then is done here by the same order: nothing leaves before its commit, and while one is awaited nothing else is
//! taken in.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::kept::NOBODY;
use super::{Driver, Due};
use crate::decide::effect::{Input, Step};
use crate::decide::operate;
use crate::model::{Operation, Time};
use crate::planted::{self, Bug};
use crate::simulate::command::Command;
use crate::simulate::fault::{self, Answer, Kill, Side};

/// What happens to the service.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Nothing is committed.
    full: bool,
    /// The step that waits for its commit, and since when.
    held: Option<(Time, Step)>,
    /// What came in meanwhile, and since when it waits.
    backlog: VecDeque<(Time, Input)>,
    /// What people asked for in that step, and when: they are answered once it is committed.
    unanswered: Vec<(Time, Operation)>,
    /// At one of the next commits it is killed.
    kill: Option<Kill>,
    /// What becomes of the next answers.
    answers: Vec<Answer>,
    /// When the watch's last event is taken in: they never overtake each other.
    watched_at: Time,
}

impl Driver {
    /// Whether it takes anything in.
    pub(super) fn is_awake(&self) -> bool {
        self.running && self.faults.held.is_none()
    }

    /// Whether a receipt can be made durable.
    pub(super) fn takes_receipts(&self) -> bool {
        self.running && !self.faults.full
    }

    /// Keeps what came in until the commit that is awaited.
    pub(super) fn put_off(&mut self, input: Input) {
        self.faults.backlog.push_back((self.now, input));
    }

    /// Somebody waits for the commit of what he asked for.
    pub(super) fn wait_for_answer(&mut self, operation: Operation) {
        self.faults.unanswered.push((self.now, operation));
    }

    /// Whoever waits for longer than that is told that nobody answers.
    fn answered(&mut self, since: Time, operation: Operation, refused: Option<String>) {
        let late = (self.now.since(since) > operate::ANSWER || !self.running).then(|| NOBODY.to_owned());
        if let Some(protocol) = &mut self.protocol {
            protocol.answers.push((self.now, operation, late.or(refused)));
        }
    }

    /// What came in while a commit was awaited is taken in. As in the service, an order is not carried out behind the back of who was
    /// told that nobody answers, unless it only holds us back.
    fn take_late(&mut self, since: Time, input: Input) {
        let Input::Operation(order) = &input else { return self.input(input) };
        let operation = order.operation.clone();
        let late = self.now.since(since) > operate::ANSWER && !operation.only_holds_back();
        let refused = operate::check(&self.book, &operation, self.clock()).err().map(|why| why.to_string());
        self.answered(since, operation.clone(), refused.clone());
        match refused {
            _ if late => self.transcript.world(self.now, &format!("too late: the {} by {}", operation.as_str(), operation.by())),
            Some(why) => self.transcript.world(self.now, &format!("refused: {why}")),
            None => self.input(input),
        }
    }

    /// The journal commits nothing any more, or does again.
    pub fn set_store(&mut self, full: bool) {
        self.transcript.world(self.now, if full { "the journal is full" } else { "the journal commits again" });
        self.faults.full = full;
        self.note_life();
        if full {
            return;
        }
        if let Some((since, step)) = self.faults.held.take() {
            self.finish_step(step, self.now.since(since));
        }
        for (since, operation) in std::mem::take(&mut self.faults.unanswered) {
            self.answered(since, operation, None);
        }
        for (since, input) in std::mem::take(&mut self.faults.backlog) {
            self.take_late(since, input);
        }
        for body in std::mem::take(&mut self.undelivered) {
            self.webhook(body);
        }
    }

    /// At one of the next commits it is killed.
    pub fn kill_at_commit(&mut self, kill: Kill) {
        self.faults.kill = Some(kill);
    }

    /// What becomes of one of the next answers.
    pub fn meddle(&mut self, answer: Answer) {
        self.faults.answers.push(answer);
    }

    /// Records are durable before effects start.
    pub(super) fn conclude(&mut self, mut step: Step) {
        if planted::is(Bug::EffectBeforeCommit) {
            let effects = std::mem::take(&mut step.effects);
            effects.into_iter().for_each(|effect| self.start(effect));
        }
        if step.records.is_empty() {
            self.begin(step, Duration::ZERO);
            return;
        }
        if self.faults.full {
            self.faults.held = Some((self.now, step));
            return;
        }
        match self.faults.kill {
            Some(kill) if kill.spared == 0 => {
                self.faults.kill = None;
                self.die(kill, step);
            }
            Some(kill) => {
                self.faults.kill = Some(Kill { spared: kill.spared - 1, ..kill });
                self.finish_step(step, Duration::ZERO);
            }
            None => self.finish_step(step, Duration::ZERO),
        }
    }

    fn die(&mut self, kill: Kill, step: Step) {
        match kill.side {
            Side::Before => self.crash(),
            Side::After => {
                self.commit(&step.records);
                self.crash();
            }
            Side::Flying => {
                self.finish_step(step, Duration::ZERO);
                self.crash_and_land();
            }
        }
        self.push(self.now + kill.start, Due::Command(Command::Process { crash: false, start: true }));
    }

    /// `waited`: how long the commit took.
    fn finish_step(&mut self, step: Step, waited: Duration) {
        self.commit(&step.records);
        self.begin(step, waited);
    }

    fn begin(&mut self, step: Step, waited: Duration) {
        for effect in step.effects.into_iter().filter(|effect| effect.keeps(waited)) {
            self.start(effect);
        }
    }

    /// The process ends at once; what is on its way to the cluster arrives, and nobody hears the answer.
    pub fn crash_and_land(&mut self) {
        let flying = |due: &Due| matches!(due, Due::Write(..));
        let (writes, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.queue).into_iter().partition(|(_, due)| flying(due));
        self.queue = rest;
        self.crash();
        self.queue.extend(writes);
    }

    /// What dies with the process.
    pub(super) fn forget_all(&mut self) {
        self.epoch += 1;
        let backlog = std::mem::take(&mut self.faults.backlog);
        let waiting = backlog.into_iter().filter_map(|(since, input)| match input {
            Input::Operation(order) => Some((since, order.operation)),
            _ => None,
        });
        let unanswered = std::mem::take(&mut self.faults.unanswered);
        for (since, operation) in unanswered.into_iter().chain(waiting) {
            self.answered(since, operation, None);
        }
        self.faults = Faults { full: self.faults.full, answers: std::mem::take(&mut self.faults.answers), ..Faults::default() };
    }

    /// What an effect gave comes back, if it does.
    pub(super) fn come_back(&mut self, after: Duration, input: Input) {
        let kind = fault::answers(&input);
        let found = self.faults.answers.iter().position(|answer| answer.of.as_deref().is_none_or(|of| of == kind));
        match found.map(|index| self.faults.answers.remove(index)) {
            None if after.is_zero() => self.input(input),
            None => self.answer(after, input),
            Some(Answer { late: Some(late), .. }) => self.answer(after + late, input),
            Some(Answer { late: None, .. }) => self.transcript.world(self.now, &format!("what was {kind} is lost")),
        }
    }

    /// The watch tells of something: at once, or as late as it is.
    pub(super) fn watch_tells(&mut self, input: Input) {
        if !self.running {
            return;
        }
        let at = (self.now + self.latency.watch).max(self.faults.watched_at);
        if at <= self.now {
            self.input(input);
            return;
        }
        self.faults.watched_at = at;
        self.push(at, Due::Answer(Box::new(input)));
    }

    /// For whoever judges the story: since when it lives and remembers.
    pub(super) fn note_life(&mut self) {
        let lives = self.running && !self.faults.full;
        let at = self.now;
        if let Some(protocol) = &mut self.protocol {
            protocol.lives.push((at, lives));
        }
    }
}
