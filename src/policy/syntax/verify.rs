//! Verifications as they are written: a stage, a list of stages, or the name of one at the top of a file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::super::yaml::{Field, Listed, Short, Shorthand, TEXT_OR_OTHER};
use super::rule::Page;
use super::text::{CelText, DurationText, Free, MatcherText, ScalarText, TemplateText};

/// How success is proven: what is named must hold. Without `verify`: `{within: 10m, rollout: complete, alert: resolved}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "verify")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Stage {
    /// Its name in reports.
    pub(in super::super) name: Field<String>,
    /// The time limit of each check (10m).
    pub(in super::super) within: Field<DurationText>,
    /// How long after the last step alerts and facts cannot have changed yet; else it is worked out from Prometheus' rules.
    pub(in super::super) tail: Field<DurationText>,
    /// The rollout must be complete.
    pub(in super::super) rollout: Field<Complete>,
    /// Every alert of the incident must be resolved.
    pub(in super::super) alert: Field<Resolved>,
    /// Conditions that must be true.
    pub(in super::super) facts: Field<Listed<Field<CelText>>>,
    /// Addresses that must answer.
    pub(in super::super) http: Field<Vec<Field<Short<HttpCheck>>>>,
    /// How long all of it must hold without a break (0).
    pub(in super::super) hold: Field<DurationText>,
    /// Alerts of which none may fire.
    pub(in super::super) quiet: Field<Listed<Field<MatcherText>>>,
    /// What the logs of the new pods may not hold.
    pub(in super::super) logs: Field<Logs>,
    /// Jobs that must succeed, as `cronjob/NAME`.
    pub(in super::super) jobs: Field<Listed<Field<String>>>,
    /// Services that must have ready endpoints.
    pub(in super::super) endpoints: Field<Listed<Field<String>>>,
    /// The autoscaler must be in control again.
    pub(in super::super) hpa: Field<Active>,
    /// Channels that must have been told.
    pub(in super::super) announced: Field<Listed<Field<String>>>,
    /// Boxes for a human; they never hold success up.
    pub(in super::super) checklist: Field<Listed<Field<String>>>,
    /// What ends the verification at once.
    pub(in super::super) fail_if: Field<Vec<Field<FailIf>>>,
}

/// The one thing that `rollout` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "rollout")]
pub(in super::super) enum Complete {
    /// Complete.
    Complete,
}

/// The one thing that `alert` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "alert")]
pub(in super::super) enum Resolved {
    /// Resolved.
    Resolved,
}

/// The one thing that `hpa` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "hpa")]
pub(in super::super) enum Active {
    /// It scales, and is not at its limit.
    Active,
}

/// What logs may not hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "logs")]
#[schemars(deny_unknown_fields, extend("required" = ["forbid"]))]
pub(in super::super) struct Logs {
    /// A regular expression that no line may match.
    pub(in super::super) forbid: Field<String>,
}

/// What ends a verification at once: `matchers` or `when`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "fail_if")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct FailIf {
    /// An alert that satisfies all of them fires.
    pub(in super::super) matchers: Field<Listed<Field<MatcherText>>>,
    /// A condition is true.
    pub(in super::super) when: Field<CelText>,
    /// Who is paged then.
    pub(in super::super) page: Field<Short<Page>>,
}

/// An address that must answer: `url`, or `service` with `port` and `path`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "HTTP check")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct HttpCheck {
    /// The address; scheme and host are literal, values in it are percent-encoded.
    pub(in super::super) url: Field<TemplateText>,
    /// A Service, through the API server's proxy.
    pub(in super::super) service: Field<String>,
    /// Its port: a number or a name.
    pub(in super::super) port: Field<ScalarText>,
    /// The path there (`/`).
    pub(in super::super) path: Field<TemplateText>,
    /// Answers in a row that must be as expected (1).
    pub(in super::super) attempts: Field<u32>,
    /// How long between two attempts (1s).
    pub(in super::super) every: Field<DurationText>,
    /// What is expected of an answer (any 2xx).
    pub(in super::super) expect: Field<Expect>,
}

impl Shorthand for HttpCheck {
    const NAME: &'static str = "$short:url";
    type Value = TemplateText;
}

/// What is expected of an answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "expect")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Expect {
    /// The status; any 2xx when unset.
    pub(in super::super) status: Field<u16>,
    /// A text that the body must contain.
    pub(in super::super) text: Field<String>,
    /// Values that the body, a JSON document, must hold.
    pub(in super::super) json: Field<Free>,
}

/// What stands under `verify`.
#[derive(Clone, Debug)]
pub(in super::super) enum Verify {
    /// A verification of a file's top.
    Named(String),
    /// One after the other.
    Stages(Vec<Field<Stage>>),
    /// One stage.
    One(Box<Stage>),
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OR_OTHER, VerifyVisitor)
    }
}

struct VerifyVisitor;

impl<'de> Visitor<'de> for VerifyVisitor {
    type Value = Verify;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map such as `{rollout: complete, alert: resolved}`, a list of them, or the name of a verification")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Verify, E> {
        Ok(Verify::Named(name.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Verify, A::Error> {
        let mut stages = Vec::new();
        while let Some(stage) = items.next_element()? {
            stages.push(stage);
        }
        Ok(Verify::Stages(stages))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Verify, D::Error> {
        Stage::deserialize(deserializer).map(|stage| Verify::One(Box::new(stage)))
    }
}

impl JsonSchema for Verify {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "verification".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let stage = generator.subschema_for::<Stage>();
        json_schema!({"anyOf": [stage, {"type": "array", "items": stage}, {"type": "string"}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_how_a_verification_is_written() {
        let schema = SchemaGenerator::default().subschema_for::<Verify>().to_value();
        assert!(schema.get("anyOf").is_some(), "it stands where it is used: {schema}");
        assert_eq!(Verify::schema_name(), "verification");
    }
}
