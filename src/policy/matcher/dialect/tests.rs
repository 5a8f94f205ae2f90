//! Patterns that mean something else, or nothing, in the other dialect.

use super::*;

#[test]
fn means_what_it_means_in_go() {
    // Checked against Go's regexp with the same table.
    for (pattern, value, wanted) in [
        ("\\d+", "12", true),
        ("\\d", "٣", false),
        ("\\D", "٣", true),
        ("\\w+", "a_1", true),
        ("\\w", "é", false),
        ("\\W", "é", true),
        ("[\\w]", "é", false),
        ("[^\\w]", "é", true),
        ("[\\W\\d]+", "é1", true),
        ("\\s", "\u{a0}", false),
        ("\\s", "\u{b}", false),
        ("\\S", "\u{b}", true),
        ("\\S", " ", false),
        ("[[:space:]]", "\u{b}", true),
        ("a\\b.*", "aé", true),
        ("a\\B.*", "aé", false),
        ("a\\b.*", "ab", false),
        ("a\\B.*", "ab", true),
        ("x{", "x{", true),
        ("a{b}", "a{b}", true),
        ("a{,5}", "a{,5}", true),
        ("a{01}", "a{01}", true),
        ("a{2}", "aa", true),
        ("a{2,}", "aaa", true),
        ("a{2,3}", "aaaa", false),
        ("\\Qa.b\\E.", "a.bc", true),
        ("\\Q.\\E", "x", false),
        ("\\101", "A", true),
        ("\\x41\\x{42}", "AB", true),
        ("[a[b]]", "a]", true),
        ("[a[b]]", "b", false),
        ("[a&&b]", "&", true),
        ("[a&&b]", "a", true),
        ("[!--b]", "-", true),
        ("[a~~b]", "~", true),
        ("\\<a", "<a", true),
        ("\\<a", "a", false),
        ("a\\>", "a>", true),
        ("[]a]", "]", true),
        ("[^]a]", "b", true),
        ("[a-]", "-", true),
        ("[-a]", "-", true),
        ("[a^]", "^", true),
        ("(?P<n>a)", "a", true),
        ("(?<n>a)", "a", true),
        ("(?P<a_1>a)", "a", true),
        ("(?i)AbC", "aBc", true),
        ("(?i:A)b", "ab", true),
        ("(?i:A)b", "aB", false),
        ("(?i)k", "\u{212a}", true),
        ("(?)a", "a", true),
        ("(?s).", "\n", true),
        (".", "\n", false),
        ("(?m)a$\nb", "a\nb", true),
        ("a$", "a\n", false),
        ("[^a]", "\n", true),
        ("a||b", "", true),
        ("()", "", true),
        ("a|b", "ab", false),
        ("a)|(?:b", "ax", true),
        ("é+", "éé", true),
        ("a b#c", "a b#c", true),
        ("\\pL\\p{Lu}", "éÉ", true),
        ("\\p{^Lu}", "a", true),
        ("\\PL", "1", true),
        ("\\p{Greek}+", "αβ", true),
        ("[\\p{Greek}x]+", "αx", true),
        ("]}", "]}", true),
        ("^a$", "a", true),
        ("\\Aa\\z", "a", true),
        ("[\\]\\-\\\\]+", "]-\\", true),
        ("\\_", "_", true),
        ("\\a\\f\\t\\n\\r\\v", "\u{7}\u{c}\t\n\r\u{b}", true),
        ("(?U)a+", "aa", true),
        ("a*?b", "aab", true),
    ] {
        let regex = compile(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
        assert_eq!(regex.is_match(value), wanted, "{pattern} {value:?} {regex}");
    }
}

#[test]
fn refuses_what_go_refuses() {
    for (pattern, place, message) in [
        ("*", 0..1, "nothing to repeat"),
        ("a|*", 2..3, "nothing to repeat"),
        ("(+)", 1..2, "nothing to repeat"),
        ("a**", 2..3, "after another repeat"),
        ("a+*", 2..3, "after another repeat"),
        ("a*??", 3..4, "after another repeat"),
        ("a{2}{3}", 4..7, "after another repeat"),
        ("x{1001}", 1..7, "repeat count"),
        ("x{3,2}", 1..6, "repeat count"),
        ("x{99999999999}", 1..14, "repeat count"),
        ("(?x)a", 0..3, "unknown group"),
        ("(?u)a", 0..3, "unknown group"),
        ("(?R)a", 0..3, "unknown group"),
        ("(?i-)a", 0..4, "unknown group"),
        ("(?=a)", 0..4, "unknown group"),
        ("(?!a)", 0..4, "unknown group"),
        ("(?P<>a)", 0..2, "group name"),
        ("(?P<a-b>a)", 0..2, "group name"),
        ("\\1", 0..2, "unknown escape"),
        ("\\8", 0..2, "unknown escape"),
        ("\\Z", 0..2, "unknown escape"),
        ("\\C", 0..2, "unknown escape"),
        ("\\y", 0..2, "unknown escape"),
        ("\\é", 0..3, "unknown escape"),
        ("\\u0041", 0..2, "unknown escape"),
        ("[\\b]", 1..3, "unknown escape"),
        ("\\x4", 0..2, "unknown escape"),
        ("\\x{zz}", 0..2, "unknown escape"),
        ("\\x{+41}", 0..2, "unknown escape"),
        ("\\x{000000041}", 0..2, "unknown escape"),
        ("\\x{110000}", 0..10, "not a Unicode character"),
        ("\\p{IsGreek}", 0..11, "unknown class"),
        ("\\p{greek}", 0..9, "unknown class"),
        ("[[:foo:]]", 1..8, "unknown class"),
        ("[b-a]", 1..4, "backwards"),
        ("[a--b]", 1..4, "backwards"),
        ("[a", 0..2, "not closed"),
        ("[", 0..1, "not closed"),
        ("[]", 0..2, "not closed"),
        ("(a", 0..2, "not closed"),
        ("a)", 1..2, "unpaired"),
        ("a\\", 1..2, "unknown escape"),
        ("\\Qa", 0..3, "not closed"),
    ] {
        let problem = compile(pattern).expect_err(pattern);
        assert!(problem.message.contains(message), "{pattern}: {problem:?}");
        assert_eq!(problem.at, place, "{pattern}: {problem:?}");
    }
}

#[test]
fn bounds_size_and_nesting() {
    let nested = |depth: usize| compile_search(&format!("{}a{}", "(".repeat(depth), ")".repeat(depth)));
    for (depth, is_deep) in [(MAX_NESTING, false), (MAX_NESTING + 1, true), (MAX_NESTING + 300, true)] {
        let problem = nested(depth).map_or_else(|problem| problem.message, |_| String::new());
        assert_eq!(problem.contains("too deeply"), is_deep, "{depth}: {problem}");
    }
    assert!(compile(&"(".repeat(5000)).is_err());
    assert!(compile(&format!("{}a{}", "(".repeat(5000), ")".repeat(5000))).is_err());
    assert!(compile("((a{1000}){1000}){1000}").unwrap_err().message.contains("too large"));
}

proptest::proptest! {
    #[test]
    fn never_panics_and_places_are_in_the_pattern(pattern in "\\PC{0,12}|[\\\\\\[\\](){}^$.*+?|a-zA-Z0-9:&<>,-]{0,16}") {
        if let Err(problem) = compile(&pattern) {
            proptest::prop_assert!(pattern.get(problem.at.clone()).is_some(), "{:?} {:?}", pattern, problem);
        }
    }
}
