//! Drills beside the running service: again and again, with a metric for those that passed and a message for those that did not.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Check, Drill, Level, Parts, known_targets, run};
use crate::decide::limits::Limits;
use crate::decide::memory::Memory;
use crate::engine::{EngineHandle, Hands, PolicySource};
use crate::metrics::Metrics;
use crate::model::{About, Message, Moment, TargetRef, Time, Urgency};
use crate::notify::NotifierSet;
use crate::ports::{Control as _, Notifier as _, Question, Recall};

/// The first one waits this long, so that the watch has told what runs.
const FIRST: Duration = Duration::from_secs(60);
/// As long as the service is not ready, this is waited.
const NOT_READY: Duration = Duration::from_secs(5);
/// Targets that the engine is asked about at once.
const AT_ONCE: usize = 100;
/// Failures that a message lists; more are counted.
const LISTED: usize = 20;

/// What drills are carried out with, again and again.
pub struct Schedule {
    /// How often.
    pub every: Duration,
    /// The engine, which remembers.
    pub engine: EngineHandle,
    /// The policies on the disk.
    pub policies: PolicySource,
    /// The hands.
    pub hands: Hands,
    /// The channels.
    pub channels: Arc<NotifierSet>,
    /// The product's times.
    pub limits: Limits,
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// Metric handles.
    pub metrics: Arc<Metrics>,
}

/// Carries drills out until it is told to end.
///
/// # Errors
/// None: what a drill cannot do is what it finds.
pub async fn keep(schedule: Schedule, drain: CancellationToken) -> Result<(), Infallible> {
    schedule.metrics.drills.every(schedule.every);
    let rounds = async {
        let clock = &schedule.hands.clock;
        clock.sleep(FIRST.min(schedule.every)).await;
        let mut failed = false;
        loop {
            while schedule.engine.ready().is_err() {
                clock.sleep(NOT_READY).await;
            }
            failed = schedule.round(failed).await;
            clock.sleep(schedule.every).await;
        }
    };
    drain.run_until_cancelled(rounds).await;
    Ok(())
}

impl Schedule {
    /// One drill: counted, and announced when it failed, or passed again. Tells whether it failed.
    async fn round(&self, failed_before: bool) -> bool {
        let at = self.hands.clock.now();
        let failures = match self.drill().await {
            Err(why) => vec![format!("the drill could not be carried out: {why}")],
            Ok(drill) => {
                for (policy, passed) in drill.by_policy() {
                    self.metrics.drills.ended(policy, drill.at, passed);
                }
                drill.failures()
            }
        };
        let title = match (failures.is_empty(), failed_before) {
            (true, false) => {
                tracing::info!("a drill passed");
                return false;
            }
            (true, true) => "a drill passed again: a rollback could be made".to_owned(),
            (false, _) => format!("a drill failed: no rollback could be made now ({} checks failed)", failures.len()),
        };
        tracing::warn!(failures = failures.len(), first = failures.first(), "{title}");
        self.channels.deliver(message(at, title, &failures)).await;
        !failures.is_empty()
    }

    async fn drill(&self) -> Result<Drill, String> {
        let source = Arc::clone(&self.policies);
        let policies = tokio::task::spawn_blocking(move || source()).await.map_err(|error| error.to_string())??;
        let memory = self.remembered().await?;
        let parts = Parts {
            policies: &policies,
            book: &memory.book,
            limits: &self.limits,
            cluster_name: self.cluster_name.as_deref(),
            hands: &self.hands,
            channels: &self.channels,
        };
        let mut drill = run(&parts, |_| true).await;
        if memory.cut {
            let found = "there are too many targets: those that changed long ago were not tried".to_owned();
            drill.around.push(Check { check: "targets".to_owned(), level: Level::Noted, found });
        }
        Ok(drill)
    }

    /// All that is known of the targets, asked for some at a time: the engine has other things to do.
    async fn remembered(&self) -> Result<Memory, String> {
        let mut memory = self.recall(Vec::new()).await?;
        let targets: Vec<TargetRef> = known_targets(&memory.book).into_iter().collect();
        for some in targets.chunks(AT_ONCE) {
            let part = self.recall(some.to_vec()).await?.book;
            let names: BTreeSet<String> = some.iter().map(ToString::to_string).collect();
            memory.book.targets.extend(part.targets.into_iter().filter(|(name, _)| names.contains(name)));
            memory.book.incidents.extend(part.incidents);
            memory.book.changes.extend(part.changes);
        }
        memory.book.reindex();
        Ok(memory)
    }

    async fn recall(&self, targets: Vec<TargetRef>) -> Result<Memory, String> {
        let question = Question::Recall(Recall::Book(targets));
        let answer = self.engine.query(question).await.map_err(|error| error.to_string())?;
        serde_json::from_value(answer).map_err(|error| format!("defect: {error}"))
    }
}

fn message(at: Time, title: String, failures: &[String]) -> Message {
    let mut lines: Vec<String> = failures.iter().take(LISTED).map(|line| format!("- {line}")).collect();
    if failures.len() > LISTED {
        lines.push(format!("and {} more", failures.len() - LISTED));
    }
    lines.push("`backout drill --all` shows every check.".to_owned());
    Message {
        id: format!("drill-{}", at.millis()),
        incident: None,
        folded: Vec::new(),
        moment: Moment::Drill,
        urgency: Urgency::Announce,
        severity: "warning".to_owned(),
        title,
        text: lines.join("\n"),
        target: None,
        policy: None,
        to: Vec::new(),
        labels: BTreeMap::new(),
        about: About::default(),
        at,
    }
}
