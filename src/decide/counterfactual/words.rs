//! How a counterfactual is put into words. Decides nothing.

use std::time::Duration;

use super::values::{number, text_of};
use super::variable::{Carrier, Variable};
use super::{Basis, Counterfactual, Flips};
use crate::model::{FactType, Outcome};
use crate::policy::duration;

impl Counterfactual {
    /// `would have rolled back if facts.errors had been more than 0.1 (it was 0.04)`.
    pub fn sentence(&self) -> String {
        let still = match self.then {
            Outcome::Rollback => "the verdict would be rollback then",
            Outcome::Page => "the verdict would still be page",
            Outcome::FixForward => "the verdict would be fix forward",
        };
        let condition = &self.condition;
        match (&self.flips, self.then) {
            (Flips::Verdict, Outcome::Rollback) => format!("would have rolled back if {condition}"),
            (Flips::Verdict, Outcome::Page) => format!("would have paged if {condition}"),
            (Flips::Verdict, Outcome::FixForward) => format!("would have said fix forward if {condition}"),
            (Flips::Brake { brake }, _) => format!("brake `{brake}` would have let go if {condition}; {still}"),
            (Flips::Condition { rule, condition: text }, _) => {
                format!("in rule `{rule}`, `{text}` would have held if {condition}; {still}")
            }
        }
    }
}

/// `facts.errors had been more than 0.1 (it was 0.04)`; of two neighbours the second flips.
pub(super) fn condition(variable: &Variable, basis: &Basis, (short_of, to): (i64, i64)) -> String {
    let moved = || span(to);
    let later = |earlier: &'static str, later: &'static str| if to < 0 { earlier } else { later };
    match variable {
        Variable::Fact { name, of } => {
            let unit = if *of == FactType::Duration { "s" } else { "" };
            let (known, was) = match basis.observation.values.get(name).map(|answer| &answer.value.value) {
                Some(Ok(was)) => ("", format!(" (it was {}{unit})", was.get())),
                Some(Err(why)) => ("known and ", format!(" (it was unknown: {why})")),
                None => ("", String::new()),
            };
            if to == short_of {
                return format!("facts.{name} had been known{was}");
            }
            let value = match of {
                FactType::Bool if to == 0 => "false".to_owned(),
                FactType::Bool => "true".to_owned(),
                FactType::Duration => border(&span(short_of), &span(to), to > short_of),
                FactType::Number | FactType::Text => compared(number(short_of), number(to)),
            };
            format!("facts.{name} had been {known}{value}{was}")
        }
        Variable::Traffic { name, .. } => {
            let known = basis.observation.values.get(name).and_then(|answer| answer.floor.as_ref());
            let was = known.map_or_else(String::new, |floor| match &floor.value {
                Ok(was) => format!(" (it was {})", was.get()),
                Err(why) => format!(" ({why})"),
            });
            format!("the traffic behind facts.{name} had been {}{was}", compared(number(short_of), number(to)))
        }
        Variable::Text { name, carrier } => {
            let was = text_of(basis, name, carrier).unwrap_or_default();
            let value = if variable.is_number(basis) {
                compared(number(short_of), number(to))
            } else {
                border(&span(short_of), &span(to), to > short_of)
            };
            let whose = match carrier {
                Carrier::Document => String::new(),
                Carrier::Label(label) => format!(", the label {label:?},"),
                Carrier::Annotation(annotation) => format!(", the annotation {annotation:?},"),
            };
            format!("facts.{name}{whose} had been {value} (it was {was:?})")
        }
        Variable::FactTime { name } => format!("the sample of facts.{name} had been {} younger", moved()),
        Variable::ReadTime => format!("the target had been read {} later", moved()),
        Variable::WatchTime => format!("the watch had heard from the API server {} later", moved()),
        Variable::Change => format!("the change had been {} {}", moved(), later("older", "younger")),
        Variable::Onset => format!("the trouble had begun {} {}", moved(), later("earlier", "later")),
        Variable::Rollbacks { which, of } => match (which.len(), of) {
            (1, 1) => format!("the rollback that is remembered had been {} {}", moved(), later("older", "younger")),
            (count, of) => format!("{count} of the {of} rollbacks that count had been {} {}", moved(), later("older", "younger")),
        },
        Variable::Flaps => format!("the target had flapped {} {}", moved(), later("earlier", "later")),
        Variable::Writes => format!("what others wrote to the target had been written {} {}", moved(), later("earlier", "later")),
        Variable::Veto => format!("the veto had ended {} {}", moved(), later("earlier", "later")),
        Variable::Pause { id } => format!("pause {id} had ended {} {}", moved(), later("earlier", "later")),
        Variable::Healthy => format!("the release to go back to had been available {} longer", moved()),
        Variable::LastAvailable => format!("the release to go back to had been available until {} later", moved()),
        Variable::FiredBefore { alertname } => {
            format!("{alertname:?} had fired {} {} on the release to go back to", moved(), later("earlier", "later"))
        }
        Variable::Wants => format!("the other targets had wanted a rollback {} {}", moved(), later("earlier", "later")),
        Variable::Alike => format!("the same had begun {} {} on the other targets", moved(), later("earlier", "later")),
        Variable::Latches { ids } => format!("{} had been cleared", latches(ids)),
        Variable::Migrations { names } => format!("{} had ended {} earlier", jobs(names), moved()),
        Variable::Moment { .. } => format!("all this had been seen {} {}", moved(), later("earlier", "later")),
    }
}

/// `latch 3`, `latches 3 and 5`.
fn latches(ids: &[u64]) -> String {
    let numbers: Vec<String> = ids.iter().map(u64::to_string).collect();
    format!("{} {}", if ids.len() == 1 { "latch" } else { "latches" }, numbers.join(" and "))
}

/// `the migration Job "migrate-2"`.
fn jobs(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("the migration {} {}", if names.len() == 1 { "Job" } else { "Jobs" }, quoted.join(" and "))
}

fn span(millis: i64) -> String {
    duration::format(Duration::from_millis(millis.unsigned_abs()))
}

/// `more than 0.5` where 0.5 itself does not do, `0.5 or more` where it does: whichever is the number that people know.
fn compared(short_of: f64, to: f64) -> String {
    border(&short_of.to_string(), &to.to_string(), to > short_of)
}

fn border(short: &str, does: &str, up: bool) -> String {
    match (does.len() <= short.len(), up) {
        (true, true) => format!("{does} or more"),
        (true, false) => format!("{does} or less"),
        (false, true) => format!("more than {short}"),
        (false, false) => format!("less than {short}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_people_know_is_named() {
        let (below, above) = (0.5_f64.next_down(), 0.5_f64.next_up());
        assert_eq!(compared(0.5, above), "more than 0.5");
        assert_eq!(compared(below, 0.5), "0.5 or more");
        assert_eq!(compared(above, 0.5), "0.5 or less");
        assert_eq!(compared(0.5, below), "less than 0.5");
    }
}
