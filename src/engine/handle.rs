//! The engine as the API sees it: questions and operations go in, answers come back when they are durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::feed::Feed;
use crate::decide::operate;
use crate::model::Order;
use crate::policy::types::Policies;
use crate::ports::{Control, ControlError, NoticeId, Question, Subscription};

/// Reads the policy folder: all of it, or what is wrong with it.
pub type PolicySource = Arc<dyn Fn() -> Result<Policies, String> + Send + Sync>;

/// What is asked of the loop.
pub(super) enum Command {
    /// Answer from the book.
    Query(Question, oneshot::Sender<Result<Value, ControlError>>),
    /// Do what a person says, and answer when it is durable.
    Operate(Order, oneshot::Sender<Result<Value, ControlError>>),
    /// Policies were read, or could not be; answer when it is durable.
    Loaded(Result<Policies, String>, oneshot::Sender<Result<String, ControlError>>),
}

/// A handle to the running engine. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) policies: PolicySource,
    pub(super) also_ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    pub(super) feed: Arc<Feed>,
}

impl EngineHandle {
    /// Waits for an answer; the engine gives none while the journal does not commit.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, ControlError>>) -> Command) -> Result<T, ControlError> {
        let unavailable = |why: &str| ControlError::Unavailable(why.to_owned());
        let (answer, answered) = oneshot::channel();
        self.commands.try_send(command(answer)).map_err(|_| unavailable("the engine is behind, or has ended"))?;
        match tokio::time::timeout(operate::ANSWER, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the engine has ended")),
            Err(_) => Err(unavailable("the engine does not answer; the journal may not commit")),
        }
    }
}

impl Control for EngineHandle {
    fn query(&self, question: Question) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(self.ask(|answer| Command::Query(question, answer)))
    }

    fn operate(&self, order: Order) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(self.ask(|answer| Command::Operate(order, answer)))
    }

    fn watch(&self, known: Option<NoticeId>) -> Subscription {
        self.feed.watch(known)
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>> {
        Box::pin(async move {
            let source = Arc::clone(&self.policies);
            let read = tokio::task::spawn_blocking(move || source()).await;
            let read = read.unwrap_or_else(|_| Err("reading the policies failed".to_owned()));
            self.ask(|answer| Command::Loaded(read, answer)).await
        })
    }

    fn ready(&self) -> Result<(), String> {
        if !self.ready.load(Ordering::Acquire) {
            return Err("the journal is being replayed".to_owned());
        }
        (self.also_ready)()
    }
}
