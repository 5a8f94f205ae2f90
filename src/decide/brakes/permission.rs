//! `permission`: the policy names what it may touch, and the cluster must allow what the plan needs. Cannot be switched off.

use super::Scene;
use crate::decide::decision::Judgement;
use crate::model::{Brake, Mode};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Permission;
    let Some(target) = scene.incident.target.as_ref().map(|target| &target.at) else {
        let why = scene.incident.unresolved.as_deref().unwrap_or("it was not looked for");
        return Judgement::blind(BRAKE, format!("the target is not known: {why}"));
    };
    let patterns: Vec<&str> = scene.policy.targets.iter().map(|pattern| pattern.0.as_str()).collect();
    // Only a policy in shadow may name none: it touches nothing.
    let unbound = patterns.is_empty() && scene.mode == Mode::Shadow;
    let name = format!("{}/{}", target.namespace, target.name);
    if !unbound && !scene.policy.targets.iter().any(|pattern| pattern.covers(target)) {
        let patterns = if patterns.is_empty() { "none".to_owned() } else { patterns.join(", ") };
        return Judgement::held(BRAKE, format!("{name} is outside the policy's `targets` ({patterns})"));
    }
    let mut findings = scene.incident.preflight.iter().flat_map(|report| &report.findings);
    if let Some(finding) = findings.find(|finding| finding.forbidden) {
        let problem = finding.problem.as_deref().unwrap_or("forbidden");
        return Judgement::held(BRAKE, format!("the cluster refuses what the plan needs: {}: {problem}", finding.check));
    }
    Judgement::free(BRAKE, format!("{name} is within the policy's `targets`, and the cluster has refused nothing"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::World;
    use super::*;
    use crate::decide::decision::Grip;
    use crate::model::{PreflightFinding, PreflightReport};
    use crate::policy::types::TargetPattern;

    type Case = (&'static str, fn(&mut World), Grip, &'static str);

    #[test]
    fn holds_outside_of_what_is_allowed() {
        let cases: &[Case] = &[
            ("covered", |_| {}, Grip::Free, "shop/web is within"),
            ("elsewhere", |w| targets(w, &["pay/*", "shop/api"]), Grip::Held, "outside the policy's `targets` (pay/*, shop/api)"),
            ("one of several", |w| targets(w, &["pay/*", "*/web"]), Grip::Free, "within"),
            ("none named", |w| targets(w, &[]), Grip::Held, "(none)"),
            (
                "none named, shadow",
                |w| {
                    targets(w, &[]);
                    w.mode = Mode::Shadow;
                },
                Grip::Free,
                "refused nothing",
            ),
            (
                "named, shadow",
                |w| {
                    targets(w, &["pay/*"]);
                    w.mode = Mode::Shadow;
                },
                Grip::Held,
                "outside",
            ),
            ("forbidden", |w| found(w, true), Grip::Held, "dry run: cannot patch"),
            ("another problem", |w| found(w, false), Grip::Free, "within"),
        ];
        for (name, spoil, grip, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, *grip, "{name}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{name}: {}", judgement.because);
        }
    }

    #[test]
    fn holds_when_blind() {
        let mut world = World::new();
        world.incident.target = None;
        world.incident.unresolved = Some("no label names it".to_owned());
        let judgement = judge(&world.scene());
        assert_eq!(judgement.grip, Grip::Blind);
        assert!(judgement.because.contains("no label names it"));
    }

    fn targets(world: &mut World, patterns: &[&str]) {
        world.policy.targets = patterns.iter().map(|pattern| TargetPattern((*pattern).to_owned())).collect();
    }

    fn found(world: &mut World, forbidden: bool) {
        let check = "dry run".to_owned();
        let finding = PreflightFinding { check, problem: Some("cannot patch".to_owned()), forbidden, transient: false };
        world.incident.preflight = Some(PreflightReport { findings: vec![finding] });
    }

    proptest! {
        /// What a policy does not name is never touched, and naming less never lets go.
        #[test]
        fn naming_less_never_lets_go(named in proptest::collection::vec(0_usize..5, 0..5), kept in proptest::collection::vec(any::<bool>(), 5)) {
            const PATTERNS: [&str; 5] = ["shop/web", "shop/w*", "*/api", "pay/*", "shop*/web-2"];
            let grip = |patterns: &[&str]| {
                let mut world = World::new();
                targets(&mut world, patterns);
                judge(&world.scene()).holds()
            };
            let all: Vec<&str> = named.iter().map(|at| PATTERNS[*at]).collect();
            let fewer: Vec<&str> = all.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(pattern, _)| *pattern).collect();
            prop_assert!(!grip(&all) || grip(&fewer));
            prop_assert_eq!(grip(&all), !all.iter().any(|pattern| ["shop/web", "shop/w*"].contains(pattern)));
        }
    }
}
