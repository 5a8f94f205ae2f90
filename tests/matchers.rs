//! Matchers mean here what they mean in Alertmanager: a thousand of them are put to the real `amtool`, of 0.25 (Debian's, one parser)
//! and of 0.34 (two parsers, the classic one wins), which says whether it takes each, and which of them hold for some labels.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use backout::policy::matcher::{all_match, parse_item};
use serde_json::json;
use support::{beside, tool};

/// Generated cases; more are written out.
const GENERATED: usize = 1_000;

/// What people write, what goes wrong, and what the two parsers read differently.
const WRITTEN: &[&str] = &[
    "",
    "{}",
    "{ }",
    "a=b",
    "a = \"b\"",
    "{a=\"b\"}",
    "{a=\"b\",}",
    "{a=b",
    "a=b}",
    "a=",
    "a==b",
    "a=b c",
    "a='b'",
    "a=\"b",
    "a=b\"",
    "a=\"b\" or c=\"d\"",
    "a=\"b\", c=\"d\"",
    "a=b,,c=d",
    "a=b, ,c=d",
    ",",
    "a",
    "=b",
    "a!b",
    "a=~",
    "a=~\"\"",
    "a!~\"\"",
    "a=~\"|x\"",
    "a=~\".*\"",
    "a=~\".+\"",
    "a!~\".*\"",
    "a=~[0-9]{3}",
    "a=~\"[0-9]{3}\"",
    "a=~\"[\"",
    "a=~\"(\"",
    "a=~\"*\"",
    "a=~\"a**\"",
    "a=~\"x{\"",
    "a=~\"x{1001}\"",
    "a=~\"a{,5}\"",
    "a=~\"a)|(b\"",
    "a=~\"(?i)SHOP-EU\"",
    "a=~\"(?s).*\"",
    "a=~\"(?x)a b\"",
    "a=~\"\\\\d+\"",
    "a=~\"\\\\w+\"",
    "a=~\"\\\\Qx.y\\\\E\"",
    "a=~\"\\\\101\"",
    "a=~\"\\\\pL+\"",
    "a=~\"\\\\bx\\\\b\"",
    "a=~\"é+\"",
    "a=\"\\u00e9\"",
    "a=\"b\\tc\"",
    "a=\"b\\\\c\"",
    "a=\"b\\nc\"",
    "a=\"b\\\"c\"",
    "\"a b\"=c",
    "\"a\"=\"b\"",
    "\"\"=b",
    "\"a\"=",
    "a.b=c",
    "Σ=c",
    "a:b=c",
    "1a=b",
];

/// Taken by Alertmanager since it reads any name; no label has this one, so that here it is a mistake.
const EMPTY_NAME: &str = "\"\"=b";

/// Labels by which they are tried. Those with names that 0.25 does not know are left out there.
const LABELS: &[&[(&str, &str)]] = &[
    &[],
    &[("a", "b")],
    &[("a", "b"), ("c", "d")],
    &[("a", "shop-eu"), ("env", "prod")],
    &[("a", "123")],
    &[("a", "x\ny")],
    &[("a", "éé")],
    &[("a", "b c"), ("env", "")],
    &[("a", "[0-9]{3"), ("c", "x.y")],
    &[("a", "=b"), ("b_1", "shop")],
    &[("a", "'b'"), ("c", "\"")],
    &[("a", "b\\tc"), ("c", "\\")],
    &[("a", "A"), ("env", "staging")],
    &[("a b", "c"), ("a", "b")],
    &[("a.b", "c"), ("Σ", "c")],
];

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len())]
    }
}

/// A matcher, or several, or something like one, of the pieces that matchers are made of.
fn case(dice: &mut Dice) -> String {
    let mut text = String::new();
    let braces = dice.roll(8);
    if matches!(braces, 0..=2) {
        text.push('{');
    }
    for number in 0..[1, 1, 1, 2, 3][dice.roll(5)] {
        if number > 0 {
            text.push_str(dice.one_of(&[",", ", ", " , ", ",,"]));
        }
        text.push_str(dice.one_of(&["", "", " "]));
        text.push_str(dice.one_of(&["a", "a", "a", "c", "env", "b_1", "\"a b\"", "a.b", "Σ", "\"a\"", "1a", ""]));
        text.push_str(dice.one_of(&["", "", " "]));
        text.push_str(dice.one_of(&["=", "=", "!=", "=~", "=~", "!~", "==", "~"]));
        text.push_str(dice.one_of(&["", "", " "]));
        let value = value(dice);
        match dice.roll(4) {
            0 => text.push_str(&value),
            1 => text.push_str(&format!("\"{value}")),
            _ => text.push_str(&format!("\"{value}\"")),
        }
        text.push_str(dice.one_of(&["", "", "", " "]));
    }
    if matches!(braces, 0 | 1 | 3) {
        text.push_str(dice.one_of(&["}", ",}"]));
    }
    text
}

fn value(dice: &mut Dice) -> String {
    const PIECES: &[&str] = &[
        "b",
        "d",
        "x",
        "shop",
        "prod|staging",
        "shop-.*",
        ".*",
        ".+",
        "[a-c]",
        "[^b]",
        "(b|d)",
        "(?:b)?",
        "x*",
        "b+",
        "b{1,2}",
        "^b$",
        "é",
        "\\\\d",
        "\\\\.",
        "\\.",
        "\\n",
        "\\\"",
        "\\\\",
        "\\t",
        " ",
        "'",
        "=",
        "(",
        "[",
        "*",
        "{",
        "}",
        "\\u00e9",
        "1",
        "-eu",
        "A",
    ];
    (0..dice.roll(4)).map(|_| dice.one_of(PIECES)).collect()
}

struct Amtool {
    program: PathBuf,
    /// Whether names may be any text.
    utf8: bool,
}

impl Amtool {
    /// Which of these it takes as the matchers of a route.
    fn takes(&self, cases: &[String], folder: &Path) -> BTreeSet<usize> {
        let files: Vec<PathBuf> = (0..cases.len()).map(|number| folder.join(format!("{number}.yml"))).collect();
        for (file, case) in files.iter().zip(cases) {
            std::fs::write(file, routes([(0, case)].into_iter())).expect("written");
        }
        let output = Command::new(&self.program).arg("check-config").args(&files).output().expect("amtool");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // Its warnings stand between the name of a file and the verdict.
        let verdicts: BTreeMap<usize, bool> = said
            .split("Checking '")
            .filter_map(|told| {
                let (file, verdict) = told.split_once('\'')?;
                Some((Path::new(file).file_stem()?.to_str()?.parse().ok()?, verdict.contains("  SUCCESS")))
            })
            .collect();
        assert_eq!(verdicts.len(), cases.len(), "{}{}", said, String::from_utf8_lossy(&output.stderr));
        verdicts.into_iter().filter(|(_, taken)| *taken).map(|(number, _)| number).collect()
    }

    /// Which of these hold for these labels.
    fn holds<'a>(
        &self,
        cases: impl Iterator<Item = (usize, &'a String)>,
        labels: &[(&str, &str)],
        folder: &Path,
    ) -> BTreeSet<usize> {
        let config = folder.join("all.yml");
        std::fs::write(&config, routes(cases)).expect("written");
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let label = |(name, value): &(&str, &str)| match self.utf8 {
            true => format!("{}={}", quoted(name), quoted(value)),
            false => format!("{name}={}", quoted(value)),
        };
        let mut command = Command::new(&self.program);
        command.args(["config", "routes", "test", "--config.file"]).arg(&config).args(labels.iter().map(label));
        let output = command.output().expect("amtool");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        let receivers = said.lines().last().unwrap_or_default().split(',');
        receivers.filter_map(|receiver| receiver.strip_prefix('r')?.parse().ok()).collect()
    }
}

/// A configuration with a route for each, all of which are asked.
fn routes<'a>(cases: impl Iterator<Item = (usize, &'a String)>) -> String {
    let (mut receivers, mut routes) = (vec![json!({ "name": "none" })], Vec::new());
    for (number, case) in cases {
        receivers.push(json!({ "name": format!("r{number}") }));
        routes.push(json!({ "receiver": format!("r{number}"), "matchers": [case], "continue": true }));
    }
    json!({ "route": { "receiver": "none", "routes": routes }, "receivers": receivers }).to_string()
}

fn cases() -> Vec<String> {
    let mut dice = Dice(20_261_126);
    let generated = std::iter::repeat_with(|| case(&mut dice)).take(GENERATED);
    let all: BTreeSet<String> = WRITTEN.iter().map(|text| (*text).to_owned()).chain(generated).collect();
    all.into_iter().collect()
}

/// What we read, compared with what an `amtool` reads.
fn compare(amtool: &Amtool) {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = cases();
    assert!(cases.len() > 900, "{} different ones", cases.len());
    let theirs = amtool.takes(&cases, folder.path());
    let ours: BTreeMap<usize, _> =
        cases.iter().enumerate().filter_map(|(number, text)| Some((number, parse_item(text).ok()?.matchers))).collect();
    let wrong: Vec<&String> = cases
        .iter()
        .enumerate()
        .filter(|(number, text)| theirs.contains(number) && !ours.contains_key(number) && text.as_str() != EMPTY_NAME)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(wrong, Vec::<&String>::new(), "refused here, taken there");
    if amtool.utf8 {
        let wrong: Vec<&String> = ours.keys().filter(|number| !theirs.contains(number)).map(|number| &cases[*number]).collect();
        assert_eq!(wrong, Vec::<&String>::new(), "taken here, refused there");
    }
    assert!(theirs.len() > 200 && theirs.len() < cases.len() - 200, "{} of {} are taken", theirs.len(), cases.len());
    for labels in LABELS {
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !amtool.utf8 && !labels.iter().all(|(name, _)| plain(name)) {
            continue;
        }
        let known: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let both: Vec<usize> = theirs.iter().copied().filter(|number| ours.contains_key(number)).collect();
        let held = amtool.holds(both.iter().map(|number| (*number, &cases[*number])), labels, folder.path());
        for number in &both {
            let holds = all_match(&ours[number], &known);
            assert_eq!(holds, held.contains(number), "`{}` for {labels:?}: here {holds}", cases[*number]);
        }
    }
}

#[test]
fn amtool_0_25_agrees() {
    compare(&Amtool { program: beside("prometheus-alertmanager", "amtool"), utf8: false });
}

#[test]
fn amtool_0_34_agrees() {
    compare(&Amtool { program: tool("amtool"), utf8: true });
}
