//! The pages for users are true where a test can tell: every metric, brake, default and setting stands there, and nothing else does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use backout::cli::Cli;
use backout::decide::limits::Limits;
use backout::metrics::Metrics;
use backout::model::{Brake, Time};
use backout::policy::types::BrakeSettings;
use backout::policy::{SourceFile, duration, load};
use backout::settings::{ServeArgs, Settings};
use clap::CommandFactory as _;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the first table under a heading, each as its cells.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let below = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading `{heading}`")).1;
    let section = below.split("\n#").next().unwrap_or(below);
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The text between the first pair of backticks.
fn name(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap_or(cell)
}

#[test]
fn every_metric_is_documented_and_nothing_else() {
    let metrics = Metrics::new().expect("metrics");
    // Families without children print nothing: give each one.
    metrics.channels(["pager"]);
    metrics.policies_loaded("abc", Time::from_millis(0), ["shop"]);
    metrics.incidents_open("paged", 0);
    metrics.drills.ended("shop", Time::from_millis(0), true);
    let text = metrics.render();
    let mut printed = BTreeSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a type");
            printed.insert((name.to_owned(), kind.to_owned()));
        }
    }
    let page = page("docs/metrics.md");
    let documented: BTreeSet<(String, String)> = page
        .lines()
        .filter(|line| line.starts_with("| `backout_") || line.starts_with("| `process_"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            (name(cells[0]).to_owned(), cells[1].to_owned())
        })
        .collect();
    assert_eq!(documented, printed);
}

#[test]
fn every_label_of_a_metric_is_documented() {
    let metrics = Metrics::new().expect("metrics");
    metrics.channels(["pager"]);
    metrics.policies_loaded("abc", Time::from_millis(0), ["shop"]);
    metrics.incidents_open("paged", 0);
    metrics.drills.ended("shop", Time::from_millis(0), true);
    let page = page("docs/metrics.md");
    for line in metrics.render().lines().filter(|line| !line.starts_with('#')) {
        let Some((family, rest)) = line.split_once('{') else { continue };
        let family = family.trim_end_matches("_bucket");
        let row = page.lines().find(|row| row.starts_with(&format!("| `{family}` |")));
        let row = row.unwrap_or_else(|| panic!("`{family}` is not documented"));
        let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
        for label in labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label) {
            assert!(label == "le" || row.contains(&format!("`{label}`")), "`{family}` has the label `{label}`");
        }
        for value in ["result", "source", "status", "state", "outcome"] {
            let Some(value) = labels.split(',').find_map(|pair| pair.strip_prefix(&format!("{value}=\""))) else { continue };
            let value = value.trim_end_matches('"');
            assert!(page.contains(&format!("`{value}`")), "the value `{value}` of `{family}` is not documented");
        }
    }
}

/// What the README says of a brake's numbers, made from the defaults themselves.
fn numbers(brake: Brake, settings: &BrakeSettings) -> Vec<String> {
    let span = |time: &Duration| duration::format(*time);
    match brake {
        Brake::RecentChange => settings.recent_change.on().map(|n| vec![span(&n.within)]),
        Brake::ControlGroup => settings.control_group.on().map(|n| vec![n.targets.to_string(), span(&n.within)]),
        Brake::FitTarget => settings.fit_target.on().map(|n| vec![span(&n.healthy), n.back.to_string(), span(&n.last_live)]),
        Brake::Cooldown => settings.cooldown.on().map(|n| vec![span(n)]),
        Brake::Budget => settings.budget.on().map(|n| vec![n.per_target.to_string(), span(&n.per), n.per_hour.to_string()]),
        Brake::Flapping => settings
            .flapping
            .on()
            .map(|n| vec![n.penalty.to_string(), span(&n.half_life), n.suppress.to_string(), n.reuse.to_string(), span(&n.hold)]),
        Brake::Storm => settings.storm.on().map(|n| vec![n.units.to_string(), span(&n.within), span(&n.quiet)]),
        Brake::QuietStart => settings.quiet_start.on().map(|n| vec![span(n)]),
        Brake::StaleFacts => settings.stale_facts.on().map(|n| vec![span(&n.watch), span(&n.query)]),
        Brake::Trust => settings.trust.on().map(|n| vec![n.wrong.to_string(), span(&n.within)]),
        // None by default, which the table says in words.
        Brake::Freeze => settings.freeze.on().filter(|names| names.is_empty()).map(|_| vec!["none".to_owned()]),
        Brake::HumanActive | Brake::Owner | Brake::DataLatch | Brake::Truncated | Brake::Paused | Brake::Permission => {
            Some(Vec::new())
        }
    }
    .unwrap_or_else(|| panic!("`{brake}` is off by default"))
}

#[test]
fn the_readme_knows_every_brake_and_its_defaults() {
    let readme = page("README.md");
    let rows = table(&readme, "## Brakes");
    let named: Vec<&str> = rows.iter().map(|row| name(row[0])).collect();
    let all: Vec<&str> = Brake::ALL.iter().map(|brake| brake.as_str()).collect();
    assert_eq!(named.iter().collect::<BTreeSet<_>>(), all.iter().collect::<BTreeSet<_>>());
    assert_eq!(named.len(), all.len(), "each once");
    let defaults = BrakeSettings::default();
    for brake in Brake::ALL {
        let row = rows.iter().find(|row| name(row[0]) == brake.as_str()).expect("a row");
        let words: BTreeSet<&str> = row[1].split([' ', ',', ';']).collect();
        for number in numbers(*brake, &defaults) {
            assert!(words.contains(number.as_str()), "`{brake}`: the default {number} is not in `{}`", row[1]);
        }
    }
}

/// The keys that the settings file may have at a place: what the reader expects where a key is none.
fn settings_keys(folder: &Path, section: &str) -> BTreeSet<String> {
    let config = folder.join("backout.yaml");
    let text = if section.is_empty() { "nonsense: 1\n".to_owned() } else { format!("{section}: {{nonsense: 1}}\n") };
    fs::write(&config, text).expect("written");
    let args = ServeArgs { config: Some(config), rules: Some(folder.to_owned()), ..ServeArgs::default() };
    let message = Settings::load(args).expect_err("there is no such key").to_string();
    let expected = message.split_once("expected ").unwrap_or_else(|| panic!("it names no keys: {message}")).1;
    let keys = expected.trim_start_matches("one of ").split(", ").flat_map(|keys| keys.split(" or "));
    keys.map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_setting_is_documented_and_nothing_else() {
    let page = page("docs/operations.md");
    let rows = table(&page, "## Settings");
    let documented: BTreeSet<String> = rows.iter().map(|row| name(row[0]).to_owned()).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut keys = BTreeSet::new();
    for key in settings_keys(folder.path(), "") {
        let sections = ["cluster", "http", "tokens", "tls", "clients", "retention", "log", "timing", "drills"];
        if sections.contains(&key.as_str()) {
            keys.extend(settings_keys(folder.path(), &key).into_iter().map(|inner| format!("{key}.{inner}")));
        } else {
            keys.insert(key);
        }
    }
    assert_eq!(documented, keys);
}

#[test]
fn the_times_in_the_settings_reference_are_the_defaults() {
    let page = page("docs/operations.md");
    let rows = table(&page, "## Settings");
    let limits = Limits::default();
    for (key, time) in [
        ("timing.close_after", limits.close_after),
        ("timing.expire_after", limits.expire_after),
        ("timing.peer_up", limits.peer_up),
        ("timing.evaluation_age", limits.evaluation_age),
        ("timing.patience", limits.patience),
        ("timing.watch_every", limits.watch_every),
        ("timing.verify_every", limits.verify_every),
        ("timing.remind_every", limits.remind_every),
        ("timing.fold_within", limits.fold_within),
        ("timing.fold_gather", limits.fold_gather),
        ("timing.tail", limits.tail),
        ("timing.target_age", limits.target_age),
        ("timing.forget_after", limits.forget_after),
    ] {
        let row = rows.iter().find(|row| name(row[0]) == key).unwrap_or_else(|| panic!("`{key}` is not documented"));
        assert_eq!(name(row[1]), duration::format(time), "the default of `{key}`");
    }
}

#[test]
fn every_command_stands_in_the_readme() {
    let readme = page("README.md");
    let commands = table(&readme, "## Commands").into_iter().map(|row| row[0]).collect::<Vec<_>>().join(" ");
    for command in Cli::command().get_subcommands().map(|command| command.get_name().to_owned()) {
        let stands = [format!("`backout {command}`"), format!("`backout {command} "), format!("`{command}`")];
        assert!(stands.iter().any(|text| commands.contains(text)), "`{command}` is not in the README's table of commands");
    }
}

#[test]
fn the_first_policy_of_the_readme_is_right() {
    let readme = page("README.md");
    let start = readme.find("shop/policies/shop.yaml <<'YAML'\n").expect("the policy");
    let text = readme[start..].split_once('\n').expect("a line").1.split("\nYAML\n").next().expect("an end");
    let files = [SourceFile { path: "shop.yaml".to_owned(), bytes: format!("{text}\n").into_bytes() }];
    let loaded = load(&files, false).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn every_claim_of_the_threat_model_has_a_test() {
    let page = page("docs/threat-model.md");
    let rows = table(&page, "## What each can do at most");
    assert!(rows.len() >= 20, "{} claims", rows.len());
    for row in rows {
        let tests: Vec<&str> = row[1].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "nothing shows: {}", row[0]);
        for test in tests {
            let (file, function) = test.split_once("::").unwrap_or((test, ""));
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(function.is_empty() || text.contains(&format!("fn {function}(")), "{file} has no test {function}");
        }
    }
}
