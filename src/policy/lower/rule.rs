//! The rules of a policy: when, and then what.

use std::collections::BTreeMap;

use super::super::diagnostic::Raised;
use super::super::expr::{Env, Expr};
use super::super::matcher::Matcher;
use super::super::source::At;
use super::super::syntax::{self, FixForward, Page};
use super::super::types::{Condition, Rule, VerdictRule};
use super::super::yaml::{Field, Listed, Short};
use super::Lower;
use super::policy::is_none;
use crate::model::Mode;

/// A procedure that a rule names.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) at: At,
    /// The rule's own mode.
    pub(super) cap: Option<Mode>,
    /// Whether it is to be carried out at once, whatever the verdict.
    pub(super) is_first: bool,
}

/// All of them.
pub(super) type Uses = Vec<Use>;

/// What a rule or a row of a table says.
#[derive(Clone, Copy)]
pub(super) struct Says<'r> {
    pub(super) rollback: &'r Field<Listed<Field<String>>>,
    pub(super) page: &'r Field<Short<Page>>,
    pub(super) fix_forward: &'r Field<Short<FixForward>>,
    pub(super) mode: &'r Field<Mode>,
    pub(super) first: &'r Field<String>,
    pub(super) tell: &'r Field<Listed<Field<String>>>,
}

impl<'r> Says<'r> {
    fn of(rule: &'r syntax::Rule) -> Self {
        let syntax::Rule { rollback, page, fix_forward, mode, first, tell, .. } = rule;
        Self { rollback, page, fix_forward, mode, first, tell }
    }
}

impl Lower<'_> {
    pub(super) fn rules(&self, policy: &syntax::Policy, policy_at: At, mode: Mode, env: &Env) -> (Vec<Rule>, Uses) {
        let (mut rules, mut uses) = (Vec::new(), Vec::new());
        let Some((written, _)) = policy.decide.placed() else {
            if policy.decide.is_missing() {
                self.no_rules(policy_at, policy_at);
            }
            return (rules, uses);
        };
        if written.is_empty() {
            self.no_rules(policy.decide.at().unwrap_or(policy_at), policy_at);
        }
        let mut names: BTreeMap<String, At> = BTreeMap::new();
        let mut always: Option<(String, At)> = None;
        for (index, field) in written.iter().enumerate() {
            let Some((rule, at)) = field.placed() else { continue };
            let name = self.rule_name(rule, index, &mut names);
            if let Some((winner, winner_at)) = &always {
                let message =
                    format!("`{name}` is never reached: `{winner}` in line {} always wins", self.sources.line_of(*winner_at));
                let help = "move it up, or give the other one `matchers` or a condition";
                self.raise(Raised::error("unreachable-rule", at, message).help(help));
            }
            if rule.table.is_missing() {
                let lowered = self.rule(rule, at, name, mode, env, &mut uses);
                if always.is_none() && holds_always(rule) {
                    always = lowered.as_ref().map(|rule| (rule.name.clone(), at));
                }
                rules.extend(lowered);
            } else {
                let has_end = written.iter().skip(index + 1).filter_map(Field::get).any(holds_always);
                rules.extend(self.table(rule, at, (name, has_end), mode, env, &mut uses));
            }
        }
        (rules, uses)
    }

    fn no_rules(&self, at: At, policy: At) {
        let raised = Raised::error("no-rules", at, "this policy has no rules").missing_in(policy);
        self.raise(raised.expected("at least one under `decide`").help("write for example `decide: [{rollback: undo}]`"));
    }

    fn rule_name(&self, rule: &syntax::Rule, index: usize, names: &mut BTreeMap<String, At>) -> String {
        let position = format!("rule {}", index + 1);
        let Some((name, at)) = rule.name.placed() else { return position };
        if !self.check_name("rule", name, at) {
            return position;
        }
        if let Some(first) = names.get(name) {
            let message = format!("the rule `{name}` is already there, in line {}", self.sources.line_of(*first));
            self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
        } else {
            names.insert(name.clone(), at);
        }
        name.clone()
    }

    fn rule(&self, rule: &syntax::Rule, at: At, name: String, policy_mode: Mode, env: &Env, uses: &mut Uses) -> Option<Rule> {
        let matchers = self.matchers(&rule.matchers);
        let condition = self.rule_condition(rule, env);
        self.outcome(Says::of(rule), at, (name, matchers, condition), policy_mode, uses)
    }

    /// A rule of what it says and when it holds.
    pub(super) fn outcome(
        &self,
        says: Says<'_>,
        at: At,
        (name, matchers, condition): (String, Vec<Matcher>, Option<Condition>),
        policy_mode: Mode,
        uses: &mut Uses,
    ) -> Option<Rule> {
        let (later, used) = (self.count_later(), uses.len());
        let verdict = self.verdict(says, at, uses);
        let tell = self.channels(says.tell);
        self.later("rule", "first", says.first);
        if let Some((name, at)) = says.first.placed() {
            uses.push(Use { name: name.clone(), at, cap: None, is_first: true });
        }
        if let Some((mode, at)) = says.mode.placed().filter(|(mode, _)| **mode > policy_mode) {
            let message = format!("mode `{}` has no effect in a policy in mode `{}`", mode.as_str(), policy_mode.as_str());
            self.raise(
                Raised::warning("mode-without-effect", at, message).help("the strictest mode holds; raise that of the policy"),
            );
        }
        let mode = says.mode.get().copied();
        self.cap_later(later, mode);
        uses.iter_mut().skip(used).for_each(|used| used.cap = mode);
        Some(Rule {
            name,
            place: self.place(at),
            matchers,
            condition,
            mode,
            first: says.first.get().cloned(),
            tell,
            verdict: verdict?,
        })
    }

    pub(super) fn rule_condition(&self, rule: &syntax::Rule, env: &Env) -> Option<Condition> {
        let places = [("when", rule.when.at()), ("any", rule.any.at()), ("all", rule.all.at())];
        let mut given = places.iter().filter_map(|(key, at)| at.map(|at| (key, at)));
        if let (Some((first, _)), Some((second, at))) = (given.next(), given.next()) {
            let raised = Raised::error("conflicting-keys", at, format!("`{second}` beside `{first}`"));
            self.raise(raised.expected("one of `when`, `any`, `all`").help("join conditions with `&&` and `||`"));
        }
        let when = rule.when.placed().and_then(|(text, at)| self.condition(text, at, env)).map(Condition::When);
        let any = self.condition_list("any", &rule.any, env).map(Condition::Any);
        let all = self.condition_list("all", &rule.all, env).map(Condition::All);
        when.or(any).or(all)
    }

    fn condition_list(&self, key: &str, field: &Field<Vec<Field<syntax::CelText>>>, env: &Env) -> Option<Vec<Expr>> {
        let (list, at) = field.placed()?;
        if list.is_empty() {
            let raised = Raised::error("empty-list", at, format!("`{key}` holds no condition"));
            self.raise(raised.help("write one, or remove the key"));
        }
        Some(self.conditions(list, env))
    }

    fn verdict(&self, rule: Says<'_>, at: At, uses: &mut Uses) -> Option<VerdictRule> {
        const VERDICTS: &str = "one of `rollback`, `page`, `fix_forward`";
        let places = [
            ("rollback", !rule.rollback.is_missing(), rule.rollback.at()),
            ("page", !rule.page.is_missing(), rule.page.at()),
            ("fix_forward", !rule.fix_forward.is_missing(), rule.fix_forward.at()),
        ];
        let given: Vec<_> = places.iter().filter(|(_, is_given, _)| *is_given).collect();
        match given.as_slice() {
            [] => {
                self.raise(Raised::error("no-verdict", at, "this rule does not say what to do").missing_in(at).expected(VERDICTS))
            }
            [_] => {}
            [(first, ..), (second, _, second_at), ..] => {
                let message = format!("this rule says `{first}` and `{second}`");
                self.raise(Raised::error("conflicting-keys", second_at.unwrap_or(at), message).expected(VERDICTS));
            }
        }
        if let Some((Listed(items), at)) = rule.rollback.placed() {
            return self.levels(items, at, uses);
        }
        if let Some(Short(page)) = rule.page.get() {
            let latch = page.latch.get().copied().unwrap_or_default();
            return Some(VerdictRule::Page { to: self.channels(&page.to), latch });
        }
        rule.fix_forward.get().map(|Short(fix)| VerdictRule::FixForward { to: self.channels(&fix.to) })
    }

    fn levels(&self, items: &[Field<String>], at: At, uses: &mut Uses) -> Option<VerdictRule> {
        if items.is_empty() {
            let raised = Raised::error("empty-list", at, "`rollback` names no procedure");
            self.raise(raised.help("write `rollback: undo` to put the last good release back"));
        }
        let mut levels: Vec<String> = Vec::new();
        for (name, at) in items.iter().filter_map(Field::placed) {
            if levels.contains(name) {
                let raised = Raised::error("duplicate-name", at, format!("`{name}` is already one of the levels"));
                self.raise(raised.help("a procedure that did not help is not tried again: remove it"));
                continue;
            }
            uses.push(Use { name: name.clone(), at, cap: None, is_first: false });
            levels.push(name.clone());
        }
        Some(VerdictRule::Rollback { levels })
    }
}

/// Whether nothing reaches the rules below it.
fn holds_always(rule: &syntax::Rule) -> bool {
    if !rule.table.is_missing() {
        return false;
    }
    let is_true = rule.when.get().is_some_and(|syntax::CelText(text)| text.trim() == "true");
    is_none(&rule.matchers) && (rule.when.is_missing() || is_true) && rule.any.is_missing() && rule.all.is_missing()
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;

    #[test]
    fn a_rule_is_warned_of_only_where_its_mode_is_above_that_of_its_policy() {
        for (mode, is_warned) in [("shadow", false), ("approve", false), ("enforce", true)] {
            let text = format!(
                "policies: [{{name: a, mode: approve, paging: in_front, targets: ['shop/*'], decide: [{{rollback: undo, mode: {mode}}}]}}]\n"
            );
            let said = said(&text);
            assert_eq!(said.iter().any(|said| said.contains("has no effect")), is_warned, "{mode}: {said:?}");
        }
    }
}
