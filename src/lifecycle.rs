//! L4: how the process lives and ends: signals, the two stages of a shutdown, tasks that must not die unnoticed.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// The two stages of an end.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// Take nothing new, finish what is under way.
    pub drain: CancellationToken,
    /// Stop now.
    pub abort: CancellationToken,
}

impl Stages {
    /// Stages that the process' signals begin: the first SIGTERM or SIGINT drains; a second one, or the end of the grace, aborts.
    ///
    /// # Errors
    /// When the system lets us listen to no signals.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stages = Self::default();
        let begun = stages.clone();
        tokio::spawn(async move {
            let mut asked = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            tokio::select! {
                signal = asked() => tracing::info!(signal, "ending: nothing new is taken; a second signal ends at once"),
                () = begun.drain.cancelled() => {}
            }
            begun.drain.cancel();
            tokio::select! {
                signal = asked() => tracing::warn!(signal, "ending at once"),
                () = tokio::time::sleep(grace) => tracing::warn!("not everything was finished within the grace; ending at once"),
            }
            begun.abort.cancel();
        });
        Ok(stages)
    }
}

/// SIGHUP, by which reloading is asked for.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Listens from now on: without it, SIGHUP ends the process.
    ///
    /// # Errors
    /// When the system lets us listen to no signals.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// The next one; several at once count as one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Raises the limit on open files as far as it goes; tells how far. A busy Alertmanager alone opens thousands of connections.
///
/// # Errors
/// When the system refuses; nothing has changed then.
pub fn raise_open_files() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// A task ended that must not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task `{task}` died: {why}")]
pub struct TaskDied {
    /// Its name.
    pub task: &'static str,
    /// How.
    pub why: String,
}

/// How an end went that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All tasks came to their end.
    Drained,
    /// These were cut off.
    Cut(Vec<&'static str>),
}

/// Tasks that the process cannot do without. One that dies takes the process with it: a service of which a part is silently
/// missing is worse than one that is started again.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), String>>,
    names: BTreeMap<Id, &'static str>,
    stages: Stages,
    grace: Duration,
}

impl Supervisor {
    /// None yet. When a task dies, the others have `grace` to finish.
    pub fn new(stages: Stages, grace: Duration) -> Self {
        Self { tasks: JoinSet::new(), names: BTreeMap::new(), stages, grace }
    }

    /// Starts a task. It may end well only once draining has begun.
    pub fn spawn<E: Display>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        let task = async { task.await.map_err(|error| error.to_string()) };
        self.names.insert(self.tasks.spawn(task).id(), name);
    }

    /// Waits until all tasks have ended, or until the second stage.
    ///
    /// # Errors
    /// The first task that died.
    pub async fn run(mut self) -> Result<Ending, TaskDied> {
        let mut died = None;
        let stages = self.stages.clone();
        while let Some(joined) = stages.abort.run_until_cancelled(self.tasks.join_next_with_id()).await {
            let Some(joined) = joined else {
                return died.map_or(Ok(Ending::Drained), Err);
            };
            let (id, why) = match joined {
                Ok((id, Ok(()))) if stages.drain.is_cancelled() => (id, None),
                Ok((id, Ok(()))) => (id, Some("it ended without being asked".to_owned())),
                Ok((id, Err(why))) => (id, Some(why)),
                Err(error) => (error.id(), Some(last_words(error))),
            };
            let task = self.names.remove(&id).unwrap_or("unnamed");
            if let Some(why) = why {
                tracing::error!(task, why, "a task died; ending");
                if died.is_none() {
                    died = Some(TaskDied { task, why });
                    self.end_within_grace();
                }
            }
        }
        let mut cut: Vec<&'static str> = self.names.values().copied().collect();
        cut.sort_unstable();
        self.tasks.abort_all();
        died.map_or(Ok(Ending::Cut(cut)), Err)
    }

    fn end_within_grace(&self) {
        let (stages, grace) = (self.stages.clone(), self.grace);
        stages.drain.cancel();
        tokio::spawn(async move {
            stages.abort.run_until_cancelled(tokio::time::sleep(grace)).await;
            stages.abort.cancel();
        });
    }
}

fn last_words(error: JoinError) -> String {
    if !error.is_panic() {
        return "it was cancelled".to_owned();
    }
    let panic: Box<dyn Any + Send> = error.into_panic();
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
    words.map_or_else(|| "it panicked".to_owned(), |words| format!("it panicked: {words}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const GRACE: Duration = Duration::from_millis(20);

    fn supervised(stages: &Stages) -> Supervisor {
        let mut supervisor = Supervisor::new(stages.clone(), GRACE);
        let drain = stages.drain.clone();
        supervisor.spawn("good", async move {
            drain.cancelled().await;
            Ok::<(), Infallible>(())
        });
        supervisor
    }

    #[tokio::test]
    async fn draining_ends_well() {
        let stages = Stages::default();
        let supervisor = supervised(&stages);
        stages.drain.cancel();
        assert_eq!(supervisor.run().await, Ok(Ending::Drained));
    }

    #[tokio::test]
    async fn a_dead_task_ends_the_others_and_is_named() {
        for (way, why) in [(0, "it panicked: oh no 1"), (1, "no more"), (2, "it ended without being asked")] {
            let stages = Stages::default();
            let mut supervisor = supervised(&stages);
            supervisor.spawn("bad", async move {
                match way {
                    0 => panic!("oh no {}", 1),
                    1 => Err("no more"),
                    _ => Ok(()),
                }
            });
            assert_eq!(supervisor.run().await, Err(TaskDied { task: "bad", why: why.to_owned() }));
            assert!(stages.drain.is_cancelled());
        }
    }

    #[tokio::test]
    async fn who_does_not_end_is_cut_off() {
        let stages = Stages::default();
        let mut supervisor = supervised(&stages);
        supervisor.spawn("stuck", std::future::pending::<Result<(), Infallible>>());
        stages.drain.cancel();
        stages.abort.cancel();
        assert!(matches!(supervisor.run().await, Ok(Ending::Cut(cut)) if cut.contains(&"stuck")));

        let stages = Stages::default();
        let mut supervisor = supervised(&stages);
        supervisor.spawn("stuck", std::future::pending::<Result<(), Infallible>>());
        supervisor.spawn("bad", async { Err("no more") });
        assert_eq!(supervisor.run().await, Err(TaskDied { task: "bad", why: "no more".to_owned() }), "after the grace");
    }

    #[test]
    fn the_limit_on_files_is_raised_to_the_hard_one() {
        let raised = raise_open_files().expect("raised");
        assert_eq!(rlimit::Resource::NOFILE.get().expect("limits").0, raised);
    }
}
