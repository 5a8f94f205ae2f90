//! Brakes: their numbers, or the reason why one is off.

use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::source::At;
use super::super::syntax::{self, BrakeKeys, DisableOnly, DurationText, GapKeys, WithinKeys};
use super::super::types::{
    BrakeSettings, Budget, ControlGroup, DataLatch, FLAPS, FitTarget, Flapping, ROLLBACKS, RecentChange, Setting, StaleFacts,
    Storm, Trust, WRONGS,
};
use super::super::yaml::{Field, Listed, Short};
use super::Lower;
use super::text::Zero;
use crate::model::Mode;

const NO_TIME: Zero = Zero::Refused("to switch the brake off, write `{disabled: 'why'}`");

impl Lower<'_> {
    pub(super) fn brakes(&self, field: &Field<syntax::Brakes>, mode: Mode) -> BrakeSettings {
        let defaults = BrakeSettings::default();
        let Some(written) = field.get() else { return defaults };
        let within = |Short(keys): &Short<WithinKeys>, default| self.time(&keys.within, default);
        let gap = |Short(keys): &Short<GapKeys>, default| self.time(&keys.gap, default);
        BrakeSettings {
            recent_change: self.brake(&written.recent_change, defaults.recent_change, |keys, default, _| RecentChange {
                within: within(keys, default.within),
            }),
            control_group: self
                .brake(&written.control_group, defaults.control_group, |keys, default, _| self.control_group(keys, default)),
            fit_target: self.brake(&written.fit_target, defaults.fit_target, |keys, default, _| self.fit_target(keys, default)),
            cooldown: self.brake(&written.cooldown, defaults.cooldown, |keys, default, _| within(keys, default)),
            budget: self.brake(&written.budget, defaults.budget, |keys, default, _| self.budget(keys, default, mode)),
            flapping: self.brake(&written.flapping, defaults.flapping, |keys, default, at| self.flapping(keys, default, at)),
            storm: self.brake(&written.storm, defaults.storm, |keys, default, _| self.storm(keys, default)),
            quiet_start: self.brake(&written.quiet_start, defaults.quiet_start, |keys, default, _| gap(keys, default)),
            human_active: self.switch(&written.human_active),
            owner: self.switch(&written.owner),
            data_latch: self.brake(&written.data_latch, defaults.data_latch, |keys, _, _| DataLatch {
                data_group: self.targets(&keys.data_group),
            }),
            freeze: self.brake(&written.freeze, defaults.freeze, |Short(keys), _, at| self.freeze(keys, at)),
            stale_facts: self.brake(&written.stale_facts, defaults.stale_facts, |keys, default, _| StaleFacts {
                watch: self.time(&keys.watch, default.watch),
                query: self.time(&keys.query, default.query),
            }),
            truncated: self.switch(&written.truncated),
            trust: self.brake(&written.trust, defaults.trust, |keys, default, _| self.trust(keys, default)),
        }
    }

    fn control_group(&self, keys: &syntax::ControlGroupKeys, default: ControlGroup) -> ControlGroup {
        let targets = keys.targets.placed();
        if let Some((0, at)) = targets {
            let raised = Raised::error("impossible-number", at, "`targets: 0` would hold whatever other targets show");
            self.raise(raised.expected("a whole number, 1 or more").help("to switch the brake off, write `{disabled: 'why'}`"));
        }
        ControlGroup {
            targets: targets.map_or(default.targets, |(targets, _)| *targets).max(1),
            within: self.time(&keys.within, default.within),
            downstream: self.targets(&keys.downstream),
        }
    }

    fn switch(&self, field: &Field<DisableOnly>) -> Setting<()> {
        self.brake(field, Setting::On(()), |_, (), _| ())
    }

    /// A brake is on with numbers, or off with a reason, never both.
    fn brake<K: BrakeKeys, T>(&self, field: &Field<K>, default: Setting<T>, numbers: impl Fn(&K, T, At) -> T) -> Setting<T> {
        let Some((keys, at)) = field.placed() else { return default };
        if let Some((reason, at)) = keys.disabled().placed() {
            if reason.trim().is_empty() {
                let raised = Raised::error("no-reason", at, "a brake is switched off without a reason");
                self.raise(raised.expected("why, in words: it is shown in every decision"));
            }
            if keys.has_numbers() {
                let raised = Raised::error("conflicting-keys", at, "a brake that is switched off has no numbers");
                self.raise(raised.help("remove `disabled`, or everything beside it"));
            }
            return Setting::Disabled(reason.trim().to_owned());
        }
        match default {
            Setting::On(default) => Setting::On(numbers(keys, default, at)),
            Setting::Disabled(reason) => Setting::Disabled(reason),
        }
    }

    fn time(&self, field: &Field<DurationText>, default: Duration) -> Duration {
        self.duration(field, NO_TIME).unwrap_or(default)
    }

    fn fit_target(&self, keys: &syntax::FitTargetKeys, default: FitTarget) -> FitTarget {
        let back = keys.back.placed();
        if let Some((0, at)) = back {
            let raised = Raised::error("impossible-number", at, "no release is 0 releases back");
            self.raise(raised.expected("a whole number, 1 or more"));
        }
        FitTarget {
            // No time at all says that having started is enough: legal, and written where a reviewer sees it.
            healthy: self.duration(&keys.healthy, Zero::Allowed).unwrap_or(default.healthy),
            back: back.map_or(default.back, |(back, _)| *back),
            last_live: self.time(&keys.last_live, default.last_live),
        }
    }

    fn freeze(&self, keys: &syntax::FreezeKeys, at: At) -> Vec<String> {
        let known: Vec<String> = self.known_intervals.iter().cloned().collect();
        let named: Vec<(&String, At)> =
            keys.intervals.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed).collect();
        if named.is_empty() {
            let raised = Raised::error("missing-key", at, "this freeze names no time interval");
            self.raise(raised.expected("names of `time_intervals`").help("without `freeze` no time is frozen"));
        }
        named.into_iter().filter_map(|(name, at)| self.known("time interval", name, at, &known)).collect()
    }

    fn trust(&self, keys: &syntax::TrustKeys, default: Trust) -> Trust {
        let wrong = keys.wrong.placed();
        if let Some((0, at)) = wrong {
            let raised = Raised::error("impossible-number", at, "`wrong: 0` would trust nobody, whatever was marked");
            self.raise(raised.expected("a whole number, 1 or more").help("for a policy that always asks, write `mode: approve`"));
        }
        self.remembered("wrong", wrong, WRONGS, "marks of a policy");
        Trust { wrong: wrong.map_or(default.wrong, |(wrong, _)| *wrong).max(1), within: self.time(&keys.within, default.within) }
    }

    fn storm(&self, keys: &syntax::StormKeys, default: Storm) -> Storm {
        let units = keys.units.placed();
        if let Some((0 | 1, at)) = units {
            let raised = Raised::error("impossible-number", at, "one target alone is no storm");
            self.raise(raised.expected("a whole number, 2 or more").help("for a policy that always asks, write `mode: approve`"));
        }
        Storm {
            units: units.map_or(default.units, |(units, _)| *units).max(2),
            within: self.time(&keys.within, default.within),
            quiet: self.time(&keys.quiet, default.quiet),
        }
    }

    /// More than is remembered never comes together.
    fn remembered(&self, key: &str, number: Option<(&u32, At)>, most: usize, what: &str) {
        if let Some((number, at)) = number.filter(|(number, _)| **number as usize > most) {
            let message = format!("`{key}` is {number}, but {most} {what} are remembered: the brake would never hold");
            let raised = Raised::error("impossible-number", at, message);
            self.raise(raised.expected(format!("{most} at most")).help("to switch the brake off, write `{disabled: 'why'}`"));
        }
    }

    fn budget(&self, keys: &syntax::BudgetKeys, default: Budget, mode: Mode) -> Budget {
        let count = |key: &str, field: &Field<u32>, default: u32| {
            let Some((count, at)) = field.placed() else { return default };
            if *count == 0 && mode > Mode::Shadow {
                let message = format!("`{key}: 0` allows no rollback, but the mode is `{}`", mode.as_str());
                let raised = Raised::error("impossible-number", at, message);
                self.raise(raised.help("write 1 or more, or `mode: shadow`"));
            }
            *count
        };
        self.remembered("per_target", keys.per_target.placed(), ROLLBACKS, "rollbacks of a target");
        Budget {
            per_target: count("per_target", &keys.per_target, default.per_target),
            per: self.time(&keys.per, default.per),
            per_hour: count("per_hour", &keys.per_hour, default.per_hour),
        }
    }

    fn flapping(&self, keys: &syntax::FlappingKeys, default: Flapping, at: At) -> Flapping {
        let number = |key: &str, field: &Field<f64>, default: f64| {
            let Some((number, at)) = field.placed() else { return default };
            if *number <= 0.0 {
                let raised = Raised::error("impossible-number", at, format!("`{key}` is {number}"));
                self.raise(raised.expected("a number above 0").help("to switch the brake off, write `{disabled: 'why'}`"));
                return default;
            }
            *number
        };
        let flapping = Flapping {
            penalty: number("penalty", &keys.penalty, default.penalty),
            half_life: self.time(&keys.half_life, default.half_life),
            suppress: number("suppress", &keys.suppress, default.suppress),
            reuse: number("reuse", &keys.reuse, default.reuse),
            hold: self.time(&keys.hold, default.hold),
        };
        let Flapping { suppress, reuse, half_life, hold, .. } = flapping;
        if reuse >= suppress {
            let at = keys.reuse.at().or(keys.suppress.at()).unwrap_or(at);
            let raised =
                Raised::error("impossible-number", at, format!("`reuse` is {reuse}, not below `suppress`, which is {suppress}"));
            self.raise(raised.help("a target is held from `suppress` on until it falls below `reuse`"));
        }
        let ceiling = reuse * (hold.as_secs_f64() / half_life.as_secs_f64().max(0.001)).exp2();
        if suppress > ceiling {
            let at = keys.suppress.at().or(keys.hold.at()).unwrap_or(at);
            let message =
                format!("`suppress` is {suppress}, but no penalty grows beyond {ceiling:.0}: the brake would never hold");
            let raised = Raised::error("impossible-number", at, message);
            self.raise(raised.help("the ceiling is reuse × 2^(hold / half_life): what decays to `reuse` within `hold`"));
        } else if suppress > flapping.penalty * FLAPS as f64 {
            let most = flapping.penalty * FLAPS as f64;
            let at = keys.penalty.at().or(keys.suppress.at()).unwrap_or(at);
            let message = format!(
                "the {FLAPS} flaps that are remembered come to {most:.0} at most, and `suppress` is {suppress}: the brake would never hold"
            );
            let raised = Raised::error("impossible-number", at, message);
            self.raise(raised.help("write a greater `penalty`, or a smaller `suppress`"));
        }
        flapping
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;

    fn said_of(mode: &str, brakes: &str) -> Vec<String> {
        said(&format!(
            "policies: [{{name: a, mode: {mode}, paging: in_front, targets: ['shop/*'], decide: [{{rollback: undo}}], brakes: {{{brakes}}}}}]\n"
        ))
    }

    #[test]
    fn a_budget_of_nothing_is_for_watching_only() {
        assert_eq!(said_of("shadow", "budget: {per_target: 0}"), Vec::<String>::new());
        for mode in ["approve", "enforce"] {
            let said = said_of(mode, "budget: {per_target: 0}");
            let wanted = format!("error: `per_target: 0` allows no rollback, but the mode is `{mode}`");
            assert!(said.contains(&wanted), "{said:?}");
        }
    }

    #[test]
    fn a_penalty_may_be_held_from_its_ceiling_on() {
        let flapping = |suppress: u32| format!("flapping: {{suppress: {suppress}, reuse: 1000, half_life: 1h, hold: 1h}}");
        assert_eq!(said_of("shadow", &flapping(2000)), Vec::<String>::new());
        let wanted = "error: `suppress` is 2001, but no penalty grows beyond 2000: the brake would never hold";
        assert_eq!(said_of("shadow", &flapping(2001)), [wanted]);
    }
}
