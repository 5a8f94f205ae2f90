//! A condition after checking: every name resolved, every literal read, every type right.

use std::ops::Range;

use regex::Regex;

use super::env::Path;
use super::value::{Type, Val};

#[derive(Debug)]
pub(super) enum Node {
    Const(Val),
    /// Ask the scope; the answer must be of that type.
    Ask(Path, Type),
    /// A label or annotation whose name is computed.
    AskText {
        is_label: bool,
        name: Box<Node>,
    },
    /// The variable of a loop, counted from the outermost.
    Local(usize),
    /// A field of an element of `alerts`.
    Field(Box<Node>, &'static str),
    /// A label or annotation of an element of `alerts`; the empty text if missing.
    Text(Box<(Node, Node)>),
    /// An element of a list.
    Element(Box<(Node, Node)>, Range<usize>),
    Not(Box<Node>),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    If(Box<(Node, Node, Node)>),
    Compare(Comparison, Box<(Node, Node)>),
    In(Box<(Node, Node)>),
    Arithmetic(Arithmetic, Box<(Node, Node)>, Range<usize>),
    Negate(Box<Node>, Range<usize>),
    Loop {
        kind: LoopKind,
        list: Box<Node>,
        body: Box<Node>,
    },
    Call(Function, Vec<Node>, Range<usize>),
    List(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches(Regex),
    Int,
    Double,
    Text,
    Duration,
    Timestamp,
    /// A duration in whole units of so many nanoseconds.
    Whole(i64),
}
