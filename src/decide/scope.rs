//! What conditions see: the incident, the target, the change, history and facts, each known or unknown for a reason.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::Book;
use super::brakes;
use super::incident::{Incident, Member};
use super::observation::{Answer, Observation};
use super::request::changed_from;
use crate::model::{FactType, ReadFrom, Reading, Resolution, Texts, Time};
use crate::policy::expr::{Known, Path, Scope, Value};
use crate::policy::interval::{self, Interval};
use crate::policy::matcher::all_match_with;
use crate::policy::types::{from_number, from_text};

/// Facts that nobody asked for yet answer with this reason; the caller asks for them and decides again.
pub(super) const NOT_OBSERVED: &str = "not observed yet";

/// The scope of an incident's conditions.
pub(super) struct IncidentScope<'a> {
    pub(super) book: &'a Book,
    pub(super) incident: &'a Incident,
    pub(super) observation: &'a Observation,
    pub(super) cluster: Option<&'a str>,
    /// How each fact is read, by its name.
    pub(super) readings: &'a dyn Fn(&str) -> Option<Reading>,
    pub(super) intervals: &'a BTreeMap<String, Interval>,
    pub(super) now: Time,
}

impl Scope for IncidentScope<'_> {
    fn value(&self, path: &Path) -> Known {
        match path {
            Path::Label(name) => Ok(self.lead(|lead| text(lead.alert.label(name)))?),
            Path::Annotation(name) => self.lead(|lead| text(lead.alert.annotations.get(name).unwrap_or_default())),
            Path::AlertName => self.lead(|lead| text(lead.alert.label("alertname"))),
            Path::AlertStartsAt => self.lead(|lead| Value::Time(lead.alert.starts_at.millis())),
            Path::AlertFingerprint => self.lead(|lead| Value::Text(lead.alert.fingerprint.to_string())),
            Path::AlertOnset => self.incident.onset().map(|at| Value::Time(at.millis())),
            Path::Alerts => Ok(Value::List(self.incident.firing().map(alert).collect())),
            Path::Now => Ok(Value::Time(self.now.millis())),
            Path::Firing(matchers) => {
                let one = self.incident.firing().any(|member| all_match_with(matchers, |name| member.alert.labels.get(name)));
                // A cut list proves presence, never absence.
                if !one && self.incident.truncated() { Err("the notification was cut".to_owned()) } else { Ok(Value::Bool(one)) }
            }
            Path::InInterval(name) => {
                let interval = self.intervals.get(name).ok_or_else(|| format!("there is no time interval `{name}` any more"))?;
                let is_in = interval::contains(interval, self.now).ok_or_else(|| "the calendar does not reach now".to_owned())?;
                Ok(Value::Bool(is_in))
            }
            Path::TargetKind | Path::TargetNamespace | Path::TargetName | Path::TargetCluster => self.target(path),
            Path::ChangeAge | Path::ChangeBy | Path::ChangeOld | Path::ChangeNew | Path::ChangeKinds | Path::ChangeBarrier => {
                self.change(path)
            }
            Path::HistoryRollbacks24h | Path::HistoryLastRollbackAge | Path::HistoryFlaps => self.history(path),
            Path::Fact(name) => self.fact(name),
        }
    }
}

impl IncidentScope<'_> {
    fn fact(&self, name: &str) -> Known {
        let not_observed = || NOT_OBSERVED.to_owned();
        let Some(Reading { from, of }) = (self.readings)(name) else { return Err("there is no such fact any more".to_owned()) };
        match from {
            ReadFrom::Query { before_change: true } if changed_from(self.book, self.incident).is_none() => {
                Err("when the change was first written is not known".to_owned())
            }
            ReadFrom::Query { .. } => number(self.observation.values.get(name).ok_or_else(not_observed)?, of),
            ReadFrom::Http => match &self.observation.texts.get(name).ok_or_else(not_observed)?.value {
                Ok(text) => from_text(text, of),
                Err(why) => Err(why.to_string()),
            },
            ReadFrom::Label { name, default } => self.written("label", &name, default, of, |lead| lead.alert.labels.get(&name)),
            ReadFrom::Annotation { name, default } => {
                self.written("annotation", &name, default, of, |lead| lead.alert.annotations.get(&name))
            }
            ReadFrom::Person => Err("nobody was asked: questions to people are not carried out yet".to_owned()),
        }
    }

    /// What the alert says. A missing or empty one counts as the default, where there is one; one that cannot be read is unknown.
    fn written<'m>(
        &'m self,
        what: &str,
        name: &str,
        default: Option<String>,
        of: FactType,
        read: impl Fn(&'m Member) -> Option<&'m str>,
    ) -> Known {
        let lead = self.incident.lead().ok_or_else(|| "the incident has no alert".to_owned())?;
        let written = read(lead).filter(|text| !text.is_empty()).map(str::to_owned);
        let text = written.or(default).ok_or_else(|| format!("the alert has no {what} `{name}`"))?;
        from_text(&text, of)
    }

    fn lead(&self, read: impl FnOnce(&Member) -> Value) -> Known {
        self.incident.lead().map(read).ok_or_else(|| "the incident has no alert".to_owned())
    }

    fn target(&self, path: &Path) -> Known {
        let target = self.incident.target.as_ref().ok_or_else(|| "the target was not found".to_owned())?;
        Ok(text(match path {
            Path::TargetKind => target.at.kind.as_str(),
            Path::TargetNamespace => &target.at.namespace,
            Path::TargetName => &target.at.name,
            _ => self.cluster.unwrap_or_default(),
        }))
    }

    fn change(&self, path: &Path) -> Known {
        let Some(Resolution::Found { workload }) = &self.observation.workload else {
            return Err("the target could not be read".to_owned());
        };
        let release = self.incident.release.as_ref().ok_or_else(|| "the release is not known".to_owned())?;
        let history = self.book.history(&workload.id);
        let change = brakes::change(release, workload, history).ok_or_else(|| "no change is known".to_owned())?;
        let images = |digest: &crate::model::Digest| {
            let replica_set = workload.replica_sets.iter().find(|rs| rs.digest == *digest);
            replica_set.map_or_else(|| digest.to_string(), |rs| rs.images.join(","))
        };
        match path {
            Path::ChangeAge => Ok(Value::Duration(self.now.since(change.landed_at.unwrap_or(change.first_write)))),
            Path::ChangeBy => change.by.map(Value::Text).ok_or_else(|| "who made the change is not known".to_owned()),
            Path::ChangeOld => {
                change.old.map(|old| Value::Text(images(&old))).ok_or_else(|| "the release before it is not known".to_owned())
            }
            Path::ChangeNew => Ok(Value::Text(images(release))),
            Path::ChangeKinds => Ok(Value::List(vec![text("template")])),
            _ => {
                let barrier = |digest: &crate::model::Digest| {
                    workload.replica_sets.iter().find(|rs| rs.digest == *digest).map(|rs| rs.data_barrier.clone())
                };
                match (barrier(release), change.old.as_ref().and_then(barrier)) {
                    (Some(new), Some(old)) => Ok(Value::Bool(new != old)),
                    _ => Err("the data barriers of both releases are not known".to_owned()),
                }
            }
        }
    }

    fn history(&self, path: &Path) -> Known {
        let history = self.incident.target.as_ref().and_then(|target| self.book.history(target));
        let history = history.ok_or_else(|| "no history of the target is known".to_owned())?;
        let day = Duration::from_secs(24 * 60 * 60);
        let rollbacks = history.rollbacks.iter().filter(|past| past.lane == "live" || past.lane == self.incident.lane.key());
        match path {
            Path::HistoryRollbacks24h => {
                let count = rollbacks.filter(|past| self.now.since(past.at) <= day).count();
                Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
            }
            Path::HistoryLastRollbackAge => rollbacks
                .map(|past| past.ended_at.unwrap_or(past.at))
                .max()
                .map(|at| Value::Duration(self.now.since(at)))
                .ok_or_else(|| "the target was never rolled back".to_owned()),
            _ => {
                let flaps = history
                    .damping
                    .get(&self.incident.lane.key())
                    .map_or(0, |damping| damping.flaps.iter().flatten().filter(|at| self.now.since(**at) <= day).count());
                Ok(Value::Double(f64::from(u32::try_from(flaps).unwrap_or(u32::MAX))))
            }
        }
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn alert(member: &Member) -> Value {
    let texts = |texts: &Texts| Value::Map(texts.iter().map(|(name, value)| (name.to_owned(), text(value))).collect());
    Value::Map(BTreeMap::from([
        ("labels".to_owned(), texts(&member.alert.labels)),
        ("annotations".to_owned(), texts(&member.alert.annotations)),
        ("starts_at".to_owned(), Value::Time(member.alert.starts_at.millis())),
    ]))
}

/// A number that was asked for; unknown too when its floor is unknown or not reached (the answer carries the floor's verdict).
fn number(answer: &Answer, of: FactType) -> Known {
    if let Some(floor) = &answer.floor {
        floor.value.as_ref().map_err(|why| format!("its floor: {why}"))?;
    }
    match &answer.value.value {
        Ok(number) => from_number(number.get(), of),
        Err(why) => Err(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::brakes::fixture::{World, digest, hours, minutes, replica_set, rollback};
    use super::*;
    use crate::decide::book::Damping;
    use crate::decide::incident::Lane;
    use crate::model::Replicas;
    use crate::policy::matcher::{Matcher, Op};

    fn read(world: &World, path: &Path) -> Known {
        let scope = IncidentScope {
            book: &world.book,
            incident: &world.incident,
            observation: &world.observation,
            cluster: Some("prod"),
            readings: &|_| None,
            intervals: &world.intervals,
            now: world.now,
        };
        scope.value(path)
    }

    #[test]
    fn a_cut_list_proves_that_an_alert_fires_and_never_that_none_does() {
        let mut world = World::new();
        let firing = |name: &str| Path::Firing(vec![Matcher::new("alertname", Op::Equal, name).expect("a matcher")]);
        assert_eq!(read(&world, &firing("HighErrors")), Ok(Value::Bool(true)));
        assert_eq!(read(&world, &firing("Deploying")), Ok(Value::Bool(false)));
        world.change_member(|member| member.truncated = true);
        assert_eq!(read(&world, &firing("HighErrors")), Ok(Value::Bool(true)));
        assert_eq!(read(&world, &firing("Deploying")), Err("the notification was cut".to_owned()));
    }

    #[test]
    fn conditions_see_the_target_and_its_change() {
        let mut world = World::new();
        for (path, wanted) in [
            (Path::TargetKind, text("deployment")),
            (Path::TargetNamespace, text("shop")),
            (Path::TargetName, text("web")),
            (Path::TargetCluster, text("prod")),
            (Path::ChangeAge, Value::Duration(minutes(18))),
            (Path::ChangeBy, text("ci")),
            (Path::ChangeOld, text("web:a")),
            (Path::ChangeNew, text("web:b")),
            (Path::ChangeKinds, Value::List(vec![text("template")])),
            (Path::ChangeBarrier, Value::Bool(false)),
        ] {
            assert_eq!(read(&world, &path), Ok(wanted), "{path}");
        }
        world.workload().replica_sets[1].data_barrier = Some("7".to_owned());
        assert_eq!(read(&world, &Path::ChangeBarrier), Ok(Value::Bool(true)));
        let older = replica_set("c", 0, world.ago(hours(99)), 0);
        world.workload().replica_sets.insert(0, older);
        assert_eq!(read(&world, &Path::ChangeBarrier), Ok(Value::Bool(true)), "whatever others there are");
        world.workload().replica_sets.remove(0);
        world.workload().replica_sets[0].images.push("proxy:1".to_owned());
        assert_eq!(read(&world, &Path::ChangeOld), Ok(text("web:a,proxy:1")));
    }

    #[test]
    fn what_is_not_known_of_a_change_is_unknown_for_a_reason() {
        let mut pruned = World::new();
        pruned.workload().replica_sets.remove(0);
        assert_eq!(
            read(&pruned, &Path::ChangeOld),
            Ok(text(&digest("a").to_string())),
            "its images are gone with its ReplicaSet"
        );
        let why = Err("the data barriers of both releases are not known".to_owned());
        assert_eq!(read(&pruned, &Path::ChangeBarrier), why);
        let mut first = World::new();
        first.history().releases.remove(0);
        first.release("b").by = None;
        first.workload().replica_sets.remove(0);
        assert_eq!(read(&first, &Path::ChangeOld), Err("the release before it is not known".to_owned()));
        assert_eq!(read(&first, &Path::ChangeBy), Err("who made the change is not known".to_owned()));
        let mut lost = World::new();
        lost.incident.target = None;
        assert_eq!(read(&lost, &Path::TargetName), Err("the target was not found".to_owned()));
        lost.lose_workload();
        assert_eq!(read(&lost, &Path::ChangeAge), Err("the target could not be read".to_owned()));
    }

    #[test]
    fn a_change_that_is_on_its_way_is_as_old_as_its_first_write() {
        let mut world = World::new();
        world.release("b").landed_at = None;
        world.workload().replicas = Replicas { desired: 3, total: 4, updated: 1, available: 3 };
        let newer = replica_set("c", 3, world.now, 0);
        world.workload().replica_sets.push(newer);
        assert_eq!(read(&world, &Path::ChangeAge), Ok(Value::Duration(minutes(20))));
    }

    #[test]
    fn history_counts_a_day_of_what_was_live_and_of_the_own_lane() {
        let mut world = World::new();
        let (count, age) = (Path::HistoryRollbacks24h, Path::HistoryLastRollbackAge);
        assert_eq!(read(&world, &count), Ok(Value::Int(0)));
        assert_eq!(read(&world, &age), Err("the target was never rolled back".to_owned()));
        let day = hours(24);
        let past = [
            ("live", day + minutes(1), None),
            ("live", day, Some(hours(23))),
            ("shadow/trial", hours(3), Some(hours(2))),
            ("shadow/other", hours(1), None),
        ];
        for (lane, at, ended) in past {
            let rollback = rollback(lane, Some("i0"), world.ago(at), ended.map(|ended| world.ago(ended)));
            world.history().rollbacks.push(rollback);
        }
        assert_eq!(read(&world, &count), Ok(Value::Int(1)));
        assert_eq!(read(&world, &age), Ok(Value::Duration(hours(23))), "since it was over");
        world.incident.lane = Lane::Shadow("trial".to_owned());
        assert_eq!(read(&world, &count), Ok(Value::Int(2)));
        assert_eq!(read(&world, &age), Ok(Value::Duration(hours(2))));
        world.forget();
        assert_eq!(read(&world, &count), Err("no history of the target is known".to_owned()));
    }

    #[test]
    fn history_counts_a_day_of_flaps() {
        let mut world = World::new();
        let mut damping = Damping::default();
        for ago in [hours(25), hours(24) + minutes(1), hours(24), hours(3), hours(2)] {
            damping.add(world.ago(ago));
        }
        assert_eq!(read(&world, &Path::HistoryFlaps), Ok(Value::Double(0.0)));
        world.history().damping.insert("live".to_owned(), damping);
        assert_eq!(read(&world, &Path::HistoryFlaps), Ok(Value::Double(3.0)));
        world.incident.lane = Lane::Shadow("trial".to_owned());
        assert_eq!(read(&world, &Path::HistoryFlaps), Ok(Value::Double(0.0)), "each lane has its own");
    }
}
