//! Inputs of a decision that can be changed one at a time: where each stands, and how it is set. Values are whole numbers: milliseconds
//! by which something is moved, or numbers by their place among all that there are, so that the next one is one unit away.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::values::{as_number, millis, number, place, set_text, text_of, text_value};
use super::{Basis, moved};
use crate::decide::book::{History, PastRollback, Release};
use crate::decide::decision::{Decision, Judgement};
use crate::decide::effect::Context;
use crate::decide::observation::Answer;
use crate::model::{Brake, Fact, FactType, Number, Outcome, Resolution, Time, Workload};
use crate::policy::types::{FactSource, FactSpec, Policy};

/// Nothing is moved further than this.
const FAR: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Rollbacks that are moved together at most.
const TOGETHER: usize = 8;

/// An input of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "input")]
pub enum Variable {
    /// The value of a fact.
    Fact {
        /// Its name.
        name: String,
        /// As what it is read: seconds are counted in milliseconds.
        of: FactType,
    },
    /// A number or duration that a document or the alert carries as text.
    Text {
        /// The fact's name.
        name: String,
        /// Who carries it.
        carrier: Carrier,
    },
    /// The traffic behind a fact.
    Traffic {
        /// Its name.
        name: String,
        /// The floor below which it counts as unknown.
        least: String,
    },
    /// When a fact's sample was taken.
    FactTime {
        /// Its name.
        name: String,
    },
    /// When the target was read.
    ReadTime,
    /// When the watch last heard from the API server.
    WatchTime,
    /// When the change was made that put the release there.
    Change,
    /// When the trouble began.
    Onset,
    /// When rollbacks of the past were made.
    Rollbacks {
        /// Which: the target, and the place in its list.
        which: Vec<(String, usize)>,
        /// Out of how many.
        of: usize,
    },
    /// When the target flapped.
    Flaps,
    /// When others last wrote to the target.
    Writes,
    /// When the veto on the target ends.
    Veto,
    /// When a pause ends.
    Pause {
        /// Its number.
        id: u64,
    },
    /// For how long the release to go back to was available.
    Healthy,
    /// When the release to go back to was last available.
    LastAvailable,
    /// When an alert fired on the release to go back to.
    FiredBefore {
        /// Its name.
        alertname: String,
    },
    /// Since when other targets want a rollback.
    Wants,
    /// Since when other targets show the same.
    Alike,
    /// Whether latches hold.
    Latches {
        /// Their numbers.
        ids: Vec<u64>,
    },
    /// When Jobs that changed data ended.
    Migrations {
        /// Their names.
        names: Vec<String>,
    },
    /// When all this was seen and decided.
    Moment {
        /// When a brake would let go by itself.
        free_at: Time,
    },
}

/// Who carries a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// A JSON document.
    Document,
    /// A label of the alert that leads.
    Label(String),
    /// An annotation of it.
    Annotation(String),
}

/// Everything that is worth changing for this decision: what conditions read, and what the brakes that hold look at.
pub(super) fn all(ctx: &Context<'_>, policy: &Policy, basis: &Basis, actual: &Decision) -> Vec<Variable> {
    let named = named_facts(ctx, policy);
    let facts = || policy.facts.iter().filter(|(name, _)| named.contains(name.as_str()));
    let mut all: Vec<Variable> = facts().filter_map(|(name, spec)| of_fact(name, spec)).collect();
    all.extend(facts().filter_map(|(name, spec)| traffic(name, spec)));
    all.push(Variable::Change);
    let mentions = |word: &str| {
        let conditions = policy.decide.iter().filter_map(|rule| rule.condition.as_ref());
        conditions.flat_map(|condition| condition.parts()).any(|part| part.source().contains(word))
    };
    if actual.outcome != Outcome::Rollback && mentions("history.") {
        all.extend(rollbacks(basis, FAR, false, 1));
    }
    for judgement in actual.brakes.iter().filter(|judgement| judgement.holds()) {
        all.extend(of_brake(judgement, policy, basis));
    }
    let mut unique: Vec<Variable> = Vec::with_capacity(all.len());
    for variable in all {
        if !unique.contains(&variable) {
            unique.push(variable);
        }
    }
    unique
}

/// The facts that a condition of the policy or of a step names. No other one is read.
fn named_facts<'a>(ctx: &Context<'a>, policy: &'a Policy) -> BTreeSet<&'a str> {
    let rules = policy.decide.iter().filter_map(|rule| rule.condition.as_ref()).flat_map(|condition| condition.parts());
    let procedures = ctx.policies.procedures.values();
    let steps = procedures.flat_map(|procedure| procedure.steps.iter().chain(&procedure.on_failure));
    let conditions = rules.chain(steps.filter_map(|step| step.when.as_ref()));
    conditions.flat_map(|condition| condition.facts()).map(String::as_str).collect()
}

fn of_fact(name: &str, spec: &FactSpec) -> Option<Variable> {
    let name = name.to_owned();
    let carrier = match &spec.source {
        FactSource::Promql { .. } => return Some(Variable::Fact { name, of: spec.of }),
        FactSource::Person { .. } => return None,
        FactSource::Http { .. } => Carrier::Document,
        FactSource::Label { name, .. } => Carrier::Label(name.clone()),
        FactSource::Annotation { name, .. } => Carrier::Annotation(name.clone()),
    };
    matches!(spec.of, FactType::Number | FactType::Duration).then_some(Variable::Text { name, carrier })
}

fn traffic(name: &str, spec: &FactSpec) -> Option<Variable> {
    let least = spec.floor()?.at_least.to_string();
    Some(Variable::Traffic { name: name.to_owned(), least })
}

/// What a brake looks at that is a number or a time.
fn of_brake(judgement: &Judgement, policy: &Policy, basis: &Basis) -> Vec<Variable> {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    match judgement.brake {
        Brake::RecentChange => {
            let alerts = basis.incident.members.values().map(|member| member.alert.label("alertname").to_owned());
            let mut fired: Vec<Variable> = alerts.map(|alertname| Variable::FiredBefore { alertname }).collect();
            fired.dedup();
            fired
        }
        Brake::QuietStart => vec![Variable::Onset],
        Brake::HumanActive => vec![Variable::Writes, Variable::Veto],
        Brake::FitTarget => vec![Variable::Healthy, Variable::LastAvailable],
        Brake::Cooldown => (1..=TOGETHER).filter_map(|count| rollbacks(basis, FAR, true, count)).collect(),
        Brake::Budget => {
            let per = policy.brakes.budget.on().map_or(FAR, |budget| budget.per);
            let of = |within: Duration, own: bool| (1..=TOGETHER).filter_map(move |n| rollbacks_of(basis, within, own, n));
            of(per, true).chain(of(HOUR, false)).collect()
        }
        Brake::Flapping => vec![Variable::Flaps],
        Brake::Paused => basis.book.pauses.keys().map(|id| Variable::Pause { id: *id }).collect(),
        Brake::StaleFacts => {
            let facts = policy.facts.keys().map(|name| Variable::FactTime { name: name.clone() });
            [Variable::ReadTime, Variable::WatchTime].into_iter().chain(facts).collect()
        }
        Brake::Storm => vec![Variable::Wants],
        Brake::Freeze => judgement.until.map(|free_at| Variable::Moment { free_at }).into_iter().collect(),
        Brake::ControlGroup => vec![Variable::Alike],
        Brake::DataLatch => moved::of_data(policy, basis),
        Brake::Owner | Brake::Truncated | Brake::Permission | Brake::Trust => Vec::new(),
    }
}

/// The newest so many rollbacks of the target, or the oldest of those within a time.
fn rollbacks(basis: &Basis, within: Duration, newest: bool, count: usize) -> Option<Variable> {
    let mut all = past(basis, within, true);
    if newest {
        all.reverse();
    }
    take(all, count)
}

/// The oldest so many rollbacks within a time: of the target, or of all.
fn rollbacks_of(basis: &Basis, within: Duration, own: bool, count: usize) -> Option<Variable> {
    take(past(basis, within, own), count)
}

fn take(all: Vec<(String, usize)>, count: usize) -> Option<Variable> {
    let of = all.len();
    (count <= of).then(|| Variable::Rollbacks { which: all.into_iter().take(count).collect(), of })
}

/// Rollbacks by others within a time, the oldest first.
fn past(basis: &Basis, within: Duration, own: bool) -> Vec<(String, usize)> {
    let target = basis.incident.target.as_ref().map(|target| target.at.to_string());
    let lane = basis.incident.lane.key();
    let counts = |past: &PastRollback| {
        past.incident.as_ref() != Some(&basis.incident.id)
            && (past.lane == "live" || past.lane == lane)
            && basis.now.since(past.at) < within
    };
    let mut found: Vec<(Time, String, usize)> = Vec::new();
    for (name, history) in basis.book.targets.iter().filter(|(name, _)| !own || Some(*name) == target.as_ref()) {
        let counted = history.rollbacks.iter().enumerate().filter(|(_, past)| counts(past));
        found.extend(counted.map(|(index, past)| (past.ended_at.unwrap_or(past.at), name.clone(), index)));
    }
    found.sort_unstable();
    found.into_iter().map(|(_, name, index)| (name, index)).collect()
}

impl Variable {
    /// Whether its values are places of numbers; else they are milliseconds.
    pub(super) fn is_number(&self, basis: &Basis) -> bool {
        match self {
            Self::Fact { of, .. } => !matches!(of, FactType::Duration | FactType::Bool),
            Self::Traffic { .. } => true,
            Self::Text { name, carrier } => text_of(basis, name, carrier).is_some_and(|text| as_number(&text).is_some()),
            _ => false,
        }
    }

    /// Whether it is a fact that was asked for and is not known.
    pub(super) fn is_unknown(&self, basis: &Basis) -> bool {
        let Self::Fact { name, .. } = self else { return false };
        basis.observation.values.get(name).is_some_and(|answer| answer.value.get().is_none())
    }

    /// How it was; what is not known is counted from 0. `None`: there is nothing to change.
    pub(super) fn origin(&self, basis: &Basis) -> Option<i64> {
        let moved = |exists: bool| exists.then_some(0);
        match self {
            Self::Fact { name, of } => {
                let value = basis.observation.values.get(name)?.value.get().map_or(0.0, |number| number.get());
                Some(match of {
                    FactType::Duration => (value * 1e3).round() as i64,
                    FactType::Bool => i64::from(value != 0.0),
                    FactType::Number | FactType::Text => place(value),
                })
            }
            Self::Traffic { name, .. } => {
                let floor = basis.observation.values.get(name)?.floor.as_ref()?;
                Some(floor.get().map_or(0, |number| place(number.get())))
            }
            Self::Text { name, carrier } => text_of(basis, name, carrier).and_then(|text| text_value(&text)),
            Self::FactTime { name } => moved(basis.observation.values.contains_key(name)),
            Self::ReadTime => moved(true),
            Self::WatchTime => moved(basis.observation.watch_heard_at.is_some()),
            Self::Change => moved(basis.incident.release.is_some() && workload(basis).is_some()),
            Self::Onset => moved(basis.incident.onset().is_ok()),
            Self::Rollbacks { which, .. } => moved(!which.is_empty()),
            Self::Flaps => moved(history(basis).is_some()),
            Self::Writes => moved(workload(basis).is_some_and(|workload| !workload.writes.is_empty())),
            Self::Veto => moved(history(basis).is_some_and(|history| history.veto_until.is_some())),
            Self::Pause { id } => moved(basis.book.pauses.contains_key(id)),
            Self::Healthy | Self::LastAvailable => moved(candidate(basis).is_some()),
            Self::FiredBefore { alertname } => {
                moved(candidate(basis).is_some_and(|release| release.alerts.contains_key(alertname)))
            }
            Self::Wants => moved(moved::others(basis).next().is_some()),
            Self::Alike => moved(moved::alike(basis).is_some()),
            Self::Moment { .. } | Self::Latches { .. } | Self::Migrations { .. } => moved(true),
        }
    }

    /// From where to where it can be moved, in milliseconds: nothing happens after now.
    pub(super) fn bounds(&self, basis: &Basis) -> (i64, i64) {
        let far = millis(FAR);
        let until_now = |at: Option<Time>| at.map_or(0, |at| millis(basis.now.since(at)));
        match self {
            _ if self.is_number(basis) => (place(f64::MIN), place(f64::MAX)),
            // What is neither 0 nor 1 would be unknown, and is nothing that a switch could have been.
            Self::Fact { of: FactType::Bool, .. } | Self::Latches { .. } => (0, 1),
            Self::Fact { .. } | Self::Traffic { .. } | Self::Text { .. } => (0, far),
            Self::FactTime { name } => (0, until_now(basis.observation.values.get(name).map(|answer| answer.value.at))),
            Self::ReadTime => (0, until_now(Some(basis.observation.at))),
            Self::WatchTime => (0, until_now(basis.observation.watch_heard_at)),
            Self::Change => (-far, until_now(changed_at(basis))),
            Self::Onset => (-far, until_now(basis.incident.onset().ok())),
            Self::Rollbacks { .. } | Self::Flaps | Self::Writes | Self::Veto | Self::Pause { .. } => (-far, 0),
            Self::FiredBefore { .. } | Self::Wants | Self::Migrations { .. } => (-far, 0),
            Self::Alike => (-far, until_now(moved::alike(basis))),
            Self::Healthy | Self::Moment { .. } => (0, far),
            Self::LastAvailable => (0, until_now(candidate(basis).and_then(|release| release.last_available))),
        }
    }

    /// How far a value is from how it was.
    pub(super) fn distance(&self, basis: &Basis, origin: i64, to: i64) -> f64 {
        // The cast loses nothing that matters for which is nearer.
        if self.is_number(basis) { (number(to) - number(origin)).abs() } else { to.abs_diff(origin) as f64 }
    }

    /// Sets it in a basis, counted from how it was in another.
    pub(super) fn set(&self, basis: &mut Basis, was: &Basis, to: i64) {
        match self {
            Self::Fact { name, of } => {
                // Both casts lose nothing for spans that people mean.
                let value = match of {
                    FactType::Duration => to as f64 / 1e3,
                    FactType::Bool => to as f64,
                    FactType::Number | FactType::Text => number(to),
                };
                if let (Some(answer), Some(value)) = (basis.observation.values.get_mut(name), Number::new(value)) {
                    answer.value.value = Ok(value);
                }
            }
            Self::Traffic { name, least } => {
                let Some(known) = was.observation.values.get(name) else { return };
                let (Some(floor), Some(traffic)) = (&known.floor, Number::new(number(to))) else { return };
                // The floor's verdict belongs to the answer: it is given anew, as by whoever asked.
                let traffic = Fact::known(traffic, floor.at, floor.source.clone());
                basis.observation.values.insert(name.clone(), Answer::of(known.value.clone(), Some((traffic, least))));
            }
            Self::Text { name, carrier } => set_text(basis, was, (name, carrier), to),
            Self::FactTime { name } => {
                let Some(known) = was.observation.values.get(name) else { return };
                let later = |fact: &Fact<Number>| Fact { at: fact.at.shifted(to), ..fact.clone() };
                let answer = Answer { value: later(&known.value), floor: known.floor.as_ref().map(later) };
                basis.observation.values.insert(name.clone(), answer);
            }
            Self::ReadTime => basis.observation.at = was.observation.at.shifted(to),
            Self::WatchTime => basis.observation.watch_heard_at = was.observation.watch_heard_at.map(|at| at.shifted(to)),
            Self::Onset => {
                basis.incident.members = was.incident.members.clone();
                basis.incident.members.change_all(|member| member.onset.at = member.onset.at.clone().map(|at| at.shifted(to)));
            }
            Self::Rollbacks { which, .. } => {
                for (target, index) in which {
                    let Some(past) = was.book.targets.get(target).and_then(|history| history.rollbacks.get(*index)) else {
                        continue;
                    };
                    let moved = PastRollback {
                        at: past.at.shifted(to),
                        ended_at: past.ended_at.map(|at| at.shifted(to)),
                        ..past.clone()
                    };
                    let place = basis.book.targets.get_mut(target).and_then(|history| history.rollbacks.get_mut(*index));
                    place.into_iter().for_each(|place| *place = moved.clone());
                }
            }
            Self::Pause { id } => {
                if let (Some(pause), Some(was)) = (basis.book.pauses.get_mut(id), was.book.pauses.get(id)) {
                    pause.until = was.until.shifted(to);
                }
            }
            Self::Writes => {
                let Some(before) = workload(was).map(|workload| workload.writes.clone()) else { return };
                if let Some(workload) = workload_mut(basis) {
                    workload.writes = before;
                    workload.writes.iter_mut().for_each(|write| write.at = write.at.shifted(to));
                }
            }
            Self::Flaps | Self::Veto | Self::Healthy | Self::LastAvailable | Self::FiredBefore { .. } => {
                self.set_in_history(basis, was, to);
            }
            Self::Change | Self::Wants | Self::Alike | Self::Latches { .. } | Self::Migrations { .. } | Self::Moment { .. } => {
                moved::set(self, basis, was, to);
            }
        }
    }

    /// What stands in the ledger of the target.
    fn set_in_history(&self, basis: &mut Basis, was: &Basis, to: i64) {
        let Some(mut changed) = history(was).cloned() else { return };
        let digest = candidate(was).map(|release| release.digest.clone());
        let lane = was.incident.lane.key();
        let releases = &mut changed.releases;
        let release = digest.and_then(|digest| releases.iter_mut().find(|release| release.digest == digest));
        match (self, release) {
            (Self::Veto, _) => changed.veto_until = changed.veto_until.map(|at| at.shifted(to)),
            (Self::Flaps, _) => {
                let flaps = changed.damping.get_mut(&lane).into_iter().flat_map(|damping| damping.flaps.iter_mut().flatten());
                flaps.for_each(|at| *at = at.shifted(to));
            }
            (Self::Healthy, Some(release)) => release.healthy += Duration::from_millis(u64::try_from(to).unwrap_or(0)),
            (Self::LastAvailable, Some(release)) => {
                release.last_available = release.last_available.map(|at| at.shifted(to));
            }
            (Self::FiredBefore { alertname }, Some(release)) => {
                if let Some(at) = release.alerts.get_mut(alertname) {
                    *at = at.shifted(to);
                }
            }
            _ => {}
        }
        if let Some(target) = &was.incident.target {
            basis.book.targets.insert(target.at.to_string(), changed);
        }
    }
}

/// When the change was first written that put the release there.
pub(super) fn changed_at(basis: &Basis) -> Option<Time> {
    change(basis).map(|change| change.first_write)
}

/// The change that put the release there, as the brakes see it.
pub(super) fn change(basis: &Basis) -> Option<crate::decide::brakes::Change> {
    let target = basis.incident.target.as_ref()?;
    crate::decide::brakes::change(basis.incident.release.as_ref()?, workload(basis)?, basis.book.history(target))
}

pub(super) fn history(basis: &Basis) -> Option<&History> {
    basis.book.history(basis.incident.target.as_ref()?)
}

/// The release that a rollback would be looked for at: the one that was available last.
pub(super) fn candidate(basis: &Basis) -> Option<&Release> {
    let running = workload(basis).map(|workload| &workload.release);
    let releases = history(basis)?.releases.iter().filter(|release| {
        release.bad.is_none() && Some(&release.digest) != basis.incident.release.as_ref() && Some(&release.digest) != running
    });
    releases.filter(|release| release.last_available.is_some()).max_by_key(|release| (release.last_available, release.live_since))
}

pub(super) fn workload(basis: &Basis) -> Option<&Workload> {
    match basis.observation.workload.as_ref()? {
        Resolution::Found { workload } => Some(workload),
        _ => None,
    }
}

pub(super) fn workload_mut(basis: &mut Basis) -> Option<&mut Workload> {
    match basis.observation.workload.as_mut()? {
        Resolution::Found { workload } => Some(workload),
        _ => None,
    }
}
