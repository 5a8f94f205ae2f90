//! A sequence that was found, as a test file that can be committed.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Ground, Move, Node, new_image, words};
use crate::model::{Mode, Time};
use crate::policy::duration;
use crate::policy::test_file::types::Instant;
use crate::policy::types::{Budget, Policy};

use super::super::build;
use super::super::files::Loaded;

/// How long before the intent a yes was heard: the dry run and the second reading come in between.
const FROM_YES_TO_INTENT: i64 = 1_100;

/// The test file.
pub(super) fn tell(ground: &Ground<'_>, node: &Node, policy: &Policy, budget: &Budget, loaded: &Loaded) -> String {
    let mut text = format!("# Found by `backout test --bound`: the policy `{}` acts more than its budget says.\n", policy.name);
    // Writing into a `String` cannot fail.
    let _ = write(&mut text, ground, node, policy, budget, loaded);
    text
}

fn write(
    text: &mut String,
    ground: &Ground<'_>,
    node: &Node,
    policy: &Policy,
    budget: &Budget,
    loaded: &Loaded,
) -> std::fmt::Result {
    let files: Vec<String> = loaded.named.iter().map(|name| quoted(name)).collect();
    writeln!(text, "policy_files: [{}]", files.join(", "))?;
    if !loaded.rules_named.is_empty() {
        let files: Vec<String> = loaded.rules_named.iter().map(|name| quoted(name)).collect();
        writeln!(text, "rule_files: [{}]", files.join(", "))?;
    }
    writeln!(text, "evaluation_interval: {}", duration::format(ground.around.interval))?;
    writeln!(text, "tests:\n  - name: {}", quoted(&format!("{} keeps to {}", policy.name, words(budget))))?;
    writeln!(text, "    cluster: {}\n    world:", quoted(&ground.world.cluster))?;
    writeln!(text, "      watching_since: {}\n      deployments:", ground.world.watching_since)?;
    deployments(text, ground, node)?;
    if !ground.world.http.is_empty() {
        writeln!(text, "      http:")?;
        for url in ground.world.http.keys() {
            writeln!(text, "        {}: 200", quoted(url))?;
        }
    }
    facts(text, ground, node)?;
    alerts(text, ground, node)?;
    approvals(text, ground, node)?;
    writeln!(text, "    expect:")?;
    let zero = build::zero(&ground.world);
    let ours: Vec<&crate::simulate::Written> = node.driver.written.iter().filter(|write| write.policy == policy.name).collect();
    let last = ours.last().map_or(Time::default(), |write| write.at);
    let targets: std::collections::BTreeSet<_> = ours.iter().map(|write| &write.target).collect();
    let most = if targets.len() > 1 { budget.per_hour } else { budget.per_target };
    writeln!(
        text,
        "      - {{at: {}, policy: {}, actions_at_most: {most}}}",
        Instant::of(last, zero).after(std::time::Duration::from_secs(1)),
        quoted(&policy.name)
    )
}

fn deployments(text: &mut String, ground: &Ground<'_>, node: &Node) -> std::fmt::Result {
    for (index, deployment) in ground.world.deployments.iter().enumerate() {
        let (name, namespace) = (quoted(&deployment.at.name), quoted(&deployment.at.namespace));
        writeln!(text, "        - name: {name}\n          namespace: {namespace}\n          replicas: {}", deployment.replicas)?;
        writeln!(text, "          ready_after: {}", duration::format(deployment.ready_after))?;
        for (key, map) in [("annotations", &deployment.annotations), ("labels", &deployment.labels)] {
            if !map.is_empty() {
                writeln!(text, "          {key}: {}", json(&serde_json::json!(map)))?;
            }
        }
        writeln!(text, "          revisions:")?;
        for revision in &deployment.revisions {
            writeln!(text, "            - {{image: {}, deployed_at: {}}}", quoted(&revision.image), revision.at)?;
        }
        for (number, (at, made)) in node.moves.iter().enumerate() {
            if *made == Move::Deploy(index) {
                let image = new_image(deployment, &node.moves[..number], index);
                writeln!(text, "            - {{image: {}, deployed_at: {at}}}", quoted(&image))?;
            }
        }
    }
    Ok(())
}

/// Each fact as a series: its value from each change of health to the next.
fn facts(text: &mut String, ground: &Ground<'_>, node: &Node) -> std::fmt::Result {
    if ground.facts.is_empty() {
        return Ok(());
    }
    writeln!(text, "    facts:")?;
    let minutes = |at: Instant| at.0 / 60_000;
    for (name, (least, greatest)) in &ground.facts {
        let mut high = node.began_high;
        let mut begin = 0;
        let mut items = Vec::new();
        let changes = node.moves.iter().filter(|(_, made)| *made == Move::Health).map(|(at, _)| minutes(*at));
        for end in changes.chain([minutes(node.now) + 1]) {
            let value = if high { greatest } else { least };
            if end > begin {
                items.push(format!("{value}x{}", end - begin - 1));
            }
            (begin, high) = (end, !high);
        }
        writeln!(text, "      {name}: '{}'", items.join(" "))?;
    }
    Ok(())
}

fn alerts(text: &mut String, ground: &Ground<'_>, node: &Node) -> std::fmt::Result {
    writeln!(text, "    alerts:")?;
    for (index, alert) in ground.alerts.iter().enumerate() {
        let turns: Vec<Instant> = node.moves.iter().filter(|(_, made)| *made == Move::Alert(index)).map(|(at, _)| *at).collect();
        if turns.is_empty() {
            continue;
        }
        let spans = turns.chunks(2).map(|turn| match turn {
            [from, to] => format!("{from} to {to}"),
            turn => turn.iter().map(ToString::to_string).collect(),
        });
        writeln!(text, "      - labels: {}", json(&serde_json::json!(alert.labels)))?;
        if !alert.annotations.is_empty() {
            writeln!(text, "        annotations: {}", json(&serde_json::json!(alert.annotations)))?;
        }
        for (key, span) in [("for", alert.hold), ("tail", alert.tail)] {
            if let Some(span) = span {
                writeln!(text, "        {key}: {}", duration::format(span))?;
            }
        }
        writeln!(text, "        firing: [{}]", spans.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

/// Where somebody was asked, he said yes: at the same times.
fn approvals(text: &mut String, ground: &Ground<'_>, node: &Node) -> std::fmt::Result {
    let zero = build::zero(&ground.world);
    let attempts = node.driver.book().incidents.values().flat_map(|incident| &incident.attempts);
    let asked = attempts.filter(|attempt| attempt.plan.mode == Mode::Approve);
    let mut times: Vec<Instant> =
        asked.map(|attempt| Instant::of(attempt.intended_at.shifted(-FROM_YES_TO_INTENT), zero)).collect();
    times.sort_unstable();
    if !times.is_empty() {
        writeln!(text, "    people:")?;
    }
    times.iter().try_for_each(|at| writeln!(text, "      - {{at: {at}, by: ann, approve: {{}}}}"))
}

/// A text as YAML and JSON both read it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A map on one line.
fn json(value: &Value) -> String {
    value.to_string()
}
