//! The reference in `rules/README.md` and the example are true: every key stands there, and the example is right.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backout::model::{Brake, Mode};
use backout::policy::{not_yet, schema};
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

#[test]
fn every_key_stands_in_the_reference() {
    let reference = fs::read_to_string(rules().join("README.md")).unwrap();
    let mut found = BTreeSet::new();
    words(&schema(), &mut found);
    assert!(found.len() > 60, "{found:?}");
    let later = not_yet().into_iter().map(|(_, name)| name.to_owned());
    let brakes = Brake::ALL.iter().map(ToString::to_string);
    let stands = |word: &String| reference.contains(&format!("`{word}`")) || reference.contains(&format!("{{{word}: "));
    let missing: Vec<String> = found.into_iter().chain(later).chain(brakes).filter(|word| !stands(word)).collect();
    assert!(missing.is_empty(), "not in rules/README.md: {missing:?}");
}

#[test]
fn the_example_is_right_and_in_shadow() {
    let loaded = rules_dir::load(&rules(), false).unwrap_or_else(|error| panic!("{error}"));
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
