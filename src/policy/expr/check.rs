//! Syntax tree to checked condition: names, fields, types, literals. Reports everything that is wrong, not just the first.

use std::collections::BTreeSet;
use std::ops::Range;

use cel::common::ast::{CallExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr};

use super::super::problem::{Problem, nearest};
use super::env::{ALERT_FIELDS, Env, FIELDS, Path, ROOTS};
use super::node::Node;
use super::parse::Parsed;
use super::value::{Type, Val};

/// Checks a whole condition; gives its root and the facts that it names.
pub(super) fn check(source: &str, parsed: &Parsed, env: &Env) -> Result<(Node, BTreeSet<String>), Vec<Problem>> {
    let mut checker = Checker::new(source, parsed, env);
    let root = checker.lower(&parsed.root);
    if !matches!(root.of, Type::Bool | Type::Unsure) {
        checker.report(
            root.at.clone(),
            format!("a condition is true or false, this is {}", root.of),
            Some("compare it with something"),
        );
    }
    checker.all_problems()?;
    Ok((root.node, checker.facts))
}

/// Checks an expression of any type; gives its root and the facts that it names.
pub(super) fn any(source: &str, parsed: &Parsed, env: &Env) -> Result<(Node, BTreeSet<String>), Vec<Problem>> {
    let mut checker = Checker::new(source, parsed, env);
    let root = checker.lower(&parsed.root);
    checker.all_problems()?;
    Ok((root.node, checker.facts))
}

/// What an expression comes to.
pub(super) fn type_of(source: &str, parsed: &Parsed, env: &Env) -> Result<Type, Vec<Problem>> {
    let mut checker = Checker::new(source, parsed, env);
    let root = checker.lower(&parsed.root);
    checker.all_problems()?;
    Ok(root.of)
}

/// A part of the condition that was checked.
pub(super) struct Part {
    pub(super) node: Node,
    pub(super) of: Type,
    pub(super) at: Range<usize>,
}

pub(super) struct Checker<'a> {
    pub(super) source: &'a str,
    pub(super) parsed: &'a Parsed,
    pub(super) env: &'a Env,
    problems: Vec<Problem>,
    pub(super) locals: Vec<(String, Type)>,
    facts: BTreeSet<String>,
    depth: usize,
    pub(super) loops: usize,
}

/// Checking and evaluating recurse; a tree of this depth fits any stack.
const MAX_DEPTH: usize = 64;

impl<'a> Checker<'a> {
    fn new(source: &'a str, parsed: &'a Parsed, env: &'a Env) -> Self {
        Self { source, parsed, env, problems: Vec::new(), locals: Vec::new(), facts: BTreeSet::new(), depth: 0, loops: 0 }
    }

    /// All problems, if there are any.
    fn all_problems(&mut self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|problem| (problem.at.start, problem.at.end));
        self.problems.dedup();
        Err(std::mem::take(&mut self.problems))
    }

    pub(super) fn lower(&mut self, expr: &IdedExpr) -> Part {
        if self.depth >= MAX_DEPTH {
            return self.wrong(
                self.parsed.token(expr),
                "the condition is nested too deeply",
                Some("split it with `any` or `all`"),
            );
        }
        self.depth += 1;
        let part = match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(expr, list),
            Expr::Map(_) | Expr::Struct(_) => {
                self.wrong(self.parsed.token(expr), "maps are not available", Some("use a list: `['a', 'b']`"))
            }
            Expr::Comprehension(_) | Expr::Unspecified => self.wrong(self.parsed.token(expr), "not a condition", None),
        };
        self.depth -= 1;
        part
    }

    pub(super) fn report(&mut self, at: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        let problem = Problem::new(at, message);
        self.problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports, and gives a part that nothing else will complain about.
    pub(super) fn wrong(&mut self, at: Range<usize>, message: impl Into<String>, help: Option<&str>) -> Part {
        self.report(at.clone(), message, help);
        unsure(at)
    }

    pub(super) fn unknown_name(&mut self, at: Range<usize>, what: &str, name: &str, known: &[&str]) -> Part {
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "none is declared".to_owned(),
            None => format!("known: {}", known.join(", ")),
        };
        self.wrong(at, format!("unknown {what} `{name}`"), Some(&help))
    }

    pub(super) fn text(&self, at: &Range<usize>) -> &'a str {
        self.source.get(at.clone()).unwrap_or("")
    }

    fn literal(&mut self, expr: &IdedExpr, literal: &LiteralValue) -> Part {
        let mut at = self.parsed.token(expr);
        let (value, of) = match literal {
            LiteralValue::Boolean(value) => (Val::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Val::Int(*value.inner()), Type::Int),
            LiteralValue::Double(value) if value.inner().is_finite() => (Val::Double(*value.inner()), Type::Double),
            LiteralValue::Double(_) => return self.wrong(at, "a number out of range", None),
            LiteralValue::String(value) => (Val::text(value.inner()), Type::Text),
            LiteralValue::UInt(value) => {
                let help = format!("write `{}`", value.inner());
                return self.wrong(at, "unsigned numbers are not available", Some(&help));
            }
            LiteralValue::Null => {
                return self.wrong(at, "there is no `null`", Some("what is missing is `\"\"` (labels) or unknown (facts)"));
            }
            LiteralValue::Bytes(_) => return self.wrong(at, "bytes are not available", Some("write text: `'…'`")),
        };
        // The token of a negative number begins after its sign.
        if matches!(&value, Val::Int(number) if *number < 0) || matches!(&value, Val::Double(number) if *number < 0.0) {
            let before = self.source.get(..at.start).unwrap_or("").trim_end();
            if before.ends_with('-') {
                at.start = before.len() - 1;
            }
        }
        Part { node: Node::Const(value), of, at }
    }

    fn name(&mut self, expr: &IdedExpr, name: &str) -> Part {
        let at = self.parsed.token(expr);
        if let Some(index) = self.locals.iter().rposition(|(local, _)| local == name) {
            let of = self.locals.get(index).map_or(Type::Unsure, |(_, of)| of.clone());
            return Part { node: Node::Local(index), of, at };
        }
        match name {
            "now" => self.ask(Path::Now, at),
            "alerts" => self.ask(Path::Alerts, at),
            root if ROOTS.contains(&root) => {
                let fields = self.fields(root).join(", ");
                let help = if fields.is_empty() { format!("write `{root}.NAME`") } else { format!("say which field: {fields}") };
                self.wrong(at, format!("`{root}` is not a value by itself"), Some(&help))
            }
            _ => self.unknown_variable(at, name),
        }
    }

    fn unknown_variable(&mut self, at: Range<usize>, name: &str) -> Part {
        if self.env.facts.contains_key(name) {
            return self.wrong(at, format!("unknown variable `{name}`"), Some(&format!("did you mean `facts.{name}`?")));
        }
        let locals: Vec<String> = self.locals.iter().map(|(local, _)| local.clone()).collect();
        let known: Vec<&str> = locals.iter().map(String::as_str).chain(ROOTS).collect();
        if nearest(name, known.iter().copied()).is_none() {
            let help = format!("a label is `labels.{name}`, a text is `'{name}'`; known: {}", known.join(", "));
            return self.wrong(at, format!("unknown variable `{name}`"), Some(&help));
        }
        self.unknown_name(at, "variable", name, &known)
    }

    /// The names that may follow `root.`.
    fn fields(&self, root: &str) -> Vec<&'a str> {
        let env = self.env;
        let own = FIELDS.iter().filter(|(of, ..)| *of == root).map(|(_, field, ..)| *field);
        let facts = env.facts.keys().filter(|_| root == "facts").map(String::as_str);
        let maps = ["labels", "annotations"].into_iter().filter(|_| root == "alert");
        own.chain(facts).chain(maps).collect()
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Part {
        let dot = self.parsed.token(expr);
        let field = select.field.as_str();
        let gap = self.source.get(dot.end..).map_or(0, |rest| rest.len() - rest.trim_start().len());
        let name_at = (dot.end + gap).min(self.source.len())..(dot.end + gap + field.len()).min(self.source.len());
        if let Some(root) = self.root(&select.operand) {
            let whole = self.start(&select.operand)..name_at.end;
            return match root {
                Root::Texts { is_label } => {
                    self.ask(if is_label { Path::Label(field.to_owned()) } else { Path::Annotation(field.to_owned()) }, whole)
                }
                Root::Named("alert") if matches!(field, "labels" | "annotations") => {
                    self.wrong(whole, format!("`{field}` is not a value by itself"), Some(&format!("write `alert.{field}.NAME`")))
                }
                Root::Named(root) => self.field(root, field, name_at, whole),
            };
        }
        let operand = self.lower(&select.operand);
        let at = operand.at.start..name_at.end;
        match operand.of {
            Type::Unsure => unsure(at),
            Type::Texts => {
                let name = Node::Const(Val::text(field));
                Part { node: Node::Text(Box::new((operand.node, name))), of: Type::Text, at }
            }
            Type::Alert => match ALERT_FIELDS.iter().find(|(name, _)| *name == field) {
                Some((name, of)) => Part { node: Node::Field(Box::new(operand.node), name), of: of.clone(), at },
                None => self.unknown_name(name_at, "field", field, &ALERT_FIELDS.map(|(name, _)| name)),
            },
            other => self.wrong(name_at, format!("`{field}` of {other}: only alerts and labels have fields"), None),
        }
    }

    fn field(&mut self, root: &str, field: &str, name_at: Range<usize>, whole: Range<usize>) -> Part {
        if root == "facts" {
            let Some(of) = self.env.fact(field) else {
                let known = self.fields(root);
                return self.unknown_name(name_at, "fact", field, &known);
            };
            self.facts.insert(field.to_owned());
            return Part { node: Node::Ask(Path::Fact(field.to_owned()), of.clone()), of, at: whole };
        }
        match FIELDS.iter().find(|(of, name, ..)| *of == root && *name == field) {
            Some((_, _, path, _)) => self.ask(path.clone(), whole),
            None => {
                let known = self.fields(root);
                self.unknown_name(name_at, &format!("field of `{root}`"), field, &known)
            }
        }
    }

    pub(super) fn ask(&mut self, path: Path, at: Range<usize>) -> Part {
        let of = path.answer_type();
        Part { node: Node::Ask(path, of.clone()), of, at }
    }

    /// What stands before a dot, if it is not a value: a name of the environment that no loop variable hides.
    pub(super) fn root(&self, expr: &IdedExpr) -> Option<Root> {
        match &expr.expr {
            Expr::Ident(name) if self.locals.iter().any(|(local, _)| local == name) => None,
            Expr::Ident(name) => match name.as_str() {
                "labels" => Some(Root::Texts { is_label: true }),
                "annotations" => Some(Root::Texts { is_label: false }),
                "alerts" | "now" => None,
                name => ROOTS.into_iter().find(|root| *root == name).map(Root::Named),
            },
            Expr::Select(select) => match (self.root(&select.operand)?, select.field.as_str()) {
                (Root::Named("alert"), "labels") => Some(Root::Texts { is_label: true }),
                (Root::Named("alert"), "annotations") => Some(Root::Texts { is_label: false }),
                _ => None,
            },
            _ => None,
        }
    }

    /// Where a part begins.
    pub(super) fn start(&self, expr: &IdedExpr) -> usize {
        match &expr.expr {
            Expr::Select(select) => self.start(&select.operand),
            Expr::Call(CallExpr { target: Some(target), .. }) => self.start(target),
            _ => self.parsed.token(expr).start,
        }
    }

    fn list(&mut self, expr: &IdedExpr, list: &ListExpr) -> Part {
        let token = self.parsed.token(expr);
        let parts: Vec<Part> = list.elements.iter().map(|element| self.lower(element)).collect();
        let mut of = Type::Unsure;
        for part in &parts {
            if !of.is_comparable(&part.of) {
                let message = format!("a list with {of} and {}", part.of);
                return self.wrong(part.at.clone(), message, Some("all elements of a list have one type"));
            }
            // A list of whole and other numbers is one of numbers.
            if of == Type::Unsure || part.of == Type::Double {
                of = part.of.clone();
            }
        }
        let last = parts.last().map_or(token.end, |part| part.at.end);
        let end = self.source.get(last..).and_then(|rest| rest.find(']')).map_or(last, |bracket| last + bracket + 1);
        let node = Node::List(parts.into_iter().map(|part| part.node).collect());
        Part { node, of: Type::List(Box::new(of)), at: token.start..end }
    }
}

/// A name that is not a value by itself.
#[derive(Clone, Copy)]
pub(super) enum Root {
    Texts { is_label: bool },
    Named(&'static str),
}

/// A part about which everything was said.
pub(super) fn unsure(at: Range<usize>) -> Part {
    Part { node: Node::Const(Val::Bool(false)), of: Type::Unsure, at }
}
