//! Policies of a world, in a few shapes: as a policy file, and as what the model knows of them.

use std::fmt::Write as _;
use std::time::Duration;

use super::dice::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Shadow,
    Approve,
    Enforce,
}

/// A policy about a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) mode: Mode,
    /// The name of the only target that it may touch, if not all of the namespace.
    pub(crate) only: Option<String>,
    pub(crate) beside: bool,
    pub(crate) settle: Duration,
    pub(crate) countdown: Duration,
    /// Whether the rule reads the fact `errors`.
    pub(crate) facts: bool,
    /// Whether an earlier rule is about alerts that are not there, as a rule.
    pub(crate) absence: bool,
    /// Whether that rule latches.
    pub(crate) latch: bool,
    /// Whether there is a second level.
    pub(crate) levels: bool,
    pub(crate) proves_alert: bool,
    pub(crate) proves_facts: bool,
    pub(crate) recent: Duration,
    pub(crate) healthy: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) per_target: usize,
    pub(crate) per: Duration,
    pub(crate) per_hour: usize,
    pub(crate) storm: usize,
    pub(crate) gap: Duration,
    /// One flap holds for two hours.
    pub(crate) damped: bool,
    /// From which minute of the story to which nothing is rolled back.
    pub(crate) freeze: Option<(u64, u64)>,
}

pub(crate) fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

impl Rules {
    pub(crate) fn draw(dice: &mut Dice, namespace: &str) -> Self {
        use Mode::{Approve, Enforce, Shadow};
        let mode = dice.weighed(&[(1, Shadow), (3, Approve), (8, Enforce)]);
        let (cools, tight) = (dice.one_in(2), dice.one_in(3));
        Self {
            name: format!("p-{namespace}"),
            namespace: namespace.to_owned(),
            mode,
            only: dice.one_in(6).then(|| "a".to_owned()),
            beside: dice.one_in(5),
            settle: dice.weighed(&[(2, Duration::ZERO), (3, Duration::from_secs(30)), (1, minutes(3))]),
            countdown: dice.weighed(&[(2, Duration::ZERO), (3, Duration::from_secs(30)), (2, minutes(2))]),
            facts: !dice.one_in(3),
            absence: !dice.one_in(3),
            latch: dice.one_in(4),
            levels: dice.one_in(4),
            proves_alert: !dice.one_in(4),
            proves_facts: dice.one_in(2),
            recent: if dice.one_in(4) { minutes(10) } else { minutes(60) },
            healthy: dice.weighed(&[(1, minutes(120)), (2, minutes(30)), (2, minutes(5))]),
            cooldown: if cools { minutes(60) } else { minutes(1) },
            per_target: if tight { 1 } else { 5 },
            per: minutes(if tight { 720 } else { 60 }),
            per_hour: if tight { 1 } else { 6 },
            storm: if dice.one_in(5) { 2 } else { 3 },
            gap: minutes(5),
            damped: dice.one_in(3),
            freeze: dice.one_in(6).then(|| (dice.number(1, 10), dice.number(20, 45))),
        }
    }

    /// One that lets a rollback pass: only what a world is about is in its way.
    pub(crate) fn lax(dice: &mut Dice, namespace: &str) -> Self {
        Self {
            name: format!("p-{namespace}"),
            namespace: namespace.to_owned(),
            mode: Mode::Enforce,
            only: None,
            beside: dice.one_in(6),
            settle: dice.weighed(&[(1, Duration::ZERO), (2, Duration::from_secs(30))]),
            countdown: dice.weighed(&[(2, Duration::from_secs(30)), (1, minutes(2))]),
            facts: dice.one_in(2),
            absence: dice.one_in(2),
            latch: dice.one_in(2),
            levels: dice.one_in(4),
            proves_alert: !dice.one_in(4),
            proves_facts: dice.one_in(2),
            recent: minutes(60),
            healthy: minutes(5),
            cooldown: minutes(1),
            per_target: 5,
            per: minutes(60),
            per_hour: 6,
            storm: 3,
            gap: minutes(5),
            damped: false,
            freeze: None,
        }
    }

    pub(crate) fn covers(&self, namespace: &str, name: &str) -> bool {
        namespace == self.namespace && self.only.as_ref().is_none_or(|only| only == name)
    }

    fn write(&self, text: &mut String) {
        let mode = match self.mode {
            Mode::Shadow => "shadow",
            Mode::Approve => "approve",
            Mode::Enforce => "enforce",
        };
        let (name, namespace) = (&self.name, &self.namespace);
        let _ = writeln!(text, "    - name: {name}\n      owner: pager\n      matchers: ['namespace = \"{namespace}\"']");
        let paging = if self.beside { "beside" } else { "in_front" };
        let only = self.only.as_deref().unwrap_or("*");
        let _ = writeln!(text, "      mode: {mode}\n      paging: {paging}\n      targets: ['{namespace}/{only}']");
        let _ = writeln!(text, "      for: {}s", self.settle.as_secs());
        text.push_str("      facts:\n        errors: {promql: 'errors{app=\"$name\"}'}\n");
        text.push_str("      decide:\n");
        if self.absence {
            let page = if self.latch { "{to: [pager], latch: true}" } else { "[pager]" };
            let _ = writeln!(text, "        - {{name: data, matchers: ['kind = \"corruption\"'], page: {page}}}");
        }
        let when = if self.facts { "when: 'facts.errors > 0.1', " } else { "matchers: ['severity =~ \"critical|warning\"'], " };
        let levels = if self.levels { format!("[back-{namespace}, again-{namespace}]") } else { format!("back-{namespace}") };
        let _ = writeln!(text, "        - {{name: errors, {when}rollback: {levels}}}");
        text.push_str("        - {name: rest, fix_forward: [tracker]}\n");
        self.write_brakes(text);
    }

    fn write_brakes(&self, text: &mut String) {
        let m = |span: Duration| span.as_secs() / 60;
        text.push_str("      brakes:\n");
        let _ = writeln!(text, "        recent_change: {}m", m(self.recent));
        let _ = writeln!(text, "        fit_target: {{healthy: {}m}}", m(self.healthy));
        let _ = writeln!(text, "        cooldown: {}m", m(self.cooldown));
        let (target, per, hour) = (self.per_target, m(self.per), self.per_hour);
        let _ = writeln!(text, "        budget: {{per_target: {target}, per: {per}m, per_hour: {hour}}}");
        let _ = writeln!(text, "        storm: {{units: {}}}", self.storm);
        let _ = writeln!(text, "        quiet_start: {}m", m(self.gap));
        if self.damped {
            text.push_str("        flapping: {penalty: 1000}\n");
        } else {
            text.push_str("        flapping: {disabled: 'a short story'}\n");
        }
        if self.freeze.is_some() {
            let _ = writeln!(text, "        freeze: [frozen-{}]", self.namespace);
        }
    }

    fn write_procedures(&self, text: &mut String) {
        self.write_procedure(text, "back");
        if self.levels {
            self.write_procedure(text, "again");
        }
    }

    fn write_procedure(&self, text: &mut String, name: &str) {
        let _ = write!(text, "    - name: {name}-{}\n      countdown: {}s\n", self.namespace, self.countdown.as_secs());
        text.push_str("      steps: [undo]\n      verify: {within: 5m, tail: 1m, rollout: complete");
        if self.proves_alert {
            text.push_str(", alert: resolved");
        }
        if self.proves_facts {
            text.push_str(", facts: ['facts.errors < 0.1']");
        }
        text.push_str("}\n");
    }
}

/// A policy block of a story, with its name, if it is not the one that is in force first. Minute 0 of a story is 09:00 UTC.
pub(crate) fn block(name: &str, all: &[Rules], shadow_beside: bool) -> String {
    let mut text = format!("policy{name}:\n  policies:\n");
    if shadow_beside {
        let namespace = &all[0].namespace;
        let _ = write!(
            text,
            "    - name: trial\n      matchers: ['namespace = \"{namespace}\"']\n      decide:\n        - {{name: any, rollback: undo}}\n"
        );
    }
    all.iter().for_each(|rules| rules.write(&mut text));
    text.push_str("  procedures:\n");
    all.iter().for_each(|rules| rules.write_procedures(&mut text));
    if all.iter().any(|rules| rules.freeze.is_some()) {
        text.push_str("  time_intervals:\n");
    }
    for rules in all {
        if let Some((from, to)) = rules.freeze {
            let _ = write!(
                text,
                "    - name: frozen-{}\n      time_intervals:\n        - times: [{{start_time: '09:{from:02}', end_time: '09:{to:02}'}}]\n",
                rules.namespace
            );
        }
    }
    text
}
