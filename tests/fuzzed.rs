//! What the fuzzer is given (`fuzz/`), tried on stable Rust: every input that is kept there, every file that other tests keep broken on
//! purpose, and inputs that grow, for which twice the size must not be four times the work.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backout::journal::record::{self, Record, Stamped};
use backout::model::Time;
use targets::{ALL, Target};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
#[expect(clippy::print_stdout, reason = "a panic is about the input that was named last")]
fn every_input_that_is_kept_is_taken_or_refused() {
    for (name, target) in ALL {
        let inputs = files(&root("fuzz/corpus").join(name));
        assert!(inputs.len() >= 5, "{name}: {} inputs", inputs.len());
        for path in inputs {
            // A panic names the target; what it is about stands above it.
            println!("{name}: {}", path.display());
            target(&fs::read(&path).expect("an input"));
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a panic is about the file that was named last")]
fn every_broken_file_of_other_tests_is_too() {
    for folder in ["tests/policy_errors", "tests/payloads", "tests/worlds", "rules"] {
        for path in files(&root(folder)) {
            println!("{}", path.display());
            let bytes = fs::read(&path).expect("a file");
            ALL.iter().for_each(|(_, target)| target(&bytes));
            // Cut short, as a sender or a disk may leave it.
            for cut in [bytes.len() / 3, bytes.len() * 2 / 3, bytes.len().saturating_sub(1)] {
                ALL.iter().for_each(|(_, target)| target(&bytes[..cut]));
            }
        }
    }
}

/// Processor time of this thread: other work on the machine does not count.
fn work(target: Target, input: &[u8]) -> Duration {
    let clock = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let once = || {
        let begin = clock();
        target(input);
        let end = clock();
        Duration::try_from(end - begin).unwrap_or_default()
    };
    (0..5).map(|_| once()).min().unwrap_or_default()
}

/// Inputs of about so many bytes.
type Growing = fn(usize) -> Vec<u8>;

fn alerts(size: usize) -> Vec<u8> {
    let one = |number: usize| {
        format!(
            r#"{{"status":"firing","labels":{{"alertname":"A","n":"{number}"}},"annotations":{{}},"startsAt":"2026-03-02T09:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"{number:016x}"}}"#
        )
    };
    let all: Vec<String> = (0..size / 180).map(one).collect();
    format!(r#"{{"version":"4","status":"firing","receiver":"r","truncatedAlerts":0,"alerts":[{}]}}"#, all.join(",")).into_bytes()
}

fn labels(size: usize) -> Vec<u8> {
    let all: Vec<String> = (0..size / 16).map(|number| format!(r#""l{number:06}":"v""#)).collect();
    let alert = format!(r#"{{"status":"firing","labels":{{{}}},"startsAt":"2026-03-02T09:00:00Z"}}"#, all.join(","));
    format!(r#"{{"version":"4","status":"firing","receiver":"r","alerts":[{alert}]}}"#).into_bytes()
}

fn policies(size: usize) -> Vec<u8> {
    let one = |number: usize| format!("  - {{name: p{number}, matchers: ['a = \"{number}\"'], decide: [{{page: {{}}}}]}}\n");
    format!("policies:\n{}", (0..size / 64).map(one).collect::<String>()).into_bytes()
}

fn mistakes(size: usize) -> Vec<u8> {
    format!("policies:\n{}", (0..size / 24).map(|number| format!("  - {{nmae: p{number}}}\n")).collect::<String>()).into_bytes()
}

fn rules(size: usize) -> Vec<u8> {
    let one = |number: usize| format!("      - {{name: r{number}, when: 'labels.a == \"{number}\"', page: {{}}}}\n");
    format!("policies:\n  - name: p\n    decide:\n{}", (0..size / 56).map(one).collect::<String>()).into_bytes()
}

fn repeated(piece: &'static str, size: usize) -> Vec<u8> {
    piece.repeat(size / piece.len()).into_bytes()
}

fn records(size: usize) -> Vec<u8> {
    let one = |number: i64| Stamped { at: Time::from_millis(number), record: Record::Alive };
    record::encode(&(0..(size / 40) as i64).map(one).collect::<Vec<_>>()).expect("a row")
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are worth a look")]
fn twice_the_size_is_not_four_times_the_work() {
    let growing: [(&str, Target, Growing, usize); 11] = [
        ("alerts", targets::webhook, alerts, 256 << 10),
        ("labels", targets::webhook, labels, 128 << 10),
        ("brackets", targets::webhook, |size| repeated("[", size), 256 << 10),
        ("policies", targets::policy, policies, 32 << 10),
        ("mistakes", targets::policy, mistakes, 8 << 10),
        ("rules", targets::policy, rules, 16 << 10),
        ("deep", targets::policy, |size| repeated("[", size), 16 << 10),
        ("keys", targets::policy, |size| repeated("? ", size), 16 << 10),
        ("matchers", targets::matcher, |size| [b"{".to_vec(), repeated("a=\"b\",", size), b"}".to_vec()].concat(), 24 << 10),
        ("records", targets::record, records, 128 << 10),
        ("braces", targets::template, |size| repeated("{{ labels.a }}", size), 8 << 10),
    ];
    let mut slow = Vec::new();
    for (name, target, input, size) in growing {
        let (small, large) = (work(target, &input(size)), work(target, &input(2 * size)));
        let ratio = large.as_secs_f64() / small.as_secs_f64().max(1e-5);
        println!("{name}: {size} bytes {small:?}, twice of it {large:?}: {ratio:.2} times");
        // Linear is 2, quadratic 4.
        if ratio > 3.2 && large > Duration::from_millis(20) {
            slow.push(format!("{name}: {size} bytes take {small:?}, twice of it {large:?}"));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
