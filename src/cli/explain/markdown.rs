//! An explanation as Markdown: for a ticket, a review, a runbook. Text from outside stands in code, so that it can neither format nor
//! link anything. Decides nothing.

use std::fmt::Write as _;
use std::time::Duration;

use super::brain::Explained;
use super::show;
use crate::decide::incident::{Incident, Lane};
use crate::decide::report::{self, cell, code};
use crate::model::{Fact, Plan};
use crate::policy::duration;

/// The whole page.
pub(super) fn page(explained: &Explained, missing: &[String]) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_page(explained, missing, &mut out);
    out
}

fn write_page(explained: &Explained, missing: &[String], out: &mut String) -> std::fmt::Result {
    writeln!(out, "# Explanation, as of {}", explained.now)?;
    for (alert, heard) in &explained.heard {
        let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        writeln!(out, "\n- alert {} since {}, `{}`", code(&labels.join(", ")), alert.starts_at, alert.fingerprint)?;
        if let Some(words) = show::not_news(*heard) {
            writeln!(out, "  - {words}")?;
        }
    }
    if let Some((from, at)) = &explained.memory {
        writeln!(out, "\nRemembered by {}, as of {at}.", code(from))?;
    }
    if let Some(past) = &explained.past {
        writeln!(out, "\nDerived again from {}, by backout {}:\n", code(&past.journal), env!("CARGO_PKG_VERSION"))?;
        for one in &past.decisions {
            let how = if one.bytes { "byte for byte the same" } else { "the same, in the bytes of an older program" };
            let remark = one.remark();
            writeln!(out, "- row {}, decided at {} by backout {}: **{how}**{remark}", one.row, one.at, code(&one.program))?;
        }
    }
    for incident in &explained.incidents {
        write_incident(incident, explained, out)?;
    }
    if !missing.is_empty() {
        writeln!(out, "\n## Not known here\n")?;
        missing.iter().try_for_each(|words| writeln!(out, "- {}", code(words)))?;
    }
    Ok(())
}

fn write_incident(incident: &Incident, explained: &Explained, out: &mut String) -> std::fmt::Result {
    let target = incident.target.as_ref().map_or_else(|| "no target".to_owned(), ToString::to_string);
    let shadow = if matches!(incident.lane, Lane::Shadow(_)) { " (in shadow)" } else { "" };
    writeln!(out, "\n## {} on {}{shadow}", code(&incident.policy), code(&target))?;
    let Some(decision) = &incident.decision else {
        let words = incident.page.as_ref().map_or("no verdict", |page| page.text.as_str());
        return writeln!(out, "\nNo decision: {}", code(words));
    };
    // The headings of a report are one level above.
    out.push_str(&report::decision(decision).replace("\n## ", "\n### "));
    write_facts(incident, explained, out)?;
    if let Some(plan) = &decision.plan {
        write_plan(plan, out)?;
        match explained.diffs.get(&incident.id) {
            Some(Ok(diff)) if diff.is_empty() => writeln!(out, "\nBoth templates are the same, but for what is redacted.")?,
            Some(Ok(diff)) => write_fenced(diff, out)?,
            Some(Err(why)) => writeln!(out, "\nWhat it changes cannot be shown: {}", code(why))?,
            None => {}
        }
    }
    let Some(found) = explained.otherwise.get(&incident.id) else { return Ok(()) };
    writeln!(out, "\n### Otherwise\n")?;
    if found.is_empty() {
        writeln!(out, "No number and no time that it was decided by would have flipped the verdict alone.")?;
    }
    found.iter().try_for_each(|one| writeln!(out, "- {}", code(&one.sentence())))
}

fn write_facts(incident: &Incident, explained: &Explained, out: &mut String) -> std::fmt::Result {
    let Some(decision) = &incident.decision else { return Ok(()) };
    let seen = &decision.observation;
    writeln!(out, "\n| fact | value | source | age |\n|---|---|---|---|")?;
    for member in incident.members.values() {
        let at = member.onset.at.as_ref().map_or_else(|why| format!("unknown: {why}"), ToString::to_string);
        let name = format!("onset of {}", member.alert.label("alertname"));
        writeln!(out, "| {} | {} | {} | |", cell(&name), cell(&at), cell(&member.onset.source))?;
    }
    let now = explained.now;
    let age = |at| duration::format(Duration::from_secs(now.since(at).as_secs()));
    for (name, answer) in &seen.values {
        for (name, fact) in
            [(format!("facts.{name}"), Some(&answer.value)), (format!("traffic behind {name}"), answer.floor.as_ref())]
        {
            let Some(Fact { value, at, source }) = fact else { continue };
            let value = value.as_ref().map_or_else(|why| format!("unknown: {why}"), |number| number.get().to_string());
            writeln!(out, "| {} | {} | {} | {} |", cell(&name), cell(&value), cell(source), age(*at))?;
        }
    }
    for (name, Fact { value, at, source }) in &seen.texts {
        let value = value.as_ref().map_or_else(|why| format!("unknown: {why}"), |text| format!("{text:?}"));
        writeln!(out, "| {} | {} | {} | {} |", cell(&format!("facts.{name}")), cell(&value), cell(source), age(*at))?;
    }
    for peer in &seen.alerts.peers {
        let held =
            peer.value.as_ref().map_or_else(|why| format!("unknown: {why}"), |view| format!("{} alerts", view.alerts.len()));
        writeln!(out, "| alerts | {} | {} | {} |", cell(&held), cell(&peer.source), age(peer.at))?;
    }
    Ok(())
}

fn write_plan(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n### Plan `{}`\n", plan.hash())?;
    for (word, release) in [("from", &plan.from), ("to", &plan.to)] {
        let revision = release.revision.map_or_else(String::new, |number| format!(", revision {number}"));
        writeln!(out, "- {word} {} (`{}`{revision})", code(&release.label()), release.digest.short())?;
    }
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    writeln!(out, "- procedure `{}`: {}", plan.procedure, code(&steps.join(", ")))?;
    writeln!(out, "- mode {}, countdown {}", plan.mode.as_str(), duration::format(plan.countdown))
}

/// A block of text as it is, in a fence longer than any in it.
fn write_fenced(text: &str, out: &mut String) -> std::fmt::Result {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let clean: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    write!(out, "\n{fence}diff\n{clean}{}{fence}\n", if clean.ends_with('\n') { "" } else { "\n" })
}
