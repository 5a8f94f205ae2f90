//! The variables of PromQL in policies. Only names that Kubernetes accepted and text of the settings get in, quoted.

use crate::model::Time;

/// The names that PromQL of a policy may use, without the dollar.
pub const NAMES: [&str; 6] = ["namespace", "name", "service", "workload", "cluster", "changed_at"];

/// What the variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// `$namespace`.
    pub namespace: &'a str,
    /// `$workload`, `$name`, and `$service` (a Service that is named like its workload).
    pub workload: &'a str,
    /// `$cluster`.
    pub cluster: &'a str,
    /// `$changed_at`, in Unix seconds; 0 where the change is not known.
    pub changed_at: Option<Time>,
}

impl Variables<'_> {
    /// The query with every variable filled in. What is no variable stays as it is: `check` refused it already.
    pub fn fill(&self, promql: &str) -> String {
        let mut filled = String::with_capacity(promql.len() + 32);
        let mut rest = promql;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            match self.value(&after[..end]) {
                Some(value) => filled.push_str(&value),
                None => filled.push_str(&rest[at..at + 1 + end]),
            }
            rest = &after[end..];
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "namespace" => Some(quoted(self.namespace)),
            "workload" | "name" | "service" => Some(quoted(self.workload)),
            "cluster" => Some(quoted(self.cluster)),
            "changed_at" => Some(self.changed_at.map_or(0, |at| at.millis() / 1000).to_string()),
            _ => None,
        }
    }
}

/// Text that stands inside a double-quoted PromQL string, where a quote or backslash cannot end it.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_known_names_only() {
        let variables =
            Variables { namespace: "shop", workload: "web", cluster: "a\"b\\", changed_at: Some(Time::from_millis(5_900)) };
        assert_eq!(
            variables.fill(r#"x{ns="$namespace",w="$workload-$name",c="$cluster",o="$other"} @ $changed_at $"#),
            r#"x{ns="shop",w="web-web",c="a\"b\\",o="$other"} @ 5 $"#.replace(r#"a"b\\"#, r#"a\"b\\"#)
        );
    }
}
