//! What people and the API ask of the loop: questions, orders, other policies.

use serde_json::Value;
use tokio::sync::oneshot;

use super::{Batch, Engine};
use crate::decide::book::Book;
use crate::decide::effect::Input;
use crate::decide::operate;
use crate::engine::handle::Command;
use crate::engine::view;
use crate::model::{Operation, Order};
use crate::policy::types::Policies;
use crate::ports::ControlError;
use crate::ports::answer::{ChangeTold, IncidentTold, LatchCleared, PauseBegun, PauseEnded, PolicyRearmed};

impl Engine {
    pub(super) fn command(&mut self, command: Command, batch: &mut Batch) {
        match command {
            Command::Query(question, answer) => {
                let _ = answer.send(self.view().answer(&question));
            }
            Command::Operate(order, answer) => self.operate(order, answer, batch),
            Command::Loaded(read, answer) => self.loaded(read, answer, batch),
        }
    }

    fn operate(&mut self, order: Order, answer: oneshot::Sender<Result<Value, ControlError>>, batch: &mut Batch) {
        if let Err(error) = operate::check(&self.book, &order.operation, self.now()) {
            let _ = answer.send(Err(match error {
                operate::OperationError::NotFound(why) => ControlError::NotFound(why),
                operate::OperationError::Conflict(why) => ControlError::Conflict(why),
                operate::OperationError::Invalid(why) => ControlError::Invalid(why),
            }));
            return;
        }
        let identity = order.identity.as_ref().map(tracing::field::display);
        tracing::info!(identity, operation = ?order.operation, "operation");
        let known = match &order.operation {
            Operation::Change { change } => self.book.changes(&change.target).iter().any(|known| known.id == change.id),
            _ => false,
        };
        self.step(Input::Operation(order.clone()), batch);
        batch.answers.push(Box::new(move |book| {
            let _ = answer.send(done(book, &order.operation, known));
        }));
    }

    fn loaded(
        &mut self,
        read: Result<Policies, String>,
        answer: oneshot::Sender<Result<String, ControlError>>,
        batch: &mut Batch,
    ) {
        match read {
            Ok(policies) => {
                let changed = policies.hash != self.policies.hash;
                self.policies = policies;
                self.refused = None;
                self.step(Input::Loaded, batch);
                let names = self.policies.policies.iter().map(|policy| policy.name.as_str());
                self.settings.metrics.policies_loaded(&self.policies.hash, self.now(), names);
                tracing::info!(hash = %self.policies.hash, changed, policies = self.policies.policies.len(), "policies loaded");
                let hash = self.policies.hash.clone();
                batch.answers.push(Box::new(move |_| {
                    let _ = answer.send(Ok(hash));
                }));
            }
            Err(problems) => {
                self.settings.metrics.policies_refused();
                tracing::error!(problems, "policies NOT reloaded; the ones before stay in force");
                self.refused = Some(problems.clone());
                let _ = answer.send(Err(ControlError::Invalid(problems)));
            }
        }
    }
}

/// What an operation came to, once it is durable.
fn done(book: &Book, operation: &Operation, known: bool) -> Result<Value, ControlError> {
    match operation {
        Operation::Pause { .. } => view::json(&PauseBegun { done: true, pause: book.next }),
        Operation::Rearm { policy, .. } => view::json(&PolicyRearmed { done: true, policy: policy.clone() }),
        Operation::Clear { latch, .. } => view::json(&LatchCleared { done: true, latch: *latch }),
        Operation::Resume { .. } | Operation::LogLevel { .. } => view::json(&PauseEnded { done: true }),
        Operation::Change { change } => {
            // What is there already may have been told in other words that mean the same: at another time, by the same key.
            let kept = book.changes(&change.target).iter().find(|kept| kept.id == change.id).unwrap_or(change);
            view::json(&ChangeTold { change: view::change_row(kept), known })
        }
        Operation::Veto { incident, .. }
        | Operation::Approve { incident, .. }
        | Operation::Acknowledge { incident, .. }
        | Operation::Mark { incident, .. } => {
            let state = book.incidents.get(incident).map(|incident| incident.phase.as_str().to_owned());
            view::json(&IncidentTold { done: true, incident: incident.0.clone(), state })
        }
    }
}
