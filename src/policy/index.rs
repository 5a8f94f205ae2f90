//! Finds the policies whose matchers hold for an alert, at about the same cost for ten and for ten thousand. Knows matchers only.

use std::collections::{BTreeMap, BTreeSet};

use regex::{RegexSet, RegexSetBuilder};

use super::matcher::{Matcher, Op};

/// Matchers of many policies, arranged by what they need.
///
/// Every entry is filed under one matcher that must hold for it: the values it lists, if it lists any and the fewest others
/// do; else its regular expression. Whoever is found that way is tested with all its matchers, so that filing decides
/// about speed only.
#[derive(Debug, Clone, Default)]
pub struct Index {
    entries: Vec<Vec<Matcher>>,
    /// By label name: who needs which value.
    listed: BTreeMap<String, Table>,
    /// By label name: who needs which pattern.
    patterns: BTreeMap<String, Patterns>,
    /// Whoever needs nothing that could be looked up.
    rest: Vec<usize>,
}

impl Index {
    /// Files entries of matchers that must all hold; one without matchers holds always.
    pub fn new<E: AsRef<[Matcher]>>(entries: &[E]) -> Self {
        let demand = demand(entries);
        let mut index = Self { entries: entries.iter().map(|entry| entry.as_ref().to_vec()).collect(), ..Self::default() };
        let mut listed: BTreeMap<&str, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
        let mut patterns: BTreeMap<&str, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
        for (at, entry) in entries.iter().map(AsRef::as_ref).enumerate() {
            match filing(entry, &demand) {
                Filing::Listed(name, values) => {
                    let by_value = listed.entry(name).or_default();
                    values.into_iter().for_each(|value| by_value.entry(value).or_default().push(at));
                }
                Filing::Pattern(name, pattern) => patterns.entry(name).or_default().entry(pattern).or_default().push(at),
                Filing::Rest => index.rest.push(at),
            }
        }
        index.listed = listed.into_iter().map(|(name, values)| (name.to_owned(), Table::new(values))).collect();
        for (name, by_pattern) in patterns {
            match Patterns::new(&by_pattern) {
                Some(patterns) => drop(index.patterns.insert(name.to_owned(), patterns)),
                None => index.rest.extend(by_pattern.into_values().flatten()),
            }
        }
        index
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries that hold for these labels, in their order.
    pub fn candidates(&self, labels: &BTreeMap<String, String>) -> Vec<usize> {
        self.candidates_with(|name| labels.get(name).map(String::as_str))
    }

    /// The same for labels that are kept in another shape.
    pub fn candidates_with<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> Vec<usize> {
        let value_of = |name: &str| lookup(name).unwrap_or("");
        // Most alerts fall under few policies, or none: nothing is allocated until one is found.
        let mut found = self.rest.clone();
        for (name, table) in &self.listed {
            found.extend_from_slice(table.get(value_of(name)));
        }
        for (name, patterns) in &self.patterns {
            patterns.find(value_of(name), &mut found);
        }
        // An entry is filed once for each value it lists; only one of them can be the label's.
        found.sort_unstable();
        found.retain(|at| self.entries.get(*at).is_some_and(|entry| entry.iter().all(|matcher| matcher.matches_with(&lookup))));
        found
    }
}

/// Below this many patterns on a label, testing one after the other is faster than a set of them.
const MIN_SET: usize = 20;

/// A set of ten thousand patterns of common length compiles to about a tenth of this.
const MAX_SET_BYTES: usize = 256 << 20;

/// The cache of one thread; with the usual 2 MiB thousands of patterns are simulated state by state, which takes 200 times as long.
const DFA_BYTES: usize = 64 << 20;

enum Filing<'a> {
    Listed(&'a str, BTreeSet<&'a str>),
    Pattern(&'a str, &'a str),
    Rest,
}

/// How many entries ask for each value of each label.
fn demand<E: AsRef<[Matcher]>>(entries: &[E]) -> BTreeMap<(&str, &str), usize> {
    let mut demand = BTreeMap::new();
    for matcher in entries.iter().flat_map(AsRef::as_ref) {
        for value in matcher.listed_values().unwrap_or_default() {
            *demand.entry((matcher.name(), value)).or_insert(0) += 1;
        }
    }
    demand
}

fn filing<'a>(entry: &'a [Matcher], demand: &BTreeMap<(&str, &str), usize>) -> Filing<'a> {
    let rarest = entry
        .iter()
        .filter_map(|matcher| Some((matcher.name(), matcher.listed_values()?)))
        // Most alerts lack most labels: whoever asks for an absent one is better found by something else.
        .filter(|(_, values)| !values.contains(&""))
        .min_by_key(|(name, values)| {
            values.iter().map(|value| demand.get(&(*name, *value)).copied().unwrap_or(0)).sum::<usize>()
        });
    if let Some((name, values)) = rarest {
        return Filing::Listed(name, values.into_iter().collect());
    }
    let pattern = entry
        .iter()
        .filter(|matcher| matcher.op() == Op::Regex)
        .find_map(|matcher| Some((matcher.name(), matcher.translated()?)));
    pattern.map_or(Filing::Rest, |(name, pattern)| Filing::Pattern(name, pattern))
}

/// Patterns on one label, tested in one pass.
#[derive(Debug, Clone)]
struct Patterns {
    set: RegexSet,
    /// Who needs which, by the pattern's place in the set.
    entries: Vec<Vec<usize>>,
}

impl Patterns {
    /// Nothing where a set does not pay or cannot be built.
    fn new(by_pattern: &BTreeMap<&str, Vec<usize>>) -> Option<Self> {
        if by_pattern.len() < MIN_SET {
            return None;
        }
        let set = RegexSetBuilder::new(by_pattern.keys()).size_limit(MAX_SET_BYTES).dfa_size_limit(DFA_BYTES).build().ok()?;
        Some(Self { set, entries: by_pattern.values().cloned().collect() })
    }

    fn find(&self, value: &str, found: &mut Vec<usize>) {
        for pattern in &self.set.matches(value) {
            found.extend(self.entries.get(pattern).into_iter().flatten());
        }
    }
}

/// Lists by text. A hash table of our own: the standard one draws entropy and is banned from the pure half for it. The keys
/// are the policies', so that no sender can choose them to collide.
#[derive(Debug, Clone, Default)]
struct Table {
    buckets: Vec<Vec<(Box<str>, Vec<usize>)>>,
}

impl Table {
    fn new(values: BTreeMap<&str, Vec<usize>>) -> Self {
        let mut table = Self { buckets: vec![Vec::new(); values.len().next_power_of_two()] };
        for (value, entries) in values {
            let bucket = table.bucket(value);
            if let Some(bucket) = table.buckets.get_mut(bucket) {
                bucket.push((value.into(), entries));
            }
        }
        table
    }

    fn get(&self, value: &str) -> &[usize] {
        let bucket = self.buckets.get(self.bucket(value)).map_or(&[][..], Vec::as_slice);
        bucket.iter().find(|(key, _)| &**key == value).map_or(&[], |(_, entries)| entries)
    }

    fn bucket(&self, value: &str) -> usize {
        let hash = value.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        // The upper half is mixed better than the lower one.
        (hash ^ (hash >> 32)) as usize & self.buckets.len().saturating_sub(1)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::super::matcher::{all_match, parse_item};
    use super::*;
    use proptest::prelude::*;

    fn entries(items: &[&str]) -> Vec<Vec<Matcher>> {
        items.iter().map(|item| parse_item(item).expect(item).matchers).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn finds_in_order_what_holds() {
        let index = Index::new(&entries(&[
            "ns=\"shop\",severity=\"critical\"",
            "",
            "severity=~\"critical|page\"",
            "app=~\"check.*\"",
            "ns!=\"shop\"",
            "nope=\"\"",
            "nope=~\"|x\"",
            "ns=\"shop\",app!~\"check.*\"",
            "ns=\"shop\",ns=\"other\"",
            "ns=~\"shop|shop\"",
        ]));
        for (pairs, wanted) in [
            (vec![("ns", "shop"), ("severity", "critical"), ("app", "checkout")], vec![0, 1, 2, 3, 5, 6, 9]),
            (vec![("severity", "page")], vec![1, 2, 4, 5, 6]),
            (vec![("ns", "shop"), ("nope", "x")], vec![1, 6, 7, 9]),
            (vec![], vec![1, 4, 5, 6]),
        ] {
            assert_eq!(index.candidates(&labels(&pairs)), wanted, "{pairs:?}");
        }
        assert_eq!((index.len(), index.is_empty()), (10, false));
        assert!(Index::default().candidates(&labels(&[])).is_empty());
        assert!(Index::default().is_empty() && Index::new(&entries(&[])).is_empty());
    }

    #[test]
    fn values_that_differ_in_their_capitals_only_are_filed_apart() {
        let spelled = |at: usize| -> String {
            let capital =
                |(place, letter): (usize, char)| if at >> place & 1 == 1 { letter.to_ascii_uppercase() } else { letter };
            "shop-api".chars().enumerate().map(capital).collect()
        };
        let values: Vec<String> = (0..16).map(spelled).collect();
        let table = Table::new(values.iter().enumerate().map(|(at, value)| (value.as_str(), vec![at])).collect());
        assert_eq!(table.get("sHop-api"), [2]);
        assert!(table.buckets.iter().all(|bucket| bucket.len() <= 4), "{table:?}");
    }

    #[test]
    fn many_patterns_go_into_a_set() {
        let items: Vec<String> = (0..100).map(|at| format!("app=~\"svc-{at}-.*\"")).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let index = Index::new(&entries(&items));
        assert_eq!((index.patterns.len(), index.rest.len()), (1, 0));
        assert_eq!(index.candidates(&labels(&[("app", "svc-7-x")])), [7]);
        assert!(index.candidates(&labels(&[])).is_empty());
    }

    #[test]
    fn ten_thousand_are_filed_apart() {
        let items: Vec<String> = (0..10_000).map(|at| format!("severity=\"critical\",service=\"s{at}\",env!=\"dev\"")).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let index = Index::new(&entries(&items));
        let found = index.candidates(&labels(&[("severity", "critical"), ("service", "s77"), ("env", "prod")]));
        assert_eq!(found, [77]);
        // The rarest matcher is the one it is filed under, and buckets stay short.
        let table = &index.listed["service"];
        assert_eq!(index.listed.len(), 1);
        assert!(table.buckets.iter().map(Vec::len).max().is_some_and(|longest| longest < 12));
    }

    fn matcher() -> impl Strategy<Value = String> {
        let value = prop_oneof!["[ab]?", "[ab]\\|[abc]?", "[ab]\\.\\*", "\\.\\+"];
        ("[xyz]", prop_oneof![Just("="), Just("!="), Just("=~"), Just("!~")], value)
            .prop_map(|(name, op, value)| format!("{name}{op}\"{value}\""))
    }

    proptest! {
        // Compiling regular expressions is slow without optimisation.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn finds_what_a_scan_finds(
            items in proptest::collection::vec(proptest::collection::vec(matcher(), 0..4), 0..60),
            pairs in proptest::collection::btree_map("[xyz]", "[abc]{0,2}", 0..4),
        ) {
            let items: Vec<String> = items.iter().map(|item| item.join(",")).collect();
            let entries = entries(&items.iter().map(String::as_str).collect::<Vec<_>>());
            let scanned: Vec<usize> = (0..entries.len()).filter(|at| all_match(&entries[*at], &pairs)).collect();
            prop_assert_eq!(Index::new(&entries).candidates(&pairs), scanned);
        }
    }
}
