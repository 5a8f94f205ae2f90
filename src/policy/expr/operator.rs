//! Checks operators: logic, comparisons, arithmetic, `in` and `[]`.

use std::ops::Range;

use cel::common::ast::{CallExpr, IdedExpr, operators};

use super::super::duration;
use super::check::{Checker, Part, Root, unsure};
use super::env::Path;
use super::node::{Arithmetic, Comparison, Function, Node};
use super::number;
use super::value::{Type, Val};

impl Checker<'_> {
    /// An operator's part; nothing if the call is not an operator.
    pub(super) fn operator(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Part> {
        let comparison = comparison(&call.func_name);
        let arithmetic = arithmetic(&call.func_name);
        Some(match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.logic(left, right, Node::And),
            (operators::LOGICAL_OR, [left, right]) => self.logic(left, right, Node::Or),
            (operators::LOGICAL_NOT, [operand]) => {
                let token = self.parsed.token(expr);
                let operand = self.truth(operand);
                Part { at: token.start..operand.at.end, node: Node::Not(Box::new(operand.node)), of: Type::Bool }
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.conditional(condition, yes, no),
            (operators::NEGATE, [operand]) => self.negate(expr, operand),
            (operators::IN, [element, list]) => self.contains(element, list),
            (operators::INDEX, [target, index]) => self.index(target, index),
            (_, [left, right]) if comparison.is_some() => self.compare(comparison?, left, right),
            (_, [left, right]) if arithmetic.is_some() => self.arithmetic(arithmetic?, left, right),
            _ => return None,
        })
    }

    fn logic(&mut self, left: &IdedExpr, right: &IdedExpr, node: fn(Box<(Node, Node)>) -> Node) -> Part {
        let (left, right) = (self.truth(left), self.truth(right));
        Part { at: left.at.start..right.at.end, node: node(Box::new((left.node, right.node))), of: Type::Bool }
    }

    /// A part that must be true or false.
    pub(super) fn truth(&mut self, expr: &IdedExpr) -> Part {
        let part = self.lower(expr);
        if !matches!(part.of, Type::Bool | Type::Unsure) {
            let message = format!("`{}` is {}, expected true or false", self.text(&part.at), part.of);
            self.report(part.at.clone(), message, Some("compare it with something"));
        }
        part
    }

    fn conditional(&mut self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Part {
        let (condition, yes, no) = (self.truth(condition), self.lower(yes), self.lower(no));
        let at = condition.at.start..no.at.end;
        if !yes.of.is_comparable(&no.of) {
            return self.wrong(
                at,
                format!("one branch is {}, the other is {}", yes.of, no.of),
                Some("both branches have one type"),
            );
        }
        let of = if no.of == Type::Double || yes.of == Type::Unsure { no.of } else { yes.of };
        Part { node: Node::If(Box::new((condition.node, yes.node, no.node))), of, at }
    }

    fn negate(&mut self, expr: &IdedExpr, operand: &IdedExpr) -> Part {
        let token = self.parsed.token(expr);
        let operand = self.lower(operand);
        let at = token.start..operand.at.end;
        if !operand.of.is_number() {
            return self.wrong(at, format!("`-` of {}, expected a number", operand.of), None);
        }
        Part { node: Node::Negate(Box::new(operand.node), at.clone()), of: operand.of, at }
    }

    fn compare(&mut self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Part {
        let (left, right) = (self.lower(left), self.lower(right));
        let at = left.at.start..right.at.end;
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if !left.of.is_comparable(&right.of) {
            let verb = if is_equality { "can never be equal" } else { "cannot be compared" };
            let message = format!("{} and {} {verb}: `{}`", left.of, right.of, self.text(&at));
            let help = self.mismatch(&left, &right);
            return self.wrong(at, message, help.as_deref());
        }
        let has_order = left.of.is_ordered() && right.of.is_ordered();
        if !is_equality && !has_order {
            return self.wrong(at, format!("{} has no order", left.of), Some("use `==`, `!=` or `in`"));
        }
        let is_sure = left.of != Type::Unsure && right.of != Type::Unsure;
        if is_sure && never_holds(comparison, &left.node, &right.node) {
            return self.wrong(at.clone(), format!("`{}` can never hold", self.text(&at)), None);
        }
        Part { node: Node::Compare(comparison, Box::new((left.node, right.node))), of: Type::Bool, at }
    }

    /// What was probably meant where two types do not fit.
    fn mismatch(&self, left: &Part, right: &Part) -> Option<String> {
        for (this, other) in [(left, right), (right, left)] {
            match (&this.of, &this.node, &other.of) {
                (Type::Text, Node::Const(Val::Text(text)), Type::Span) => {
                    let seconds = duration::parse(text).ok()?.as_secs();
                    return Some(format!("write `duration('{}')`", number::format_duration(seconds)));
                }
                (Type::Text, _, Type::Span) => return Some(format!("write `duration({})`", self.text(&this.at))),
                (Type::Text, Node::Const(Val::Text(text)), Type::Int | Type::Double) if text.parse::<f64>().is_ok() => {
                    return Some(format!("write `{text}` without quotes"));
                }
                (Type::Text, Node::Const(_), Type::Int | Type::Double) => return None,
                (Type::Text, _, Type::Int | Type::Double) => return Some(format!("write `double({})`", self.text(&this.at))),
                (Type::Int | Type::Double, _, Type::Span) => {
                    return Some(format!("say the unit: `duration('{}s')`", self.text(&this.at)));
                }
                (Type::Span, _, Type::Time) => return Some("subtract times first: `now - alert.starts_at`".to_owned()),
                _ => {}
            }
        }
        None
    }

    fn arithmetic(&mut self, operation: Arithmetic, left: &IdedExpr, right: &IdedExpr) -> Part {
        let (left, right) = (self.lower(left), self.lower(right));
        let at = left.at.start..right.at.end;
        let Some(of) = result(operation, &left.of, &right.of) else {
            let sign = match operation {
                Arithmetic::Add => "+",
                Arithmetic::Subtract => "-",
                Arithmetic::Multiply => "*",
                Arithmetic::Divide => "/",
                Arithmetic::Remainder => "%",
            };
            let message = format!("`{sign}` of {} and {}: `{}`", left.of, right.of, self.text(&at));
            let help = self.mismatch(&left, &right);
            return self.wrong(at, message, help.as_deref());
        };
        let node = Node::Arithmetic(operation, Box::new((left.node, right.node)), at.clone());
        Part { node, of, at }
    }

    fn contains(&mut self, element: &IdedExpr, list: &IdedExpr) -> Part {
        let element = self.lower(element);
        if let Some(Root::Texts { is_label }) = self.root(list) {
            let at = element.at.start..self.parsed.token(list).end;
            return self.is_set(element, at, |name| Node::AskText { is_label, name: Box::new(name) });
        }
        let list = self.lower(list);
        let at = element.at.start..list.at.end;
        match &list.of {
            Type::Unsure => unsure(at),
            Type::Texts => self.is_set(element, at, |name| Node::Text(Box::new((list.node, name)))),
            Type::List(of) if of.is_comparable(&element.of) => {
                Part { node: Node::In(Box::new((element.node, list.node))), of: Type::Bool, at }
            }
            Type::List(of) => {
                let message = format!("{} is never in a list of {of}: `{}`", element.of, self.text(&at));
                self.wrong(at, message, None)
            }
            other => {
                let message = format!("`in` needs a list, this is {other}");
                self.wrong(list.at, message, Some("for a part of a text write `x.contains('…')`"))
            }
        }
    }

    /// `'x' in labels`: there and not empty, since a missing label is the empty one.
    fn is_set(&mut self, name: Part, at: Range<usize>, node: impl FnOnce(Node) -> Node) -> Part {
        if !matches!(name.of, Type::Text | Type::Unsure) {
            return self.wrong(name.at, format!("a label's name is text, this is {}", name.of), None);
        }
        let empty = Node::Const(Val::text(""));
        Part { node: Node::Compare(Comparison::NotEqual, Box::new((node(name.node), empty))), of: Type::Bool, at }
    }

    fn index(&mut self, target: &IdedExpr, index: &IdedExpr) -> Part {
        if let Some(Root::Texts { is_label }) = self.root(target) {
            let start = self.start(target);
            let name = self.lower(index);
            let at = start..self.closing(name.at.end);
            return match (name.of, name.node) {
                (Type::Text, Node::Const(Val::Text(name))) => {
                    self.ask(if is_label { Path::Label(name.to_string()) } else { Path::Annotation(name.to_string()) }, at)
                }
                (Type::Text, name) => Part { node: Node::AskText { is_label, name: Box::new(name) }, of: Type::Text, at },
                (Type::Unsure, _) => unsure(at),
                (other, _) => self.wrong(name.at, format!("a label's name is text, this is {other}"), None),
            };
        }
        let (target, index) = (self.lower(target), self.lower(index));
        let at = target.at.start..self.closing(index.at.end);
        match (target.of, &index.of) {
            (Type::Unsure, _) | (_, Type::Unsure) => unsure(at),
            (Type::Texts, Type::Text) => Part { node: Node::Text(Box::new((target.node, index.node))), of: Type::Text, at },
            (Type::List(of), Type::Int) => {
                Part { node: Node::Element(Box::new((target.node, index.node)), at.clone()), of: *of, at }
            }
            (of, by) => self.wrong(at, format!("`[]` of {of} with {by}"), Some("write `list[0]` or `labels['name']`")),
        }
    }

    fn closing(&self, from: usize) -> usize {
        self.source.get(from..).and_then(|rest| rest.find(']')).map_or(from, |bracket| from + bracket + 1)
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}

fn result(operation: Arithmetic, left: &Type, right: &Type) -> Option<Type> {
    use Arithmetic::{Add, Remainder, Subtract};
    Some(match (operation, left, right) {
        (_, Type::Unsure, _) | (_, _, Type::Unsure) => Type::Unsure,
        (_, Type::Int, Type::Int) => Type::Int,
        (Remainder, ..) => return None,
        (_, Type::Int | Type::Double, Type::Int | Type::Double) => Type::Double,
        (Add, Type::Text, Type::Text) => Type::Text,
        (Add | Subtract, Type::Span, Type::Span) | (Subtract, Type::Time, Type::Time) => Type::Span,
        (Add | Subtract, Type::Time, Type::Span) | (Add, Type::Span, Type::Time) => Type::Time,
        _ => return None,
    })
}

/// Two constants that do not fit, or something that is never negative compared with something that is.
fn never_holds(comparison: Comparison, left: &Node, right: &Node) -> bool {
    if let (Node::Const(left), Node::Const(right)) = (left, right) {
        return !number::compare(comparison, left, right);
    }
    let (comparison, value) = match (left, right) {
        (value, Node::Const(bound)) if is_never_negative(value) => (comparison, bound),
        (Node::Const(bound), value) if is_never_negative(value) => (mirrored(comparison), bound),
        _ => return false,
    };
    let zero = if matches!(value, Val::Span(_)) { Val::Span(0) } else { Val::Int(0) };
    // Nothing from zero upwards holds if zero itself, the least one, does not reach the bound.
    match comparison {
        Comparison::Less => !number::compare(Comparison::Less, &zero, value),
        Comparison::LessOrEqual | Comparison::Equal => number::compare(Comparison::Greater, &zero, value),
        Comparison::NotEqual | Comparison::Greater | Comparison::GreaterOrEqual => false,
    }
}

fn is_never_negative(node: &Node) -> bool {
    match node {
        Node::Ask(path, _) => path.is_never_negative(),
        Node::Call(Function::Size, ..) => true,
        _ => false,
    }
}

fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}
