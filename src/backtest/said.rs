//! Facts as a journal has them: the numbers that decisions of then rested on. It holds no queries: a fact is known by its name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decide::observation::Answer;
use crate::model::{Fact, Number, TargetRef, Time, Unknown, UnknownKind};
use crate::simulate::{Recorded, Wanted};

/// A number counts for a question so much earlier or later.
const NEAR: Duration = Duration::from_secs(2 * 60);

/// A number of a fact, or of the traffic that it needs, by target.
type Key = (TargetRef, String, bool);

/// What was said of facts.
#[derive(Clone, Debug, Default)]
pub struct Said {
    numbers: BTreeMap<Key, BTreeMap<Time, Result<f64, Unknown>>>,
    /// The Deployments of ReplicaSets, `namespace/name`.
    pub(super) owners: BTreeMap<String, TargetRef>,
}

impl Said {
    /// Takes an answer in.
    pub(super) fn heard(&mut self, target: &TargetRef, fact: &str, answer: &Answer) {
        self.put(target, fact, false, &answer.value);
        if let Some(floor) = &answer.floor {
            self.put(target, fact, true, floor);
        }
    }

    fn put(&mut self, target: &TargetRef, fact: &str, floor: bool, said: &Fact<Number>) {
        let numbers = self.numbers.entry((target.clone(), fact.to_owned(), floor)).or_default();
        numbers.insert(said.at, said.value.clone().map(Number::get));
    }
}

impl Recorded for Said {
    fn value(&self, wanted: &Wanted<'_>, at: Time) -> Result<f64, Unknown> {
        let nobody = || Unknown::new(UnknownKind::Empty, format!("nobody asked for `{}` then", wanted.fact));
        let target = wanted.target.ok_or_else(nobody)?;
        let numbers = self.numbers.get(&(target.clone(), wanted.fact.to_owned(), wanted.floor)).ok_or_else(nobody)?;
        let away = |said: &Time| said.since(at).max(at.since(*said));
        let before = numbers.range(..=at).next_back();
        let nearest = before.into_iter().chain(numbers.range(at..).next()).min_by_key(|(said, _)| away(said));
        match nearest {
            Some((said, number)) if away(said) <= NEAR => number.clone(),
            _ => Err(nobody()),
        }
    }

    fn owner(&self, namespace: &str, pod: &str) -> Option<TargetRef> {
        let (set, _) = pod.rsplit_once('-')?;
        self.owners.get(&format!("{namespace}/{set}")).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::from_millis(second * 1000)
    }

    #[test]
    fn a_number_counts_near_the_time_that_it_was_read() {
        let target = TargetRef::deployment("shop", "web").expect("names");
        let mut said = Said::default();
        for (second, number) in [(1000, 0.1), (1200, 0.5)] {
            let value = Fact { value: Ok(Number::new(number).expect("finite")), at: at(second), source: String::new() };
            said.heard(&target, "errors", &Answer { value, floor: None });
        }
        let ask = |fact: &str, floor: bool, target: Option<&TargetRef>, second: i64| {
            said.value(&Wanted { fact, floor, promql: "", target }, at(second)).ok()
        };
        let found: Vec<_> =
            [879, 880, 1000, 1099, 1101, 1320, 1321].map(|second| ask("errors", false, Some(&target), second)).into();
        assert_eq!(found, [None, Some(0.1), Some(0.1), Some(0.1), Some(0.5), Some(0.5), None]);
        assert_eq!(ask("errors", true, Some(&target), 1000), None, "no traffic was asked for");
        assert_eq!(ask("latency", false, Some(&target), 1000), None);
        assert_eq!(ask("errors", false, None, 1000), None);
    }
}
