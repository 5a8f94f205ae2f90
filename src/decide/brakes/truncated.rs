//! `truncated`: from a notification that was cut nobody can conclude what does not fire.

use super::Scene;
use crate::decide::decision::Judgement;
use crate::model::Brake;
use crate::policy::matcher;
use crate::policy::types::Rule;

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    let absence = draws_on_absence(scene.rule) || passed_over(scene);
    verdict(scene.incident.truncated(), absence, &scene.rule.name)
}

/// Whether an earlier rule was passed over because no alert here is what it is about: the one that it waits for may be cut.
fn passed_over(scene: &Scene<'_>) -> bool {
    let earlier = scene.policy.decide.iter().take_while(|rule| rule.name != scene.rule.name);
    let about = |rule: &Rule| {
        scene.incident.firing().any(|member| matcher::all_match_with(&rule.matchers, |name| member.alert.labels.get(name)))
    };
    earlier.into_iter().any(|rule| !about(rule) || draws_on_absence(rule))
}

fn verdict(cut: bool, absence: bool, rule: &str) -> Judgement {
    const BRAKE: Brake = Brake::Truncated;
    match (cut, absence) {
        (true, true) => Judgement::held(BRAKE, format!("a notification was cut, and {rule} draws on which other alerts fire")),
        (true, false) => Judgement::free(BRAKE, format!("a notification was cut, but {rule} draws on no absence")),
        (false, _) => Judgement::free(BRAKE, "no notification was cut"),
    }
}

/// Whether the rule may hold because an alert is *not* there. Matchers look at one alert each; conditions may look at all.
fn draws_on_absence(rule: &Rule) -> bool {
    rule.condition.as_ref().is_some_and(|condition| condition.parts().iter().any(|part| mentions_alerts(part.source())))
}

/// Whether a condition's text names the list of alerts. Too often is safe, so strings and comments are not told apart.
fn mentions_alerts(source: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    source.split(|c| !word(c)).any(|name| matches!(name, "firing" | "alerts"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, loaded};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::policy::matcher::{Matcher, Op};

    #[test]
    fn holds_when_a_cut_list_is_drawn_on() {
        for (cut, absence, grip) in
            [(false, false, Grip::Free), (false, true, Grip::Free), (true, false, Grip::Free), (true, true, Grip::Held)]
        {
            assert_eq!(verdict(cut, absence, "rule 1").grip, grip, "{cut} {absence}");
        }
    }

    #[test]
    fn knows_conditions_that_look_at_all_alerts() {
        for (source, looks) in [
            ("!firing('alertname = \"Deploying\"')", true),
            ("alerts.exists(a, a.labels.x == '1')", true),
            ("facts.errors > 0.5", false),
            ("alert.name == 'x'", false),
        ] {
            assert_eq!(mentions_alerts(source), looks, "{source}");
        }
    }

    #[test]
    fn a_rule_that_was_passed_over_may_have_lost_its_alert() {
        let mut world = World::new();
        world.change_member(|member| member.truncated = true);
        let data = Matcher::new("kind", Op::Equal, "corruption").expect("a matcher");
        world.policy.decide.insert(0, Rule { name: "data".to_owned(), matchers: vec![data], ..world.rule.clone() });
        assert_eq!(judge(&world.scene()).grip, Grip::Held);
        world.change_member(|member| member.alert.labels.insert("kind", "corruption"));
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "it is here, and its rule was passed over for another reason");
    }

    #[test]
    fn a_rule_that_wants_an_alert_not_to_fire_holds_on_a_cut_list() {
        for (condition, holds) in [("!firing(\"alertname = Deploying\")", true), ("change.age < duration(\"1h\")", false)] {
            let text = format!(
                "policies: [{{name: web, mode: shadow, targets: ['shop/*'], decide: [{{when: '{condition}', rollback: undo}}, {{page: {{}}}}]}}]\n"
            );
            let mut world = World::new();
            world.rule.condition.clone_from(&loaded(&text).get("web").expect("loaded").decide[0].condition);
            assert!(!judge(&world.scene()).holds(), "{condition}: nothing was cut");
            world.change_member(|member| member.truncated = true);
            assert_eq!(judge(&world.scene()).holds(), holds, "{condition}");
        }
    }

    #[test]
    fn a_rule_without_conditions_draws_on_nothing() {
        let mut world = World::new();
        world.change_member(|member| member.truncated = true);
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
        assert!(judge(&world.scene()).because.contains("was cut"));
    }

    proptest! {
        /// That a notification was cut never lets go, nor does a rule more that was passed over.
        #[test]
        fn less_that_is_known_never_lets_go(cut in any::<bool>(), earlier in 0_usize..4) {
            let holds = |cut: bool, earlier: usize| {
                let mut world = World::new();
                world.change_member(|member| member.truncated = cut);
                for number in 0..earlier {
                    let about = Matcher::new("kind", Op::Equal, format!("k{number}")).expect("a matcher");
                    let rule = Rule { name: format!("r{number}"), matchers: vec![about], ..world.rule.clone() };
                    world.policy.decide.insert(0, rule);
                }
                judge(&world.scene()).holds()
            };
            prop_assert_eq!(holds(cut, earlier), cut && earlier > 0);
            prop_assert!(!holds(cut, earlier) || (holds(true, earlier) && holds(cut, earlier + 1)));
        }
    }
}
