//! What the language comes to in a decision: each kind of fact, tables, intervals, steps; and that seeing less never acts more.

use proptest::prelude::*;

use super::*;
use crate::decide::brakes::fixture::{World, decided, hours, loaded, minutes, unreachable};
use crate::decide::observation::Answer;
use crate::decide::request;
use crate::model::{AlertOnPeer, Fact, Number, PeerAlertState, PeerView, PlannedStep, ReadFrom, Texts, Unknown};
use crate::policy::types::Policies;
use crate::policy::{SourceFile, load};

/// A policy that may act, with these rules and these keys besides.
fn acting(rules: &str, besides: &str) -> String {
    format!("policies: [{{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], decide: [{rules}]{besides}}}]\n")
}

/// A world in which nothing holds a rollback: the alert fires, with these labels and annotations.
fn world(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> World {
    let mut world = World::new();
    let mut member = world.incident.members.values().next().expect("it has one").clone();
    member.alert.labels = Texts::of([("alertname", "HighErrors")].into_iter().chain(labels.iter().copied()));
    member.alert.annotations = Texts::of(annotations.iter().copied());
    let on_peer = AlertOnPeer {
        occurrence: member.alert.occurrence(),
        labels: member.alert.labels.to_map(),
        state: PeerAlertState::Active,
    };
    let peer = PeerView { peer: "am".to_owned(), up: hours(9), alerts: vec![on_peer], ..PeerView::default() };
    world.observation.alerts.peers = vec![Fact::known(peer, world.now, "alertmanager")];
    world.incident.members = [member].into_iter().collect();
    world.observation.values.clear();
    world
}

fn seen(world: &mut World, name: &str, value: f64) {
    let number = Number::new(value).expect("finite");
    let answer = Answer { value: Fact::known(number, world.now, "prometheus"), floor: None };
    world.observation.values.insert(name.to_owned(), answer);
}

fn hidden(world: &mut World, name: &str) {
    let answer = Answer { value: Fact::unknown(unreachable(), world.now, "prometheus"), floor: None };
    world.observation.values.insert(name.to_owned(), answer);
}

fn rule_of(decision: &Decision) -> &str {
    decision.rules.last().map_or("", |trail| trail.rule.as_str())
}

#[test]
fn the_world_of_these_tests_lets_a_rollback_through() {
    let decision = decided(&loaded(&acting("{rollback: undo}", "")), &world(&[], &[]));
    assert_eq!((decision.outcome, decision.mode), (Outcome::Rollback, Mode::Enforce), "{}", decision.summary);
}

#[test]
fn labels_and_annotations_are_facts() {
    let text = acting(
        "{when: 'facts.fix > duration(\"1h\") && facts.tier == \"gold\" && facts.risky', rollback: undo}, {fix_forward: {}}",
        ", facts: {fix: {annotation: time_to_fix, as: duration, default: 2h}, tier: {label: tier}, risky: {label: risky, as: bool}}",
    );
    let all = loaded(&text);
    for (labels, annotations, outcome, words) in [
        (&[("tier", "gold"), ("risky", "true")][..], &[][..], Outcome::Rollback, "says rollback"),
        (&[("tier", "gold"), ("risky", "true")], &[("time_to_fix", "30m")], Outcome::FixForward, "fix forward"),
        (&[("tier", "gold"), ("risky", "true")], &[("time_to_fix", "soon")], Outcome::Page, "\"soon\" is not a duration"),
        (&[("tier", "tin"), ("risky", "true")], &[], Outcome::FixForward, "fix forward"),
        (&[("tier", "gold")], &[], Outcome::Page, "the alert has no label `risky`"),
        (&[("risky", "true")], &[], Outcome::Page, "the alert has no label `tier`"),
        (&[("tier", "gold"), ("risky", "yes")], &[], Outcome::Page, "\"yes\" is not `true` or `false`"),
    ] {
        let decision = decided(&all, &world(labels, annotations));
        assert_eq!(decision.outcome, outcome, "{labels:?} {annotations:?}: {}", decision.summary);
        assert!(decision.summary.contains(words), "{labels:?} {annotations:?}: {}", decision.summary);
        assert!(decision.wanted.is_empty(), "nobody is asked for what the alert says");
    }
}

/// Makes a fact's sample so old.
fn aged(world: &mut World, name: &str, age: std::time::Duration) {
    let at = world.now - age;
    let answer = world.observation.values.get_mut(name).expect("it was seen");
    answer.value.at = at;
}

#[test]
fn a_ticket_rests_on_nothing_that_is_too_old() {
    let rules = "{name: many, when: 'facts.errors > 0.1 && facts.users > 9.0', rollback: undo}, {name: rest, fix_forward: {}}";
    let facts = ", facts: {errors: {promql: e}, users: {promql: u}}";
    let all = loaded(&acting(rules, facts));
    let of = |errors: f64, users: f64, old: &[&str], all: &Policies| {
        let mut world = world(&[], &[]);
        seen(&mut world, "errors", errors);
        seen(&mut world, "users", users);
        old.iter().for_each(|name| aged(&mut world, name, minutes(10)));
        decided(all, &world)
    };
    assert_eq!(of(0.01, 80.0, &[], &all).outcome, Outcome::FixForward);
    let old = of(0.01, 80.0, &["errors"], &all);
    assert_eq!((old.outcome, old.reason, rule_of(&old)), (Outcome::Page, Reason::RuleUnknown, "many"), "{}", old.summary);
    assert!(old.summary.contains("`facts.errors` is unknown: it is 10m old; at most 30s are allowed"), "{}", old.summary);
    assert!(!old.unknown.is_empty(), "it is asked for again before it pages");
    // False for what is fresh, whatever the old one says.
    let enough = of(0.01, 80.0, &["users"], &all);
    assert_eq!((enough.outcome, rule_of(&enough)), (Outcome::FixForward, "rest"), "{}", enough.summary);
    assert!(enough.unknown.is_empty());
    // A rollback has its brake.
    let held = of(0.5, 80.0, &["users"], &all);
    assert_eq!((held.outcome, held.brake), (Outcome::Page, Some(Brake::StaleFacts)), "{}", held.summary);
    // One that is switched off, with a reason, lets everything count.
    let off = loaded(&acting(rules, &format!("{facts}, brakes: {{stale_facts: {{disabled: 'recorded once an hour'}}}}")));
    assert_eq!(of(0.01, 80.0, &["errors"], &off).outcome, Outcome::FixForward);
}

#[test]
fn what_the_traffic_behind_a_ticket_is_may_not_be_too_old_either() {
    let text = acting(
        "{when: 'facts.errors > 0.1', rollback: undo}, {fix_forward: {}}",
        ", facts: {errors: {promql: e, floor: {promql: t, at_least: 10}}}",
    );
    let all = loaded(&text);
    let mut world = world(&[], &[]);
    let number = |value: f64| Number::new(value).expect("finite");
    let traffic = |at: Time| Answer {
        value: Fact::known(number(0.01), world.now, "prometheus"),
        floor: Some(Fact::known(number(50.0), at, "prometheus")),
    };
    let (fresh, old) = (traffic(world.now), traffic(world.now - minutes(10)));
    world.observation.values.insert("errors".to_owned(), fresh);
    assert_eq!(decided(&all, &world).outcome, Outcome::FixForward);
    world.observation.values.insert("errors".to_owned(), old);
    let decision = decided(&all, &world);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Page, Reason::RuleUnknown), "{}", decision.summary);
}

#[test]
fn what_ran_before_is_asked_for_its_own_time() {
    let text = acting(
        "{when: 'facts.p95 > 2.0 * facts.before', rollback: undo}, {page: {}}",
        ", facts: {p95: {promql: p95}, before: {promql: 'p95{w=\"$name\"}', at: before_change}}",
    );
    let all = loaded(&text);
    let mut world = world(&[], &[]);
    assert_eq!(decided(&all, &world).wanted, ["p95", "before"]);

    let policy = all.get("web").expect("it is there");
    let names = ["before".to_owned(), "p95".to_owned()];
    let asked = request::facts(policy, &names, &world.incident, &world.book, Some("prod"));
    let written = world.release("b").live_since;
    assert_eq!((asked.queries["before"].at, asked.queries["p95"].at), (Some(written), None));
    assert_eq!(asked.queries["before"].promql, "p95{w=\"web\"}");

    seen(&mut world, "p95", 0.9);
    let number = Number::new(0.4).expect("finite");
    let old = Answer { value: Fact::known(number, world.now - minutes(20), "prometheus"), floor: None };
    world.observation.values.insert("before".to_owned(), old);
    let decision = decided(&all, &world);
    assert_eq!(decision.outcome, Outcome::Rollback, "its age says nothing: {}", decision.summary);

    world.forget();
    assert!(!request::facts(policy, &names, &world.incident, &world.book, None).queries.contains_key("before"));
    let decision = decided(&all, &world);
    assert_eq!(decision.outcome, Outcome::Page);
    assert!(decision.summary.contains("when the change was first written is not known"), "{}", decision.summary);
}

#[test]
fn a_json_document_is_a_fact() {
    let text = acting(
        "{when: 'facts.users > 100.0', rollback: undo}, {page: {}}",
        ", facts: {users: {http: {url: 'https://status.example/{{ labels.app }}', pointer: /users}}}",
    );
    let all = loaded(&text);
    let mut world = world(&[("app", "a/b")], &[]);
    let decision = decided(&all, &world);
    assert_eq!(decision.wanted, ["users"]);
    let asked = request::facts(all.get("web").expect("there"), &decision.wanted, &world.incident, &world.book, None);
    assert_eq!(
        (asked.fetches["users"].url.as_str(), asked.fetches["users"].pointer.as_str()),
        ("https://status.example/a%2Fb", "/users")
    );

    let mut answer = |value: Result<&str, Unknown>, ago| {
        let fact = Fact { value: value.map(str::to_owned), at: world.now - ago, source: "http".to_owned() };
        world.observation.texts.insert("users".to_owned(), fact);
        decided(&all, &world)
    };
    assert_eq!(answer(Ok("150"), minutes(0)).outcome, Outcome::Rollback);
    assert_eq!(answer(Ok("15"), minutes(0)).outcome, Outcome::Page);
    let decision = answer(Ok("many"), minutes(0));
    assert!(decision.summary.contains("\"many\" is not a number"), "{}", decision.summary);
    assert_eq!(answer(Err(unreachable()), minutes(0)).reason, Reason::RuleUnknown);
    assert_eq!(answer(Ok("150"), minutes(5)).brake, Some(Brake::StaleFacts));
}

#[test]
fn a_table_decides_row_by_row() {
    let text = acting(
        "{name: m, table: {columns: [label severity, facts.users, facts.fix], rows: [
            [critical, '> 0.99', '> 1h', {rollback: undo}],
            [critical, '> 0.99', any, {fix_forward: [tracker]}],
            [any, any, any, {page: [oncall]}]]}}",
        ", facts: {users: {promql: users}, fix: {annotation: fix, as: duration}}",
    );
    let all = loaded(&text);
    for (severity, users, fix, outcome, rule) in [
        ("critical", Some(1.0), "2h", Outcome::Rollback, "m row 1"),
        ("critical", Some(1.0), "1h", Outcome::FixForward, "m row 2"),
        ("critical", Some(0.5), "2h", Outcome::Page, "m row 3"),
        ("warning", None, "2h", Outcome::Page, "m row 3"),
        ("critical", None, "2h", Outcome::Page, "m row 1"),
        // Unknown in the first row: no later one is looked at.
        ("critical", Some(1.0), "never", Outcome::Page, "m row 1"),
    ] {
        let mut world = world(&[("severity", severity)], &[("fix", fix)]);
        match users {
            Some(users) => seen(&mut world, "users", users),
            None => hidden(&mut world, "users"),
        }
        let decision = decided(&all, &world);
        assert_eq!((decision.outcome, rule_of(&decision)), (outcome, rule), "{severity} {users:?} {fix}: {}", decision.summary);
    }
}

#[test]
fn intervals_are_of_the_clock_of_the_decision() {
    let text = format!(
        "time_intervals: [{{name: mornings, time_intervals: [{{times: [{{start_time: '10:00', end_time: '11:00'}}], location: Europe/Berlin}}]}}]\n{}",
        acting("{when: 'in_interval(\"mornings\")', page: {}}, {rollback: undo}", "")
    );
    let all = loaded(&text);
    // 09:24 UTC is 10:24 in Berlin in March.
    let mut world = world(&[], &[]);
    assert_eq!(decided(&all, &world).outcome, Outcome::Page);
    world.now = world.now + minutes(36);
    assert_eq!(rule_of(&decided(&all, &world)), "rule 2");
}

#[test]
fn a_step_may_be_left_out_and_what_is_unknown_pages() {
    let text = |when: &str| {
        format!(
            "{}procedures: [{{name: p, steps: [{{undo: {{when: '{when}'}}}}]}}]\n",
            acting("{rollback: p}", ", facts: {x: {promql: x}}")
        )
    };
    let mut world = world(&[], &[]);
    let decision = decided(&loaded(&text("change.age < duration(\"1h\")")), &world);
    assert_eq!(decision.outcome, Outcome::Rollback, "{}", decision.summary);
    let decision = decided(&loaded(&text("change.age > duration(\"1h\")")), &world);
    assert_eq!((decision.outcome, decision.plan.is_none()), (Outcome::Page, true));
    assert!(decision.summary.contains("no step of `p` is to be done"), "{}", decision.summary);
    let all = loaded(&text("facts.x > 1"));
    assert_eq!(decided(&all, &world).wanted, ["x"]);
    hidden(&mut world, "x");
    let decision = decided(&all, &world);
    assert_eq!((decision.outcome, decision.reason), (Outcome::Page, Reason::RuleUnknown));
    assert!(decision.summary.contains("whether the step `undo` of `p` is done cannot be told"), "{}", decision.summary);
    seen(&mut world, "x", 2.0);
    assert_eq!(decided(&all, &world).outcome, Outcome::Rollback);
}

/// Every step of the language, with a way back where one is needed.
const EVERY_STEP: &str = "
procedures:
  - name: everything
    steps:
      - scale: {workload: deployment/worker, replicas: 0}
      - job: {from: cronjob/migrate-down, image: leaving, args: ['--to', '{{ plan.to.version }}'], within: 10m, when: 'true'}
      - undo
      - image: {container: app, image: 'web:{{ plan.to.version }}'}
      - switch: {key: side, to: standby}
      - traffic: {route: web, to: stable, through: [10, 50, 100], every: 1m}
      - isolate: {service: web}
      - restart
      - config: {configmap: web-config}
      - helm: {release: web}
      - http: {post: 'https://flags.example/{{ target.name }}', json: {on: false, of: '{{ plan.from.version }}'}, expect: 2xx}
      - git: {repo: 'https://git.example/x', path: web.yaml, revert: change}
      - docker
      - exec: {program: /bin/true, args: [x]}
      - wait: {time: 1m}
      - scale: {workload: deployment/worker, replicas: restore}
    on_failure: [{scale: {workload: deployment/worker, replicas: restore}}]
";

#[test]
fn a_plan_lists_every_step_and_never_acts_by_one_without_hands() {
    let shadow = "policies: [{name: web, decide: [{rollback: everything}]}]\n";
    let mut all = loaded(&format!("{shadow}{EVERY_STEP}"));
    let world = world(&[], &[]);
    let decision = decided(&all, &world);
    let plan = decision.plan.as_ref().expect("a plan");
    let names: Vec<&str> = plan.steps.iter().map(PlannedStep::name).collect();
    assert_eq!(
        names,
        [
            "scale", "job", "undo", "image", "switch", "traffic", "isolate", "restart", "config", "helm", "http", "git",
            "docker", "exec", "wait", "scale"
        ]
    );
    let key = |step: usize, key: &str| match &plan.steps[step] {
        PlannedStep::Listed { keys, .. } => keys.get(key).cloned(),
        PlannedStep::Undo { .. } => None,
    };
    assert_eq!(key(1, "args 01").as_deref(), Some("a"), "the tag of the release that is gone to");
    assert_eq!(key(10, "post").as_deref(), Some("https://flags.example/web"));
    assert_eq!(key(10, "json").as_deref(), Some(r#"{"of":"b","on":false}"#));
    assert_eq!((plan.on_failure.len(), plan.is_carried_out()), (1, false));
    assert_eq!(decision.mode, Mode::Shadow);

    // Whatever was loaded: it can only decide in shadow.
    all.policies[0].mode = Mode::Enforce;
    let decision = decided(&all, &world);
    assert_eq!((decision.outcome, decision.mode), (Outcome::Rollback, Mode::Shadow), "{}", decision.summary);
    assert_eq!(decision.plan.map(|plan| plan.mode), Some(Mode::Shadow));
}

#[test]
fn what_would_be_done_first_is_listed() {
    let all = loaded(
        "policies: [{name: web, decide: [{matchers: ['kind = \"data-loss\"'], first: stop, page: {latch: true}}, {first: calm, rollback: undo}]}]\nprocedures: [{name: calm, kind: contain, steps: [{scale: {replicas: 1, when: 'labels.tier == \"tin\"'}}, {http: {post: 'https://x.example/{{ target.name }}'}}]}]",
    );
    let decision = decided(&all, &world(&[("kind", "data-loss")], &[]));
    assert_eq!(decision.first.iter().map(ToString::to_string).collect::<Vec<_>>(), ["scale (replicas: 0)"]);
    assert!(
        decision.summary.ends_with("first `stop`, which is not carried out yet: scale (replicas: 0)"),
        "{}",
        decision.summary
    );
    let decision = decided(&all, &world(&[], &[]));
    assert_eq!((decision.outcome, decision.mode), (Outcome::Rollback, Mode::Shadow));
    assert_eq!(decision.first.iter().map(ToString::to_string).collect::<Vec<_>>(), ["http (post: https://x.example/web)"]);
}

#[test]
fn what_is_not_carried_out_is_refused_above_shadow() {
    let refused = |text: &str| {
        let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
        let found = load(&files, true).expect_err("it is refused");
        found.into_iter().filter(|found| found.is_error()).map(|found| (found.code, found.message)).collect::<Vec<_>>()
    };
    let found = refused(&format!("{}{EVERY_STEP}", acting("{rollback: everything}", "")));
    for step in [
        "scale", "job", "image", "switch", "traffic", "isolate", "restart", "config", "helm", "http", "git", "docker", "exec",
        "wait",
    ] {
        let wanted = format!(
            "the step `{step}` is not carried out yet, and the procedure `everything` in mode `enforce` would act without it"
        );
        assert!(found.contains(&("not-carried-out", wanted)), "{step}: {found:?}");
    }
    for (rules, word) in
        [("{first: stop, rollback: undo}", "`first`"), ("{rollback: helm}", "the step `helm` of the built-in `helm`")]
    {
        let found = refused(&acting(rules, ""));
        assert!(found.iter().any(|(code, message)| *code == "not-carried-out" && message.contains(word)), "{rules}: {found:?}");
        // A rule in shadow may say it.
        let rules = rules.replacen('{', "{mode: shadow, ", 1);
        loaded(&acting(&rules, ""));
    }
}

#[test]
fn a_procedure_in_shadow_may_do_what_nobody_carries_out() {
    let text = "procedures: [{name: p, mode: shadow, steps: [restart, undo]}]\n";
    let all = loaded(&format!("{}{text}", acting("{rollback: p}", "")));
    let decision = decided(&all, &world(&[], &[]));
    assert_eq!((decision.outcome, decision.mode), (Outcome::Rollback, Mode::Shadow));
}

#[test]
fn a_proof_pins_how_its_facts_are_read() {
    let text = format!(
        "{}procedures: [{{name: p, steps: [undo], verify: [{{name: one, rollout: complete, facts: ['facts.errors < 0.1']}}, {{facts: ['facts.gone && facts.tier == \"gold\"'], hold: 1m}}]}}]\n",
        acting("{rollback: p}", ", tail: 3m, facts: {errors: {promql: e}, gone: {promql: g, as: bool}, tier: {label: tier}}")
    );
    let decision = decided(&loaded(&text), &world(&[("tier", "gold")], &[]));
    let verify = decision.plan.expect("a plan").verify;
    assert_eq!(verify.stages().map(|stage| stage.facts.len()).collect::<Vec<_>>(), [1, 1]);
    assert_eq!((verify.name.as_deref(), verify.tail, verify.stage(1).tail), (Some("one"), Some(minutes(3)), Some(minutes(3))));
    assert!(verify.readings.is_empty(), "a number of Prometheus is read as ever");
    let readings = &verify.stage(1).readings;
    assert_eq!(readings.keys().map(String::as_str).collect::<Vec<_>>(), ["gone", "tier"]);
    assert!(matches!(readings["tier"].from, ReadFrom::Label { .. }));
    assert_eq!(verify.stage(1).queries.len(), 1);
    assert_eq!(verify.stage(9), verify.stage(1), "there is no stage behind the last");
}

#[test]
fn a_policy_in_shadow_decides_in_shadow() {
    let decision = decided(&loaded("policies: [{name: web, decide: [{rollback: undo}]}]\n"), &world(&[], &[]));
    assert_eq!((decision.outcome, decision.mode), (Outcome::Rollback, Mode::Shadow));
    let without_cluster = |mode: &str| {
        let (text, world) = (acting("{rollback: undo}", "").replace("enforce", mode), world(&[], &[]));
        let ctx = Context { policies: &loaded(&text), limits: &world.limits, cluster: None };
        decide(&ctx, &world.book, &world.incident, &world.observation, world.now).mode
    };
    assert_eq!(["approve", "enforce"].map(without_cluster), [Mode::Shadow; 2], "nobody knows whose alert it is");
}

#[test]
fn a_level_that_is_unfit_gives_way_to_the_next_and_the_last_one_says_why() {
    let text = |steps: &str| {
        format!("{}procedures: [{{name: drop, {steps}steps: [undo]}}]\n", acting("{name: back, rollback: [undo, drop]}", ""))
    };
    let mut world = world(&[], &[]);
    let first = decided(&loaded(&text("availability: may_drop, ")), &world).plan.expect("the first is fit");
    assert_eq!((first.procedure.as_str(), first.level), ("undo", Level { number: 1, of: 2 }));
    assert_eq!(first.to.images, ["web:a"]);

    world.workload().strategy = crate::model::Strategy::AllAtOnce;
    let decision = decided(&loaded(&text("availability: may_drop, ")), &world);
    assert_eq!(decision.outcome, Outcome::Rollback, "{}", decision.summary);
    let unfit = "`undo` is unfit (the target replaces all pods at once, and the procedure may not take it down (`may_drop`)); \
                 rule `back`";
    assert!(decision.summary.starts_with(unfit), "{}", decision.summary);
    let second = decision.plan.expect("the second is fit");
    assert_eq!((second.procedure.as_str(), second.level), ("drop", Level { number: 2, of: 2 }));

    let decision = decided(&loaded(&text("")), &world);
    assert_eq!((decision.outcome, decision.brake), (Outcome::Page, Some(Brake::FitTarget)));
    assert!(decision.summary.contains("rule `back` says rollback; brake `fit_target` holds"), "{}", decision.summary);
}

#[test]
fn another_brake_gives_no_turn_to_the_next_level() {
    let levels = acting("{rollback: [undo, drop]}", "");
    let text = format!("{levels}procedures: [{{name: drop, availability: may_drop, steps: [undo]}}]\n");
    let mut world = world(&[], &[]);
    world.workload().strategy = crate::model::Strategy::AllAtOnce;
    world.workload().paused = true;
    let decision = decided(&loaded(&text), &world);
    assert_eq!((decision.outcome, decision.brake), (Outcome::Page, Some(Brake::FitTarget)));
    assert!(!decision.summary.contains("is unfit"), "{}", decision.summary);
}

#[test]
fn what_cannot_be_filled_in_makes_no_plan() {
    let step = "http: {post: 'https://flags.example/{{ labels.flag }}'}";
    let text = format!(
        "policies: [{{name: web, decide: [{{name: back, rollback: p}}]}}]\nprocedures: [{{name: p, steps: [{{{step}}}]}}]\n"
    );
    let decision = decided(&loaded(&text), &world(&[("flag", "cart")], &[]));
    assert_eq!(decision.outcome, Outcome::Rollback, "{}", decision.summary);
    let decision = decided(&loaded(&text), &world(&[], &[]));
    assert_eq!((decision.outcome, decision.reason), (Outcome::Page, Reason::BrakeHeld));
    assert_eq!((decision.brake, decision.plan), (Some(Brake::FitTarget), None));
    assert_eq!(decision.summary, "rule `back` says rollback; no complete plan could be made");
}

#[test]
fn a_fact_that_turned_out_not_to_be_needed_is_asked_for_all_the_same() {
    let facts = ", facts: {errors: {promql: e}, users: {http: {url: 'https://status.example/', pointer: /users}}}";
    let all = loaded(&acting("{any: ['facts.errors > 0.1', 'facts.users > 100.0'], rollback: undo}, {page: {}}", facts));
    let mut world = world(&[], &[]);
    seen(&mut world, "errors", 0.5);
    assert_eq!(decided(&all, &world).wanted, ["users"]);
    let users = Fact::known("1".to_owned(), world.now, "http");
    world.observation.texts.insert("users".to_owned(), users);
    let decision = decided(&all, &world);
    assert_eq!((decision.outcome, decision.wanted), (Outcome::Rollback, Vec::new()));
}

#[test]
fn a_decision_remembers_when_the_change_landed() {
    let mut world = world(&[], &[]);
    let landed = world.ago(minutes(18));
    let all = loaded(&acting("{rollback: undo}", ""));
    assert_eq!(decided(&all, &world).change_landed_at, Some(landed));
    world.lose_workload();
    assert_eq!(decided(&all, &world).change_landed_at, None);
}

#[test]
fn whatever_one_part_lacks_hands_the_whole_does() {
    let procedures = loaded(&format!("policies: [{{name: web, decide: [{{rollback: everything}}]}}]\n{EVERY_STEP}")).procedures;
    let (undo, every) = (&procedures["undo"], &procedures["everything"]);
    let rule = World::new().rule;
    assert!(is_carried_out(&rule, undo));
    for (what, first, procedure) in [
        ("first", Some("stop".to_owned()), undo.clone()),
        ("kind", None, Procedure { kind: Kind::Contain, ..undo.clone() }),
        ("later", None, Procedure { later: vec!["`hold`".to_owned()], ..undo.clone() }),
        ("on failure", None, Procedure { on_failure: every.on_failure.clone(), ..undo.clone() }),
        ("steps", None, Procedure { steps: every.steps.clone(), ..undo.clone() }),
    ] {
        assert!(!is_carried_out(&Rule { first, ..rule.clone() }, &procedure), "{what}");
    }
}

/// Conditions over three numbers, a truth and a label.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "facts\\.[abc] (<|<=|==|!=|>|>=) [0-2](\\.5)?",
        "facts\\.[abc] [-+*/] facts\\.[abc] > [0-2]",
        "(!)?facts\\.t",
        Just("labels.tier == \"gold\"".to_owned()),
        Just("change.age < duration(\"1h\")".to_owned()),
        Just("alerts.exists(x, facts.a > 1 || x.labels.tier == \"gold\")".to_owned()),
        "facts\\.[abc] in \\[0, 1, facts\\.[abc]\\]",
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} && {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn a_rule() -> impl Strategy<Value = String> {
    let verdict =
        prop_oneof![Just("rollback: undo"), Just("rollback: [conditional, undo]"), Just("page: {}"), Just("fix_forward: {}"),];
    let when = prop_oneof![
        condition().prop_map(|when| format!("when: '{when}'")),
        (condition(), condition()).prop_map(|(a, b)| format!("any: ['{a}', '{b}']")),
        (condition(), condition()).prop_map(|(a, b)| format!("all: ['{a}', '{b}']")),
    ];
    let cell = || prop_oneof![Just("any".to_owned()), "'(<|>=|==|!=) [0-2]'"];
    let row = (cell(), cell(), prop_oneof![Just("true"), Just("any")]);
    let table = (row, verdict.clone(), verdict.clone()).prop_map(|((a, b, t), one, two)| {
        format!("table: {{columns: [facts.a, facts.b, facts.t], rows: [['0', any, any, {{{one}}}], [{a}, {b}, {t}, {{{two}}}], [any, any, any, {{page: {{}}}}]]}}")
    });
    prop_oneof![3 => (when, verdict).prop_map(|(when, verdict)| format!("{{{when}, {verdict}}}")), 1 => table.prop_map(|table| format!("{{{table}}}"))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever sees less may page more, but never rolls back where it would not have.
    #[test]
    fn no_unknown_turns_another_verdict_into_a_rollback(
        rules in prop::collection::vec(a_rule(), 1..5),
        step in condition(),
        numbers in prop::array::uniform3(0_u8..3),
        truth in any::<bool>(),
        gold in any::<bool>(),
        hides in prop::collection::vec(0_u8..3, 4),
    ) {
        let text = format!(
            "{}procedures: [{{name: conditional, steps: [{{undo: {{when: '{step}'}}}}]}}]\n",
            acting(&rules.join(", "), ", facts: {a: {promql: a}, b: {promql: b}, c: {promql: c}, t: {promql: t, as: bool}}")
        );
        let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.clone().into_bytes() }];
        // Rows that never win, conditions that never hold and procedures that nobody names are no policies.
        let Ok(loaded) = load(&files, true) else { return Ok(()) };
        let labels = [("tier", if gold { "gold" } else { "tin" })];
        let mut full = world(&labels, &[]);
        let values = [("a", numbers[0]), ("b", numbers[1]), ("c", numbers[2]), ("t", u8::from(truth))];
        for (name, value) in values {
            seen(&mut full, name, f64::from(value));
        }
        let all = decided(&loaded.policies, &full);
        prop_assert!(all.wanted.is_empty());
        let mut less = full;
        for ((name, _), how) in values.into_iter().zip(hides) {
            match how {
                1 => hidden(&mut less, name),
                2 => drop(less.observation.values.remove(name)),
                _ => {}
            }
        }
        let seen_less = decided(&loaded.policies, &less);
        prop_assert!(
            all.outcome == Outcome::Rollback || seen_less.outcome != Outcome::Rollback,
            "{}\nwith all: {}\nwith less: {}", text, all.summary, seen_less.summary
        );
    }
}
