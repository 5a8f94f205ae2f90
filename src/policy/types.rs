//! What a policy is once it was read and found right. Made by `lower`, used by `decide`; no text of YAML in here, no spans
//! beyond the place that reports name.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;

use super::expr::Expr;
use super::index::Index;
use super::interval::Interval;
use super::matcher::Matcher;
use super::template::Template;
use crate::model::{Labels, Mode, Paging, TargetRef};

mod brakes;
mod fact;
mod people;
mod procedure;

pub use brakes::{
    BrakeSettings, Budget, ControlGroup, DataLatch, FLAPS, FitTarget, Flapping, ROLLBACKS, RecentChange, Setting, StaleFacts,
    Storm, Trust, WRONGS,
};
pub use fact::{FactSource, FactSpec, Floor, from_number, from_text};
pub use people::{Announcement, MessageWords, Objectives};
pub use procedure::{HttpCheckSpec, Kind, Procedure, Step, Verify};

/// All policies of a folder: applied as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// In the order in which they decide: by file path in byte order, then by position.
    pub policies: Vec<Policy>,
    /// By name, the built-in ones among them.
    pub procedures: BTreeMap<String, Procedure>,
    /// Times by name, for `in_interval`.
    pub intervals: BTreeMap<String, Interval>,
    /// Words for announcements, by name.
    pub messages: BTreeMap<String, MessageWords>,
    /// SHA-256 over the files' paths and contents: 64 hex digits.
    pub hash: String,
    /// The commit, where the folder is a git work tree.
    pub commit: Option<String>,
    /// By their matchers.
    index: Index,
    /// By name.
    places: BTreeMap<String, usize>,
    /// Whether a rule of a policy that is not in shadow latches.
    can_latch: bool,
}

impl Policies {
    /// Policies in the order in which they decide, and every procedure. Hash and commit are the caller's to add.
    pub(crate) fn new(policies: Vec<Policy>, procedures: BTreeMap<String, Procedure>) -> Self {
        let matchers: Vec<&[Matcher]> = policies.iter().map(|policy| policy.matchers.as_slice()).collect();
        let index = Index::new(&matchers);
        let places = policies.iter().enumerate().rev().map(|(place, policy)| (policy.name.clone(), place)).collect();
        let live = policies.iter().filter(|policy| policy.mode > Mode::Shadow);
        let can_latch = live.flat_map(|policy| &policy.decide).any(Rule::latches);
        Self { policies, procedures, index, places, can_latch, ..Self::default() }
    }

    /// Whether any policy may latch a target.
    pub fn can_latch(&self) -> bool {
        self.can_latch
    }

    /// The policy of that name.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.places.get(name).and_then(|place| self.policies.get(*place))
    }

    /// The policies whose matchers hold for these labels, in their order; at about the same cost for ten and for ten thousand.
    pub fn about_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> Vec<&Policy> {
        self.index.candidates_with(label).into_iter().filter_map(|place| self.policies.get(place)).collect()
    }
}

/// Where something stands, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the folder.
    pub file: String,
    /// 1-based.
    pub line: u32,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Unique in the folder; fit for a metric label.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The channel that pages without `to` go to.
    pub owner: Option<String>,
    /// Which alerts it is about; empty: all.
    pub matchers: Vec<Matcher>,
    /// What it may do at most.
    pub mode: Mode,
    /// Which routing it stands in. Always there where `mode` is above shadow.
    pub paging: Option<Paging>,
    /// What it may touch; `namespace/name` with `*`. Never empty where `mode` is above shadow.
    pub targets: Vec<TargetPattern>,
    /// How long an alert must have been firing, counted from the first receipt.
    pub settle: Duration,
    /// How the target is found.
    pub target: TargetRule,
    /// What its conditions may read, by name.
    pub facts: BTreeMap<String, FactSpec>,
    /// In order; the first that is true or unknown wins.
    pub decide: Vec<Rule>,
    /// What stops it.
    pub brakes: BrakeSettings,
    /// Labels that its pages carry through Alertmanager (reviewed text, never the alert's).
    pub labels: Labels,
    /// Who is told at which moments.
    pub announce: Vec<Announcement>,
    /// How long an approval is waited for, where the procedure does not say.
    pub approval_within: Option<Duration>,
    /// How long alerts and facts take to follow a write, where the verification does not say.
    pub tail: Option<Duration>,
    /// Addresses that every message of it shows, by name.
    pub links: Vec<(String, Template)>,
    /// Values that every message of it shows, by name.
    pub figures: Vec<(String, Expr)>,
    /// How soon things should be over.
    pub objectives: Vec<Objectives>,
    /// By when somebody must have read it again.
    pub review_by: Option<Date>,
}

/// A pattern over `namespace/name`; `*` stands for any run of characters other than `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPattern(pub String);

impl TargetPattern {
    /// Whether it covers that target.
    pub fn covers(&self, target: &TargetRef) -> bool {
        let Some((namespace, name)) = self.0.split_once('/') else { return false };
        glob(namespace.as_bytes(), target.namespace.as_bytes()) && glob(name.as_bytes(), target.name.as_bytes())
    }
}

/// How a policy finds the target of an alert.
#[derive(Clone, Debug)]
pub enum TargetRule {
    /// From the labels that say it outright, then from `pod`.
    Auto,
    /// By name, from templates over the alert.
    Deployment {
        /// Renders to the namespace.
        namespace: Template,
        /// Renders to the Deployment's name.
        name: Template,
    },
    /// Another kind of target, which is not looked up yet: the target is not found, and that pages.
    Other {
        /// The key of the language that names it.
        kind: &'static str,
    },
}

/// One rule of `decide`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, or `rule N` by position.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Hold when one firing alert of the incident satisfies all of them; empty: always.
    pub matchers: Vec<Matcher>,
    /// What must hold; `None`: nothing more.
    pub condition: Option<Condition>,
    /// A stricter mode than the policy's.
    pub mode: Option<Mode>,
    /// The `contain` procedure that is carried out at once, whatever the verdict. Not carried out yet: only in shadow.
    pub first: Option<String>,
    /// Channels that are told of the decision besides.
    pub tell: Vec<String>,
    /// What it says.
    pub verdict: VerdictRule,
}

impl Rule {
    /// Whether it latches, outside of shadow.
    pub fn latches(&self) -> bool {
        matches!(self.verdict, VerdictRule::Page { latch: true, .. }) && self.mode != Some(Mode::Shadow)
    }
}

/// What a rule requires of the facts.
#[derive(Clone, Debug)]
pub enum Condition {
    /// One condition.
    When(Expr),
    /// At least one of them; each is reported on its own.
    Any(Vec<Expr>),
    /// All of them; each is reported on its own.
    All(Vec<Expr>),
}

impl Condition {
    /// Its conditions.
    pub fn parts(&self) -> &[Expr] {
        match self {
            Self::When(expr) => std::slice::from_ref(expr),
            Self::Any(parts) | Self::All(parts) => parts,
        }
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerdictRule {
    /// Roll back by these procedures, in order.
    Rollback {
        /// Names of procedures; never empty.
        levels: Vec<String>,
    },
    /// Page these channels; empty: the policy's owner, else the settings' order.
    Page {
        /// Names of channels.
        to: Vec<String>,
        /// Whether the target is latched: data may be corrupt.
        latch: bool,
    },
    /// Leave it to be fixed forward.
    FixForward {
        /// Channels that take the ticket.
        to: Vec<String>,
    },
}

/// `*` matches any run of bytes. Linear: it backtracks to the last star only.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_patterns_do_not_cross_namespaces() {
        let target = TargetRef::deployment("shop", "checkout-v2").expect("valid");
        for (pattern, covers) in [
            ("shop/checkout*", true),
            ("shop/*", true),
            ("*/checkout-v2", true),
            ("shop/check*v2", true),
            ("shop/checkout", false),
            ("sho/checkout*", false),
            ("*", false),
            ("shop", false),
        ] {
            assert_eq!(TargetPattern(pattern.to_owned()).covers(&target), covers, "{pattern}");
        }
    }

    #[test]
    fn only_a_policy_that_may_act_can_latch() {
        use super::super::{SourceFile, load};
        assert!(!Policies::default().can_latch());
        for (mode, page, can_latch) in
            [("shadow", "{latch: true}", false), ("approve", "{}", false), ("approve", "{latch: true}", true)]
        {
            let text = format!(
                "policies: [{{name: a, mode: {mode}, paging: in_front, targets: ['shop/*'], decide: [{{page: {page}}}]}}]\n"
            );
            let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.into_bytes() }];
            assert_eq!(load(&files, true).expect("a policy").policies.can_latch(), can_latch, "{mode} {page}");
        }
    }
}
