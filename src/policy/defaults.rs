//! Defaults: keys that the policies and procedures of a file or folder have unless they say otherwise. Works on trees, so that a
//! mistake in a default is shown where it stands.

use super::yaml::{Content, Node};

/// Entries of a map.
type Entries<'a> = Vec<(Node<'a>, Node<'a>)>;

/// Puts the defaults of each file and of the folders around it into its policies and procedures: maps merge by key, lists are
/// replaced, the nearest wins. Says for each file whether any default for procedures reached it.
pub(super) fn apply(trees: &mut [(&str, Option<Node<'_>>)]) -> Vec<bool> {
    let defaults: Vec<(String, Entries<'_>)> = trees
        .iter()
        .filter_map(|(path, tree)| Some(((*path).to_owned(), map(entry(tree.as_ref()?, "defaults")?)?.clone())))
        .collect();
    let mut reached = Vec::with_capacity(trees.len());
    for (path, tree) in trees {
        // The nearest first: what is there already is never replaced.
        let mut of_file: Vec<(usize, &Entries<'_>)> = Vec::new();
        for (from, entries) in &defaults {
            of_file.extend(distance(from, path).map(|distance| (distance, entries)));
        }
        of_file.sort_by_key(|(distance, _)| *distance);
        let mut has_procedures = false;
        for (_, entries) in of_file {
            let Some(tree) = tree.as_mut() else { continue };
            for (key, list) in [("policy", "policies"), ("procedure", "procedures")] {
                let Some(far) = find(entries, key).and_then(map) else { continue };
                has_procedures |= key == "procedure";
                merge_into_each(tree, list, far);
            }
        }
        reached.push(has_procedures);
    }
    reached
}

/// How far the defaults of one file are from another: 0 for its own, then folder by folder. Nothing if they do not reach it.
fn distance(from: &str, to: &str) -> Option<usize> {
    if from == to {
        return Some(0);
    }
    let (folder, name) = from.rsplit_once('/').unwrap_or(("", from));
    let rest = if folder.is_empty() { to } else { to.strip_prefix(folder)?.strip_prefix('/')? };
    matches!(name, "_defaults.yaml" | "_defaults.yml").then(|| 1 + rest.matches('/').count())
}

fn merge_into_each<'a>(tree: &mut Node<'a>, list: &str, far: &Entries<'a>) {
    let Content::Map(entries) = &mut tree.content else { return };
    let Some((_, list)) = entries.iter_mut().find(|(key, _)| key.text() == Some(list)) else { return };
    let Content::List(items) = &mut list.content else { return };
    for item in items {
        if let Content::Map(near) = &mut item.content {
            merge(near, far);
        }
    }
}

/// Depth is bounded by that of the trees.
fn merge<'a>(near: &mut Entries<'a>, far: &Entries<'a>) {
    for (key, value) in far {
        let found = near.iter_mut().find(|(near_key, _)| near_key.text() == key.text());
        match (found, &value.content) {
            (None, _) if key.text() == Some("name") => {}
            (None, _) => near.push((key.clone(), value.clone())),
            (Some((_, Node { content: Content::Map(near), .. })), Content::Map(far)) if !is_switch(near) && !is_switch(far) => {
                merge(near, far);
            }
            (Some(_), _) => {}
        }
    }
}

/// A brake that is off has no numbers, and one with numbers is on: those two are not mixed.
fn is_switch(entries: &Entries<'_>) -> bool {
    find(entries, "disabled").is_some()
}

fn entry<'n, 'a>(node: &'n Node<'a>, key: &str) -> Option<&'n Node<'a>> {
    find(map(node)?, key)
}

fn find<'n, 'a>(entries: &'n Entries<'a>, key: &str) -> Option<&'n Node<'a>> {
    entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
}

fn map<'n, 'a>(node: &'n Node<'a>) -> Option<&'n Entries<'a>> {
    match &node.content {
        Content::Map(entries) => Some(entries),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Sink;
    use super::super::yaml::read;
    use super::*;

    #[test]
    fn defaults_reach_down_not_up() {
        for (from, to, wanted) in [
            ("a.yaml", "a.yaml", Some(0)),
            ("a.yaml", "b.yaml", None),
            ("_defaults.yaml", "a.yaml", Some(1)),
            ("_defaults.yaml", "shop/a.yaml", Some(2)),
            ("shop/_defaults.yaml", "shop/a.yaml", Some(1)),
            ("shop/_defaults.yaml", "shop/x/a.yaml", Some(2)),
            ("shop/_defaults.yaml", "shops/a.yaml", None),
            ("shop/_defaults.yaml", "a.yaml", None),
            ("shop/_defaults.yaml", "_defaults.yaml", None),
        ] {
            assert_eq!(distance(from, to), wanted, "{from} {to}");
        }
    }

    fn shown(node: &Node<'_>) -> String {
        match &node.content {
            Content::Scalar(text) => text.to_string(),
            Content::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Content::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("{}:{}", shown(key), shown(value))).collect();
                format!("{{{}}}", entries.join(" "))
            }
            Content::Null | Content::Bad => String::new(),
        }
    }

    /// What becomes of one file, and whether defaults for procedures reached it.
    fn applied(text: &str) -> (String, bool) {
        let sink = Sink::default();
        let mut trees = [("a.yaml", read(0, text.as_bytes(), &sink))];
        let reached = apply(&mut trees);
        let list = entry(trees[0].1.as_ref().unwrap(), "policies").map(shown);
        (list.unwrap_or_default(), reached[0])
    }

    #[test]
    fn what_is_not_said_comes_from_the_defaults() {
        for (defaults, policy, wanted) in [
            ("{mode: approve}", "{name: a}", "{name:a mode:approve}"),
            ("{mode: approve}", "{name: a, mode: shadow}", "{name:a mode:shadow}"),
            ("{name: b, tail: 1h}", "{mode: shadow}", "{mode:shadow tail:1h}"),
            ("{labels: {b: 2, a: 3}}", "{labels: {a: 1}}", "{labels:{a:1 b:2}}"),
            ("{targets: [b]}", "{targets: [a]}", "{targets:[a]}"),
            ("{brakes: {storm: {units: 2}}}", "{brakes: {storm: {within: 1h}}}", "{brakes:{storm:{within:1h units:2}}}"),
        ] {
            let text = format!("defaults: {{policy: {defaults}}}\npolicies: [{policy}]\n");
            assert_eq!(applied(&text).0, format!("[{wanted}]"), "{text}");
        }
    }

    #[test]
    fn a_brake_that_is_off_and_one_with_numbers_are_not_mixed() {
        let (off, on) = ("{disabled: why}", "{within: 1h}");
        for (defaults, policy, wanted) in
            [(off, on, "{within:1h}"), (on, off, "{disabled:why}"), (off, "{disabled: so}", "{disabled:so}")]
        {
            let text = format!("defaults: {{policy: {{storm: {defaults}}}}}\npolicies: [{{storm: {policy}}}]\n");
            assert_eq!(applied(&text).0, format!("[{{storm:{wanted}}}]"), "{text}");
        }
    }

    #[test]
    fn says_whether_defaults_for_procedures_reached_a_file() {
        for (text, wanted) in [
            ("defaults: {policy: {mode: shadow}}\n", false),
            ("defaults: {procedure: {mode: shadow}}\n", true),
            ("policies: []\n", false),
        ] {
            assert_eq!(applied(text).1, wanted, "{text}");
        }
    }
}
