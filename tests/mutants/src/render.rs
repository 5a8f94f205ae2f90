//! Writes a file with all its mutants in it: mutant N is awake where `crate::mutant::m(N)`. What is there for the sake of a
//! mutant alone stands between `/*<N*/` and `/*N>*/`, and what a match looks at between `/*[N*/` and `/*N]*/`, N being the mutant
//! of its first arm: an error in there is the mutant's. `compile.rs` reads these marks.

use crate::place::{Guard, Kind, Place, Swap, Wrap};

/// The file. The wraps are in the order of `place`.
pub fn render(text: &str, wraps: &[Wrap]) -> String {
    Page { text, wraps }.part(Place { from: 0, to: text.len() }, 0)
}

struct Page<'a> {
    text: &'a str,
    wraps: &'a [Wrap],
}

impl Page<'_> {
    /// A part of the text with what is in it; only wraps from this number on may be.
    fn part(&self, place: Place, first: usize) -> String {
        let mut out = String::new();
        let mut at = place.from;
        for (index, wrap) in self.wraps.iter().enumerate().skip(first) {
            if at <= wrap.place.from && wrap.place.to <= place.to {
                out.push_str(&self.text[at..wrap.place.from]);
                out.push_str(&self.wrap(index, wrap));
                at = wrap.place.to;
            }
        }
        out + &self.text[at..place.to]
    }

    fn wrap(&self, index: usize, wrap: &Wrap) -> String {
        let inner = |place: Place| self.part(place, index + 1);
        let whole = wrap.place;
        match &wrap.kind {
            Kind::Body(swaps) => {
                let returns = |(id, to): &Swap| format!(" if {} {{ return {}; }}", awake(*id), marked(*id, to));
                swaps.iter().map(returns).collect::<String>() + &inner(whole)
            }
            Kind::Iterator { item, swaps } => iterator(&self.text[item.from..item.to], swaps, &inner(whole)),
            Kind::Binary { left, operator, right, swaps } => binary(&inner(*left), operator, &inner(*right), swaps),
            Kind::Unary { operand, operator, id } => {
                let operand = inner(*operand);
                format!("(if {} {{ {} }} else {{ {operator}{operand} }})", awake(*id), marked(*id, &operand))
            }
            Kind::Arm { deleted, guard } => {
                let mut conditions: Vec<String> = deleted.iter().map(|id| format!("!{}", awake(*id))).collect();
                conditions.extend(guard.as_ref().map(|guard| condition(guard, &inner(guard.place))));
                format!(" if {}", conditions.join(" && "))
            }
            Kind::Head(id) => format!("/*[{id}*/{}/*{id}]*/", inner(whole)),
            Kind::Cut { parts, parentheses } => {
                let mut out = String::new();
                for (id, part) in parts {
                    let left = inner(Place { to: part.from, ..whole }) + &inner(Place { from: part.to, ..whole });
                    out.push_str(&format!("if {} {{ {} }} else ", awake(*id), marked(*id, &left)));
                }
                out.push_str(&format!("{{ {} }}", inner(whole)));
                if *parentheses { format!("({out})") } else { out }
            }
        }
    }
}

fn awake(id: usize) -> String {
    format!("crate::mutant::m({id})")
}

fn marked(id: usize, code: &str) -> String {
    format!("/*<{id}*/{code}/*{id}>*/")
}

/// Both have one type: each mutant's iterator, or all that come behind it. The type of the items is said again, so that an error
/// is the mutant's that has others, and not one of the function's head.
fn iterator(item: &str, swaps: &[Swap], honest: &str) -> String {
    match swaps.split_first() {
        None => format!("{{ {honest} }}"),
        Some(((id, to), rest)) => {
            let one = format!("crate::mutant::Either::A(crate::mutant::of::<{item}, _>({}))", marked(*id, to));
            let rest = iterator(item, rest, honest);
            format!(" if {} {{ {one} }} else {{ crate::mutant::Either::B({rest}) }} ", awake(*id))
        }
    }
}

/// `&&`, `||`, `==` and `!=` become each other by negation, so that nothing is written twice: `a || b` is `!(!a && !b)`.
fn binary(left: &str, operator: &str, right: &str, swaps: &[Swap]) -> String {
    match (operator, swaps) {
        ("&&", [(id, to)]) if to == "||" => negated(*id, left, operator, right),
        ("||", [(id, to)]) if to == "&&" => negated(*id, left, operator, right),
        ("==", [(id, to)]) if to == "!=" => format!("(({left} == {right}) != {})", awake(*id)),
        ("!=", [(id, to)]) if to == "==" => format!("(({left} != {right}) != {})", awake(*id)),
        _ => {
            let mut out = String::from("(");
            for (id, to) in swaps {
                out.push_str(&format!("if {} {{ {} }} else ", awake(*id), marked(*id, &format!("({left}) {to} ({right})"))));
            }
            out + &format!("{{ {left} {operator} {right} }})")
        }
    }
}

fn negated(id: usize, left: &str, operator: &str, right: &str) -> String {
    let awake = awake(id);
    format!("((({left}) != {awake} {operator} ({right}) != {awake}) != {awake})")
}

fn condition(guard: &Guard, honest: &str) -> String {
    if guard.binds {
        return honest.to_owned();
    }
    let always = guard.always.map_or(String::new(), |id| format!("{} || ", awake(id)));
    let never = guard.never.map_or(String::new(), |id| format!("!{} && ", awake(id)));
    format!("({always}({never}({honest})))")
}
