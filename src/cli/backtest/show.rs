//! How a ledger is printed.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::output::{Style, Table, Text};
use super::{BacktestArgs, Shown};
use crate::backtest::{Entry, Verdict, clock, sampled, then};
use crate::policy::duration;

/// What was taken for granted, because no history tells it.
pub(super) fn assumed(args: &BacktestArgs) -> Vec<String> {
    let wait = duration::format(args.group_wait);
    let mut assumed = match args.journal {
        None => vec![format!("Alertmanager passes alerts on after {wait} (`--group-wait`); nothing was silenced or inhibited")],
        Some(_) => vec![
            "alerts fire from their first notification to their last; nothing was silenced or inhibited".to_owned(),
            "a fact of the same name on the same target is the same query: the journal holds names and numbers".to_owned(),
            "what the service itself put there then comes half a minute later, so that policies that decide alike come first"
                .to_owned(),
        ],
    };
    let always = [
        "nobody vetoed, approved, paused or took an incident over".to_owned(),
        "nobody owns the Deployments (Helm, Argo CD, Flux): the brake `owner` never holds".to_owned(),
        "no release is behind a data barrier, and none was pruned before the usual ten".to_owned(),
        "rollouts were never paused and never of the kind `Recreate`; dry runs pass, permissions are there".to_owned(),
        "a rollback that would have been made helps at once: what follows counts it against cooldown and budget".to_owned(),
    ];
    assumed.extend(always);
    assumed
}

/// For scripts.
pub(super) fn json(shown: &Shown<'_>) -> Value {
    let entry = |entry: &Entry| {
        let mut value = json!(entry);
        if let Some(object) = value.as_object_mut() {
            object.insert("seconds_ahead".to_owned(), json!(entry.ahead_by()));
        }
        value
    };
    let history = shown.history;
    let gaps: Vec<Value> =
        history.gaps.iter().map(|(from, to)| json!({ "from": from.to_string(), "to": to.to_string() })).collect();
    let mut value = json!({
        "from": history.from.to_string(), "to": history.to.to_string(), "step_seconds": history.step.map(|step| step.as_secs_f64()), "source": shown.source,
        "totals": shown.ledger.totals(),
        "incidents": shown.ledger.entries.iter().map(entry).collect::<Vec<_>>(),
        "missing": history.missing, "assumed": shown.assumed, "gaps": gaps,
    });
    if let (Some((revision, differences)), Some(object)) = (shown.compared, value.as_object_mut()) {
        object.insert("compared".to_owned(), json!({ "revision": revision, "differences": differences }));
    }
    value
}

/// For people.
pub(super) fn write(shown: &Shown<'_>, text: &mut Text) {
    let history = shown.history;
    let (from, to) = (clock(history.from), clock(history.to));
    text.line(format_args!("{from} to {to}, {}, from {}", sampled(history), shown.source));
    text.gap();
    if shown.ledger.entries.is_empty() {
        text.line(format_args!("no policy was about any alert of that time"));
    } else {
        let mut table = Table::new(&["OPENED", "ALERT", "TARGET", "POLICY", "VERDICT", "AHEAD", "IN FACT", "WHY"]);
        for entry in &shown.ledger.entries {
            let ahead = entry.ahead_by().map_or_else(|| "-".to_owned(), span);
            table.row([
                clock(entry.opened_at),
                entry.alertname().to_owned(),
                entry.target.clone().unwrap_or_else(|| "-".to_owned()),
                entry.policy.clone(),
                entry.verdict.as_str().to_owned(),
                ahead,
                then(entry),
                entry.why.clone(),
            ]);
        }
        table.write(text);
    }
    totals(shown, text);
    for (heading, lines) in [("not in this history", history.missing.as_slice()), ("taken for granted", shown.assumed)] {
        if !lines.is_empty() {
            text.gap();
            text.heading(Style::Bold, heading);
            lines.iter().for_each(|line| text.line(format_args!("  {line}")));
        }
    }
    compared(shown, text);
}

fn totals(shown: &Shown<'_>, text: &mut Text) {
    let totals = shown.ledger.totals();
    text.gap();
    text.heading(Style::Bold, &format!("{} incidents", totals.incidents));
    for verdict in Verdict::ALL {
        let count = totals.verdicts.get(verdict.as_str()).copied().unwrap_or(0);
        if count > 0 {
            text.line(format_args!("  {count:>6}  {}", verdict.words()));
        }
    }
    if totals.seconds_ahead > 0 {
        let ahead = span(totals.seconds_ahead);
        text.line(format_args!("  rollbacks are {ahead} ahead of the alert's end or the next release, in all"));
    }
    if totals.people_went_back > 0 {
        text.line(format_args!("  {} of them somebody made later, too", totals.people_went_back));
    }
    let held: Vec<String> = totals.brakes.iter().map(|(brake, count)| format!("{brake} {count}")).collect();
    if !held.is_empty() {
        text.line(format_args!("  brakes that held: {}", held.join(", ")));
    }
}

fn compared(shown: &Shown<'_>, text: &mut Text) {
    let Some((revision, differences)) = shown.compared else { return };
    text.gap();
    text.heading(Style::Bold, &format!("compared with {revision}"));
    for difference in differences {
        let target = difference.target.as_deref().unwrap_or("no target");
        text.line(format_args!("  {} {target} {}", clock(difference.opened_at), difference.alert));
        difference.before.iter().for_each(|line| text.heading(Style::Red, &format!("    - {line}")));
        difference.now.iter().for_each(|line| text.heading(Style::Green, &format!("    + {line}")));
    }
    text.line(format_args!("  {} incidents are decided otherwise", differences.len()));
}

fn span(seconds: u64) -> String {
    duration::format(Duration::from_secs(seconds))
}
