//! What is collected before the write, because it vanishes with it: pods, events, ReplicaSets, what changed. Bounded in time and in
//! size; what is missing is said, and stops nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::ask::{self, Failure};
use super::event::truncated;
use super::patch;
use super::redact::redact;
use super::template_diff::diff;
use super::writer::{ClusterWriter, owned};
use crate::model::manifest::{self, condition, controller, count, items, number, text};
use crate::model::{Evidence, Plan, template};

/// For everything together.
const BUDGET: Duration = Duration::from_secs(5);
/// What one request of it may take, so that the others' answers are not lost with it.
pub(super) const ONE_REQUEST: Duration = Duration::from_millis(1_500);
/// The longest section, in bytes.
const SECTION_BYTES: usize = 32 * 1024;
/// Pods and events that are described.
const LINES: usize = 50;
/// Pods whose events and logs are read.
const WORST: usize = 3;

impl ClusterWriter {
    /// Collects what shows why the release was left. Never fails: what could not be had is listed.
    /// `guess` is the target's selector as it was read last, so that what belongs to it is listed while the target itself is read.
    pub async fn evidence(&self, plan: &Plan, guess: Option<String>) -> Evidence {
        let deadline = tokio::time::Instant::now() + BUDGET;
        let mut evidence = Evidence::default();
        let early = async {
            match &guess {
                Some(selector) => Some(self.around(plan, selector).await),
                None => None,
            }
        };
        let (deployment, early) = tokio::join!(self.within(patch::path(plan)), early);
        let deployment = match deployment {
            Ok(deployment) => deployment,
            Err(failure) => {
                evidence.missing.push(format!("everything: the target could not be read: {}", failure.text()));
                return evidence;
            }
        };
        put(&mut evidence, "target", &describe_target(&deployment));
        let selector = manifest::selector(&deployment);
        let (sets, pods) = match early.filter(|_| guess.as_ref() == Some(&selector)) {
            Some(around) => around,
            None => self.around(plan, &selector).await,
        };
        let own_sets = owned_sets(plan, sets.as_ref().ok());
        let leaving: BTreeSet<&str> = own_sets
            .iter()
            .filter(|set| digest_of(set) == plan.from.digest)
            .filter_map(|set| text(set, "/metadata/uid"))
            .collect();
        let all_pods = pods.as_ref().map(|pods| items(pods, "/items")).unwrap_or_default();
        let of_leaving = |pod: &&Value| controller(pod).is_some_and(|(.., uid)| leaving.contains(uid));
        let worst = worst_first(all_pods.iter().filter(of_leaving).collect());
        match &sets {
            Ok(_) => put_own(&mut evidence, "replica sets", describe_sets(plan, &own_sets)),
            Err(failure) => evidence.missing.push(format!("replica sets: {}", failure.text())),
        }
        note(&mut evidence, "pods", pods.as_ref().map(|_| describe_pods(&worst)));
        let before = deployment.pointer("/spec/template");
        let after = own_sets.iter().find(|set| digest_of(set) == plan.to.digest).and_then(|set| set.pointer("/spec/template"));
        match (before, after) {
            (Some(before), Some(after)) => put_own(&mut evidence, "template diff", diff(before, after)),
            _ => evidence.missing.push("template diff: the ReplicaSet to go to was not read".to_owned()),
        }
        let about: Vec<&str> = std::iter::once(plan.target.uid.as_str())
            .chain(leaving)
            .chain(worst.iter().take(WORST).filter_map(|pod| text(pod, "/metadata/uid")))
            .collect();
        let last =
            async { tokio::join!(self.events_about(plan, &about), self.last_logs(plan, &worst[..worst.len().min(WORST)])) };
        match tokio::time::timeout_at(deadline, last).await {
            Ok((events, (logs, missing))) => {
                note(&mut evidence, "events", events.as_ref().map(|events| describe_events(events)));
                for (name, text) in logs {
                    put(&mut evidence, &name, &text);
                }
                evidence.missing.extend(missing);
            }
            Err(_) => evidence.missing.push(format!("events and logs: not read within {} s", BUDGET.as_secs())),
        }
        evidence
    }

    /// The ReplicaSets and pods of a Deployment with this selector.
    async fn around(&self, plan: &Plan, selector: &str) -> (Result<Value, Failure>, Result<Value, Failure>) {
        let (sets, pods) = patch::lists(plan, selector);
        tokio::join!(self.within(sets), self.within(pods))
    }

    async fn within(&self, path: String) -> Result<Value, Failure> {
        match tokio::time::timeout(ONE_REQUEST, ask::get(&self.reads, &path)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Doubtful(format!("no answer within {} ms", ONE_REQUEST.as_millis()))),
        }
    }

    /// Events about the objects with these UIDs.
    async fn events_about(&self, plan: &Plan, uids: &[&str]) -> Result<Vec<Value>, Failure> {
        let asked = uids.iter().map(|uid| {
            let path = format!(
                "/api/v1/namespaces/{}/events?limit=200&fieldSelector=involvedObject.uid%3D{uid}",
                plan.target.at.namespace
            );
            self.within(path)
        });
        let lists = futures_util::future::try_join_all(asked).await?;
        Ok(lists.iter().flat_map(|list| items(list, "/items")).cloned().collect())
    }
}

/// Not ready before ready, then by restarts.
fn worst_first(mut pods: Vec<&Value>) -> Vec<&Value> {
    pods.sort_by_key(|pod| {
        let ready = condition(pod, "Ready").and_then(|ready| text(ready, "/status")) == Some("True");
        let restarts: i64 = items(pod, "/status/containerStatuses").iter().map(|status| number(status, "/restartCount")).sum();
        (ready, -restarts, owned(pod, "/metadata/name"))
    });
    pods
}

fn owned_sets<'a>(plan: &Plan, sets: Option<&'a Value>) -> Vec<&'a Value> {
    let all = sets.map(|sets| items(sets, "/items")).unwrap_or_default();
    let mut own: Vec<_> = all.iter().filter(|set| controller(set).is_some_and(|(.., uid)| uid == plan.target.uid)).collect();
    own.sort_by_key(|set| revision(set));
    own
}

fn digest_of(set: &Value) -> crate::model::Digest {
    template::digest(set.pointer("/spec/template").unwrap_or(&Value::Null))
}

fn revision(set: &Value) -> u64 {
    manifest::annotation(set, manifest::REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

fn note(evidence: &mut Evidence, name: &str, section: Result<String, &Failure>) {
    match section {
        Ok(text) => put(evidence, name, &text),
        Err(failure) => evidence.missing.push(format!("{name}: {}", failure.text())),
    }
}

/// Text from outside is redacted and bounded here; of logs, the end is kept.
fn put(evidence: &mut Evidence, name: &str, text: &str) {
    let redacted = redact(text);
    let kept = match redacted.len() > SECTION_BYTES {
        true if name.starts_with("logs ") => format!("[cut]\n{}", last_bytes(&redacted, SECTION_BYTES)),
        true => format!("{}\n[cut]", truncated(&redacted, SECTION_BYTES)),
        false => redacted,
    };
    put_own(evidence, name, kept);
}

/// Text of our own making, which holds no values: redacting would only take names out of it.
fn put_own(evidence: &mut Evidence, name: &str, text: String) {
    if !text.is_empty() {
        evidence.sections.insert(name.to_owned(), text);
    }
}

/// At most the last `limit` bytes, from the beginning of a line where there is one.
fn last_bytes(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let end = &text[start..];
    end.split_once('\n').map_or(end, |(_, lines)| lines)
}

fn describe_target(deployment: &Value) -> String {
    let mut out = format!(
        "generation {} (controller at {}), replicas {}: {} updated, {} available, {} in all\n",
        number(deployment, "/metadata/generation"),
        number(deployment, "/status/observedGeneration"),
        count(deployment, "/spec/replicas"),
        count(deployment, "/status/updatedReplicas"),
        count(deployment, "/status/availableReplicas"),
        count(deployment, "/status/replicas"),
    );
    for entry in items(deployment, "/status/conditions") {
        let _ = writeln!(out, "{}", describe_condition(entry));
    }
    for entry in items(deployment, "/metadata/managedFields") {
        let _ = writeln!(out, "written by {} at {}", owned(entry, "/manager"), owned(entry, "/time"));
    }
    if let Some(cause) = manifest::annotation(deployment, manifest::CHANGE_CAUSE) {
        let _ = writeln!(out, "change cause: {cause}");
    }
    out
}

fn describe_condition(entry: &Value) -> String {
    let what = [owned(entry, "/type"), owned(entry, "/status"), owned(entry, "/reason")].join(" ");
    format!("{what} since {}: {}", owned(entry, "/lastTransitionTime"), owned(entry, "/message"))
}

fn describe_sets(plan: &Plan, sets: &[&Value]) -> String {
    let mut out = String::new();
    for set in sets {
        let digest = digest_of(set);
        let mark = if digest == plan.from.digest {
            " <- leaving"
        } else if digest == plan.to.digest {
            " <- going to"
        } else {
            ""
        };
        let images = template::images(set.pointer("/spec/template").unwrap_or(&Value::Null)).join(", ");
        let _ = writeln!(
            out,
            "revision {} {} created {} replicas {} available {} {images} {}{mark}",
            revision(set),
            owned(set, "/metadata/name"),
            owned(set, "/metadata/creationTimestamp"),
            count(set, "/spec/replicas"),
            count(set, "/status/availableReplicas"),
            digest.short(),
        );
    }
    out
}

fn describe_pods(pods: &[&Value]) -> String {
    let mut out = String::new();
    for pod in pods.iter().take(LINES) {
        let ready = condition(pod, "Ready").map(|ready| owned(ready, "/status")).unwrap_or_default();
        let node = text(pod, "/spec/nodeName").unwrap_or("-");
        let _ = writeln!(out, "{} phase {} ready {ready} node {node}", owned(pod, "/metadata/name"), owned(pod, "/status/phase"));
        for status in ["/status/initContainerStatuses", "/status/containerStatuses"].iter().flat_map(|path| items(pod, path)) {
            let _ = writeln!(out, "  {}", describe_container(status));
        }
        for entry in items(pod, "/status/conditions").iter().filter(|entry| text(entry, "/status") == Some("False")) {
            let _ = writeln!(out, "  {}", describe_condition(entry));
        }
    }
    if pods.len() > LINES {
        let _ = writeln!(out, "and {} more", pods.len() - LINES);
    }
    out
}

fn describe_container(status: &Value) -> String {
    let mut out = format!("{}: restarts {}", owned(status, "/name"), count(status, "/restartCount"));
    for (name, path) in [("now", "/state"), ("before", "/lastState")] {
        let Some((state, detail)) = status.pointer(path).and_then(Value::as_object).and_then(|state| state.iter().next()) else {
            continue;
        };
        let _ = write!(out, ", {name} {state} {}", owned(detail, "/reason"));
        if state == "terminated" {
            let _ = write!(out, " exit code {} signal {}", number(detail, "/exitCode"), number(detail, "/signal"));
        }
        if let Some(message) = text(detail, "/message") {
            let _ = write!(out, " ({})", truncated(message, 500));
        }
    }
    let _ = write!(out, ", image {}", owned(status, "/imageID"));
    out
}

/// One line an event, newest first.
fn describe_events(events: &[Value]) -> String {
    let mut lines: Vec<String> = events
        .iter()
        .map(|event| {
            let at = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime"].into_iter().find_map(|path| text(event, path));
            let object = format!("{}/{}", owned(event, "/involvedObject/kind"), owned(event, "/involvedObject/name"));
            let what = [owned(event, "/type"), owned(event, "/reason"), object].join(" ");
            let times = count(event, "/count").max(1);
            format!("{} {what} ×{times}: {}", at.unwrap_or_default(), truncated(&owned(event, "/message"), 500))
        })
        .collect();
    lines.sort_unstable_by(|a, b| b.cmp(a));
    lines.truncate(LINES);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_and_the_beginning_of_anything_else_is_kept() {
        let long: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let mut evidence = Evidence::default();
        put(&mut evidence, "logs web/app", &long);
        put(&mut evidence, "pods", &long);
        put(&mut evidence, "events", "");
        assert!(
            evidence.sections["logs web/app"].ends_with("line 9999\n")
                && evidence.sections["logs web/app"].starts_with("[cut]\nline ")
        );
        assert!(evidence.sections["pods"].starts_with("line 0\n") && evidence.sections["pods"].ends_with("[cut]"));
        assert!(evidence.sections.values().all(|text| text.len() < SECTION_BYTES + 10));
        assert!(!evidence.sections.contains_key("events"));
    }
}
