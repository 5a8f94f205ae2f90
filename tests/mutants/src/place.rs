//! Where in a file its mutants stand, as pieces of syntax. How they are written there is `render.rs`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::list::{At, Mutant};

/// Bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub from: usize,
    pub to: usize,
}

/// A mutant, and what it puts in the place of something.
pub type Swap = (usize, String);

/// A piece of syntax that is written in another way, for the sake of the mutants in it.
pub struct Wrap {
    pub place: Place,
    pub kind: Kind,
}

/// What is there to be changed.
pub enum Kind {
    /// What a function returns. The place is all between its braces.
    Body(Vec<Swap>),
    /// The same where it returns some iterator, of items of this type.
    Iterator {
        item: Place,
        swaps: Vec<Swap>,
    },
    Binary {
        left: Place,
        operator: String,
        right: Place,
        swaps: Vec<Swap>,
    },
    /// An operator that is left out.
    Unary {
        operand: Place,
        operator: String,
        id: usize,
    },
    /// An arm of a match, from behind its pattern to the end of its guard: it is deleted, or its guard is always true or false.
    Arm {
        deleted: Option<usize>,
        guard: Option<Guard>,
    },
    /// What a match looks at. `compile.rs` finds by it the match that does not cover everything when its arms may be asleep.
    Head(usize),
    /// Parts that are left out, each by its mutant: fields of a struct, arms of a match that must be written out without them.
    Cut {
        parts: Vec<(usize, Place)>,
        parentheses: bool,
    },
}

/// The guard of an arm, and its mutants.
pub struct Guard {
    pub place: Place,
    /// It binds names: nothing can be put around it.
    pub binds: bool,
    pub always: Option<usize>,
    pub never: Option<usize>,
}

/// The mutants of a file.
pub struct Placed {
    /// Outer ones first.
    pub wraps: Vec<Wrap>,
    /// Those that are no Rust: `let … || …`.
    pub chained: Vec<usize>,
    /// Those whose place was not found.
    pub lost: Vec<usize>,
}

/// Finds these mutants in this file. The arms of matches in which one is `doubted` are written out.
pub fn place(text: &str, mutants: &[&Mutant], doubted: &BTreeSet<usize>) -> Result<Placed> {
    let tree = syn::parse_file(text).context("it is expected to be Rust that syn reads")?;
    let mut lines = vec![0];
    lines.extend(text.match_indices('\n').map(|(index, _)| index + 1));
    let offset = |at: At| {
        let line = lines.get(at.line.saturating_sub(1)).copied().unwrap_or(text.len());
        text[line..].char_indices().nth(at.column.saturating_sub(1)).map_or(text.len(), |(index, _)| line + index)
    };
    let mut finder = Finder { text, wanted: BTreeMap::new(), doubted, wraps: Vec::new(), chained: Vec::new() };
    for mutant in mutants {
        let place = Place { from: offset(mutant.span.start), to: offset(mutant.span.end) };
        finder.wanted.entry((mutant.genre.as_str(), place)).or_default().push(mutant);
    }
    finder.visit_file(&tree);
    let Finder { mut wraps, chained, wanted, .. } = finder;
    wraps.sort_by_key(|wrap| (wrap.place.from, std::cmp::Reverse(wrap.place.to)));
    Ok(Placed { wraps, chained, lost: wanted.values().flatten().map(|mutant| mutant.id).collect() })
}

struct Finder<'a> {
    text: &'a str,
    /// What has not been found yet.
    wanted: BTreeMap<(&'a str, Place), Vec<&'a Mutant>>,
    doubted: &'a BTreeSet<usize>,
    wraps: Vec<Wrap>,
    chained: Vec<usize>,
}

impl<'a> Finder<'a> {
    fn take(&mut self, genre: &'static str, place: Place) -> Vec<&'a Mutant> {
        self.wanted.remove(&(genre, place)).unwrap_or_default()
    }

    fn put(&mut self, place: Place, kind: Kind) {
        self.wraps.push(Wrap { place, kind });
    }

    /// What a function returns: cargo-mutants names its statements, or the block where there are none.
    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (open, close) = (at(&block.brace_token.span.open()), at(&block.brace_token.span.close()));
        let mut found = self.take("FnValue", Place { from: open.from, to: close.to });
        if let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) {
            found.extend(self.take("FnValue", Place { from: at(first).from, to: at(last).to }));
        }
        if !found.is_empty() {
            let swaps = swaps(&found);
            let kind = match iterated(&signature.output) {
                Some(item) => Kind::Iterator { item, swaps },
                None => Kind::Body(swaps),
            };
            self.put(Place { from: open.to, to: close.from }, kind);
        }
    }

    /// The mutants of one arm; the arm's own is returned where the whole match is to be written out without it.
    fn arm(&mut self, arm: &syn::Arm, written_out: bool) -> Option<usize> {
        let (pattern, condition) = match &arm.pat {
            syn::Pat::Guard(guarded) => (at(guarded.pat.as_ref()), Some(guarded.guard.as_ref())),
            pattern => (at(pattern), None),
        };
        let deleted = self.take("MatchArm", at(arm)).first().map(|mutant| mutant.id);
        let mut guard = None;
        if let Some(condition) = condition {
            let (place, binds) = (at(condition), has_let(condition));
            let found = if binds { Vec::new() } else { self.take("MatchArmGuard", place) };
            let of = |word: &str| found.iter().find(|mutant| mutant.replacement == word).map(|mutant| mutant.id);
            guard = Some(Guard { place, binds, always: of("true"), never: of("false") });
        }
        let has_guard = guard.as_ref().is_some_and(|guard| guard.always.is_some() || guard.never.is_some());
        let asleep = deleted.filter(|_| !written_out);
        if asleep.is_some() || has_guard {
            let to = guard.as_ref().map_or(pattern.to, |guard| guard.place.to);
            self.put(Place { from: pattern.to, to }, Kind::Arm { deleted: asleep, guard });
        }
        deleted
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.body(&node.sig, &node.block);
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.body(&node.sig, &node.block);
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.body(&node.sig, block);
        }
        visit::visit_trait_item_fn(self, node);
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let operator = at(&node.op);
        let found = self.take("BinaryOperator", operator);
        if has_let(&node.left) || has_let(&node.right) {
            self.chained.extend(found.iter().map(|mutant| mutant.id));
        } else if !found.is_empty() {
            let (left, right) = (at(node.left.as_ref()), at(node.right.as_ref()));
            let operator = self.text[operator.from..operator.to].to_owned();
            self.put(at(node), Kind::Binary { left, operator, right, swaps: swaps(&found) });
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let operator = at(&node.op);
        if let Some(mutant) = self.take("UnaryOperator", operator).first() {
            let operator = self.text[operator.from..operator.to].to_owned();
            self.put(at(node), Kind::Unary { operand: at(node.expr.as_ref()), operator, id: mutant.id });
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        let ids = |finder: &Self, arm: &syn::Arm| {
            finder.wanted.get(&("MatchArm", at(arm))).and_then(|found| found.first()).map(|mutant| mutant.id)
        };
        let written_out = node.arms.iter().filter_map(|arm| ids(self, arm)).any(|id| self.doubted.contains(&id));
        let mut parts = Vec::new();
        for arm in &node.arms {
            parts.extend(self.arm(arm, written_out).map(|id| (id, at(arm))));
        }
        match parts.first() {
            Some(_) if written_out => self.put(at(node), Kind::Cut { parts, parentheses: false }),
            Some((id, _)) => self.put(at(node.expr.as_ref()), Kind::Head(*id)),
            None => {}
        }
        visit::visit_expr_match(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        let mut parts = Vec::new();
        for field in node.fields.pairs() {
            let alone = at(field.value());
            let part = Place { to: field.punct().map_or(alone.to, |comma| at(comma).to), ..alone };
            // cargo-mutants names it with its comma.
            let found = self.take("StructField", part);
            parts.extend(found.iter().map(|mutant| (mutant.id, part)));
        }
        if !parts.is_empty() {
            self.put(at(node), Kind::Cut { parts, parentheses: true });
        }
        visit::visit_expr_struct(self, node);
    }
}

fn at(node: &impl Spanned) -> Place {
    let bytes = node.span().byte_range();
    Place { from: bytes.start, to: bytes.end }
}

fn swaps(found: &[&Mutant]) -> Vec<Swap> {
    found.iter().map(|mutant| (mutant.id, mutant.replacement.clone())).collect()
}

/// The type of the items where a function returns `impl Iterator<Item = …>`, or one that has two ends.
fn iterated(output: &syn::ReturnType) -> Option<Place> {
    let syn::ReturnType::Type(_, returned) = output else { return None };
    let syn::Type::ImplTrait(returned) = returned.as_ref() else { return None };
    let traits = returned.bounds.iter().filter_map(|bound| match bound {
        syn::TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    let mut iterators = traits.filter(|name| name.ident == "Iterator" || name.ident == "DoubleEndedIterator");
    let syn::PathArguments::AngleBracketed(arguments) = &iterators.next()?.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        syn::GenericArgument::AssocType(item) if item.ident == "Item" => Some(at(&item.ty)),
        _ => None,
    })
}

/// Whether a condition binds names by `let`.
fn has_let(condition: &syn::Expr) -> bool {
    match condition {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(both) if matches!(both.op, syn::BinOp::And(_)) => has_let(&both.left) || has_let(&both.right),
        _ => false,
    }
}
