//! Rules as they are written: when, and then what; and tables of them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::super::yaml::{Field, Listed, Short, Shorthand, TEXT_OR_OTHER};
use super::text::{CelText, MatcherText};
use crate::model::Mode;

/// When, and then what: exactly one of `rollback`, `page`, `fix_forward`, `table`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "rule")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Rule {
    /// Its name in reports; else `rule N`.
    pub(in super::super) name: Field<String>,
    /// Hold when one firing alert of the incident satisfies all of them.
    pub(in super::super) matchers: Field<Listed<Field<MatcherText>>>,
    /// A condition that must be true.
    pub(in super::super) when: Field<CelText>,
    /// Conditions of which one must be true.
    pub(in super::super) any: Field<Vec<Field<CelText>>>,
    /// Conditions that must all be true, each reported on its own.
    pub(in super::super) all: Field<Vec<Field<CelText>>>,
    /// A stricter mode than the policy's.
    pub(in super::super) mode: Field<Mode>,
    /// A procedure of the kind `contain` that is carried out at once, whatever the verdict.
    pub(in super::super) first: Field<String>,
    /// Channels that are told of the decision besides.
    pub(in super::super) tell: Field<Listed<Field<String>>>,
    /// Roll back by these procedures: the next one's turn comes when one does not fit or did not help.
    pub(in super::super) rollback: Field<Listed<Field<String>>>,
    /// Page a human.
    pub(in super::super) page: Field<Short<Page>>,
    /// Leave it to be fixed forward: open a ticket.
    pub(in super::super) fix_forward: Field<Short<FixForward>>,
    /// A decision matrix: each row is a rule.
    pub(in super::super) table: Field<Table>,
}

/// A decision matrix.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "table")]
#[schemars(deny_unknown_fields, extend("required" = ["columns", "rows"]))]
pub(in super::super) struct Table {
    /// What the cells are about: `label NAME`, `annotation NAME`, `facts.NAME`, or another CEL value.
    pub(in super::super) columns: Field<Vec<Field<String>>>,
    /// In order: a cell for each column (a value, `OP value` or `any`), then what is to be done.
    pub(in super::super) rows: Field<Vec<Field<Vec<Field<Cell>>>>>,
}

/// A cell of a table, or what a row says.
#[derive(Clone, Debug)]
pub(in super::super) enum Cell {
    /// `critical`, `> 0.99`, `any`.
    Value(String),
    /// The last one of a row.
    Then(Box<Then>),
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OR_OTHER, CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, `OP value`, `any`, or what to do, such as `{rollback: undo}`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Value(text.to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell, D::Error> {
        Then::deserialize(deserializer).map(|then| Cell::Then(Box::new(then)))
    }
}

impl JsonSchema for Cell {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "cell".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let then = generator.subschema_for::<Then>();
        json_schema!({"anyOf": [{"type": ["string", "number", "boolean"]}, then]})
    }
}

/// What a row of a table says: exactly one of `rollback`, `page`, `fix_forward`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "row")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Then {
    /// A stricter mode than the policy's.
    pub(in super::super) mode: Field<Mode>,
    /// A procedure of the kind `contain` that is carried out at once, whatever the verdict.
    pub(in super::super) first: Field<String>,
    /// Channels that are told of the decision besides.
    pub(in super::super) tell: Field<Listed<Field<String>>>,
    /// Roll back by these procedures.
    pub(in super::super) rollback: Field<Listed<Field<String>>>,
    /// Page a human.
    pub(in super::super) page: Field<Short<Page>>,
    /// Leave it to be fixed forward: open a ticket.
    pub(in super::super) fix_forward: Field<Short<FixForward>>,
}

/// A page.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "page")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Page {
    /// Channels by name; without any, the policy's `owner`.
    pub(in super::super) to: Field<Listed<Field<String>>>,
    /// Whether corruption is suspected: nothing is rolled back there until a named person says so.
    pub(in super::super) latch: Field<bool>,
}

impl Shorthand for Page {
    const NAME: &'static str = "$short:to";
    type Value = Listed<String>;
}

/// A ticket.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "fix_forward")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct FixForward {
    /// Channels by name that take the ticket.
    pub(in super::super) to: Field<Listed<Field<String>>>,
}

impl Shorthand for FixForward {
    const NAME: &'static str = "$short:to";
    type Value = Listed<String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_what_may_stand_in_a_cell() {
        let schema = SchemaGenerator::default().subschema_for::<Cell>().to_value();
        assert_eq!(schema["anyOf"][0], serde_json::json!({"type": ["string", "number", "boolean"]}));
        assert_eq!(Cell::schema_name(), "cell");
    }
}
