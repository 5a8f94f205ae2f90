//! What policy files come to mean; and that no bytes whatever make the reader fail in any other way than by a report.

use std::time::Duration;

use backout::model::{Brake, Mode, Paging};
use backout::policy::diagnostic::{Diagnostic, to_github, to_json, to_text};
use backout::policy::types::{Condition, Policies, RecentChange, Setting, Step, TargetRule, VerdictRule};
use backout::policy::{Loaded, SourceFile, channels_named, load, may_act};
use proptest::prelude::*;

fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
    files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() }).collect()
}

fn loaded(given: &[(&str, &str)]) -> Loaded {
    load(&files(given), true).unwrap_or_else(|diagnostics| panic!("{}", to_text(&diagnostics)))
}

fn policies(given: &[(&str, &str)]) -> Policies {
    loaded(given).policies
}

const FULL: &str = r#"
policies:
  - name: checkout-release
    owner: team-checkout
    matchers: ['alertname =~ "HighErrorRate|HighLatency", namespace = "shop"', 'severity = "critical"']
    mode: enforce
    paging: beside
    targets: ['shop/checkout*']
    for: 30s
    target: {deployment: '{{ labels.app }}', namespace: shop}
    facts:
      errors: {promql: 'sum(rate(x{app="$name"}[2m]))', floor: {promql: 'sum(y)', at_least: 100}}
    decide:
      - {name: data, matchers: 'kind =~ "data-loss|corruption"', page: {to: [database]}, tell: lead}
      - {name: many-errors, when: 'facts.errors > 0.5', rollback: [quick, undo], mode: approve}
      - any: ['facts.errors > 0.1', 'facts.users > 0.2']
        all:
        fix_forward: [tracker]
    brakes:
      recent_change: {within: 45m}
      cooldown: 2h
      quiet_start: {disabled: ' watched by hand '}
      budget: {per_target: 2}
      flapping: {suppress: 2000}
    labels: {team: checkout, severity: page}
facts:
  users: {promql: 'users'}
procedures:
  - name: quick
    mode: approve
    countdown: 5s
    approval: 3m
    availability: may_drop
    steps: [undo]
    verify:
      within: 5m
      tail: 2m
      rollout: complete
      facts: facts.errors < 0.01
      http:
        - https://shop.example/health
        - {url: 'https://shop.example/{{ target.name }}', attempts: 3, expect: {status: 204, text: ok}}
      hold: 1m
"#;

#[test]
fn every_key_means_something() {
    let text = FULL.replace("        all:\n", "");
    let all = policies(&[("shop.yaml", &text)]);
    let policy = all.get("checkout-release").unwrap();
    assert_eq!((policy.mode, policy.paging, policy.settle), (Mode::Enforce, Some(Paging::Beside), Duration::from_secs(30)));
    assert_eq!((policy.place.file.as_str(), policy.place.line), ("shop.yaml", 3));
    assert_eq!(policy.matchers.len(), 3);
    assert_eq!(policy.owner.as_deref(), Some("team-checkout"));
    assert_eq!(policy.labels.get("severity").map(String::as_str), Some("page"));
    assert!(matches!(&policy.target, TargetRule::Deployment { name, .. } if name.source() == "{{ labels.app }}"));
    assert_eq!(policy.facts["errors"].floor().unwrap().at_least, 100.0);
    assert_eq!(policy.facts["users"].promql(), Some("users"));

    let [data, many, third] = policy.decide.as_slice() else { panic!("three rules") };
    assert_eq!(data.verdict, VerdictRule::Page { to: vec!["database".to_owned()], latch: false });
    assert_eq!(data.tell, ["lead"]);
    assert_eq!(many.verdict, VerdictRule::Rollback { levels: vec!["quick".to_owned(), "undo".to_owned()] });
    assert_eq!((many.mode, many.place.line), (Some(Mode::Approve), 15));
    assert!(matches!(&third.condition, Some(Condition::Any(parts)) if parts.len() == 2));
    assert_eq!(third.name, "rule 3");

    let brakes = &policy.brakes;
    assert_eq!(brakes.recent_change, Setting::On(RecentChange { within: Duration::from_secs(45 * 60) }));
    assert_eq!(brakes.cooldown, Setting::On(Duration::from_secs(2 * 60 * 60)));
    assert_eq!(brakes.disabled(Brake::QuietStart), Some("watched by hand"));
    assert_eq!(brakes.budget.on().map(|budget| (budget.per_target, budget.per_hour)), Some((2, 6)));

    let quick = &all.procedures["quick"];
    assert_eq!((quick.countdown, quick.approval_within), (Some(Duration::from_secs(5)), Some(Duration::from_secs(180))));
    assert!(quick.may_drop && quick.verify.rollout && !quick.verify.alert);
    assert_eq!(quick.steps, [Step::UNDO]);
    assert_eq!((quick.verify.http[1].attempts, quick.verify.http[1].status), (3, Some(204)));
    let undo = &all.procedures["undo"];
    assert!(undo.verify.rollout && undo.verify.alert && undo.countdown.is_none());
    assert_eq!(undo.verify.within, Duration::from_secs(600));

    let named: Vec<String> = channels_named(&all).into_iter().map(|(name, place)| format!("{name}:{}", place.line)).collect();
    assert_eq!(named, ["team-checkout:3", "database:14", "lead:14", "tracker:16"]);
    assert!(may_act(&all));
}

#[test]
fn an_empty_key_is_no_key() {
    let found = load(&files(&[("a.yaml", FULL)]), true).unwrap_err();
    assert!(found.iter().any(|d| d.message == "`all` is empty"), "{}", to_text(&found));
}

#[test]
fn order_is_by_path_then_position() {
    let one =
        "policies: [{name: NAME1, matchers: [a=b], decide: [{page: {}}]}, {name: NAME2, matchers: [a=b], decide: [{page: {}}]}]";
    let named = |first: &str, second: &str| one.replace("NAME1", first).replace("NAME2", second);
    let given = [("b.yaml", named("three", "four")), ("B.yaml", named("one", "two")), ("b/a.yaml", named("five", "six"))];
    let given: Vec<(&str, &str)> = given.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let all = policies(&given);
    let names: Vec<&str> = all.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["one", "two", "three", "four", "five", "six"]);
    let reversed: Vec<(&str, &str)> = given.iter().rev().copied().collect();
    assert_eq!(policies(&reversed).hash, all.hash);
    assert_ne!(policies(&given[..2]).hash, all.hash);
}

#[test]
fn the_nearest_default_wins() {
    let all = policies(&[
        (
            "_defaults.yaml",
            "defaults: {policy: {for: 1m, owner: all, brakes: {cooldown: 5h, budget: {per_target: 3, per_hour: 9}}}}",
        ),
        (
            "shop/_defaults.yaml",
            "defaults: {policy: {owner: shop, brakes: {quiet_start: {disabled: why}}}, procedure: {countdown: 7s}}",
        ),
        (
            "shop/a.yaml",
            "defaults: {policy: {brakes: {budget: {per_target: 2}}}}\n\
             policies:\n\
             - {name: a, matchers: [x=y], decide: [{rollback: p}], brakes: {quiet_start: {gap: 1m}}}\n\
             - {name: b, matchers: [x=y], for: 2m, decide: [{rollback: undo}], brakes: {cooldown: {disabled: no}}}\n\
             procedures: [{name: p, steps: [undo]}]",
        ),
        ("z.yaml", "policies: [{name: z, decide: [{page: {}}]}]"),
    ]);
    let [a, b, z] = ["a", "b", "z"].map(|name| all.get(name).unwrap());
    assert_eq!([a, b, z].map(|policy| policy.settle.as_secs()), [60, 120, 60]);
    assert_eq!([a, b, z].map(|policy| policy.owner.as_deref().unwrap()), ["shop", "shop", "all"]);
    assert_eq!(a.brakes.budget.on().map(|budget| (budget.per_target, budget.per_hour)), Some((2, 9)));
    assert_eq!(a.brakes.quiet_start, Setting::On(Duration::from_secs(60)));
    assert_eq!(b.brakes.disabled(Brake::QuietStart), Some("why"));
    assert_eq!(b.brakes.disabled(Brake::Cooldown), Some("no"));
    assert_eq!(z.brakes.cooldown, Setting::On(Duration::from_secs(5 * 3600)));
    assert_eq!(all.procedures["p"].countdown, Some(Duration::from_secs(7)));
    assert_eq!(all.procedures["undo"].countdown, None);
}

#[test]
fn acting_needs_the_clusters_name_and_an_acting_rule() {
    let given = files(&[(
        "a.yaml",
        "policies: [{name: a, mode: approve, paging: in_front, targets: ['a/*'], decide: [{rollback: undo}]}]",
    )]);
    let codes: Vec<&str> = load(&given, false).unwrap_err().iter().map(|d| d.code).collect();
    assert_eq!(codes, ["cluster-not-named"]);
    assert!(may_act(&load(&given, true).unwrap().policies));
    for (mode, rule) in [("shadow", "rollback: undo"), ("approve", "page: {}"), ("enforce", "{rollback: undo, mode: shadow}")] {
        let rule = rule.trim_matches(['{', '}']).replace("page: ", "page: {}");
        let text = format!("policies: [{{name: a, mode: {mode}, paging: in_front, targets: ['a/*'], decide: [{{{rule}}}]}}]");
        assert!(!may_act(&policies(&[("a.yaml", &text)])), "{text}");
    }
}

#[test]
fn nothing_is_a_folder_too() {
    let all = loaded(&[]);
    assert!(all.policies.policies.is_empty() && all.warnings.is_empty());
    let built_in: Vec<&str> = all.policies.procedures.keys().map(String::as_str).collect();
    assert_eq!(built_in, ["helm", "stop", "switch", "undo"]);
}

/// Whatever is reported can be printed, and points into its file.
fn is_sound(files: &[SourceFile], diagnostics: &[Diagnostic]) -> Result<(), TestCaseError> {
    for diagnostic in diagnostics {
        let file = files.iter().find(|file| file.path == diagnostic.file);
        prop_assert!(file.is_some(), "no such file: {:?}", diagnostic);
        prop_assert!(diagnostic.line >= 1 && diagnostic.column >= 1 && !diagnostic.message.is_empty());
        prop_assert!(diagnostic.mark.end <= diagnostic.excerpt.chars().count() + 1, "{:?}", diagnostic);
        if let Some(text) = file.and_then(|file| std::str::from_utf8(&file.bytes).ok()) {
            prop_assert!(text.get(diagnostic.range.clone()).is_some(), "{:?}", diagnostic);
            let line = text[..diagnostic.range.start].matches('\n').count() + 1;
            prop_assert_eq!(line, diagnostic.line, "{:?}", diagnostic);
        }
    }
    let _ = (to_text(diagnostics), to_json(diagnostics), to_github(diagnostics, "rules"));
    Ok(())
}

fn survives(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let files = [SourceFile { path: "a.yaml".to_owned(), bytes }];
    match load(&files, true) {
        Ok(loaded) => is_sound(&files, &loaded.warnings),
        Err(diagnostics) => {
            prop_assert!(diagnostics.iter().any(Diagnostic::is_error));
            is_sound(&files, &diagnostics)
        }
    }
}

/// One change that a hand or a disk makes to a file.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    let bits = [
        "\t", "\n", " ", "  ", "- ", ": ", "{", "}", "[", "]", "'", "\"", "|", ">", "&a ", "*a", "!x ", "#", "---\n", "\u{feff}",
        "é", "0", "~", "$", "{{", "\r",
    ];
    let text = prop::sample::select(bits.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    (any::<prop::sample::Index>(), 0_usize..12, prop_oneof![text, prop::collection::vec(any::<u8>(), 0..4)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(bytes)?;
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-\\[\\]{}:,'\"|>&*!#%~ \t\r\na-z0-9é]{0,200}") {
        survives(text.into_bytes())?;
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(changes in prop::collection::vec(change(), 1..6)) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, cut, text) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, text);
        }
        survives(bytes)?;
    }
}
