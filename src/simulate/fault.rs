//! What befalls the service itself in a story: its journal does not commit, it is killed around a commit, answers are lost or late,
//! everything takes longer.
//!
//! ```text
//! at 5m store full                      nothing is committed any more; `store ok`
//! on redeciding kill before start=5s    killed at the next commit, before it; `after` it; `flying`: when its effects are begun, and
//!                                       what is on its way to the cluster arrives; `nth=3`: at the third commit
//! at 5m crash lands                     killed; what is on its way to the cluster arrives
//! at 5m answer lost of=observed         the next answer of an effect is lost; `late=3m`; of located, observed, prepared, applied, told
//! at 5m latency read=20s watch=1m       from now on it takes that long
//! ```

use std::time::Duration;

use super::driver::{Driver, Latency};
use super::line::Line;
use crate::decide::effect::Input;

/// What befalls the service.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Its journal commits nothing, or does again.
    Store {
        /// It commits nothing.
        full: bool,
    },
    /// It is killed at a commit.
    Kill(Kill),
    /// It is killed now, and what is on its way to the cluster arrives.
    CrashLands,
    /// What becomes of an answer.
    Answer(Answer),
    /// How long things take.
    Latency(Vec<(String, Duration)>),
}

/// On which side of the commit it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing is committed.
    Before,
    /// It is committed, and no effect is begun.
    After,
    /// Effects are begun.
    Flying,
}

/// A kill at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// On which side of it.
    pub side: Side,
    /// How many commits come before it.
    pub spared: u32,
    /// How long after it the process is started again.
    pub start: Duration,
}

/// What becomes of the next answer of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of which effect; of any, where it is not said.
    pub of: Option<String>,
    /// How much later it comes; never, where it is not said.
    pub late: Option<Duration>,
}

impl Fault {
    pub(super) fn happen(&self, driver: &mut Driver) {
        match self {
            Self::Store { full } => driver.set_store(*full),
            Self::Kill(kill) => driver.kill_at_commit(*kill),
            Self::CrashLands => driver.crash_and_land(),
            Self::Answer(answer) => driver.meddle(answer.clone()),
            Self::Latency(changes) => changes.iter().for_each(|(name, span)| driver.latency.set(name, *span)),
        }
    }
}

impl Latency {
    /// The names of what takes time.
    pub(super) const NAMES: [&'static str; 6] = ["inbox", "read", "prepare", "write", "tell", "watch"];

    pub(super) fn set(&mut self, name: &str, span: Duration) {
        match name {
            "inbox" => self.inbox = span,
            "read" => self.read = span,
            "prepare" => self.prepare = span,
            "write" => self.write = span,
            "tell" => self.tell = span,
            _ => self.watch = span,
        }
    }

    /// What a line says of it.
    pub(super) fn read_line(line: &mut Line) -> Result<Vec<(String, Duration)>, String> {
        let mut changes = Vec::new();
        for name in Self::NAMES {
            changes.extend(line.duration(name)?.map(|span| (name.to_owned(), span)));
        }
        Ok(changes)
    }
}

/// Which effect an answer is of.
pub(super) fn answers(input: &Input) -> &'static str {
    match input {
        Input::Located { .. } => "located",
        Input::Observed { .. } => "observed",
        Input::Prepared { .. } => "prepared",
        Input::Applied { .. } => "applied",
        _ => "told",
    }
}

/// Reads what follows a verb, if it is one of these.
pub(super) fn parse(verb: &str, line: &mut Line) -> Option<Result<Fault, String>> {
    match verb {
        "store" => Some(store(line)),
        "kill" => Some(kill(line)),
        "answer" => Some(answer(line)),
        "latency" => Some(Latency::read_line(line).map(Fault::Latency)),
        "crash" if line.flag("lands") => Some(Ok(Fault::CrashLands)),
        _ => None,
    }
}

fn store(line: &mut Line) -> Result<Fault, String> {
    match line.word("`full` or `ok`")?.as_str() {
        "full" => Ok(Fault::Store { full: true }),
        "ok" => Ok(Fault::Store { full: false }),
        other => Err(format!("`{other}` is neither `full` nor `ok`")),
    }
}

fn kill(line: &mut Line) -> Result<Fault, String> {
    let side = match line.word("`before`, `after` or `flying`")?.as_str() {
        "before" => Side::Before,
        "after" => Side::After,
        "flying" => Side::Flying,
        other => return Err(format!("`{other}` is none of `before`, `after`, `flying`")),
    };
    let spared = line.integer::<u32>("nth")?.unwrap_or(1).saturating_sub(1);
    Ok(Fault::Kill(Kill { side, spared, start: line.duration("start")?.unwrap_or(Duration::from_secs(5)) }))
}

fn answer(line: &mut Line) -> Result<Fault, String> {
    let of = line.value("of");
    let known = ["located", "observed", "prepared", "applied", "told"];
    if let Some(other) = of.as_deref().filter(|of| !known.contains(of)) {
        return Err(format!("`{other}` is none of {}", known.join(", ")));
    }
    let late = line.duration("late")?;
    if late.is_none() && !line.flag("lost") {
        return Err("expected `lost` or `late=DURATION`".to_owned());
    }
    Ok(Fault::Answer(Answer { of, late }))
}
