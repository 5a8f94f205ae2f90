//! The five plans under `rules/plans/`: their policies are right and hold their worlds, their alert rules fire when they must and only
//! then, and the tables in `rules/plans/README.md` leave out no line of a plan and name nothing that is not there.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use backout::cli::Cli;
use backout::metrics::Metrics;
use backout::model::{Brake, Time};
use backout::policy::{channels_named, not_yet};
use backout::rules_dir;
use clap::CommandFactory as _;
use serde_json::Value;
use support::beside;

/// How many lines of each plan say something: none of them may get lost, here and there.
const PLANS: [(&str, usize); 5] =
    [("nexus", 88), ("modamoda", 57), ("moshimoshi", 214), ("samokoder", 194), ("five-levels", 191)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(plan: &str) -> PathBuf {
    root().join("rules/plans").join(plan)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}exit {:?}", text(&output.stdout), text(&output.stderr), output.status.code())
}

/// Runs the binary, with nothing of ours in its environment.
fn backout(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKOUT_") {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).args(args).output().expect("the binary runs")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// One text or several.
fn names(value: &Value) -> Vec<&str> {
    value.as_str().into_iter().chain(list(value).iter().filter_map(Value::as_str)).collect()
}

/// What stands in the policy file of a plan, and what of it acts.
struct Plan {
    name: &'static str,
    file: Value,
    alerts: BTreeSet<String>,
    channels: BTreeSet<String>,
    /// Policies that are not in shadow.
    acting: BTreeSet<String>,
    /// Procedures that their rules name.
    used: BTreeSet<String>,
    /// The text of all that acts.
    today: String,
}

impl Plan {
    fn read(name: &'static str) -> Self {
        let file = yaml(&folder(name).join(format!("{name}.yaml")));
        let alerts = alert_rules(name).iter().map(|rule| rule["alert"].as_str().expect("a name").to_owned()).collect();
        let policies = rules_dir::load(&folder(name), true).unwrap_or_else(|error| panic!("{error}")).policies;
        let channels = channels_named(&policies).into_iter().map(|(channel, _)| channel).collect();
        let is_acting = |policy: &&Value| policy["mode"].as_str().is_some_and(|mode| mode != "shadow");
        let acting: Vec<&Value> = list(&file["policies"]).iter().filter(is_acting).collect();
        let used: BTreeSet<String> = acting.iter().flat_map(|policy| procedures_of(policy)).map(str::to_owned).collect();
        let is_used = |procedure: &&Value| procedure["name"].as_str().is_some_and(|name| used.contains(name));
        let procedures = list(&file["procedures"]).iter().filter(is_used);
        let today = acting.iter().copied().chain(procedures).chain([&file["defaults"]]).map(Value::to_string).collect();
        let acting = acting.iter().filter_map(|policy| policy["name"].as_str()).map(str::to_owned).collect();
        Self { name, alerts, channels, acting, used, today, file }
    }

    fn named(&self, kind: &str, name: &str) -> Option<&Value> {
        list(&self.file[kind]).iter().find(|value| value["name"] == name)
    }

    /// The stages of what stands under `verify`, whatever way it is written.
    fn stages(&self, procedure: &str) -> Vec<&Value> {
        let Some(procedure) = self.named("procedures", procedure) else { return Vec::new() };
        let verify = &procedure["verify"];
        let verify = verify.as_str().map_or(verify, |name| &self.file["verifications"][name]);
        if verify.is_array() { list(verify).iter().collect() } else { vec![verify] }
    }

    /// Whether something of this name stands in what acts.
    fn is_said_today(&self, name: &str) -> bool {
        let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        self.today.match_indices(name).any(|(at, _)| {
            let after = self.today[at + name.len()..].chars().next();
            !self.today[..at].ends_with(is_part) && !after.is_some_and(is_part)
        })
    }

    /// How far what a reference names is carried out; nothing, where there is no such thing.
    fn resolve(&self, reference: &str, known: &Known) -> Option<Far> {
        let far = |is_today: bool| if is_today { Far::Today } else { Far::Shadow };
        let (kind, rest) = reference.split_once(' ').unwrap_or((reference, ""));
        match kind {
            "people" if rest.is_empty() => Some(Far::People),
            "alert" => self.alerts.contains(rest).then_some(Far::Today),
            "command" => known.commands.contains(rest).then_some(Far::Today),
            "metric" => known.metrics.contains(rest).then_some(Far::Today),
            "brake" => known.brakes.get(rest).copied().map(far),
            "channel" => self.channels.contains(rest).then(|| far(self.is_said_today(rest))),
            "fact" => self.file["facts"].get(rest).map(|_| far(self.is_said_today(rest))),
            "message" => self.named("messages", rest).map(|_| far(self.is_said_today(rest))),
            "drill" => self.named("drills", rest).map(|_| Far::Shadow),
            "policy" => {
                let (name, key) = rest.split_once('.').map_or((rest, None), |(name, key)| (name, Some(key)));
                let policy = self.named("policies", name)?;
                let defaults = &self.file["defaults"]["policy"];
                let is_there = key.is_none_or(|key| policy.get(key).or_else(|| defaults.get(key)).is_some());
                is_there.then(|| far(self.acting.contains(name)))
            }
            "rule" => {
                let (policy, rule) = rest.split_once('/')?;
                let rules = list(&self.named("policies", policy)?["decide"]);
                rules.iter().any(|found| found["name"] == rule).then(|| far(self.acting.contains(policy)))
            }
            "procedure" => {
                let (name, key) = rest.split_once('.').map_or((rest, None), |(name, key)| (name, Some(key)));
                let procedure = self.named("procedures", name)?;
                key.is_none_or(|key| procedure.get(key).is_some()).then(|| far(self.used.contains(name)))
            }
            "step" => {
                let (name, step) = rest.split_once(": ")?;
                let steps = list(&self.named("procedures", name)?["steps"]);
                steps.iter().any(|found| found == step || found.get(step).is_some()).then(|| far(self.used.contains(name)))
            }
            "verify" => {
                let (name, key) = rest.split_once(": ")?;
                self.stages(name).iter().any(|stage| stage.get(key).is_some()).then(|| far(self.used.contains(name)))
            }
            _ => None,
        }
    }
}

/// The procedures that the rules of a policy name, rows of tables among them.
fn procedures_of(policy: &Value) -> Vec<&str> {
    let rules = list(&policy["decide"]);
    let rows = rules.iter().flat_map(|rule| list(&rule["table"]["rows"])).filter_map(|row| list(row).last());
    rules.iter().chain(rows).flat_map(|rule| names(&rule["rollback"]).into_iter().chain(names(&rule["first"]))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Far {
    Today,
    Shadow,
    People,
}

impl Far {
    fn as_str(self) -> &'static str {
        match self {
            Self::Today => "today",
            Self::Shadow => "shadow",
            Self::People => "people",
        }
    }
}

/// What there is beside the plans' files.
struct Known {
    commands: BTreeSet<String>,
    metrics: BTreeSet<String>,
    /// Whether each of them is carried out.
    brakes: BTreeMap<String, bool>,
}

impl Known {
    fn read() -> Self {
        let metrics = Metrics::new().expect("metrics");
        // Families without children print nothing: give each one.
        metrics.channels(["pager"]);
        metrics.policies_loaded("abc", Time::from_millis(0), ["shop"]);
        metrics.incidents_open("paged", 0);
        let rendered = metrics.render();
        let families = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let later =
            not_yet().into_iter().filter(|(holder, _, _)| *holder == "brakes").map(|(_, name, _)| (name.to_owned(), false));
        Self {
            commands: Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect(),
            metrics: families.map(str::to_owned).collect(),
            brakes: Brake::ALL.iter().map(|brake| (brake.as_str().to_owned(), true)).chain(later).collect(),
        }
    }
}

fn alert_rules(plan: &str) -> Vec<Value> {
    let groups = yaml(&folder(plan).join("alerts.rules"))["groups"].clone();
    list(&groups).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect()
}

/// A row of a table of `rules/plans/README.md`.
struct Row {
    line: usize,
    says: String,
    far: String,
    by: String,
    how: String,
}

fn rows(plan: &str) -> Vec<Row> {
    let page = text(&root().join("rules/plans/README.md"));
    let section = page.split_once(&format!("\n## {plan}\n")).unwrap_or_else(|| panic!("no section `{plan}`")).1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let [line, says, far, by, how] = <[String; 5]>::try_from(cells).unwrap_or_else(|cells| panic!("{plan}: {cells:?}"));
        Row { line: line.parse().unwrap_or_else(|_| panic!("{plan}: `{line}` is no line")), says, far, by, how }
    })
    .collect()
}

/// The lines that `plan.md` tells of, by their numbers in the plan.
fn lines(plan: &str) -> Vec<(usize, String)> {
    let page = text(&folder(plan).join("plan.md"));
    let lines = page.lines().filter_map(|line| line.strip_prefix("- "));
    lines
        .map(|line| {
            let (number, says) = line.split_once(": ").unwrap_or_else(|| panic!("{plan}: {line}"));
            (number.parse().unwrap_or_else(|_| panic!("{plan}: {line}")), says.to_owned())
        })
        .collect()
}

/// What is wrong with a row.
fn wrong(plan: &Plan, row: &Row, known: &Known) -> Option<String> {
    let mut found = BTreeSet::new();
    for reference in row.by.split(", ").map(|reference| reference.trim_matches('`')) {
        match plan.resolve(reference, known) {
            Some(far) => found.insert(far),
            None => return Some(format!("there is no `{reference}`")),
        };
    }
    if found.contains(&Far::People) && row.how.len() < 10 {
        return Some("it is left to people, and the row does not say how they are helped".to_owned());
    }
    let far = found.into_iter().map(Far::as_str).collect::<Vec<_>>().join(" + ");
    (far != row.far).then(|| format!("it says `{}` and is `{far}`", row.far))
}

#[test]
fn every_line_of_every_plan_is_done_by_something_that_is_there() {
    let known = Known::read();
    let mut all = Vec::new();
    for (name, count) in PLANS {
        let (plan, rows, lines) = (Plan::read(name), rows(name), lines(name));
        assert_eq!(lines.len(), count, "{name}: lines of the plan");
        assert!(lines.is_sorted_by(|a, b| a.0 < b.0), "{name}: each line once, in order");
        let told: Vec<(usize, String)> = rows.iter().map(|row| (row.line, row.says.clone())).collect();
        let unmapped: Vec<&(usize, String)> = lines.iter().filter(|line| !told.contains(line)).collect();
        assert!(unmapped.is_empty(), "{name}: no row for {unmapped:?}");
        assert_eq!(told, lines, "{name}: rows of the table, and lines of plan.md");
        all.extend(rows.iter().filter_map(|row| Some(format!("{name}:{}: {}", row.line, wrong(&plan, row, &known)?))));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_is_not_there_is_noticed() {
    let known = Known::read();
    let plan = Plan::read("nexus");
    for reference in [
        "policy nexus",
        "policy nexus.tail",
        "policy nexus.owner",
        "rule nexus/down",
        "procedure nexus-undo.countdown",
        "step nexus-undo: undo",
        "step nexus-full-stack: scale",
        "verify nexus-tested: jobs",
        "fact nexus_p95",
        "message nexus-status",
        "alert NexusDown",
        "brake storm",
        "channel nexus-oncall",
        "command explain",
        "metric backout_actions_total",
        "people",
    ] {
        assert!(plan.resolve(reference, &known).is_some(), "`{reference}` of `{}`", plan.name);
    }
    for reference in [
        "policy nexu",
        "policy nexus.objectives",
        "rule nexus/up",
        "rule other/down",
        "procedure undo-nexus",
        "procedure nexus-undo.approval",
        "step nexus-undo: scale",
        "step nexus-undo",
        "verify nexus-undo: jobs",
        "fact p95",
        "message nexus",
        "drill nexus",
        "alert Nexus",
        "brake speed",
        "channel nexus",
        "command roll-back",
        "metric backout_actions",
        "peoples",
        "people do it",
        "nobody",
        "",
    ] {
        assert_eq!(plan.resolve(reference, &known), None, "`{reference}`");
    }
    let row = |far: &str, by: &str, how: &str| Row {
        line: 1,
        says: String::new(),
        far: far.to_owned(),
        by: by.to_owned(),
        how: how.to_owned(),
    };
    assert_eq!(wrong(&plan, &row("today", "`rule nexus/down`, `command explain`", "–"), &known), None);
    assert_eq!(wrong(&plan, &row("today + shadow", "`rule nexus/down`, `rule nexus-whole/data`", "–"), &known), None);
    for row in [
        row("today", "`rule nexus-whole/data`", "–"),
        row("people", "people", "–"),
        row("today", "`rule nexus/no`", "–"),
        row("", "", "–"),
    ] {
        assert!(wrong(&plan, &row, &known).is_some(), "{}", row.by);
    }
}

#[test]
fn every_policy_passes_the_strict_check_alone_and_beside_the_others() {
    let folders = PLANS.iter().map(|(plan, _)| format!("rules/plans/{plan}"));
    for folder in folders.chain(["rules".to_owned()]) {
        let output = backout(&["check", "--strict", "--rules", &folder]);
        assert_eq!(output.status.code(), Some(0), "{folder}\n{}", shown(&output));
    }
}

#[test]
fn every_rule_that_acts_decides_in_a_world_and_every_world_holds() {
    for (name, _) in PLANS {
        let plan = Plan::read(name);
        let output = backout(&["test", &format!("rules/plans/{name}"), "--coverage"]);
        assert_eq!(output.status.code(), Some(0), "{name}\n{}", shown(&output));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_acting = |line: &&str| plan.acting.iter().any(|policy| line.contains(&format!("policy `{policy}`:")));
        let missed: Vec<&str> = printed.lines().filter(|line| line.ends_with("never decided")).filter(is_acting).collect();
        assert!(missed.is_empty(), "{name}: no world for\n{}", missed.join("\n"));
        assert!(
            printed.contains("coverage\n") && printed.lines().filter(|line| line.starts_with("  ok ")).count() >= 7,
            "{printed}"
        );
    }
}

/// The alerts of the worlds are those that Prometheus would send, or that people post.
#[test]
fn worlds_know_no_other_alerts() {
    for (name, _) in PLANS {
        let known = Plan::read(name).alerts;
        for world in list(&yaml(&folder(name).join(format!("{name}_test.yaml")))["tests"]) {
            for labels in list(&world["alerts"]).iter().map(|alert| &alert["labels"]) {
                let alert = labels["alertname"].as_str().expect("a name");
                assert!(known.contains(alert) || labels["trigger"] == "people", "{name}: `{alert}` in {}", world["name"]);
            }
        }
    }
}

#[test]
fn prometheus_takes_the_alert_rules_and_they_fire_as_they_must() {
    let promtool = beside("prometheus", "promtool");
    for (name, _) in PLANS {
        for (what, file) in [("check", "alerts.rules"), ("test", "alerts.test")] {
            let output =
                Command::new(&promtool).args([what, "rules"]).arg(folder(name).join(file)).output().expect("promtool runs");
            assert!(output.status.success(), "{name}\n{}", shown(&output));
        }
        let mut tried: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
        for case in list(&yaml(&folder(name).join("alerts.test"))["tests"]) {
            for test in list(&case["alert_rule_test"]) {
                let alert = test["alertname"].as_str().expect("a name").to_owned();
                tried.entry(alert).or_default().insert(!list(&test["exp_alerts"]).is_empty());
            }
        }
        let both = BTreeSet::from([true, false]);
        let expected: BTreeMap<String, BTreeSet<bool>> =
            Plan::read(name).alerts.into_iter().map(|alert| (alert, both.clone())).collect();
        assert_eq!(tried, expected, "{name}: each is tried firing and at rest");
    }
}
