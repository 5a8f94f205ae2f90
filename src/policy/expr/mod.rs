//! Conditions: CEL's grammar, checked against a typed environment, decided with three values. No clock, no IO: a scope answers.
//!
//! The grammar is the `cel` crate's; types and evaluation are ours, because a rollback needs what it does not offer: all
//! problems at load, reasons for what is unknown, numbers that compare by value, an order that never changes and bounded work.

mod call;
mod check;
mod env;
mod eval;
mod node;
mod number;
mod operator;
mod parse;
mod tri;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::problem::Problem;

pub use crate::model::FactType;
pub use env::{Env, Path};
pub use tri::{Tri, Unknown};
pub use value::Value;

/// What a scope answers: a value, or the reason why it is unknown.
pub type Known = Result<Value, String>;

/// Where conditions get their values from.
pub trait Scope {
    /// The value at that path. Asked only for what is reached, and once for each path in one evaluation.
    ///
    /// A missing label or annotation is the empty text. A value of another type than declared and NaN count as unknown.
    fn value(&self, path: &Path) -> Known;
}

/// What an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// Text.
    Text,
    /// A length of time.
    Duration,
    /// A time, a list, an alert.
    Other,
}

/// Checks an expression that need not be a condition, and says what it comes to.
///
/// # Errors
/// All its problems, unless it cannot be parsed at all.
pub fn kind_of(source: &str, env: &Env) -> Result<Kind, Vec<Problem>> {
    let parsed = parse::parse(source).map_err(|problem| vec![problem])?;
    Ok(match check::type_of(source, &parsed, env)? {
        value::Type::Bool => Kind::Bool,
        value::Type::Int | value::Type::Double => Kind::Number,
        value::Type::Text => Kind::Text,
        value::Type::Span => Kind::Duration,
        _ => Kind::Other,
    })
}

/// Of a path in a condition with that text: why its value is never known, where it is not.
pub type Blind = fn(&Path, &str) -> Option<&'static str>;

/// A condition that was found right.
#[derive(Clone)]
pub struct Expr {
    checked: Arc<Checked>,
    blind: Option<Blind>,
}

struct Checked {
    source: String,
    root: node::Node,
    facts: BTreeSet<String>,
}

impl Expr {
    /// Checks a condition; all problems are reported, unless it cannot be parsed at all.
    pub fn compile(source: &str, env: &Env) -> Result<Self, Vec<Problem>> {
        let parsed = parse::parse(source).map_err(|problem| vec![problem])?;
        let (root, facts) = check::check(source, &parsed, env)?;
        Ok(Self { checked: Arc::new(Checked { source: source.to_owned(), root, facts }), blind: None })
    }

    /// Checks an expression of any type, which is there to be shown.
    ///
    /// # Errors
    /// All its problems, unless it cannot be parsed at all.
    pub fn shown(source: &str, env: &Env) -> Result<Self, Vec<Problem>> {
        let parsed = parse::parse(source).map_err(|problem| vec![problem])?;
        let (root, facts) = check::any(source, &parsed, env)?;
        Ok(Self { checked: Arc::new(Checked { source: source.to_owned(), root, facts }), blind: None })
    }

    /// What it comes to, in words; or what was unknown.
    ///
    /// # Errors
    /// Something that it reads is unknown.
    pub fn show(&self, scope: &dyn Scope) -> Result<String, Vec<Unknown>> {
        let blinded = Blinded { scope, source: &self.checked.source, blind: self.blind };
        eval::show(&self.checked.root, &self.checked.source, &blinded)
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.checked.source
    }

    /// All facts that it names, reached or not.
    pub fn facts(&self) -> &BTreeSet<String> {
        &self.checked.facts
    }

    /// Decides it, and says what it read.
    pub fn eval(&self, scope: &dyn Scope) -> Outcome {
        let blinded = Blinded { scope, source: &self.checked.source, blind: self.blind };
        eval::run(&self.checked.root, &self.checked.source, &blinded)
    }

    /// The same, where some of what it may read can never be known.
    #[must_use]
    pub fn without(&self, blind: Blind) -> Self {
        Self { checked: Arc::clone(&self.checked), blind: Some(blind) }
    }
}

/// A scope of which some values are hidden.
struct Blinded<'a> {
    scope: &'a dyn Scope,
    source: &'a str,
    blind: Option<Blind>,
}

impl Scope for Blinded<'_> {
    fn value(&self, path: &Path) -> Known {
        match self.blind.and_then(|blind| blind(path, self.source)) {
            Some(why) => Err(why.to_owned()),
            None => self.scope.value(path),
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?})", self.checked.source)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.checked.source)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.checked.source == other.checked.source
    }
}

impl Eq for Expr {}

/// One evaluation of a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether it holds.
    pub tri: Tri,
    /// Everything that was asked for, with the answer.
    pub read: BTreeMap<Path, Known>,
}

impl Outcome {
    /// The facts that were asked for: what has to be queried before this can be decided.
    pub fn facts(&self) -> BTreeSet<String> {
        let fact = |path: &Path| match path {
            Path::Fact(name) => Some(name.clone()),
            _ => None,
        };
        self.read.keys().filter_map(fact).collect()
    }
}
