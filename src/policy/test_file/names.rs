//! The names that a test may use: those of the policies that it tests.

use std::collections::BTreeSet;

use super::super::types::Policies;

/// Names of the policies.
pub(super) struct Names<'p> {
    pub(super) policies: BTreeSet<&'p String>,
    pub(super) rules: BTreeSet<&'p String>,
    pub(super) procedures: BTreeSet<&'p String>,
    pub(super) facts: BTreeSet<&'p String>,
}

impl<'p> Names<'p> {
    pub(super) fn of(policies: &'p Policies) -> Self {
        let all = || policies.policies.iter();
        Self {
            policies: all().map(|policy| &policy.name).collect(),
            rules: all().flat_map(|policy| &policy.decide).map(|rule| &rule.name).collect(),
            procedures: policies.procedures.keys().collect(),
            facts: all().flat_map(|policy| policy.facts.keys()).collect(),
        }
    }
}
