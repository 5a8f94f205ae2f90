//! What holds for every condition.

use proptest::prelude::*;

use super::*;

/// Conditions over the Boolean facts and comparisons of the numeric ones.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        "facts\\.[abc]",
        "facts\\.(errors|p95) (<|<=|==|!=|>|>=) [0-3](\\.5)?",
        "facts\\.errors [-+*/] facts\\.p95 > [0-3]",
        "alerts\\.(exists|all|exists_one)\\(x, x\\.labels\\.severity == 'warning' (&&|\\|\\|) facts\\.[abc]\\)",
        "\\[facts\\.[abc], facts\\.[abc]\\]\\.(exists|all|exists_one)\\(x, x\\)",
        "facts\\.[abc] in \\[facts\\.[abc], true\\]",
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} && {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("(({left}) == ({right}))")),
            inner.clone().prop_map(|operand| format!("!({operand})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

proptest! {
    /// Whoever sees less may say less, never something else.
    #[test]
    fn seeing_less_never_changes_the_verdict(
        source in condition(),
        (a, b, c) in any::<(bool, bool, bool)>(),
        (errors, p95) in (0_u8..4, 0_u8..4),
        hidden in proptest::collection::vec(any::<bool>(), 5),
    ) {
        let Ok(expr) = Expr::compile(&source, &env()) else { return Ok(()) };
        let number = |value: u8| Value::Double(f64::from(value));
        let values =
            [("a", Value::Bool(a)), ("b", Value::Bool(b)), ("c", Value::Bool(c)), ("errors", number(errors)), ("p95", number(p95))];
        let facts = |hides: &dyn Fn(usize) -> bool| Fixed {
            facts: values
                .iter()
                .enumerate()
                .map(|(at, (name, value))| ((*name).to_owned(), if hides(at) { Err("hidden".to_owned()) } else { Ok(value.clone()) }))
                .collect(),
            ..Fixed::default()
        };
        let full = expr.eval(&facts(&|_| false)).tri;
        let less = expr.eval(&facts(&|at| hidden[at])).tri;
        prop_assert!(less.is_unknown() || less == full, "{}: {:?} with all, {:?} with less", source, full, less);
        if let Tri::Unknown(reasons) = &less {
            prop_assert!(!reasons.is_empty());
        }
    }

    #[test]
    fn never_panics_and_places_are_in_the_text(source in "\\PC{0,24}|([a-z.]{1,6}|[()\\[\\]?:&|!<>=+*/%'\"-]|facts\\.errors|alerts|labels\\.x|ü| ){0,12}") {
        match Expr::compile(&source, &env()) {
            Ok(expr) => drop(expr.eval(&scope())),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(source.get(problem.at.clone()).is_some(), "{:?}: {:?}", source, problem);
                }
            }
        }
    }
}
