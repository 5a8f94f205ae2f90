//! Mutants in small files: what becomes of the text.

use std::collections::BTreeSet;

use serde_json::json;

use crate::list::{self, Mutant};
use crate::place::place;
use crate::render::render;

/// A mutant of the genre in the place of this part of the text; of an operator, what stands behind it says which.
fn mutant(text: &str, genre: &str, part: &str, replacement: &str) -> serde_json::Value {
    let from = text.find(part).unwrap_or_else(|| panic!("`{part}` is not in it"));
    let to = from + if genre == "BinaryOperator" { part.split(' ').next().unwrap_or(part) } else { part }.len();
    let at = |offset: usize| {
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |index| index + 1);
        json!({ "line": before.matches('\n').count() + 1, "column": before[start..].chars().count() + 1 })
    };
    json!({
        "file": "src/a.rs", "name": format!("src/a.rs:1:1: {replacement}"), "genre": genre, "replacement": replacement,
        "span": { "start": at(from), "end": at(to) },
    })
}

/// The text with these mutants, and which of them cannot be written there. The place of each is found.
fn written(text: &str, mutants: &[(&str, &str, &str)], doubted: &[usize]) -> (String, Vec<usize>) {
    let of = |(genre, part, to): &(&str, &str, &str)| mutant(text, genre, part, to);
    let json = serde_json::Value::from(mutants.iter().map(of).collect::<Vec<_>>());
    let list = list::read(json.to_string().as_bytes()).expect("a list");
    let mutants: Vec<&Mutant> = list.iter().collect();
    let placed = place(text, &mutants, &doubted.iter().copied().collect::<BTreeSet<_>>()).expect("Rust");
    assert_eq!(placed.lost, Vec::<usize>::new());
    let written = render(text, &placed.wraps);
    syn::parse_file(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    (written.replace("crate::mutant::", ""), placed.chained)
}

#[test]
fn operators_in_operators() {
    let text = "fn f() -> bool { /* ä */ a && b == !c }";
    let mutants = [("BinaryOperator", "&&", "||"), ("BinaryOperator", "==", "!="), ("UnaryOperator", "!", "")];
    let equal = "((b == (if m(3) { /*<3*/c/*3>*/ } else { !c })) != m(2))";
    let wanted = format!("fn f() -> bool {{ /* ä */ (((a) != m(1) && ({equal}) != m(1)) != m(1)) }}");
    assert_eq!(written(text, &mutants, &[]), (wanted, vec![]));
}

#[test]
fn an_operator_with_several_mutants_is_written_out() {
    let mutants = [("BinaryOperator", "+", "-"), ("BinaryOperator", "+", "*")];
    let wanted = "fn f() { (if m(1) { /*<1*/(a) - (b)/*1>*/ } else if m(2) { /*<2*/(a) * (b)/*2>*/ } else { a + b }) }";
    assert_eq!(written("fn f() { a + b }", &mutants, &[]), (wanted.to_owned(), vec![]));
}

#[test]
fn what_a_function_returns() {
    let wanted = "fn f() -> u8 { if m(1) { return /*<1*/0/*1>*/; } g();\n h() }";
    assert_eq!(written("fn f() -> u8 { g();\n h() }", &[("FnValue", "g();\n h()", "0")], &[]), (wanted.to_owned(), vec![]));
    let empty = written("fn f() {}", &[("FnValue", "{}", "()")], &[]);
    assert_eq!(empty, ("fn f() { if m(1) { return /*<1*/()/*1>*/; }}".to_owned(), vec![]));
}

#[test]
fn iterators_are_of_one_type() {
    let text = "fn f() -> impl Iterator<Item = u8> { g() }";
    let mutants = [("FnValue", "g()", "empty()"), ("FnValue", "g()", "once(0)")];
    let first = "if m(1) { Either::A(of::<u8, _>(/*<1*/empty()/*1>*/)) }";
    let second = "if m(2) { Either::A(of::<u8, _>(/*<2*/once(0)/*2>*/)) } else { Either::B({  g()  }) }";
    let wanted = format!("fn f() -> impl Iterator<Item = u8> {{ {first} else {{ Either::B( {second} ) }} }}");
    assert_eq!(written(text, &mutants, &[]), (wanted, vec![]));
}

#[test]
fn arms_sleep_by_their_guards() {
    let text = "fn f() { match x { A(a) if a > 1 => 1, B => 2, _ => 3 } }";
    let mutants = [
        ("MatchArm", "A(a) if a > 1 => 1,", ""),
        ("MatchArm", "B => 2,", ""),
        ("MatchArmGuard", "a > 1", "true"),
        ("MatchArmGuard", "a > 1", "false"),
        ("BinaryOperator", ">", "<"),
    ];
    let guard = "(if m(5) { /*<5*/(a) < (1)/*5>*/ } else { a > 1 })";
    let wanted = format!(
        "fn f() {{ match /*[1*/x/*1]*/ {{ A(a) if !m(1) && (m(3) || (!m(4) && ({guard}))) => 1, B if !m(2) => 2, _ => 3 }} }}"
    );
    assert_eq!(written(text, &mutants, &[]), (wanted, vec![]));
}

#[test]
fn a_doubted_match_is_written_out_without_each_arm() {
    let text = "fn f() { match x { _ if a > 1 => 1, Some(_) => 2, None => 3 } }";
    let mutants = [("MatchArm", "Some(_) => 2,", ""), ("MatchArm", "None => 3", ""), ("MatchArmGuard", "a > 1", "true")];
    let first = "_ if (m(3) || ((a > 1))) => 1,";
    let without_some = format!("/*<1*/match x {{ {first}  None => 3 }}/*1>*/");
    let without_none = format!("/*<2*/match x {{ {first} Some(_) => 2,  }}/*2>*/");
    let honest = format!("match x {{ {first} Some(_) => 2, None => 3 }}");
    let wanted = format!("fn f() {{ if m(1) {{ {without_some} }} else if m(2) {{ {without_none} }} else {{ {honest} }} }}");
    assert_eq!(written(text, &mutants, &[1]), (wanted, vec![]));
}

#[test]
fn fields_are_left_to_the_rest() {
    let text = "fn f() -> S { S { a: 1, b: c + 1, ..D } }";
    let mutants = [("StructField", "b: c + 1,", ""), ("BinaryOperator", "+", "-")];
    let sum = "(if m(2) { /*<2*/(c) - (1)/*2>*/ } else { c + 1 })";
    let wanted =
        format!("fn f() -> S {{ (if m(1) {{ /*<1*/S {{ a: 1,  ..D }}/*1>*/ }} else {{ S {{ a: 1, b: {sum}, ..D }} }}) }}");
    assert_eq!(written(text, &mutants, &[]), (wanted, vec![]));
}

#[test]
fn chains_of_let_stay() {
    let text = "fn f() { if a == b && let Some(c) = d && c { g() } }";
    let mutants = [("BinaryOperator", "&& let", "||"), ("BinaryOperator", "&& c", "||"), ("BinaryOperator", "==", "!=")];
    let wanted = "fn f() { if ((a == b) != m(3)) && let Some(c) = d && c { g() } }";
    assert_eq!(written(text, &mutants, &[]), (wanted.to_owned(), vec![2, 1]));
}
