//! Checks functions and loops; reads their literal arguments at load.

use std::ops::Range;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

use super::super::problem::Problem;
use super::super::{duration, matcher};
use super::check::{Checker, Part};
use super::env::Path;
use super::node::{Function, LoopKind, Node};
use super::number;
use super::value::{Type, Val};

/// All functions, for hints.
const FUNCTIONS: [&str; 21] = [
    "firing",
    "in_interval",
    "duration",
    "timestamp",
    "int",
    "double",
    "string",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
];

/// Loops within loops are exponential.
const MAX_LOOPS: usize = 2;

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Part {
        if let Some(part) = self.operator(expr, call) {
            return part;
        }
        let name = call.func_name.as_str();
        let place = self.place(expr, call);
        match (name, &call.target) {
            ("has", _) => self.wrong(
                place.name,
                "`has` is not available: every name here exists",
                Some("a missing label is `\"\"`: write `labels.x != ''`; a fact that is missing makes the condition unknown"),
            ),
            ("firing", None) => self.firing(call, place),
            ("in_interval", None) => self.in_interval(call, place),
            ("all" | "exists" | "exists_one" | "filter" | "map", Some(target)) => self.looping(call, target, place),
            ("optional", _) | (_, Some(_)) if is_optional(call) => {
                self.wrong(place.name, "optional values are not available", Some("what is unknown must stay unknown"))
            }
            _ => self.function(call, place),
        }
    }

    /// Where a call's name stands, and the whole of it.
    fn place(&self, expr: &IdedExpr, call: &CallExpr) -> Place {
        let bracket = self.parsed.token(expr);
        let before = self.source.get(..bracket.start).unwrap_or("").trim_end();
        let start = before.len().saturating_sub(call.func_name.len());
        let whole = self.start(expr).min(start)..closing(self.source, bracket.start);
        Place { name: start..before.len(), whole }
    }

    fn firing(&mut self, call: &CallExpr, place: Place) -> Part {
        let Some((text, at)) = self.literal_text(call, &place, "firing('severity=\"critical\"')") else {
            return Part { of: Type::Bool, ..super::check::unsure(place.whole) };
        };
        match matcher::parse_item(&text) {
            Ok(parsed) if parsed.matchers.is_empty() => {
                self.wrong(at, "`firing` without a matcher is always true", Some("say which alert: `firing('alertname=\"X\"')`"))
            }
            // Here is no file to carry a warning from, and a matcher that is read in two ways is not what a rollback should hang on.
            Ok(parsed) => match parsed.warning {
                Some(Problem { message, help, .. }) => self.wrong(at, message, help.as_deref()),
                None => self.ask(Path::Firing(parsed.matchers), place.whole),
            },
            Err(problem) => {
                let problem = self.within(problem, &text, at);
                self.push(problem);
                super::check::unsure(place.whole)
            }
        }
    }

    fn in_interval(&mut self, call: &CallExpr, place: Place) -> Part {
        let Some((name, at)) = self.literal_text(call, &place, "in_interval('business-hours')") else {
            return super::check::unsure(place.whole);
        };
        if self.env.intervals.contains(&name) {
            return self.ask(Path::InInterval(name), place.whole);
        }
        let known: Vec<&str> = self.env.intervals.iter().map(String::as_str).collect();
        self.unknown_name(at, "time interval", &name, &known)
    }

    /// The only argument, where it must be known at load.
    fn literal_text(&mut self, call: &CallExpr, place: &Place, example: &str) -> Option<(String, Range<usize>)> {
        let help = format!("write `{example}`");
        match call.args.as_slice() {
            [IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }] => {
                let at = call.args.first().map_or(place.whole.clone(), |argument| self.parsed.token(argument));
                Some((text.inner().to_owned(), at))
            }
            [_] => {
                self.report(place.whole.clone(), format!("`{}` needs a text that is written out", call.func_name), Some(&help));
                None
            }
            arguments => {
                let message = format!("`{}` takes 1 argument, found {}", call.func_name, arguments.len());
                self.report(place.whole.clone(), message, Some(&help));
                None
            }
        }
    }

    /// Moves a problem of a quoted text to where that text stands in the condition.
    fn within(&self, problem: Problem, text: &str, at: Range<usize>) -> Problem {
        let is_verbatim = self.text(&at).get(1..).is_some_and(|inner| inner.starts_with(text));
        if is_verbatim { problem.shifted(at.start + 1) } else { Problem { at, ..problem } }
    }

    fn looping(&mut self, call: &CallExpr, target: &IdedExpr, place: Place) -> Part {
        let name = call.func_name.as_str();
        let [IdedExpr { expr: Expr::Ident(variable), .. }, body] = call.args.as_slice() else {
            let help = format!("write `alerts.{name}(a, a.labels.severity == 'critical')`");
            return self.wrong(place.whole, format!("`{name}` takes a name and a condition"), Some(&help));
        };
        if self.root(target).is_some() {
            return self.wrong(
                place.name,
                "there are no loops over labels or fields",
                Some("loop over `alerts` or `change.kinds`"),
            );
        }
        let list = self.lower(target);
        let element = match &list.of {
            Type::List(of) => (**of).clone(),
            Type::Unsure => Type::Unsure,
            other => {
                let message = format!("`{name}` loops over a list, this is {other}");
                return self.wrong(list.at, message, Some("there are no loops over labels"));
            }
        };
        if self.loops >= MAX_LOOPS {
            return self.wrong(place.name, "too many loops within loops", Some("the limit is 2"));
        }
        self.loops += 1;
        self.locals.push((variable.clone(), element.clone()));
        let body = if name == "map" { self.lower(body) } else { self.truth(body) };
        self.locals.pop();
        self.loops -= 1;
        let (kind, of) = match name {
            "all" => (LoopKind::All, Type::Bool),
            "exists" => (LoopKind::Exists, Type::Bool),
            "exists_one" => (LoopKind::ExistsOne, Type::Bool),
            "filter" => (LoopKind::Filter, Type::List(Box::new(element))),
            _ => (LoopKind::Map, Type::List(Box::new(body.of))),
        };
        Part { node: Node::Loop { kind, list: Box::new(list.node), body: Box::new(body.node) }, of, at: place.whole }
    }

    fn function(&mut self, call: &CallExpr, place: Place) -> Part {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) {
            return self.unknown_name(place.name, "function", name, &FUNCTIONS);
        }
        let operands: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let parts: Vec<Part> = operands.iter().map(|operand| self.lower(operand)).collect();
        let signature = signature(name);
        if !signature.iter().any(|(wanted, _)| wanted.len() == parts.len()) {
            let wanted = signature.first().map_or(0, |(wanted, _)| wanted.len());
            let found = parts.len();
            return self.wrong(
                place.whole,
                format!("`{name}` takes {wanted} arguments (with what stands before the dot), found {found}"),
                None,
            );
        }
        let fits = |wanted: &[Type]| {
            let fits = |(wanted, part): (&Type, &Part)| match wanted {
                Type::List(_) => matches!(part.of, Type::List(_) | Type::Unsure),
                wanted => part.of == *wanted || part.of == Type::Unsure,
            };
            wanted.len() == parts.len() && wanted.iter().zip(&parts).all(fits)
        };
        let Some((_, of)) = signature.iter().find(|(wanted, _)| fits(wanted)) else {
            let found: Vec<String> = parts.iter().map(|part| part.of.to_string()).collect();
            let help = (name.starts_with("get")).then_some("of a time, use `in_interval('name')`");
            return self.wrong(place.whole, format!("`{name}` of {}", found.join(" and ")), help);
        };
        self.finish(name, parts, of.clone(), place)
    }

    fn finish(&mut self, name: &str, parts: Vec<Part>, of: Type, place: Place) -> Part {
        let constant = parts.last().and_then(|part| match &part.node {
            Node::Const(Val::Text(text)) => Some((text.to_string(), part.at.clone())),
            _ => None,
        });
        let function = match (name, constant) {
            ("duration", Some((text, at))) => return self.duration(&text, at, place.whole),
            ("timestamp", Some((text, at))) => {
                return match parse_time(&text) {
                    Some(time) => Part { node: Node::Const(Val::Time(time)), of, at: place.whole },
                    None => self.wrong(at, format!("`{text}` is not a time"), Some("write for example `2026-01-31T12:00:00Z`")),
                };
            }
            ("matches", Some((pattern, at))) => match matcher::search_regex(&pattern) {
                Ok(regex) => Function::Matches(regex),
                Err(problem) => {
                    let problem = self.within(problem, &pattern, at);
                    self.push(problem);
                    return super::check::unsure(place.whole);
                }
            },
            ("matches", None) => {
                let at = parts.last().map_or(place.whole.clone(), |part| part.at.clone());
                return self.wrong(at, "the pattern of `matches` must be written out", Some("write `labels.x.matches('^a.*')`"));
            }
            (name, _) => match plain_function(name) {
                Some(function) => function,
                None => return self.wrong(place.name, format!("`{name}` needs a list before the dot"), None),
            },
        };
        let nodes = parts.into_iter().map(|part| part.node).collect();
        Part { node: Node::Call(function, nodes, place.whole.clone()), of, at: place.whole }
    }

    fn duration(&mut self, text: &str, at: Range<usize>, whole: Range<usize>) -> Part {
        if let Some(span) = number::parse_duration(text) {
            return Part { node: Node::Const(Val::Span(span)), of: Type::Span, at: whole };
        }
        let help = match duration::parse(text) {
            Ok(meant) => {
                format!("in conditions the units are h m s ms, as in Go: write `{}`", number::format_duration(meant.as_secs()))
            }
            Err(_) => "write for example `90s`, `1h30m` or `72h`".to_owned(),
        };
        self.wrong(at, format!("`{text}` is not a duration"), Some(&help))
    }
}

/// Reads a time with a zone, to the millisecond.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond())
}

struct Place {
    name: Range<usize>,
    whole: Range<usize>,
}

type Signature = Vec<(Vec<Type>, Type)>;

/// What a function takes (the value before the dot first) and gives.
fn signature(name: &str) -> Signature {
    let list = || Type::List(Box::new(Type::Unsure));
    let one = |takes: &[Type], gives: Type| takes.iter().map(|of| (vec![of.clone()], gives.clone())).collect::<Signature>();
    match name {
        "size" => one(&[Type::Text, list()], Type::Int),
        "contains" | "startsWith" | "endsWith" | "matches" => vec![(vec![Type::Text, Type::Text], Type::Bool)],
        "int" => one(&[Type::Int, Type::Double, Type::Text], Type::Int),
        "double" => one(&[Type::Double, Type::Int, Type::Text], Type::Double),
        "string" => one(&[Type::Text, Type::Int, Type::Double, Type::Bool], Type::Text),
        "duration" => one(&[Type::Text], Type::Span),
        "timestamp" => one(&[Type::Text], Type::Time),
        "getHours" | "getMinutes" | "getSeconds" | "getMilliseconds" => one(&[Type::Span], Type::Int),
        // The loops and the functions of the environment, written in a way that none of them is.
        "firing" | "in_interval" => one(&[Type::Text], Type::Bool),
        _ => vec![(vec![list(), Type::Unsure, Type::Bool], Type::Bool)],
    }
}

fn plain_function(name: &str) -> Option<Function> {
    Some(match name {
        "size" => Function::Size,
        "contains" => Function::Contains,
        "startsWith" => Function::StartsWith,
        "endsWith" => Function::EndsWith,
        "int" => Function::Int,
        "double" => Function::Double,
        "string" => Function::Text,
        "duration" => Function::Duration,
        "timestamp" => Function::Timestamp,
        "getHours" => Function::Whole(3_600_000_000_000),
        "getMinutes" => Function::Whole(60_000_000_000),
        "getSeconds" => Function::Whole(1_000_000_000),
        "getMilliseconds" => Function::Whole(number::NANOSECONDS_PER_MILLISECOND),
        _ => return None,
    })
}

fn is_optional(call: &CallExpr) -> bool {
    let of_optional = call.target.as_ref().is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "optional"));
    of_optional || matches!(call.func_name.as_str(), "orValue" | "or" | "hasValue" | "value" | "optMap" | "optFlatMap")
}

/// One beyond the bracket that closes the one at `open`; quotes are skipped.
fn closing(source: &str, open: usize) -> usize {
    let rest = source.get(open..).unwrap_or("");
    let (mut depth, mut quote, mut is_escaped) = (0_usize, None, false);
    for (at, char) in rest.char_indices() {
        match (quote, char) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(char),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return open + at + 1;
                }
            }
            (None, _) => {}
        }
    }
    source.len()
}
