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
        // It waited for the journal, and who gave it was told that nobody answers, or went away: it is not done behind his back.
        if answer.is_closed() && !order.operation.only_holds_back() {
            tracing::warn!(operation = order.operation.as_str(), by = order.operation.by(), "too late: it is NOT done");
            return;
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::decide::limits::Limits;
    use crate::engine::{EngineHandle, EngineSettings, Hands};
    use crate::metrics::Metrics;
    use crate::model::{PauseScope, Time};
    use crate::ports::{Alertmanagers, Clock, Control, Notifier, Question, StoreError};
    use crate::simulate::{Hands as Simulated, MemoryStore, SpeedClock, World};

    /// A service on a journal in memory. Dropping the guards ends it.
    async fn service() -> (Arc<MemoryStore>, EngineHandle, Arc<dyn Clock>, Box<dyn Send>) {
        let now = Time::from_millis(1_772_442_000_000);
        let clock: Arc<dyn Clock> = Arc::new(SpeedClock::new(now, 1));
        let world = Arc::new(Simulated::new(World::new(now, 1), Arc::clone(&clock)));
        let store = Arc::new(MemoryStore::default());
        let settings = EngineSettings {
            store: Arc::clone(&store) as _,
            hands: Hands {
                cluster: None,
                prometheus: None,
                alertmanagers: Arc::clone(&world) as Arc<dyn Alertmanagers>,
                probe: Arc::clone(&world) as _,
                notifier: world as Arc<dyn Notifier>,
                clock: Arc::clone(&clock),
            },
            metrics: Metrics::new().expect("metrics"),
            limits: Limits::default(),
            cluster_name: Some("prod".to_owned()),
            policies: Policies::default(),
            policy_source: Arc::new(|| Ok(Policies::default())),
            also_ready: Arc::new(|| Ok(())),
            spans: None,
        };
        let (engine, handle) = Engine::recover(settings).await.expect("an empty journal");
        let ((receipts, inbox), (events, watch)) = (mpsc::channel(1), mpsc::channel(1));
        tokio::spawn(engine.run(inbox, watch, CancellationToken::new()));
        (store, handle, clock, Box::new((receipts, events)))
    }

    fn pause(clock: &dyn Clock, reason: &str) -> Order {
        let until = clock.now() + Duration::from_secs(3600);
        Operation::Pause { scope: PauseScope::Global, reason: reason.to_owned(), by: "ann".to_owned(), until }.into()
    }

    async fn pauses(handle: &EngineHandle) -> Vec<String> {
        let all = handle.query(Question::Pauses).await.expect("it answers");
        let rows = all["pauses"].as_array().expect("a list").clone();
        rows.iter().map(|row| row["reason"].as_str().expect("a reason").to_owned()).collect()
    }

    #[tokio::test]
    async fn what_nobody_was_answered_to_is_not_done_later_unless_it_only_holds_us_back() {
        let (store, handle, clock, _guards) = service().await;
        handle.operate(pause(&*clock, "first")).await.expect("it commits");
        store.fail(Some(StoreError::Failed("disk full".to_owned())));
        let resume: Order = Operation::Resume { pause: 1, by: "ann".to_owned() }.into();
        // The loop is caught in this commit; what comes after waits in the queue, and who gave it goes away.
        for order in [pause(&*clock, "caught"), resume.clone(), pause(&*clock, "waited")] {
            let answer = tokio::time::timeout(Duration::from_millis(100), handle.operate(order)).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        store.fail(None);
        assert_eq!(pauses(&handle).await, ["first", "caught", "waited"], "the end of the first pause is not brought up to date");
        handle.operate(resume).await.expect("given again, it is done");
        assert_eq!(pauses(&handle).await, ["caught", "waited"]);
    }

    #[tokio::test]
    async fn what_is_answered_in_time_is_done_although_the_journal_hung() {
        let (store, handle, clock, _guards) = service().await;
        handle.operate(pause(&*clock, "first")).await.expect("it commits");
        store.fail(Some(StoreError::Failed("slow".to_owned())));
        let resume: Order = Operation::Resume { pause: 1, by: "ann".to_owned() }.into();
        let (resumed, ()) = tokio::join!(handle.operate(resume), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            store.fail(None);
        });
        assert!(resumed.is_ok(), "{resumed:?}");
        assert_eq!(pauses(&handle).await, Vec::<String>::new());
    }
}
