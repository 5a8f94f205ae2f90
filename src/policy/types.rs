//! What a policy is once it was read and found right. Made by `lower`, used by `decide`; no text of YAML in here, no spans
//! beyond the place that reports name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::expr::Expr;
use super::index::Index;
use super::matcher::Matcher;
use super::template::Template;
use crate::model::{Brake, Labels, Mode, Paging, TargetRef};

/// All policies of a folder: applied as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// In the order in which they decide: by file path in byte order, then by position.
    pub policies: Vec<Policy>,
    /// By name, the built-in ones among them.
    pub procedures: BTreeMap<String, Procedure>,
    /// SHA-256 over the files' paths and contents: 64 hex digits.
    pub hash: String,
    /// The commit, where the folder is a git work tree.
    pub commit: Option<String>,
    /// By their matchers.
    index: Index,
    /// By name.
    places: BTreeMap<String, usize>,
}

impl Policies {
    /// Policies in the order in which they decide, and every procedure. Hash and commit are the caller's to add.
    pub(super) fn new(policies: Vec<Policy>, procedures: BTreeMap<String, Procedure>) -> Self {
        let matchers: Vec<&[Matcher]> = policies.iter().map(|policy| policy.matchers.as_slice()).collect();
        let index = Index::new(&matchers);
        let places = policies.iter().enumerate().rev().map(|(place, policy)| (policy.name.clone(), place)).collect();
        Self { policies, procedures, hash: String::new(), commit: None, index, places }
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
}

/// A fact that Prometheus answers.
#[derive(Clone, Debug, PartialEq)]
pub struct FactSpec {
    /// PromQL with `$namespace $name $service $cluster $workload $changed_at`.
    pub promql: String,
    /// Below this much traffic the fact is unknown.
    pub floor: Option<Floor>,
}

/// The least traffic for which a fact means something.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// PromQL as in the fact.
    pub promql: String,
    /// The least value of it.
    pub at_least: f64,
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
    /// Channels that are told of the decision besides.
    pub tell: Vec<String>,
    /// What it says.
    pub verdict: VerdictRule,
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
    },
    /// Leave it to be fixed forward.
    FixForward {
        /// Channels that take the ticket.
        to: Vec<String>,
    },
}

/// What a rollback does.
#[derive(Clone, Debug)]
pub struct Procedure {
    /// Its name; fit for a metric label.
    pub name: String,
    /// A stricter mode than the policy's.
    pub mode: Option<Mode>,
    /// How long a veto is waited for; `None`: 30 s for `severity="critical"`, else 120 s.
    pub countdown: Option<Duration>,
    /// How long an approval is waited for.
    pub approval_within: Duration,
    /// Whether the plan may take the service down (`Recreate`, `maxUnavailable: 100%`).
    pub may_drop: bool,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// How success is proven.
    pub verify: Verify,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the last good release back on the target.
    Undo,
}

/// How success is proven.
#[derive(Clone, Debug)]
pub struct Verify {
    /// Time limit of each check.
    pub within: Duration,
    /// Overrides the tail.
    pub tail: Option<Duration>,
    /// The rollout must be complete.
    pub rollout: bool,
    /// The alerts must be resolved.
    pub alert: bool,
    /// Conditions that must hold.
    pub facts: Vec<Expr>,
    /// Addresses that must answer.
    pub http: Vec<HttpCheckSpec>,
    /// How long all of it must hold.
    pub hold: Duration,
}

/// An HTTP check as written.
#[derive(Clone, Debug)]
pub struct HttpCheckSpec {
    /// Renders to the address; values are percent-encoded.
    pub url: Template,
    /// Answers in a row that must be as expected.
    pub attempts: u32,
    /// The status expected; any 2xx when unset.
    pub status: Option<u16>,
    /// A text that the body must contain.
    pub text: Option<String>,
}

/// A brake: on with its numbers, or switched off by name with a reason that every decision shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting<T> {
    /// On.
    On(T),
    /// Off; the reason is shown in every decision.
    Disabled(String),
}

impl<T> Setting<T> {
    /// The numbers, where it is on.
    pub fn on(&self) -> Option<&T> {
        match self {
            Self::On(numbers) => Some(numbers),
            Self::Disabled(_) => None,
        }
    }
}

/// The brakes of a policy, each with its numbers. The defaults are the product's (see `rules/README.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct BrakeSettings {
    /// Onset must follow a change within this.
    pub recent_change: Setting<RecentChange>,
    /// What a release must have shown to be gone back to.
    pub fit_target: Setting<FitTarget>,
    /// Least time between rollbacks of a target.
    pub cooldown: Setting<Duration>,
    /// Allowances.
    pub budget: Setting<Budget>,
    /// Damping.
    pub flapping: Setting<Flapping>,
    /// The longest gap of ours that does not count.
    pub quiet_start: Setting<Duration>,
    /// Whether a person's traces hold.
    pub human_active: Setting<()>,
    /// Whether a GitOps owner holds.
    pub owner: Setting<()>,
    /// How old what we read may be.
    pub stale_facts: Setting<StaleFacts>,
    /// Whether a cut notification holds.
    pub truncated: Setting<()>,
    /// How many rollbacks may be marked wrong.
    pub trust: Setting<Trust>,
}

/// When a policy is not trusted any more: so many of its rollbacks were marked wrong within that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// From so many on.
    pub wrong: u32,
    /// A mark counts for this long.
    pub within: Duration,
}

impl Default for Trust {
    fn default() -> Self {
        Self { wrong: 1, within: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

impl Default for BrakeSettings {
    fn default() -> Self {
        Self {
            recent_change: Setting::On(RecentChange { within: Duration::from_secs(60 * 60) }),
            fit_target: Setting::On(FitTarget::default()),
            cooldown: Setting::On(Duration::from_secs(60 * 60)),
            budget: Setting::On(Budget::default()),
            flapping: Setting::On(Flapping::default()),
            quiet_start: Setting::On(Duration::from_secs(5 * 60)),
            human_active: Setting::On(()),
            owner: Setting::On(()),
            stale_facts: Setting::On(StaleFacts::default()),
            truncated: Setting::On(()),
            trust: Setting::On(Trust::default()),
        }
    }
}

impl BrakeSettings {
    /// The reason with which a brake is switched off, if it is. `paused` and `permission` cannot be.
    pub fn disabled(&self, brake: Brake) -> Option<&str> {
        fn reason<T>(setting: &Setting<T>) -> Option<&str> {
            match setting {
                Setting::On(_) => None,
                Setting::Disabled(reason) => Some(reason),
            }
        }
        match brake {
            Brake::RecentChange => reason(&self.recent_change),
            Brake::FitTarget => reason(&self.fit_target),
            Brake::Cooldown => reason(&self.cooldown),
            Brake::Budget => reason(&self.budget),
            Brake::Flapping => reason(&self.flapping),
            Brake::QuietStart => reason(&self.quiet_start),
            Brake::HumanActive => reason(&self.human_active),
            Brake::Owner => reason(&self.owner),
            Brake::StaleFacts => reason(&self.stale_facts),
            Brake::Truncated => reason(&self.truncated),
            Brake::Trust => reason(&self.trust),
            Brake::Paused | Brake::Permission => None,
        }
    }
}

/// `recent_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentChange {
    /// The window after the change landed in which the onset must lie.
    pub within: Duration,
}

/// `fit_target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitTarget {
    /// Least time that the release was fully available.
    pub healthy: Duration,
    /// At most so many releases back.
    pub back: u32,
    /// It was live within this.
    pub last_live: Duration,
}

impl Default for FitTarget {
    fn default() -> Self {
        Self { healthy: Duration::from_secs(30 * 60), back: 3, last_live: Duration::from_secs(24 * 60 * 60) }
    }
}

/// `budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rollbacks of one target within `per`.
    pub per_target: u32,
    /// The window of `per_target`.
    pub per: Duration,
    /// Rollbacks over all targets within an hour.
    pub per_hour: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { per_target: 1, per: Duration::from_secs(12 * 60 * 60), per_hour: 6 }
    }
}

/// `flapping`: route-flap damping as in RFC 2439.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flapping {
    /// Added at each re-fire.
    pub penalty: f64,
    /// The penalty halves in this time.
    pub half_life: Duration,
    /// Held from here …
    pub suppress: f64,
    /// … until below this.
    pub reuse: f64,
    /// But never longer than this.
    pub hold: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self {
            penalty: 500.0,
            half_life: Duration::from_secs(2 * 60 * 60),
            suppress: 1000.0,
            reuse: 500.0,
            hold: Duration::from_secs(12 * 60 * 60),
        }
    }
}

/// `stale_facts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleFacts {
    /// The watch must have heard from the API server within this.
    pub watch: Duration,
    /// A query's sample may be this old.
    pub query: Duration,
}

impl Default for StaleFacts {
    fn default() -> Self {
        Self { watch: Duration::from_secs(150), query: Duration::from_secs(30) }
    }
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
}
