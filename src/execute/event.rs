//! Events on the workload, so that whoever looks at it with `kubectl` hears of us. Created one by one: a recorder that aggregates
//! would drop the text of the second.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::ask;
use super::writer::ClusterWriter;
use crate::model::{IncidentId, TargetId};

/// The API server's limit on an Event's note, in bytes.
const NOTE_BYTES: usize = 1024;

impl ClusterWriter {
    /// Puts an Event on the workload. A failure is counted; it changes nothing.
    pub async fn event(&self, target: &TargetId, incident: &IncidentId, reason: &str, note: &str) {
        let at = &target.at;
        let warning = reason.ends_with("Failed") || reason.ends_with("Refused") || reason.ends_with("Doubtful");
        let body = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{}-backout-", truncated(&at.name, 200)), "namespace": at.namespace},
            "eventTime": micros(&self.clock.now().to_string()),
            "type": if warning { "Warning" } else { "Normal" },
            "reason": truncated(reason, 128),
            "action": truncated(&incident.0, 128),
            "note": truncated(note, NOTE_BYTES),
            "reportingController": "backout.dev/backout",
            "reportingInstance": "backout",
            "regarding": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": at.namespace, "name": at.name, "uid": target.uid},
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events?fieldManager=backout", at.namespace);
        if let Err(failure) = ask::post(&self.writes, &path, &body).await {
            self.events_lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%target, %incident, reason, "no Event was put on the workload: {}", failure.text());
        }
    }
}

/// The API wants exactly six digits after the second.
fn micros(rfc3339: &str) -> String {
    match rfc3339.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<6}Z"),
        None => format!("{}.000000Z", rfc3339.trim_end_matches('Z')),
    }
}

/// At most `limit` bytes, cut between characters.
pub(super) fn truncated(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(truncated("aé", 2), "a");
        assert_eq!(truncated("short", 100), "short");
    }

    #[test]
    fn times_have_six_digits() {
        assert_eq!(micros("2026-01-01T00:00:01.250Z"), "2026-01-01T00:00:01.250000Z");
        assert_eq!(micros("2026-01-01T00:00:01Z"), "2026-01-01T00:00:01.000000Z");
    }
}
