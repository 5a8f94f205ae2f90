//! The reference in `rules/README.md` and the example are true: every key stands in the table of its type and nothing else does, and
//! the example is right.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backout::model::{Brake, Mode};
use backout::policy::{load, not_yet, schema};
use backout::rules_dir;
use serde_json::Value;

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

/// Every key, and every value that is one of several, of the schema.
fn words(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("properties", Value::Object(keys)) => found.extend(keys.keys().cloned()),
                    ("enum", Value::Array(values)) => found.extend(values.iter().filter_map(Value::as_str).map(str::to_owned)),
                    ("const", Value::String(value)) => drop(found.insert(value.clone())),
                    _ => {}
                }
                words(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| words(value, found)),
        _ => {}
    }
}

/// The tables of the reference: what the heading of the first column says, and the rows' cells.
fn tables() -> Vec<(String, Vec<Vec<String>>)> {
    let reference = fs::read_to_string(rules().join("README.md")).expect("it can be read");
    let mut tables: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    let mut is_in_table = false;
    for line in reference.lines() {
        if !line.starts_with('|') {
            is_in_table = false;
            continue;
        }
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        if !is_in_table {
            tables.push((plain(&cells[0]), Vec::new()));
        } else if !line.starts_with("|--") {
            tables.last_mut().expect("a heading came first").1.push(cells);
        }
        is_in_table = true;
    }
    assert!(tables.len() > 30, "{} tables", tables.len());
    tables
}

/// A heading without articles and ticks: `key of the step `undo`` as `key of step undo`.
fn plain(text: &str) -> String {
    let is_article = |word: &&str| !matches!(*word, "a" | "an" | "the");
    text.replace('`', "").split_whitespace().filter(is_article).collect::<Vec<_>>().join(" ")
}

/// What stands in ticks: whole, and as single words.
fn ticked(text: &str) -> BTreeSet<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .flat_map(|span| std::iter::once(span.to_owned()).chain(span.split([':', ' ', ',', '{', '}']).map(str::to_owned)))
        .collect()
}

fn keys(definition: &Value) -> BTreeSet<String> {
    definition["properties"].as_object().into_iter().flat_map(|keys| keys.keys().cloned()).collect()
}

/// The definition that a schema leads to, in whatever way of writing.
fn definition<'s>(root: &'s Value, schema: &'s Value) -> Option<&'s Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        // A JSON pointer writes `~` and `/` in other ways, and a reference percent-encodes.
        let name = name.replace("~1", "/").replace("~0", "~").replace("%60", "`").replace("%20", " ");
        return Some(&root["$defs"][name.as_str()]);
    }
    schema["anyOf"].as_array()?.iter().find_map(|one| definition(root, one))
}

#[test]
fn the_tables_of_the_reference_are_the_types() {
    let schema = schema();
    let tables = tables();
    let table = |heading: &str| tables.iter().find(|(of, _)| of == heading).map(|(_, rows)| rows);
    let mut wrong = Vec::new();
    let row_types = ["step `", "brake"];
    let root = ("file".to_owned(), &schema);
    let definitions = schema["$defs"].as_object().unwrap().iter().map(|(name, of)| (name.clone(), of));
    for (name, of) in definitions.chain([root]) {
        let wanted = keys(of);
        let is_own = !row_types.iter().any(|part| name.contains(part)) && name != "step";
        if wanted.is_empty() || !is_own {
            continue;
        }
        let heading = format!("key of {}", plain(&name));
        let Some(rows) = table(&heading) else {
            wrong.push(format!("there is no table `{heading}`: {wanted:?}"));
            continue;
        };
        let found: BTreeSet<String> = rows.iter().flat_map(|row| ticked(&row[0])).collect();
        if found != wanted {
            wrong.push(format!("`{heading}`: the page has {found:?}, the types {wanted:?}"));
        }
    }
    for (heading, list, not_said) in [("step", "step", "when"), ("brake", "brakes", "disabled")] {
        let rows = table(heading).unwrap();
        for (name, of) in schema["$defs"][list]["properties"].as_object().unwrap() {
            let Some(row) = rows.iter().find(|row| row[0] == format!("`{name}`")) else {
                wrong.push(format!("no row for the {heading} `{name}`"));
                continue;
            };
            let mut wanted = keys(definition(&schema, of).unwrap());
            assert!(wanted.remove(not_said), "{name}");
            let missing: Vec<&String> = wanted.iter().filter(|key| !ticked(&row[1]).contains(*key)).collect();
            if !missing.is_empty() {
                wrong.push(format!("the row of `{name}` does not name {missing:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "rules/README.md is not what the types say:\n{}", wrong.join("\n"));
}

#[test]
fn every_word_of_the_language_stands_in_the_reference() {
    let reference = fs::read_to_string(rules().join("README.md")).unwrap();
    let mut found = BTreeSet::new();
    words(&schema(), &mut found);
    assert!(found.len() > 150, "{found:?}");
    let brakes = Brake::ALL.iter().map(ToString::to_string);
    let all = ticked(&reference);
    let missing: Vec<String> = found.into_iter().chain(brakes).filter(|word| !all.contains(word)).collect();
    assert!(missing.is_empty(), "not in rules/README.md: {missing:?}");
}

#[test]
fn what_is_not_carried_out_stands_in_the_reference() {
    let tables = tables();
    let (_, rows) = tables.iter().find(|(heading, _)| heading == "in").unwrap();
    let place = |holder: &str| match plain(holder).as_str() {
        "step" => "steps".to_owned(),
        "HTTP check" => "http".to_owned(),
        other => other.to_owned(),
    };
    let mut said: BTreeSet<(String, String, bool)> = BTreeSet::new();
    for row in rows {
        said.extend(ticked(&row[1]).into_iter().map(|name| (plain(&row[0]), name, row[2] == "error")));
    }
    let known: BTreeSet<(String, String, bool)> =
        not_yet().into_iter().map(|(holder, name, is_error)| (place(holder), name.to_owned(), is_error)).collect();
    assert_eq!(said, known);
}

#[test]
fn the_example_is_right_and_in_shadow() {
    let example = rules_dir::read(&rules()).unwrap().into_iter().find(|file| file.path == "example.yaml").expect("the example");
    let loaded = load(&[example], false).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(loaded.policies.policies.iter().all(|policy| policy.mode == Mode::Shadow));
    assert_eq!(loaded.policies.hash.len(), 64);
}

#[test]
fn the_schema_is_for_editors() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let text = schema.to_string();
    assert!(text.contains("additionalProperties\":false"), "unknown keys are refused");
    assert!(text.contains("How long an alert must have been firing"), "keys are explained");
    assert!(!text.contains("$defs/Field"), "{text}");
}

/// As JSON, the way an editor sees it: scalars without quotes are numbers and truths where they look like them.
fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The examples of the reference, each as a file of its own.
fn examples() -> Vec<String> {
    let reference = fs::read_to_string(rules().join("README.md")).expect("it can be read");
    let mut found = Vec::new();
    let mut blocks = reference.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(""));
    for block in blocks.by_ref() {
        found.push(if block.starts_with("- ") {
            let indented: String = block.lines().map(|line| format!("      {line}\n")).collect();
            format!("policies:\n  - name: example\n    decide:\n{indented}")
        } else {
            block.to_owned()
        });
    }
    assert!(found.len() >= 2, "{found:?}");
    found
}

#[test]
fn every_policy_that_is_shipped_is_valid_by_the_schema() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema), "the schema itself is one of draft 2020-12");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let mut files: Vec<(String, String)> =
        rules_dir::read(&rules()).unwrap().into_iter().map(|file| (file.path, String::from_utf8(file.bytes).unwrap())).collect();
    files.extend(examples().into_iter().map(|text| ("README.md".to_owned(), text)));
    assert!(files.len() >= 3);
    for (path, text) in files {
        let errors: Vec<String> =
            validator.iter_errors(&yaml(&text)).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{path}:\n{}\n{text}", errors.join("\n"));
    }
}

/// What the program reads, the schema must not call wrong: an editor would underline what is right.
#[test]
fn the_schema_takes_what_the_program_takes() {
    let schema = schema();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_errors");
    let mut counts = [0, 0];
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        // Readers that know merge keys have merged before the schema sees them.
        let is_merged = path.file_stem().is_some_and(|name| name == "merge_key");
        if is_merged || path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let (Ok(text), report) = (fs::read_to_string(&path), fs::read_to_string(path.with_extension("txt")).unwrap()) else {
            continue;
        };
        let Ok(value) = serde_saphyr::from_str::<Value>(&text) else { continue };
        let is_valid = validator.is_valid(&value);
        if report.ends_with("applied\n") && !value.is_null() {
            counts[0] += 1;
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(is_valid, "{}: {errors:?}", path.display());
        }
        // What is of the wrong shape an editor can show; the rest is for `check`.
        if report.contains("error[unknown-key]") || report.contains("error[unknown-value]") {
            counts[1] += 1;
            assert!(!is_valid, "{} has an unknown key, and the schema takes it", path.display());
        }
    }
    assert!(counts[0] >= 3 && counts[1] >= 10, "{counts:?}");
}

#[test]
fn the_schema_says_what_is_missing() {
    let of = |schema: Value| jsonschema::draft202012::new(&schema).expect("a schema");
    let (policies, tests) = (of(schema()), of(backout::policy::test_file::schema()));
    for (schema, text, missing) in [
        (&policies, "policies: [{decide: [{page: {}}]}]", "name"),
        (&policies, "policies: [{name: a, facts: {e: {promql: e, floor: {promql: f}}}, decide: [{page: {}}]}]", "at_least"),
        (&policies, "time_intervals: [{name: nights}]", "time_intervals"),
        (&tests, "policy_files: [a.yaml]", "tests"),
        (&tests, "{policy_files: [a.yaml], tests: [{name: a, expect: [{}]}]}", "at"),
    ] {
        let errors: Vec<String> = schema.iter_errors(&yaml(text)).map(|error| error.to_string()).collect();
        assert_eq!(errors, [format!("\"{missing}\" is a required property")], "{text}");
    }
    let defaults = "{defaults: {policy: {mode: shadow}}, policies: [{name: a, decide: [{page: {}}]}]}";
    assert!(policies.is_valid(&yaml(defaults)), "what is a default needs no name");
}
