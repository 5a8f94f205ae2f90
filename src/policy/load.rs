//! The way in: files of a folder become policies, or all their problems. Must not read the files itself.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use sha2::{Digest as _, Sha256};

use super::defaults;
use super::diagnostic::{Diagnostic, Raised, Sink};
use super::lower::{self, Given};
use super::source::{At, Sources};
use super::syntax::{self, File};
use super::types::{Announcement, Place, Policies, VerdictRule};
use super::yaml::{self, Context, Node};
use crate::model::Mode;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the folder, with `/` on every system.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Policies that were found right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policies.
    pub policies: Policies,
    /// What is worth a look all the same.
    pub warnings: Vec<Diagnostic>,
}

/// Reads all files of a folder, in any order. `cluster_named`: whether the settings name the cluster, which acting needs.
///
/// # Errors
/// All problems of all files (warnings among them), by file and place. Nothing is applied then.
pub fn load(files: &[SourceFile], cluster_named: bool) -> Result<Loaded, Vec<Diagnostic>> {
    let mut files: Vec<&SourceFile> = files.iter().collect();
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let sources = Sources::new(files.iter().map(|file| (file.path.as_str(), file.bytes.as_slice())));
    let sink = Sink::default();
    let mut are_all_read = true;
    let mut trees: Vec<(&str, Option<Node<'_>>)> = Vec::with_capacity(files.len());
    for (number, file) in (0_u32..).zip(&files) {
        let before = sink.count(number);
        let tree = yaml::read(number, &file.bytes, &sink).filter(|tree| !matches!(tree.content, yaml::Content::Null));
        if tree.is_none() {
            let is_empty = sink.count(number) == before;
            are_all_read &= is_empty;
            empty_file(number, is_empty, &sink);
        }
        trees.push((&file.path, tree));
    }
    let procedure_defaults = defaults::apply(&mut trees);
    let context = Context { sink: &sink, refused: syntax::refused };
    let written: Vec<File> =
        trees.iter().map(|(_, tree)| tree.as_ref().and_then(|tree| yaml::from_node(tree, context)).unwrap_or_default()).collect();
    let given = Given { sink: &sink, sources: &sources, defaults: &procedure_defaults, cluster_named, are_all_read };
    let mut policies = lower::lower(&written, &given);
    let diagnostics = sink.finish(&sources);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    policies.hash = hash(&files);
    Ok(Loaded { policies, warnings: diagnostics })
}

/// That is worth a look, but no error.
fn empty_file(number: u32, is_empty: bool, sink: &Sink) {
    if is_empty {
        let at = At { file: number, ..At::default() };
        sink.raise(Raised::warning("empty-file", at, "the file holds nothing").help("write `policies:`, or remove the file"));
    }
}

/// SHA-256 over paths and contents, each with its length first.
fn hash(files: &[&SourceFile]) -> String {
    let mut hasher = Sha256::new();
    for file in files {
        for part in [file.path.as_bytes(), &file.bytes] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The JSON Schema (draft 2020-12) of a policy file, for editors.
pub fn schema() -> serde_json::Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    schema.to_value()
}

/// Every key or value of the language that is read and checked and not carried out yet, behind the name of what holds it; and whether
/// it is an error in any mode but shadow.
pub fn not_yet() -> Vec<(&'static str, &'static str, bool)> {
    syntax::not_yet().collect()
}

/// Every channel that the policies name, with the place of its policy or rule. Whether they exist only the settings know.
pub fn channels_named(policies: &Policies) -> Vec<(String, Place)> {
    let mut named = Vec::new();
    for policy in &policies.policies {
        named.extend(policy.owner.iter().map(|owner| (owner.clone(), policy.place.clone())));
        for rule in &policy.decide {
            let to = match &rule.verdict {
                VerdictRule::Rollback { .. } => &[][..],
                VerdictRule::Page { to, .. } | VerdictRule::FixForward { to } => to,
            };
            named.extend(to.iter().chain(&rule.tell).map(|name| (name.clone(), rule.place.clone())));
        }
        named.extend(announced(&policy.announce).map(|name| (name.clone(), policy.place.clone())));
    }
    for procedure in policies.procedures.values() {
        named.extend(announced(&procedure.announce).map(|name| (name.clone(), procedure.place.clone())));
    }
    named
}

fn announced(all: &[Announcement]) -> impl Iterator<Item = &String> {
    all.iter().flat_map(|announcement| &announcement.to)
}

/// Whether any of these policies could ever write to a cluster.
pub fn may_act(policies: &Policies) -> bool {
    let above = |mode: Option<Mode>| mode.is_none_or(|mode| mode > Mode::Shadow);
    let acts = |level: &String| policies.procedures.get(level).is_none_or(|procedure| above(procedure.mode));
    policies.policies.iter().filter(|policy| policy.mode > Mode::Shadow).flat_map(|policy| &policy.decide).any(|rule| {
        let VerdictRule::Rollback { levels } = &rule.verdict else { return false };
        above(rule.mode) && levels.iter().any(acts)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::diagnostic::to_text;
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
        files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() }).collect()
    }

    fn reports(given: &[(&str, &str)]) -> Vec<String> {
        let found = load(&files(given), true).map_or_else(|found| found, |loaded| loaded.warnings);
        found.iter().map(ToString::to_string).collect()
    }

    fn policies(text: &str) -> Policies {
        load(&files(&[("a.yaml", text)]), true).unwrap_or_else(|found| panic!("{}", to_text(&found))).policies
    }

    #[test]
    fn an_empty_file_is_named() {
        let found = reports(&[("a.yaml", "policies: []\n"), ("b.yaml", "# later\n")]);
        assert_eq!(found, ["b.yaml:1:1: warning: the file holds nothing; write `policies:`, or remove the file [empty-file]"]);
    }

    #[test]
    fn where_a_file_cannot_be_read_nothing_is_said_to_be_missing() {
        let names = "policies: [{name: a, matchers: [b=c], decide: [{rollback: gone}]}]\n";
        let missing = |found: &[String]| found.iter().any(|line| line.contains("there is no procedure `gone`"));
        assert!(missing(&reports(&[("a.yaml", names)])));
        assert!(missing(&reports(&[("a.yaml", names), ("b.yaml", "")])), "an empty file is read");
        let found = reports(&[("a.yaml", names), ("b.yaml", "procedures: [\n")]);
        assert!(!missing(&found) && found.iter().any(|line| line.contains("`[` is not closed")), "{found:?}");
    }

    #[test]
    fn says_what_would_have_been_right() {
        let table = "{table: {columns: [label x], rows: [[~, {page: {}}]]}}";
        let text = format!(
            "policies: [{{name: a, matchers: [b=c], decide: [{table}]}}]\n\
             procedures: [{{name: p, steps: [{{http: {{get: 'https://x', expect: [1]}}}}], verify: ~}}]\n"
        );
        let found = load(&files(&[("a.yaml", &text)]), true).unwrap_err();
        for (message, wanted) in [
            ("an item of `rows` is empty", "a value, `OP value`, `any`, or what to do, such as `{rollback: undo}`"),
            ("`expect` is a list", "`2xx`, a status such as `204`, or a map such as `{status: 204}`"),
            (
                "`verify` is empty",
                "a map such as `{rollout: complete, alert: resolved}`, a list of them, or the name of a verification",
            ),
        ] {
            let expected = found.iter().find(|found| found.message == message).map(|found| found.expected.as_deref());
            assert_eq!(expected, Some(Some(wanted)), "{found:?}");
        }
    }

    #[test]
    fn only_a_rollback_above_shadow_may_act() {
        for (mode, rule, procedures, wanted) in [
            ("shadow", "rollback: undo", "", false),
            ("approve", "rollback: undo", "", true),
            ("enforce", "rollback: undo", "", true),
            ("enforce", "page: {}", "", false),
            ("enforce", "rollback: undo, mode: shadow", "", false),
            ("enforce", "rollback: undo, mode: approve", "", true),
            ("enforce", "rollback: p", "{name: p, mode: shadow, steps: [undo]}", false),
            ("enforce", "rollback: p", "{name: p, mode: approve, steps: [undo]}", true),
            ("enforce", "rollback: [p, undo]", "{name: p, mode: shadow, steps: [undo]}", true),
        ] {
            let text = format!(
                "policies: [{{name: a, mode: {mode}, paging: in_front, matchers: [a=b], targets: ['a/*'], \
                 decide: [{{{rule}}}]}}]\n\
                 procedures: [{procedures}]\n"
            );
            assert_eq!(may_act(&policies(&text)), wanted, "{text}");
        }
    }

    #[test]
    fn every_channel_is_named_with_its_place() {
        let text = r#"
policies:
  - name: a
    owner: team
    matchers: [a=b]
    announce: [{to: [news], at: opened, message: m}]
    decide:
      - {when: 'labels.x == "1"', rollback: p, tell: [lead]}
      - {when: 'labels.x == "2"', page: {to: [night]}}
      - fix_forward: tracker
procedures:
  - {name: p, steps: [undo], announce: [{to: status, at: started, message: m}]}
messages: [{name: m, title: t, text: x}]
"#;
        let named = channels_named(&policies(text));
        let named: Vec<String> = named.into_iter().map(|(name, place)| format!("{name}:{}", place.line)).collect();
        assert_eq!(named, ["team:3", "lead:8", "night:9", "tracker:10", "news:3", "status:12"]);
    }

    #[test]
    fn what_is_not_carried_out_yet_is_known_by_name() {
        let all = not_yet();
        for one in
            [("policy", "evidence", false), ("rule", "first", true), ("verify", "hpa", true), ("verify", "checklist", false)]
        {
            assert!(all.contains(&one), "{one:?}");
        }
        assert!(!all.iter().any(|(holder, name, _)| (*holder, *name) == ("policy", "decide")));
    }

    /// A schema without its words for people.
    fn bare(schema: &Value) -> Value {
        match schema {
            Value::Object(map) => {
                let is_kept = |(key, value): &(&String, &Value)| *key != "description" || !value.is_string();
                map.iter().filter(is_kept).map(|(key, value)| (key.clone(), bare(value))).collect()
            }
            Value::Array(items) => items.iter().map(bare).collect(),
            _ => schema.clone(),
        }
    }

    #[test]
    fn the_schema_knows_every_way_of_writing() {
        let schema = schema();
        let texts = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
        let stage = json!({"$ref": "#/$defs/verify"});
        let objectives = json!({"$ref": "#/$defs/objectives"});
        let duration = &schema["$defs"]["policy"]["properties"]["for"]["pattern"];
        for (holder, key, wanted) in [
            ("policy", "owner", json!({"type": "string"})),
            ("policy", "target", json!({"anyOf": [{"const": "auto"}, {"$ref": "#/$defs/target"}]})),
            ("policy", "objectives", json!({"anyOf": [objectives, {"type": "array", "items": objectives}]})),
            ("policy", "facts", json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/fact"}})),
            (
                "policy",
                "approval",
                json!({"anyOf": [{"$ref": "#/$defs/approval"}, {"type": ["string", "integer"], "pattern": duration}]}),
            ),
            ("policy", "decide", json!({"type": "array", "items": {"$ref": "#/$defs/rule"}})),
            ("rule", "tell", texts.clone()),
            ("rule", "page", json!({"anyOf": [{"$ref": "#/$defs/page"}, texts]})),
            ("procedure", "verify", json!({"anyOf": [stage, {"type": "array", "items": stage}, {"type": "string"}]})),
            (
                "procedure",
                "steps",
                json!({"type": "array", "items": {"anyOf": [
                    {"$ref": "#/$defs/step"},
                    {"enum": ["undo", "image", "switch", "restart", "helm", "docker"]},
                ]}}),
            ),
            (
                "table",
                "rows",
                json!({"type": "array", "items": {"type": "array", "items": {"anyOf": [
                    {"type": ["string", "number", "boolean"]},
                    {"$ref": "#/$defs/row"},
                ]}}}),
            ),
            (
                "step `http`",
                "expect",
                json!({"anyOf": [
                    {"const": "2xx"},
                    {"type": "integer", "minimum": 100, "maximum": 599},
                    {"$ref": "#/$defs/expect"},
                ]}),
            ),
            ("step `http`", "json", json!({"type": ["object", "array", "string", "number", "boolean", "null"]})),
        ] {
            assert_eq!(bare(&schema["$defs"][holder]["properties"][key]), wanted, "`{key}` of `{holder}`");
        }
        assert_eq!(bare(&schema["properties"]["policies"]), json!({"type": "array", "items": {"$ref": "#/$defs/policy"}}));
        for (key, of) in [("policy", "policy"), ("procedure", "procedure")] {
            let defaults = &schema["$defs"]["defaults"]["properties"][key];
            assert_eq!(defaults["properties"], schema["$defs"][of]["properties"], "defaults have the keys of a {of}");
            assert!(defaults["required"].is_null(), "{defaults}");
        }
    }

    #[test]
    fn the_schema_defines_maps_and_words_and_nothing_else() {
        for (name, of) in schema()["$defs"].as_object().unwrap() {
            let is_map = of["properties"].is_object() && of["additionalProperties"] == false;
            assert!(is_map || of["oneOf"].is_array(), "`{name}`: {of}");
        }
    }
}
