//! Conditions from text to verdict: what holds, what is unknown and why, what is refused and where.

use std::cell::RefCell;
use std::time::Duration;

use super::*;

mod properties;

/// Facts by name; everything else is fixed.
#[derive(Default)]
struct Fixed {
    facts: BTreeMap<String, Known>,
    asked: RefCell<Vec<String>>,
}

impl Scope for Fixed {
    fn value(&self, path: &Path) -> Known {
        self.asked.borrow_mut().push(path.to_string());
        let text = |text: &str| Ok(Value::Text(text.to_owned()));
        let texts = |pairs: &[(&str, &str)]| {
            Value::Map(pairs.iter().map(|(k, v)| ((*k).to_owned(), Value::Text((*v).to_owned()))).collect())
        };
        let alert = |severity: &str, starts_at| {
            Value::Map(BTreeMap::from([
                ("labels".to_owned(), texts(&[("severity", severity)])),
                ("annotations".to_owned(), texts(&[])),
                ("starts_at".to_owned(), Value::Time(starts_at)),
            ]))
        };
        match path {
            Path::Label(name) if name == "severity" => text("critical"),
            Path::Label(name) if name == "replicas" => text("3"),
            Path::Label(_) | Path::Annotation(_) => text(""),
            Path::AlertName => text("HighErrorRate"),
            Path::AlertStartsAt | Path::AlertOnset => Ok(Value::Time(1_000_000)),
            Path::AlertFingerprint => text("abc"),
            Path::Alerts => Ok(Value::List(vec![alert("critical", 1_000_000), alert("warning", 2_000_000)])),
            Path::TargetKind => text("Deployment"),
            Path::TargetNamespace => text("shop"),
            Path::TargetName => text("checkout"),
            Path::TargetCluster => Err("no cluster is named".to_owned()),
            Path::ChangeAge => Ok(Value::Duration(Duration::from_secs(600))),
            Path::ChangeBy => text("alice"),
            Path::ChangeOld | Path::ChangeNew => text("shop:1"),
            Path::ChangeKinds => Ok(Value::List(vec![Value::Text("image".to_owned()), Value::Text("config".to_owned())])),
            Path::ChangeBarrier => Ok(Value::Bool(false)),
            Path::HistoryRollbacks24h => Ok(Value::Int(2)),
            Path::HistoryLastRollbackAge => Err("never rolled back".to_owned()),
            Path::HistoryFlaps => Ok(Value::Double(0.5)),
            Path::Fact(name) => self.facts.get(name).cloned().unwrap_or_else(|| Err("not observed".to_owned())),
            Path::Now => Ok(Value::Time(1_600_000)),
            Path::Firing(matchers) => Ok(Value::Bool(matchers.iter().any(|m| m.name() == "yes"))),
            Path::InInterval(name) => Ok(Value::Bool(name == "open")),
        }
    }
}

#[test]
fn any_expression_can_be_shown() {
    for (source, wanted) in [
        ("change.age", Ok("10m")),
        ("change.new", Ok("shop:1")),
        ("1 + 2", Ok("3")),
        ("facts.errors > 0.1", Ok("true")),
        ("alert.starts_at - now", Ok("-10m")),
        ("now - now", Ok("0s")),
        ("change.kinds", Ok("[image, config]")),
        ("facts.lost", Err(())),
    ] {
        let shown = Expr::shown(source, &env()).unwrap().show(&scope());
        assert_eq!(shown.as_deref().map_err(|_| ()), wanted, "{source}");
    }
    assert!(Expr::shown("change.agee", &env()).is_err());
}

fn env() -> Env {
    let fact = |name: &str, of| (name.to_owned(), of);
    Env {
        facts: BTreeMap::from([
            fact("a", FactType::Bool),
            fact("b", FactType::Bool),
            fact("c", FactType::Bool),
            fact("errors", FactType::Number),
            fact("p95", FactType::Number),
            fact("nan", FactType::Number),
            fact("odd", FactType::Number),
            fact("lost", FactType::Number),
            fact("time_to_fix", FactType::Duration),
            fact("stage", FactType::Text),
        ]),
        intervals: ["open".to_owned(), "closed".to_owned()].into(),
    }
}

fn scope() -> Fixed {
    let fact = |name: &str, value| (name.to_owned(), value);
    Fixed {
        facts: BTreeMap::from([
            fact("errors", Ok(Value::Double(0.6))),
            fact("p95", Ok(Value::Int(2))),
            fact("nan", Ok(Value::Double(f64::NAN))),
            fact("odd", Ok(Value::Text("7".to_owned()))),
            fact("lost", Err("no samples".to_owned())),
            fact("time_to_fix", Ok(Value::Duration(Duration::from_secs(7200)))),
            fact("stage", Ok(Value::Text("canary".to_owned()))),
            fact("a", Ok(Value::Bool(true))),
            fact("b", Ok(Value::Bool(false))),
        ]),
        asked: RefCell::default(),
    }
}

fn eval(source: &str) -> Tri {
    Expr::compile(source, &env()).unwrap_or_else(|problems| panic!("{source}: {problems:?}")).eval(&scope()).tri
}

#[test]
fn holds_or_not() {
    for (source, wanted) in [
        ("true", true),
        ("facts.errors > 0.5", true),
        ("facts.errors > 0.5 && labels.severity == 'critical'", true),
        ("facts.p95 > 2.0 * facts.errors", true),
        ("2 * facts.errors > 1", true),
        ("facts.p95 == 2 && facts.p95 == 2.0 && 2 == facts.p95", true),
        ("facts.errors > 1", false),
        ("facts.p95 + 1 == 3.0", true),
        ("-facts.p95 < 0", true),
        ("labels.nope == ''", true),
        ("labels['nope'] == ''", true),
        ("labels['sever' + 'ity'] == 'critical'", true),
        ("annotations.nope == '' && alert.annotations.nope == ''", true),
        ("alert.labels.severity == 'critical'", true),
        ("'severity' in labels", true),
        ("'nope' in labels", false),
        ("'severity' in alert.labels", true),
        ("int(labels.replicas) > 2 && double(labels.replicas) == 3", true),
        ("alert.name == 'HighErrorRate'", true),
        ("labels.severity in ['critical', 'page']", true),
        ("labels.severity in []", false),
        ("facts.p95 in [1, 2.0]", true),
        ("'image' in change.kinds", true),
        ("change.kinds == ['image', 'config']", true),
        ("change.kinds[0] == 'image'", true),
        ("size(change.kinds) == 2 && change.kinds.size() == 2 && size('äb') == 2", true),
        ("change.age < duration('45m')", true),
        ("change.age < duration('45m') ? facts.a : facts.b", true),
        ("now - alert.starts_at == change.age", true),
        ("alert.starts_at - now < duration('-1m')", true),
        ("now > alert.starts_at + duration('9m')", true),
        ("change.age.getMinutes() == 10 && change.age.getSeconds() == 600", true),
        ("now > timestamp('1970-01-01T00:20:00Z')", true),
        ("now >= timestamp('1970-01-01T00:' + '26:40Z')", true),
        ("change.age.getMilliseconds() == 600000", true),
        ("history.rollbacks_24h >= 2 && history.flaps < 1", true),
        ("facts.p95 <= 2 && 2 <= facts.p95", true),
        ("facts.p95 <= 1", false),
        ("-1 > facts.errors", false),
        ("-1 >= facts.p95", false),
        ("facts.time_to_fix > duration('1h')", true),
        ("facts.stage.startsWith('can') && facts.stage.endsWith('ary') && facts.stage.contains('nar')", true),
        ("facts.stage.matches('^c.n') && !matches(facts.stage, '\\\\d')", true),
        ("firing('yes=\"1\"')", true),
        ("firing('no=\"1\"')", false),
        ("in_interval('open') && !in_interval('closed')", true),
        ("alerts.exists(a, a.labels.severity == 'warning')", true),
        ("alerts.all(a, a.labels.severity == 'warning')", false),
        ("alerts.exists_one(a, a.labels.severity == 'warning')", true),
        ("alerts.filter(a, a.labels.severity == 'warning').size() == 1", true),
        ("alerts.map(a, a.labels.severity) == ['critical', 'warning']", true),
        ("alerts.all(a, a.labels.nope == '' && !('nope' in a.labels) && a.annotations['x'] == '')", true),
        ("alerts.exists(a, a.starts_at > alert.starts_at)", true),
        ("alerts.exists(a, alerts.exists(b, b.labels.severity != a.labels.severity))", true),
        ("[1, 2, 3].exists(x, x > 2)", true),
        ("[].all(x, x)", true),
        ("['facts'].all(facts, facts == 'facts')", true),
        ("alerts.exists(labels, labels.labels.severity == 'warning')", true),
        ("7 / 2 == 3 && 7 % 2 == 1 && 7.0 / 2 == 3.5", true),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", true),
        ("string(facts.p95) == '2' && string(true) == 'true'", true),
        ("int(2.9) == 2", true),
        ("!facts.b && !!facts.a", true),
        ("facts.b || facts.a", true),
        ("'a' + 'b' == 'ab' // comment", true),
    ] {
        assert_eq!(eval(source), Tri::from(wanted), "{source}");
    }
}

#[test]
fn follows_kleene_and_says_why() {
    let lost = Unknown::new("facts.lost", "no samples");
    let unobserved = Unknown::new("facts.c", "not observed");
    for (source, wanted) in [
        ("facts.lost > 1", Tri::Unknown(vec![lost.clone()])),
        ("!(facts.lost > 1)", Tri::Unknown(vec![lost.clone()])),
        ("facts.lost == facts.lost", Tri::Unknown(vec![lost.clone()])),
        ("facts.lost > 1 && false", Tri::False),
        ("false && facts.lost > 1", Tri::False),
        ("facts.lost > 1 || true", Tri::True),
        ("true || facts.lost > 1", Tri::True),
        ("facts.lost > 1 && true", Tri::Unknown(vec![lost.clone()])),
        ("facts.lost > 1 || false", Tri::Unknown(vec![lost.clone()])),
        ("facts.lost > 1 && facts.c", Tri::Unknown(vec![lost.clone(), unobserved.clone()])),
        ("facts.lost > 1 && facts.c && facts.b", Tri::False),
        ("facts.c ? true : true", Tri::Unknown(vec![unobserved.clone()])),
        ("facts.a ? true : facts.c", Tri::True),
        ("facts.lost + facts.lost > 1", Tri::Unknown(vec![lost.clone()])),
        ("facts.lost in [1.0]", Tri::Unknown(vec![lost.clone()])),
        ("[true, facts.c].exists(x, x)", Tri::Unknown(vec![unobserved.clone()])),
        ("alerts.exists(a, facts.c || a.labels.severity == 'warning')", Tri::True),
        ("alerts.all(a, facts.c && a.labels.severity == 'warning')", Tri::False),
        ("alerts.exists_one(a, facts.c)", Tri::Unknown(vec![unobserved])),
        ("facts.nan != 1", Tri::Unknown(vec![Unknown::new("facts.nan", "not a number (NaN)")])),
        ("facts.odd > 1", Tri::Unknown(vec![Unknown::new("facts.odd", "expected a number, got \"7\"")])),
        (
            "facts.errors / (facts.p95 - 2) > 1",
            Tri::Unknown(vec![Unknown::new("facts.errors / (facts.p95 - 2", "division by zero")]),
        ),
        ("change.kinds[7] == 'x'", Tri::Unknown(vec![Unknown::new("change.kinds[7]", "the list has 2 elements")])),
        ("int(labels.nope) > 1", Tri::Unknown(vec![Unknown::new("int(labels.nope)", "\"\" is not a whole number")])),
        (
            "double(labels.severity) > 1",
            Tri::Unknown(vec![Unknown::new("double(labels.severity)", "\"critical\" is not a number")]),
        ),
        (
            "duration(labels.severity) > change.age",
            Tri::Unknown(vec![Unknown::new("duration(labels.severity)", "\"critical\" is not a duration")]),
        ),
        ("now > timestamp(labels.nope)", Tri::Unknown(vec![Unknown::new("timestamp(labels.nope)", "\"\" is not a time")])),
        (
            "int(9223372036854775808.0 * facts.p95) > 1",
            Tri::Unknown(vec![Unknown::new("int(9223372036854775808.0 * facts.p95)", "18446744073709552000 is out of range")]),
        ),
        (
            "int(9223372036854775808.0) > facts.p95",
            Tri::Unknown(vec![Unknown::new("int(9223372036854775808.0)", "9223372036854776000 is out of range")]),
        ),
        (
            "9223372036854775807 + history.rollbacks_24h > 0",
            Tri::Unknown(vec![Unknown::new("9223372036854775807 + history.rollbacks_24h", "the result is out of range")]),
        ),
        (
            "history.last_rollback_age < duration('1h')",
            Tri::Unknown(vec![Unknown::new("history.last_rollback_age", "never rolled back")]),
        ),
        ("target.cluster == 'x'", Tri::Unknown(vec![Unknown::new("target.cluster", "no cluster is named")])),
    ] {
        assert_eq!(eval(source), wanted, "{source}");
    }
}

#[test]
fn asks_only_for_what_is_reached_and_only_once() {
    for (source, asked, facts) in [
        ("facts.errors > 0.5 || facts.p95 > 1", vec!["facts.errors"], vec!["errors"]),
        ("facts.errors > 0.7 || facts.p95 > facts.errors", vec!["facts.errors", "facts.p95"], vec!["errors", "p95"]),
        ("labels.severity == 'x' && facts.errors > 1", vec!["labels.severity"], vec![]),
        ("change.age > duration('1h') ? facts.a : facts.b", vec!["change.age", "facts.b"], vec!["b"]),
        ("facts.c && facts.a", vec!["facts.c", "facts.a"], vec!["a", "c"]),
        ("alerts.all(a, a.labels.severity == labels.severity)", vec!["alerts", "labels.severity"], vec![]),
    ] {
        let scope = scope();
        let outcome = Expr::compile(source, &env()).unwrap().eval(&scope);
        assert_eq!(*scope.asked.borrow(), asked, "{source}");
        assert_eq!(outcome.facts().into_iter().collect::<Vec<_>>(), facts, "{source}");
        assert_eq!(outcome.read.len(), asked.len(), "{source}");
    }
    let expr = Expr::compile("facts.errors > 0.5 || facts.p95 > 1", &env()).unwrap();
    assert_eq!(expr.facts().iter().map(String::as_str).collect::<Vec<_>>(), ["errors", "p95"]);
    assert_eq!(expr.eval(&scope()).read.get(&Path::Fact("errors".to_owned())), Some(&Ok(Value::Double(0.6))));
}

#[test]
fn refuses_with_a_place_and_help() {
    let mut wrong = Vec::new();
    for (source, at, says) in [
        // Names.
        ("facts.eror > 1", 6..10, "unknown fact `eror`; did you mean `errors`?"),
        ("facts . eror > 1", 8..12, "unknown fact `eror`"),
        ("errors > 1", 0..6, "did you mean `facts.errors`?"),
        ("severity == 'x'", 0..8, "a label is `labels.severity`"),
        ("lables.x == ''", 0..6, "did you mean `labels`?"),
        ("change.agee > duration('1h')", 7..11, "unknown field of `change` `agee`; did you mean `age`?"),
        ("alert.severity == ''", 6..14, "unknown field of `alert`"),
        ("alerts.all(a, a.label.x == '')", 16..21, "did you mean `labels`?"),
        ("target == 'x'", 0..6, "say which field: kind, namespace, name, cluster"),
        ("labels == 'x'", 0..6, "write `labels.NAME`"),
        ("alert.labels == 'x'", 0..12, "write `alert.labels.NAME`"),
        ("in_interval('opne')", 12..18, "unknown time interval `opne`; did you mean `open`?"),
        ("labels.x.startswith('a')", 9..19, "unknown function `startswith`; did you mean `startsWith`?"),
        ("fireing('a=b')", 0..7, "did you mean `firing`?"),
        ("now.x == 1", 4..5, "only alerts and labels have fields"),
        // Arguments.
        ("firing('a=\"b')", 10..12, "double quote"),
        ("firing('a=~\"(b\"')", 12..14, "not closed"),
        ("firing(labels.x)", 0..16, "needs a text that is written out"),
        ("firing()", 0..8, "takes 1 argument, found 0"),
        ("firing('a=b', 'c=d')", 0..20, "takes 1 argument, found 2"),
        ("firing('{}')", 7..11, "always true"),
        ("firing('a=b c')", 7..14, "classic parser only"),
        ("size() == 1", 0..6, "takes 1 arguments"),
        ("size('a', 'b') == 1", 0..14, "found 2"),
        ("labels.x.contains(1)", 0..20, "`contains` of text and a whole number"),
        ("labels.x.matches('(a')", 18..20, "not closed"),
        ("labels.x.matches('a' + 'b')", 17..26, "must be written out"),
        ("change.age > duration('3d')", 22..26, "write `72h`"),
        ("change.age > duration('soon')", 22..28, "is not a duration"),
        ("now > timestamp('today')", 16..23, "is not a time"),
        ("now.getHours() > 3", 0..14, "use `in_interval('name')`"),
        // Types.
        ("facts.errors", 0..12, "a condition is true or false, this is a number"),
        ("facts.errors && true", 0..12, "`facts.errors` is a number, expected true or false"),
        ("!facts.errors", 1..13, "expected true or false"),
        ("facts.errors > '1'", 0..18, "write `1` without quotes"),
        ("labels.replicas > 2", 0..19, "write `double(labels.replicas)`"),
        ("change.age > '3d'", 0..17, "write `duration('72h')`"),
        ("change.age > 45", 0..15, "say the unit: `duration('45s')`"),
        ("facts.time_to_fix == annotations.x", 0..34, "write `duration(annotations.x)`"),
        ("target.kind == 1", 0..16, "can never be equal"),
        ("labels.x in [1]", 0..15, "never in a list of a whole number"),
        ("['a', 1].size() == 1", 6..7, "all elements of a list have one type"),
        ("labels.x in 'abc'", 12..17, "write `x.contains('…')`"),
        ("facts.a > facts.b", 0..17, "has no order"),
        ("now + now > now", 0..9, "`+` of a time and a time"),
        ("change.age * 2 > change.age", 0..14, "`*` of a duration and a whole number"),
        ("facts.errors % 2 == 0", 0..16, "`%` of a number"),
        ("facts.a ? 1 : 'x'", 0..17, "one branch is a whole number, the other is text"),
        ("alerts.all(a, 1)", 14..15, "expected true or false"),
        ("alerts == alerts", 0..16, "can never be equal"),
        ("(facts.a ? 1 : 2.0) % 2 == 1", 1..23, "`%` of a number"),
        ("(facts.a ? 2.0 : 1) % 2 == 1", 1..23, "`%` of a number"),
        ("[1, 2.0][0] % 2 == 1", 0..15, "`%` of a number"),
        ("facts.eror + 1 > 2", 6..10, "unknown fact `eror`"),
        ("labels.x.firing()", 9..15, "`firing`"),
        // The whole of what is wrong is marked.
        ("-1", 0..2, "a condition is true or false"),
        ("-1.5", 0..4, "a condition is true or false"),
        ("[1 ]", 0..4, "a condition is true or false"),
        ("change.kinds[0 ]", 0..16, "a condition is true or false"),
        ("size(string(1))", 0..15, "a condition is true or false"),
        ("size('a\\')')", 0..12, "a condition is true or false"),
        // What can never hold.
        ("1 > 2", 0..5, "`1 > 2` can never hold"),
        ("facts.a && 'a' == 'b'", 11..21, "can never hold"),
        ("change.age < duration('0s')", 0..27, "can never hold"),
        ("duration('-1s') >= change.age", 0..29, "can never hold"),
        ("history.rollbacks_24h == -1", 0..27, "can never hold"),
        ("size(change.kinds) < 0", 0..22, "can never hold"),
        // What is not offered.
        ("has(labels.x)", 0..3, "`has` is not available"),
        ("labels.?x == ''", 6..7, "optional values are not available"),
        ("optional.of(1) == 1", 9..11, "optional values are not available"),
        ("labels.x.orValue('') == ''", 9..16, "optional values are not available"),
        ("{'a': 1}.size() == 1", 0..1, "maps are not available"),
        ("labels.all(x, true)", 7..10, "no loops over labels"),
        ("alerts.all(a, a.labels.exists(l, true))", 14..22, "no loops over labels"),
        ("alerts.all(a, alerts.all(b, alerts.all(c, true)))", 35..38, "too many loops"),
        ("labels.x == null", 12..16, "there is no `null`"),
        ("1u == 1", 0..2, "unsigned"),
        ("b'a' == 'a'", 0..4, "bytes"),
        // Syntax.
        ("", 0..0, "empty condition"),
        ("facts.errors >", 14..14, "ends too early"),
        ("facts.errors = 1", 13..14, "write `==`"),
        ("change.age > 3d", 14..15, "write `duration('72h')`"),
        ("change.age > 1.5d", 16..17, "a duration is of whole numbers: write `duration('1h30m')` for 1.5h"),
        ("facts.a and facts.b", 8..11, "write `&&`"),
        ("facts.a or facts.b", 8..10, "write `||`"),
        ("'x' not in labels", 4..7, "write `!`"),
        ("1e999 > facts.errors", 0..5, "out of range"),
        ("facts.a & facts.b", 8..9, "unexpected `&`"),
        ("labels.x == 'a", 12..13, "a quote is not closed"),
        ("'ü' == 'ü' §", 13..15, "unexpected `§`"),
        ("facts.a &&\n  || facts.b", 13..14, "unexpected `|`"),
        ("if", 0..2, "reserved word"),
        ("1 < 99999999999999999999", 4..24, "out of range"),
    ] {
        let problems = Expr::compile(source, &env()).expect_err(source);
        if !matches!(problems.as_slice(), [problem] if problem.at == at && problem.to_string().contains(says)) {
            wrong.push(format!("{source}: expected {at:?} {says}, got {problems:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reports_all_problems_in_order() {
    let problems =
        Expr::compile("facts.eror > 1 && labls.x == 'ü' || in_interval('nope') && facts.p95 > 'x'", &env()).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.at.clone()).collect();
    assert_eq!(places, [6..10, 18..23, 49..55, 60..75], "{problems:?}");
    for source in ["firing(labels.x) > 1", "facts.a > facts.eror"] {
        assert_eq!(Expr::compile(source, &env()).unwrap_err().len(), 2, "{source}");
    }
}

#[test]
fn a_unit_is_suggested_only_behind_its_number() {
    let help = |source: &str| Expr::compile(source, &env()).unwrap_err().pop().and_then(|problem| problem.help);
    assert_eq!(help("change.age > 3d").as_deref(), Some("write `duration('72h')`"));
    assert_eq!(help("change.age 3d"), None);
}

#[test]
fn a_condition_may_be_as_long_as_the_limit() {
    let long = |length: usize| Expr::compile(&format!("{:length$}", "facts.a"), &env());
    assert!(long(1024).is_ok());
    assert!(long(1025).unwrap_err()[0].message.contains("too long"));
    assert!(long(2000).unwrap_err()[0].message.contains("too long"));
}

#[test]
fn a_value_of_another_type_than_was_checked_is_unknown() {
    let number = || Box::new(node::Node::Const(value::Val::Int(1)));
    let outcome = eval::run(&node::Node::Not(number()), "!x", &scope());
    assert_eq!(outcome.tri, Tri::Unknown(vec![Unknown::new("!x", "a value is of an unexpected type")]));
}

#[test]
fn no_source_overflows_the_stack() {
    for (open, repeated, close) in [
        ("1", "+1", " > 0"),
        ("facts.a", "&&facts.a", ""),
        ("facts.a", "||facts.a", ""),
        ("", "(", ""),
        ("", "[", ""),
        ("", "!", "facts.a"),
        ("", "-", "1 > 0"),
        ("labels", ".b", " == ''"),
        ("alerts", "[0]", " == ''"),
        ("labels", ".size()", " == 1"),
        ("facts.a", "?facts.a:facts.a", ""),
        ("", "facts.a?", ""),
        ("1", ">1", ""),
        ("", "size(", ""),
        ("", "alerts.all(a,", ""),
    ] {
        for count in [20, 50, 63, 64, 65, 100, 250, 500, 2000] {
            let balanced = match repeated {
                "(" => ")".repeat(count),
                "[" => "]".repeat(count),
                _ => String::new(),
            };
            if let Ok(expr) = Expr::compile(&format!("{open}{}{close}{balanced}", repeated.repeat(count)), &env()) {
                expr.eval(&scope());
            }
        }
    }
    assert!(Expr::compile(&format!("facts.a{}", "&&facts.a".repeat(100)), &env()).is_ok());
}

#[test]
fn work_is_bounded() {
    struct Many;
    impl Scope for Many {
        fn value(&self, _: &Path) -> Known {
            Ok(Value::List(vec![
                Value::Map(BTreeMap::from([
                    ("labels".to_owned(), Value::Map(BTreeMap::new())),
                    ("annotations".to_owned(), Value::Map(BTreeMap::new())),
                    ("starts_at".to_owned(), Value::Time(0)),
                ]));
                5_000
            ]))
        }
    }
    let source = "alerts.all(a, alerts.all(b, a.labels.x == b.labels.x))";
    let tri = Expr::compile(source, &env()).unwrap().eval(&Many).tri;
    let too_long = vec![Unknown::new(source, "it takes too long to evaluate")];
    assert_eq!(tri, Tri::Unknown(too_long.clone()));
    assert_eq!(Expr::shown(source, &env()).unwrap().show(&Many), Err(too_long));
}

#[test]
fn is_shared_between_threads_and_equal_by_source() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug>(_: &T) {}
    let expr = Expr::compile("facts.a", &env()).unwrap();
    shared(&expr);
    assert_eq!(expr, expr.clone());
    assert_ne!(expr, Expr::compile("facts.b", &env()).unwrap());
    assert_eq!(expr.to_string(), "facts.a");
    assert_eq!(format!("{expr:?}"), "Expr(\"facts.a\")");
}

/// What the `cel` crate says of an expression without variables.
fn by_the_crate(source: &str) -> Option<bool> {
    let program = cel::Program::compile(source).ok()?;
    match program.execute(&cel::Context::default()).ok()? {
        cel::Value::Bool(holds) => Some(holds),
        _ => None,
    }
}

#[test]
fn agrees_with_the_cel_crate() {
    for source in [
        "1 + 2 * 3 == 7",
        "7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1",
        "2.5 > 2 && 2 < 2.5 && 1 == 1.0",
        "1.0 + 2.0 == 3.0",
        "'a' < 'b' && 'Z' < 'a' && 'ä' > 'z'",
        "'a' + 'b' == 'ab'",
        "size('äöü') == 3 && size([1, 2]) == 2 && 'abc'.size() == 3",
        "1 in [1, 2] && !(3 in [1, 2])",
        "[1, 2, 3].all(x, x > 0) && [1, 2, 3].exists(x, x == 2) && [1, 2].exists_one(x, x == 2)",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].filter(x, x > 1) == [2, 3]",
        "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.matches('b')",
        "duration('1h30m') == duration('90m') && duration('1.5h') > duration('1h') && duration('-1m') < duration('1s')",
        "duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90",
        "timestamp('2026-01-01T01:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('1h')",
        "timestamp('2026-01-01T00:00:00Z') + duration('1h') == timestamp('2026-01-01T02:00:00+01:00')",
        "int('7') == 7 && int(2.9) == 2 && int(-2.9) == -2 && double('1.5') == 1.5 && double(2) == 2.0 && string(7) == '7' && string(1.5) == '1.5'",
        "true ? 1 == 1 : 2 == 2",
        "false && 1 / 0 == 1 || true",
        "1 / 0 == 1 || true",
        "!(1 / 0 == 1 && false)",
        "'\\u00e9\\n\\t\\'' == \"é\\n\\t'\" && r'\\d' == '\\\\d'",
        "!!true && - -1 == 1",
        "[1, 2][1] == 2",
        "1 < 2 == true",
        "0x10 == 16 && 1e3 == 1000.0",
    ] {
        let ours = Expr::compile(source, &env()).unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
        assert_eq!(by_the_crate(source), Some(true), "{source}");
        assert_eq!(ours.eval(&scope()).tri, Tri::True, "{source}");
    }
}
