//! What is fuzzed: everything that reads what somebody else wrote. Each function takes any bytes and must come back: no panic, and what
//! it states holds. The fuzzer calls them (`fuzz/run`), and so does an ordinary test for every input that is kept (`tests/fuzzed.rs`).

use backout::decide::book::Book;
use backout::journal::census::census;
use backout::journal::receipt::Receipt;
use backout::journal::{record, snapshot};
use backout::model::{FactType, Source, Time};
use backout::policy::diagnostic::to_text;
use backout::policy::expr::{Env, Expr, Known, Path, Scope, Tri, Value};
use backout::policy::matcher::{format_all, parse_item};
use backout::policy::template::Template;
use backout::policy::{SourceFile, duration, load, test_file};
use serde_json::json;

/// One target.
pub(crate) type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const ALL: [(&str, Target); 6] = [
    ("webhook", webhook),
    ("matcher", matcher),
    ("policy", policy),
    ("condition", condition),
    ("record", record),
    ("template", template),
];

/// A webhook's body, from whoever may post: kept and unpacked byte for byte, counted and read alike, the same each time.
pub(crate) fn webhook(body: &[u8]) {
    let at = Time::from_millis(1_800_000_000_000);
    for source in [Source::Alertmanager, Source::Grafana] {
        let row = Receipt::encode(source, body);
        let receipt = Receipt::decode(&row).expect("what was encoded");
        assert!(receipt.source == source && *receipt.body == *body, "kept as it came");
        let read = receipt.read(at);
        assert_eq!(read, receipt.read(at), "the same bytes are the same notification");
        if let (Ok(counted), Ok(read)) = (census(body, Some("prod")), &read) {
            assert!(read.alerts.len() as u64 <= counted.ours.total() + counted.foreign.total(), "what is read was counted");
        }
    }
    // A row is what the disk gives back.
    if let Ok(receipt) = Receipt::decode(body) {
        let _ = receipt.read(at);
    }
}

/// Matchers as they stand in policies: what is taken and written out again is the same matchers.
pub(crate) fn matcher(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(parsed) = parse_item(text) else { return };
    for matcher in &parsed.matchers {
        let _ = (matcher.matches_value(""), matcher.matches_value(text), matcher.listed_values());
    }
    let again = parse_item(&format_all(&parsed.matchers)).expect("what we write, we read");
    assert_eq!(again.matchers, parsed.matchers, "{text:?}");
}

/// A policy file, which is also read as a test file: every mistake can be shown.
pub(crate) fn policy(text: &[u8]) {
    let file = SourceFile { path: "a.yaml".to_owned(), bytes: text.to_vec() };
    match load(std::slice::from_ref(&file), true) {
        Ok(loaded) => {
            let _ = to_text(&loaded.warnings);
        }
        Err(mistakes) => assert!(!to_text(&mistakes).is_empty(), "a file is refused for a reason"),
    }
    let _ = to_text(&test_file::problems(&SourceFile { path: "a_test.yaml".to_owned(), ..file }));
}

/// A condition: checked, and evaluated with everything known, with nothing known, and with every second value known.
pub(crate) fn condition(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let _ = duration::parse(text);
    let facts = [("errors", FactType::Number), ("slow", FactType::Duration), ("bad", FactType::Bool), ("who", FactType::Text)];
    let facts = facts.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    let env = Env { facts, intervals: ["night".to_owned()].into() };
    let Ok(expr) = Expr::compile(text, &env) else { return };
    let judged = [0, 1, 2].map(|every| expr.eval(&Every(every)).tri);
    let [nothing, all, half] = &judged;
    // More knowledge never takes back what was certain.
    for (less, more) in [(nothing, half), (half, all), (nothing, all)] {
        assert!(matches!(less, Tri::Unknown(_)) || less == more, "{text:?}: {less:?}, then {more:?}");
    }
    let _ = Expr::shown(text, &env).map(|expr| expr.show(&Every(1)));
}

/// A scope that knows no value, all, or every second one by the length of its name.
struct Every(usize);

impl Scope for Every {
    fn value(&self, path: &Path) -> Known {
        let known = match self.0 {
            0 => false,
            1 => true,
            every => path.to_string().len().is_multiple_of(every),
        };
        if !known {
            return Err("nobody knows".to_owned());
        }
        Ok(match path {
            Path::Fact(name) if name == "slow" => Value::Duration(std::time::Duration::from_millis(1500)),
            Path::Fact(name) if name == "bad" => Value::Bool(true),
            Path::Fact(name) if name == "who" => Value::Text("ann".to_owned()),
            Path::Fact(_) | Path::HistoryFlaps => Value::Double(0.25),
            Path::HistoryRollbacks24h => Value::Int(2),
            Path::ChangeAge | Path::HistoryLastRollbackAge => Value::Duration(std::time::Duration::from_secs(90)),
            Path::Now | Path::AlertOnset | Path::AlertStartsAt => Value::Time(1_800_000_000_000),
            Path::ChangeBarrier | Path::Firing(_) | Path::InInterval(_) => Value::Bool(false),
            Path::ChangeKinds | Path::Alerts => Value::List(Vec::new()),
            _ => Value::Text("shop".to_owned()),
        })
    }
}

/// Rows of a journal and snapshots, as a damaged disk gives them back: refused, or folded without harm; what is written again is the same.
pub(crate) fn record(row: &[u8]) {
    if let Ok(records) = record::decode(row) {
        let again = record::encode(&records).expect("what was read can be written");
        assert_eq!(record::decode(&again).as_ref(), Ok(&records));
        let mut book = Book::default();
        for stamped in &records {
            let _ = book.fold(stamped);
        }
        assert!(book.is_indexed(), "look-ups agree with what is remembered");
    }
    if let Ok(book) = snapshot::decode(row) {
        let again = snapshot::encode(&book).expect("what was read can be written");
        assert!(snapshot::decode(&again).is_ok_and(|again| again == book));
    }
}

/// A message's template, with labels that somebody else chose: bounded, whatever it asks for.
pub(crate) fn template(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(template) = Template::parse(text, &["labels", "target", "incident"]) else { return };
    let hostile = "{{ labels.b }}{% for x in y %}\n<b>/../%0a";
    let scope = json!({
        "labels": { "a": hostile, "b": "text", "list": [1, 2, 3] },
        "target": { "name": "web", "namespace": "shop" }, "incident": { "id": "i1" },
    });
    for rendered in [template.render(&scope), template.render_url(&scope)].into_iter().flatten() {
        assert!(rendered.len() <= 1 << 20, "a message has an end");
    }
}
