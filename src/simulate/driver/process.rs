//! What people do to the service itself, and to the machine that it runs on.

use std::time::Duration;

use super::kept::{DIED, NOBODY};
use super::{Driver, Due, received};
use crate::decide::book::Book;
use crate::decide::effect::Input;
use crate::decide::{operate, set_back_while_away};
use crate::journal::record;
use crate::model::{Applied, Operation};
use crate::policy::duration;
use crate::ports::RowKind;

impl Driver {
    /// Somebody sets the clock of the machine that it runs on. The world's own clocks go on.
    pub fn set_clock(&mut self, by: i64) {
        self.ahead += by;
        let words = duration::format(Duration::from_millis(by.unsigned_abs()));
        self.transcript.world(self.now, &format!("the clock leaps {words} {}", if by < 0 { "back" } else { "forward" }));
        self.input(Input::ClockSet { by, away: false });
    }

    /// The process starts: the book is folded from the journal's bytes, then everything is taken up again.
    pub fn start_process(&mut self) {
        let mut book = Book::default();
        for row in self.journal.iter().filter(|row| row.kind == RowKind::Step) {
            match record::decode(&row.bytes) {
                Ok(records) => {
                    if let Some(why) = records.iter().find_map(|stamped| book.fold(stamped).err()) {
                        self.violations.push(format!("{}: recovery: {why}", self.now));
                    }
                }
                Err(why) => self.violations.push(format!("{}: recovery: {why}", self.now)),
            }
        }
        if self.keep.journal || self.rows == 0 {
            if book != self.book {
                self.violations.push(format!("{}: the journal gives another book than the live one", self.now));
            }
            self.book = book;
        } else {
            self.violations.push(format!("{}: no journal was kept to start from", self.now));
        }
        self.running = true;
        if let Some(protocol) = &mut self.protocol {
            protocol.starts.push(self.now);
        }
        self.note_life();
        self.transcript.world(self.now, "backout starts");
        if let Some(set) = set_back_while_away(&self.book, self.clock()) {
            self.input(set);
        }
        self.input(Input::Started { program: "simulated".to_owned() });
        self.input(Input::Loaded);
        let receipts = self
            .journal
            .iter()
            .enumerate()
            .filter(|(index, row)| row.kind == RowKind::Receipt && !self.book.is_consumed(*index as u64 + 1));
        let again: Vec<Input> = receipts.map(|(index, row)| received(index as u64 + 1, row)).collect();
        for input in again {
            self.answer(self.latency.inbox, input);
        }
        self.world.reconnect();
        self.take_emitted();
        for body in std::mem::take(&mut self.undelivered) {
            self.webhook(body);
        }
    }

    /// The process ends at once: whatever is under way is lost, what the journal holds is not.
    pub fn crash(&mut self) {
        self.queue.retain(|_, due| matches!(due, Due::Command(_)));
        self.running = false;
        self.forget_all();
        self.note_life();
        self.transcript.world(self.now, "backout is killed");
    }

    /// Other policies come into force.
    pub fn reload(&mut self, set: &str) {
        set.clone_into(&mut self.in_force);
        self.transcript.world(self.now, &format!("policies `{set}` are loaded"));
        self.input(Input::Loaded);
    }

    /// A person says something; refused if it is not possible, as the API does.
    pub fn operate(&mut self, operation: Operation) {
        let checked = operate::check(&self.book, &operation, self.clock()).map_err(|why| why.to_string());
        let heard = self.running;
        let waits = self.running && checked.is_ok() && (!self.is_awake() || !self.takes_receipts());
        if waits && self.is_awake() {
            self.wait_for_answer(operation.clone());
        }
        match &checked {
            Ok(()) => self.input(Input::Operation(operation.clone().into())),
            Err(why) => self.transcript.world(self.now, &format!("refused: {why}")),
        }
        if let Some(protocol) = self.protocol.as_mut().filter(|_| !waits) {
            let deaf = (!self.running).then(|| if heard { DIED } else { NOBODY }.to_owned());
            protocol.answers.push((self.now, operation, deaf.or_else(|| checked.err())));
        }
    }

    /// From now on it is written down what happens, also by a witness who stands outside.
    pub fn keep_protocol(&mut self) {
        self.protocol = Some(super::Protocol::default());
        self.world.call_witness();
    }

    /// Whether the process lives.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// The end of a story: the journal still gives the same book.
    pub fn finish(&mut self) {
        let rows = self.journal.iter().filter(|row| row.kind == RowKind::Step);
        let mut book = Book::default();
        for row in rows.filter(|_| self.keep.journal) {
            for stamped in record::decode(&row.bytes).unwrap_or_default() {
                if let Err(why) = book.fold(&stamped) {
                    self.violations.push(format!("at the end: {why}"));
                }
            }
        }
        if self.keep.journal && book != self.book {
            self.violations.push("at the end: the journal gives another book than the live one".to_owned());
        }
        let incidents = self.book.incidents.values();
        let ours = |applied: &Applied| matches!(applied, Applied::Done { .. } | Applied::Already { ours: true, .. });
        let attempts = incidents.flat_map(|incident| &incident.attempts);
        let written = attempts.filter(|attempt| attempt.applied.as_ref().is_some_and(ours)).count();
        self.transcript.end(written);
    }
}
