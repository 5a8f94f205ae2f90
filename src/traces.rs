//! L4: traces over OTLP (HTTP, JSON), where the settings name a collector. One trace an incident. The exporter has a bounded queue,
//! few tries and no say in anything: what a collector does not take is counted and lost.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::outgoing::{Endpoint, Question};
use crate::ports::Span;

/// Spans that may wait for the collector.
pub const QUEUE: usize = 4096;
/// Spans in one request.
const BATCH: usize = 512;
/// How long spans are gathered before they are sent.
const GATHER: Duration = Duration::from_secs(2);
/// Times that a request is tried; what comes meanwhile waits in the queue.
const TRIES: u32 = 3;

/// Sends spans until `stop`, then once more what is left.
pub async fn export(
    mut spans: mpsc::Receiver<Span>,
    collector: Endpoint,
    instance: String,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut batch = Vec::new();
    while stop.run_until_cancelled(gather(&mut spans, &mut batch)).await == Some(true) {
        send(&collector, &instance, std::mem::take(&mut batch), TRIES, &metrics).await;
    }
    while let Ok(span) = spans.try_recv() {
        batch.push(span);
    }
    if !batch.is_empty() {
        send(&collector, &instance, batch, 1, &metrics).await;
    }
    // As long as the engine may still speak, it is not answered by an error.
    stop.cancelled().await;
}

/// Waits for spans and for those that come soon after. `false`: nobody sends any more.
async fn gather(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    if batch.is_empty() {
        match spans.recv().await {
            Some(span) => batch.push(span),
            None => return false,
        }
    }
    let more = async {
        while batch.len() < BATCH {
            match spans.recv().await {
                Some(span) => batch.push(span),
                None => return,
            }
        }
    };
    // Late is as good as full.
    let _ = tokio::time::timeout(GATHER, more).await;
    true
}

async fn send(collector: &Endpoint, instance: &str, batch: Vec<Span>, tries: u32, metrics: &Metrics) {
    let body = Bytes::from(request(instance, &batch).to_string());
    let mut why = String::new();
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
        }
        match collector.ask(Question::post_json("v1/traces", body.clone())).await {
            Ok(answer) if answer.is_success() => return,
            // The protocol says which answers may be tried again.
            Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => why = format!("it answered {}", answer.status),
            Ok(answer) => {
                why = format!("it answered {}: {}", answer.status, answer.excerpt());
                break;
            }
            Err(error) => why = error.to_string(),
        }
    }
    metrics.spans_lost.inc_by(batch.len() as u64);
    tracing::warn!(spans = batch.len(), why, "traces were not taken; they are lost");
}

/// `ExportTraceServiceRequest` in the JSON encoding of OTLP.
fn request(instance: &str, batch: &[Span]) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", "backout"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", instance),
        ]},
        "scopeSpans": [{
            "scope": { "name": "backout", "version": env!("CARGO_PKG_VERSION") },
            "spans": batch.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

fn span(span: &Span) -> Value {
    let Span { incident, name, is_root, from, to, ok, attributes } = span;
    let root = id(&[incident.as_str(), "incident"], 8);
    let mut value = json!({
        "traceId": id(&[incident.as_str()], 16),
        // A phase that is entered twice is two spans.
        "spanId": if *is_root { root.clone() } else { id(&[incident.as_str(), name, &from.millis().to_string()], 8) },
        "name": if *is_root { format!("incident {incident}") } else { (*name).to_owned() },
        "kind": 1,
        "startTimeUnixNano": nanos(from.millis()),
        "endTimeUnixNano": nanos(to.millis().max(from.millis())),
        "attributes": attributes.iter().map(|(key, value)| text(key, value)).collect::<Vec<_>>(),
        "status": match ok {
            None => json!({}),
            Some(true) => json!({ "code": 1 }),
            Some(false) => json!({ "code": 2, "message": "a person was needed after the rollback had begun" }),
        },
    });
    if !is_root {
        value["parentSpanId"] = Value::String(root);
    }
    value
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are text in this encoding.
fn nanos(millis: i64) -> String {
    (i128::from(millis.max(0)) * 1_000_000).to_string()
}

/// The first bytes of a hash, in hex: this encoding writes ids so, not in base 64.
fn id(parts: &[&str], bytes: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IncidentId, Time};

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn phase(name: &'static str, from: i64, to: i64) -> Span {
        let incident = IncidentId("i0123456789ab".to_owned());
        Span { incident, name, is_root: false, from: at(from), to: at(to), ok: None, attributes: Vec::new() }
    }

    #[test]
    fn spans_of_an_incident_are_one_trace_below_its_root() {
        let root = Span {
            is_root: true,
            ok: Some(false),
            attributes: vec![("backout.policy", "shop".to_owned())],
            ..phase("incident", 0, 9)
        };
        let sent = request("prod", &[phase("settling", 0, 5), phase("deciding", 5, 6), phase("settling", 7, 8), root]);
        let spans = sent["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
        let of = |key: &str| spans.iter().map(|span| span[key].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>();
        assert!(of("traceId").iter().all(|id| id.len() == 32 && *id == of("traceId")[0]));
        let mut ids = of("spanId");
        assert_eq!(of("parentSpanId"), [ids[3].clone(), ids[3].clone(), ids[3].clone(), String::new()]);
        assert!(ids.iter().all(|id| id.len() == 16));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4, "each its own");
        assert_eq!(spans[0]["startTimeUnixNano"], "1700000000000000000");
        assert_eq!(spans[3]["status"]["code"], 2);
    }
}
