//! Which series a PromQL query reads, told without parsing all of it: names with their matchers. What depends on the target
//! (`$namespace` and the like) is left out.

use std::collections::BTreeSet;

/// Words that are no metric although nothing opens after them.
const WORDS: [&str; 14] = [
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "bool",
    "inf",
    "nan",
    "atan2",
];
/// Words after which a list of labels stands.
const LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// A metric and the matchers that stand fast.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Selector {
    /// Its name.
    pub(super) metric: String,
    /// With matchers, as PromQL.
    pub(super) text: String,
}

/// Every series selector of a query, each once.
pub(super) fn selectors(promql: &str) -> BTreeSet<Selector> {
    let mut found = BTreeSet::new();
    let mut rest = promql;
    while let Some(c) = rest.chars().next() {
        match c {
            '"' | '\'' | '`' => rest = after_string(rest, c),
            '#' => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            '[' => rest = rest.split_once(']').map_or("", |(_, after)| after),
            // A number, with its unit or exponent.
            c if c.is_ascii_digit() => rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
            c if c.is_alphabetic() || c == '_' || c == ':' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = after;
                let next = after.trim_start();
                let lower = word.to_ascii_lowercase();
                if LABELS.contains(&lower.as_str()) && next.starts_with('(') {
                    rest = next.split_once(')').map_or("", |(_, after)| after);
                } else if next.starts_with('{') {
                    let (matchers, after) = matchers(next);
                    rest = after;
                    found.insert(selector(word, &matchers));
                } else if !next.starts_with('(') && !WORDS.contains(&lower.as_str()) {
                    // `sum by (x) (…)`: an aggregation's name stands before its labels.
                    let aggregates = LABELS.iter().any(|label| next.starts_with(label));
                    if !aggregates {
                        found.insert(selector(word, &[]));
                    }
                }
            }
            c => rest = &rest[c.len_utf8()..],
        }
    }
    found
}

fn selector(metric: &str, matchers: &[String]) -> Selector {
    let fast: Vec<&str> = matchers.iter().map(String::as_str).filter(|matcher| !matcher.contains('$')).collect();
    let text = if fast.is_empty() { metric.to_owned() } else { format!("{metric}{{{}}}", fast.join(",")) };
    Selector { metric: metric.to_owned(), text }
}

/// The matchers of `{…}`, and what comes after it.
fn matchers(text: &str) -> (Vec<String>, &str) {
    let mut list = vec![String::new()];
    let mut rest = text.strip_prefix('{').unwrap_or(text);
    while let Some(c) = rest.chars().next() {
        match c {
            '}' => {
                rest = &rest[1..];
                break;
            }
            ',' => {
                list.push(String::new());
                rest = &rest[1..];
            }
            '"' | '\'' | '`' => {
                let after = after_string(rest, c);
                if let Some(last) = list.last_mut() {
                    last.push_str(&rest[..rest.len() - after.len()]);
                }
                rest = after;
            }
            c => {
                if let Some(last) = list.last_mut() {
                    last.push(c);
                }
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    list.iter_mut().for_each(|matcher| *matcher = matcher.trim().to_owned());
    list.retain(|matcher| !matcher.is_empty());
    (list, rest)
}

fn after_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_query_reads() {
        for (promql, wanted) in [
            ("up", &["up"][..]),
            ("vector(0)", &[]),
            (
                r#"sum(rate(http_requests_total{namespace="$namespace",code=~"5.."}[5m]))"#,
                &[r#"http_requests_total{code=~"5.."}"#],
            ),
            (
                r#"sum by (pod) (a{x="1, } (",y!='b'}) / on (pod) group_left (z) max without (q) (b offset 5m) > bool 1e3"#,
                &[r#"a{x="1, } (",y!='b'}"#, "b"],
            ),
            ("histogram_quantile(0.99, sum(rate(job:lat_bucket[5m])) by (le)) or vector(0)", &["job:lat_bucket"]),
            ("a - a # b", &["a"]),
            ("(a{n=\"$name\"} unless b) * 100", &["a", "b"]),
        ] {
            let found: Vec<String> = selectors(promql).into_iter().map(|selector| selector.text).collect();
            assert_eq!(found, wanted, "{promql}");
        }
    }
}
