//! What a condition may name, and of which type it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::matcher::{Matcher, format_all};
use super::value::Type;
use crate::model::FactType;

/// What the policy around a condition declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    /// The facts and their types.
    pub facts: BTreeMap<String, FactType>,
    /// The time intervals for `in_interval`.
    pub intervals: BTreeSet<String>,
}

/// What a scope is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// `labels.NAME` and `alert.labels.NAME`: text, `""` if missing.
    Label(String),
    /// `annotations.NAME` and `alert.annotations.NAME`: text, `""` if missing.
    Annotation(String),
    /// `alert.name`: text.
    AlertName,
    /// `alert.starts_at`: a time.
    AlertStartsAt,
    /// `alert.onset`: a time.
    AlertOnset,
    /// `alert.fingerprint`: text.
    AlertFingerprint,
    /// `alerts`: a list of maps with `labels` and `annotations` (maps of text) and `starts_at` (a time).
    Alerts,
    /// `target.kind`: text.
    TargetKind,
    /// `target.namespace`: text.
    TargetNamespace,
    /// `target.name`: text.
    TargetName,
    /// `target.cluster`: text.
    TargetCluster,
    /// `change.age`: a duration.
    ChangeAge,
    /// `change.by`: text.
    ChangeBy,
    /// `change.old`: text.
    ChangeOld,
    /// `change.new`: text.
    ChangeNew,
    /// `change.kinds`: a list of text.
    ChangeKinds,
    /// `change.barrier`: true or false.
    ChangeBarrier,
    /// `history.rollbacks_24h`: a whole number.
    HistoryRollbacks24h,
    /// `history.last_rollback_age`: a duration.
    HistoryLastRollbackAge,
    /// `history.flaps`: a number.
    HistoryFlaps,
    /// `facts.NAME`: as declared.
    Fact(String),
    /// `now`: a time.
    Now,
    /// `firing(MATCHERS)`: whether one firing alert of the incident satisfies all.
    Firing(Vec<Matcher>),
    /// `in_interval(NAME)`: whether now is in that interval.
    InInterval(String),
}

impl fmt::Display for Path {
    /// As it is written in a condition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name) => write!(f, "labels.{name}"),
            Self::Annotation(name) => write!(f, "annotations.{name}"),
            Self::Fact(name) => write!(f, "facts.{name}"),
            Self::Alerts => f.write_str("alerts"),
            Self::Now => f.write_str("now"),
            Self::Firing(matchers) => write!(f, "firing('{}')", format_all(matchers)),
            Self::InInterval(name) => write!(f, "in_interval('{name}')"),
            other => {
                let field = FIELDS.iter().find(|(_, _, path, _)| path == other);
                field.map_or(Ok(()), |(root, field, _, _)| write!(f, "{root}.{field}"))
            }
        }
    }
}

impl Env {
    pub(super) fn fact(&self, name: &str) -> Option<Type> {
        Some(match self.facts.get(name)? {
            FactType::Number => Type::Double,
            FactType::Duration => Type::Span,
            FactType::Bool => Type::Bool,
            FactType::Text => Type::Text,
        })
    }
}

/// Names that stand by themselves. All but the last two are not values: a field has to follow.
pub(super) const ROOTS: [&str; 9] = ["alert", "labels", "annotations", "target", "change", "history", "facts", "alerts", "now"];

type Field = (&'static str, &'static str, Path, fn() -> Type);

/// The fields of fixed roots.
pub(super) const FIELDS: [Field; 17] = [
    ("alert", "name", Path::AlertName, || Type::Text),
    ("alert", "starts_at", Path::AlertStartsAt, || Type::Time),
    ("alert", "onset", Path::AlertOnset, || Type::Time),
    ("alert", "fingerprint", Path::AlertFingerprint, || Type::Text),
    ("target", "kind", Path::TargetKind, || Type::Text),
    ("target", "namespace", Path::TargetNamespace, || Type::Text),
    ("target", "name", Path::TargetName, || Type::Text),
    ("target", "cluster", Path::TargetCluster, || Type::Text),
    ("change", "age", Path::ChangeAge, || Type::Span),
    ("change", "by", Path::ChangeBy, || Type::Text),
    ("change", "old", Path::ChangeOld, || Type::Text),
    ("change", "new", Path::ChangeNew, || Type::Text),
    ("change", "kinds", Path::ChangeKinds, || Type::List(Box::new(Type::Text))),
    ("change", "barrier", Path::ChangeBarrier, || Type::Bool),
    ("history", "rollbacks_24h", Path::HistoryRollbacks24h, || Type::Int),
    ("history", "last_rollback_age", Path::HistoryLastRollbackAge, || Type::Span),
    ("history", "flaps", Path::HistoryFlaps, || Type::Double),
];

/// The fields of an element of `alerts`.
pub(super) const ALERT_FIELDS: [(&str, Type); 3] =
    [("labels", Type::Texts), ("annotations", Type::Texts), ("starts_at", Type::Time)];

impl Path {
    /// The type its answer must have; that of a fact is declared and checked apart.
    pub(super) fn answer_type(&self) -> Type {
        match self {
            Self::Label(_) | Self::Annotation(_) => Type::Text,
            Self::Alerts => Type::List(Box::new(Type::Alert)),
            Self::Now => Type::Time,
            Self::Firing(_) | Self::InInterval(_) => Type::Bool,
            Self::Fact(_) => Type::Unsure,
            other => FIELDS.iter().find(|(_, _, path, _)| path == other).map_or(Type::Unsure, |(_, _, _, of)| of()),
        }
    }

    /// Whether its number or duration is never negative.
    pub(super) fn is_never_negative(&self) -> bool {
        matches!(self, Self::ChangeAge | Self::HistoryRollbacks24h | Self::HistoryLastRollbackAge | Self::HistoryFlaps)
    }
}
