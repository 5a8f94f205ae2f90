//! Evaluates a checked condition. Total: whatever goes wrong is unknown, with a reason; the work is bounded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::call::parse_time;
use super::env::Path;
use super::node::{Comparison, Function, LoopKind, Node};
use super::number;
use super::tri::{Tri, Unknown, merge};
use super::value::{Type, Val};
use super::{Known, Outcome, Scope};

/// Evaluates from the root.
pub(super) fn run(root: &Node, source: &str, scope: &dyn Scope) -> Outcome {
    let mut run = Run { source, scope, read: BTreeMap::new(), locals: Vec::new(), fuel: FUEL };
    let tri = match run.eval(root) {
        _ if run.fuel == 0 => Tri::Unknown(vec![Unknown::new(source, "it takes too long to evaluate")]),
        Ok(Val::Bool(holds)) => Tri::from(holds),
        Ok(_) => Tri::Unknown(vec![Unknown::new(source, "it is neither true nor false")]),
        Err(reasons) => Tri::Unknown(reasons),
    };
    Outcome { tri, read: run.read }
}

/// Evaluates from the root, and says in words what it comes to.
pub(super) fn show(root: &Node, source: &str, scope: &dyn Scope) -> Result<String, Vec<Unknown>> {
    let mut run = Run { source, scope, read: BTreeMap::new(), locals: Vec::new(), fuel: FUEL };
    match run.eval(root) {
        _ if run.fuel == 0 => Err(vec![Unknown::new(source, "it takes too long to evaluate")]),
        value => value.map(|value| value.to_string()),
    }
}

/// Steps of one evaluation: a loop in a loop over 250 alerts.
const FUEL: u32 = 1_000_000;

/// A value, or why there is none.
type Evaluated = Result<Val, Vec<Unknown>>;

struct Run<'a> {
    source: &'a str,
    scope: &'a dyn Scope,
    read: BTreeMap<Path, Known>,
    locals: Vec<Val>,
    fuel: u32,
}

impl Run<'_> {
    fn eval(&mut self, node: &Node) -> Evaluated {
        self.fuel = self.fuel.saturating_sub(1);
        if self.fuel == 0 {
            return Err(Vec::new());
        }
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Ask(path, of) => self.ask(path, of),
            Node::AskText { is_label, name } => match self.eval(name)? {
                Val::Text(name) => {
                    let path = if *is_label { Path::Label(name.to_string()) } else { Path::Annotation(name.to_string()) };
                    self.ask(&path, &Type::Text)
                }
                _ => Err(self.unfit()),
            },
            Node::Local(index) => self.locals.get(*index).cloned().ok_or_else(|| self.unfit()),
            Node::Field(of, name) => match self.eval(of)? {
                Val::Map(fields) => {
                    fields.get(*name).cloned().ok_or_else(|| vec![Unknown::new(format!("alerts: {name}"), "it is missing")])
                }
                _ => Err(self.unfit()),
            },
            Node::Text(parts) => match (self.eval(&parts.0)?, self.eval(&parts.1)?) {
                (Val::Map(texts), Val::Text(name)) => Ok(texts.get(&*name).cloned().unwrap_or_else(|| Val::text(""))),
                _ => Err(self.unfit()),
            },
            Node::Element(parts, at) => match (self.eval(&parts.0)?, self.eval(&parts.1)?) {
                (Val::List(values), Val::Int(index)) => {
                    let value = usize::try_from(index).ok().and_then(|index| values.get(index)).cloned();
                    value.ok_or_else(|| self.failed(at, &format!("the list has {} elements", values.len())))
                }
                _ => Err(self.unfit()),
            },
            Node::Not(operand) => Ok(Val::Bool(!self.truth(operand)?)),
            Node::And(parts) => self.both(&parts.0, &parts.1, false),
            Node::Or(parts) => self.both(&parts.0, &parts.1, true),
            Node::If(parts) => {
                let branch = if self.truth(&parts.0)? { &parts.1 } else { &parts.2 };
                self.eval(branch)
            }
            Node::Compare(comparison, parts) => self.compare(*comparison, &parts.0, &parts.1),
            Node::In(parts) => match self.pair(&parts.0, &parts.1)? {
                (element, Val::List(values)) => Ok(Val::Bool(values.iter().any(|value| number::is_equal(value, &element)))),
                _ => Err(self.unfit()),
            },
            Node::Arithmetic(operation, parts, at) => {
                let (left, right) = self.pair(&parts.0, &parts.1)?;
                number::calculate(*operation, &left, &right).map_err(|reason| self.failed(at, reason))
            }
            Node::Negate(operand, at) => {
                let operand = self.eval(operand)?;
                number::negate(&operand).map_err(|reason| self.failed(at, reason))
            }
            Node::Loop { kind, list, body } => self.repeat(*kind, list, body),
            Node::Call(function, arguments, at) => self.call(function, arguments, at),
            Node::List(elements) => Ok(Val::List(self.each(elements)?.into())),
        }
    }

    fn ask(&mut self, path: &Path, of: &Type) -> Evaluated {
        // Every mention of a path sees the same answer.
        let known = match self.read.entry(path.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(judge(self.scope.value(path), of)),
        };
        let answer = known.as_ref().map_err(String::clone).and_then(Val::from_answer);
        answer.map_err(|reason| vec![Unknown::new(path.to_string(), reason)])
    }

    fn truth(&mut self, node: &Node) -> Result<bool, Vec<Unknown>> {
        match self.eval(node)? {
            Val::Bool(holds) => Ok(holds),
            _ => Err(self.unfit()),
        }
    }

    /// `&&` and `||`: `absorbing` decides by itself, whatever the other side is.
    fn both(&mut self, left: &Node, right: &Node, absorbing: bool) -> Evaluated {
        let left = self.truth(left);
        if left == Ok(absorbing) {
            return Ok(Val::Bool(absorbing));
        }
        match (left, self.truth(right)) {
            (_, Ok(right)) if right == absorbing => Ok(Val::Bool(absorbing)),
            (Ok(_), Ok(_)) => Ok(Val::Bool(!absorbing)),
            (left, right) => {
                let mut reasons = left.err().unwrap_or_default();
                merge(&mut reasons, right.err().unwrap_or_default());
                Err(reasons)
            }
        }
    }

    /// Both sides, so that everything unknown is named at once.
    fn pair(&mut self, left: &Node, right: &Node) -> Result<(Val, Val), Vec<Unknown>> {
        match (self.eval(left), self.eval(right)) {
            (Ok(left), Ok(right)) => Ok((left, right)),
            (left, right) => {
                let mut reasons = left.err().unwrap_or_default();
                merge(&mut reasons, right.err().unwrap_or_default());
                Err(reasons)
            }
        }
    }

    fn each(&mut self, nodes: &[Node]) -> Result<Vec<Val>, Vec<Unknown>> {
        let (mut values, mut reasons) = (Vec::with_capacity(nodes.len()), Vec::new());
        for node in nodes {
            match self.eval(node) {
                Ok(value) => values.push(value),
                Err(more) => merge(&mut reasons, more),
            }
        }
        if reasons.is_empty() && values.len() == nodes.len() { Ok(values) } else { Err(reasons) }
    }

    fn compare(&mut self, comparison: Comparison, left: &Node, right: &Node) -> Evaluated {
        let (left, right) = self.pair(left, right)?;
        Ok(Val::Bool(number::compare(comparison, &left, &right)))
    }

    fn repeat(&mut self, kind: LoopKind, list: &Node, body: &Node) -> Evaluated {
        let Val::List(values) = self.eval(list)? else { return Err(self.unfit()) };
        let (mut chosen, mut reasons, mut is_sure) = (Vec::new(), Vec::new(), true);
        for value in values.iter() {
            self.locals.push(value.clone());
            let result = self.eval(body);
            self.locals.pop();
            match (kind, result) {
                (LoopKind::All, Ok(Val::Bool(false))) => return Ok(Val::Bool(false)),
                (LoopKind::Exists, Ok(Val::Bool(true))) => return Ok(Val::Bool(true)),
                (LoopKind::Map, Ok(mapped)) => chosen.push(mapped),
                (_, Ok(Val::Bool(true))) => chosen.push(value.clone()),
                (_, Ok(_)) => {}
                (_, Err(more)) => {
                    is_sure = false;
                    merge(&mut reasons, more);
                }
            }
            if self.fuel == 0 {
                break;
            }
        }
        if !is_sure {
            return Err(reasons);
        }
        Ok(match kind {
            LoopKind::All => Val::Bool(true),
            LoopKind::Exists => Val::Bool(false),
            LoopKind::ExistsOne => Val::Bool(chosen.len() == 1),
            LoopKind::Filter | LoopKind::Map => Val::List(chosen.into()),
        })
    }

    fn call(&mut self, function: &Function, arguments: &[Node], at: &Range<usize>) -> Evaluated {
        let arguments = self.each(arguments)?;
        apply(function, &arguments).map_err(|reason| self.failed(at, &reason))
    }

    fn failed(&self, at: &Range<usize>, reason: &str) -> Vec<Unknown> {
        vec![Unknown::new(self.source.get(at.clone()).unwrap_or(self.source), reason)]
    }

    /// A value of another type than was checked: cannot be, but must not panic.
    fn unfit(&self) -> Vec<Unknown> {
        vec![Unknown::new(self.source, "a value is of an unexpected type")]
    }
}

/// An answer must be of the declared type, and a number a number.
fn judge(known: Known, of: &Type) -> Known {
    let value = known?;
    let held = Val::from_answer(&value)?;
    if of.holds(&held) { Ok(value) } else { Err(format!("expected {of}, got {value}")) }
}

fn apply(function: &Function, arguments: &[Val]) -> Result<Val, String> {
    Ok(match (function, arguments) {
        (Function::Size, [Val::Text(text)]) => Val::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX)),
        (Function::Size, [Val::List(values)]) => Val::Int(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        (Function::Contains, [Val::Text(text), Val::Text(part)]) => Val::Bool(text.contains(&**part)),
        (Function::StartsWith, [Val::Text(text), Val::Text(part)]) => Val::Bool(text.starts_with(&**part)),
        (Function::EndsWith, [Val::Text(text), Val::Text(part)]) => Val::Bool(text.ends_with(&**part)),
        (Function::Matches(regex), [Val::Text(text), _]) => Val::Bool(regex.is_match(text)),
        (Function::Int | Function::Double | Function::Text, [value]) => convert(function, value)?,
        (Function::Duration, [Val::Text(text)]) => {
            Val::Span(number::parse_duration(text).ok_or_else(|| format!("{text:?} is not a duration"))?)
        }
        (Function::Timestamp, [Val::Text(text)]) => Val::Time(parse_time(text).ok_or_else(|| format!("{text:?} is not a time"))?),
        (Function::Whole(unit), [Val::Span(span)]) => Val::Int(span / unit),
        _ => return Err("a value is of an unexpected type".to_owned()),
    })
}

fn convert(function: &Function, value: &Val) -> Result<Val, String> {
    // 2^63: beyond it a whole number does not fit.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let is_finite = |number: &f64| number.is_finite();
    Ok(match (function, value) {
        (Function::Int, Val::Double(value)) if value.abs() < BEYOND => Val::Int(*value as i64),
        (Function::Int, Val::Double(value)) => return Err(format!("{value} is out of range")),
        (Function::Int, Val::Text(text)) => Val::Int(text.parse().map_err(|_| format!("{text:?} is not a whole number"))?),
        (Function::Double, Val::Int(value)) => Val::Double(*value as f64),
        (Function::Double, Val::Text(text)) => {
            Val::Double(text.parse().ok().filter(is_finite).ok_or_else(|| format!("{text:?} is not a number"))?)
        }
        (Function::Text, Val::Int(value)) => Val::Text(Arc::from(value.to_string())),
        (Function::Text, Val::Double(value)) => Val::Text(Arc::from(value.to_string())),
        (Function::Text, Val::Bool(value)) => Val::Text(Arc::from(value.to_string())),
        (_, same) => same.clone(),
    })
}
