//! Policies as they can be judged by a history: what no history holds is unknown in every condition.

use crate::policy::expr::{Expr, Path};
use crate::policy::types::{Condition, FactSource, Policies, Verify};

/// The same policies; what they read and no history holds is unknown.
pub fn as_of_then(policies: &Policies) -> Policies {
    let mut then = policies.clone();
    for policy in &mut then.policies {
        for rule in &mut policy.decide {
            match &mut rule.condition {
                Some(Condition::When(expr)) => hide(expr),
                Some(Condition::Any(parts) | Condition::All(parts)) => parts.iter_mut().for_each(hide),
                None => {}
            }
        }
        policy.figures.iter_mut().for_each(|(_, expr)| hide(expr));
        for fact in policy.facts.values_mut() {
            if let FactSource::Annotation { default, .. } = &mut fact.source {
                // A default stands for an annotation that is not there, not for one that nobody wrote down.
                *default = None;
            }
        }
    }
    for procedure in then.procedures.values_mut() {
        procedure.steps.iter_mut().filter_map(|step| step.when.as_mut()).for_each(hide);
        verify(&mut procedure.verify);
    }
    then
}

fn verify(stage: &mut Verify) {
    stage.facts.iter_mut().for_each(hide);
    stage.then.iter_mut().for_each(verify);
}

fn hide(expr: &mut Expr) {
    *expr = expr.without(why);
}

/// Why the value of a path is in no history.
fn why(path: &Path, condition: &str) -> Option<&'static str> {
    match path {
        Path::Annotation(_) => Some("annotations of alerts are not in the history"),
        Path::Alerts if condition.contains("annotations") => Some("annotations of alerts are not in the history"),
        Path::ChangeBy => Some("who made a change is not in the history"),
        Path::ChangeBarrier => Some("data barriers are not in the history"),
        _ => None,
    }
}
