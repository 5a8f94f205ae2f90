//! Where the alert to be explained comes from: a file in any of the shapes that people have at hand, or a live Alertmanager.
//! Whatever the shape, it becomes a webhook body and is read as the service reads one.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::exit::{Exit, Failure};
use crate::journal::receipt;
use crate::model::{Fingerprint, Notification, Source, Time};
use crate::outgoing::{Clients, EndpointSettings, Question};

/// No webhook body is larger.
const MOST_BYTES: u64 = 32 << 20;
/// More alerts than this explain nothing to anybody.
const MOST_ALERTS: usize = 20;

const SHAPES: &str = "an Alertmanager webhook body, an alert of its API (or a list of them, as `amtool alert query -o json` \
                      prints it), or just labels, like {\"alertname\": \"HighErrorRate\", \"namespace\": \"shop\"}";

/// Reads the alerts of a file; `-` is stdin.
///
/// # Errors
/// The file cannot be read, or holds no alerts.
pub(super) fn of_file(path: &Path, now: Time) -> Result<Notification, Failure> {
    let name = path.display();
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read the alert from `{name}`: {error}"));
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    let wrong = |why: String| Failure::usage(format!("`{name}` holds no alert: {why}")).help(format!("expected {SHAPES}"));
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    notification(value, now).map_err(wrong)
}

/// Asks the peers in order for the alert of a fingerprint, or for those that satisfy matchers.
///
/// # Errors
/// No peer answers, or none holds such an alert.
pub(super) async fn of_peers(
    peers: &[String],
    fingerprint: Option<Fingerprint>,
    matchers: &[String],
    now: Time,
) -> Result<Notification, Failure> {
    let usage = |error: crate::outgoing::EndpointError| Failure::usage(error.to_string());
    let clients = Clients::new().map_err(usage)?;
    let query: Vec<(&str, &str)> = matchers.iter().map(|matcher| ("filter", matcher.as_str())).collect();
    let mut problems = Vec::new();
    for peer in peers {
        let endpoint = clients.endpoint(&EndpointSettings::plain(peer)).map_err(usage)?;
        let answer = match endpoint.ask(Question::get("api/v2/alerts", &query)).await {
            Err(why) => {
                problems.push(format!("`{}`: {why}", endpoint.name()));
                continue;
            }
            Ok(answer) if answer.status == 400 => {
                let message = format!("Alertmanager refuses the matchers: {}", answer.excerpt());
                return Err(
                    Failure::usage(message).help("write them as in its own page, for example `alertname=\"HighErrorRate\"`")
                );
            }
            Ok(answer) if !answer.is_success() => {
                problems.push(format!("`{}` answered {}: {}", endpoint.name(), answer.status, answer.excerpt()));
                continue;
            }
            Ok(answer) => answer,
        };
        let Ok(Value::Array(mut found)) = serde_json::from_slice::<Value>(&answer.body) else {
            problems.push(format!("`{}` answered no list of alerts", endpoint.name()));
            continue;
        };
        if let Some(wanted) = fingerprint {
            found.retain(|alert| alert["fingerprint"].as_str().and_then(Fingerprint::parse) == Some(wanted));
        }
        match found.len() {
            0 => continue,
            1..=MOST_ALERTS => return notification(Value::Array(found), now).map_err(Failure::usage),
            number => {
                let message = format!("{number} alerts satisfy that; at most {MOST_ALERTS} are explained at once");
                return Err(Failure::usage(message).help("narrow it down with another `--matcher`, or name one `--fingerprint`"));
            }
        }
    }
    if problems.is_empty() {
        let failure = Failure::new(Exit::NotFound, "no Alertmanager holds such an alert now");
        return Err(failure.help("`amtool alert query` lists those that it holds; `--alert FILE` explains one that is over"));
    }
    Err(Failure::new(Exit::Unreachable, format!("Alertmanager could not be asked: {}", problems.join("; "))))
}

/// Any shape to the notification that the service would have read.
fn notification(value: Value, now: Time) -> Result<Notification, String> {
    let body = webhook_body(value)?;
    let read = receipt::read(Source::Alertmanager, body.to_string().as_bytes(), now).map_err(|error| error.to_string())?;
    if read.alerts.is_empty() && read.truncated > 0 {
        return Err("none of its alerts has readable labels".to_owned());
    }
    Ok(read)
}

fn webhook_body(value: Value) -> Result<Value, String> {
    match value {
        Value::Object(mut body) if body.get("alerts").is_some_and(Value::is_array) => {
            if let Some(Value::Array(alerts)) = body.get_mut("alerts") {
                alerts.iter_mut().for_each(state_to_status);
            }
            Ok(Value::Object(body))
        }
        Value::Array(mut alerts) => {
            if alerts.is_empty() {
                return Err("the list is empty".to_owned());
            }
            alerts.iter_mut().for_each(state_to_status);
            Ok(json!({ "version": "4", "status": "firing", "alerts": alerts }))
        }
        Value::Object(alert) if alert.get("labels").is_some_and(Value::is_object) => webhook_body(json!([alert])),
        Value::Object(labels) if is_labels(&labels) => webhook_body(json!([{ "labels": labels }])),
        Value::Object(_) => Err("it has neither `alerts` nor `labels`, and is no object of texts".to_owned()),
        _ => Err("it is neither an object nor a list".to_owned()),
    }
}

fn is_labels(object: &Map<String, Value>) -> bool {
    !object.is_empty() && object.values().all(Value::is_string)
}

/// The API says how an alert is, not whether it fires: whatever it lists does.
fn state_to_status(alert: &mut Value) {
    if let Some(alert) = alert.as_object_mut()
        && alert.get("status").is_some_and(Value::is_object)
    {
        alert.insert("status".to_owned(), json!("firing"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertStatus;

    const NOW: Time = Time::from_millis(1_800_000_000_000);

    fn labels_of(value: Value) -> Vec<String> {
        let read = notification(value, NOW).expect("alerts");
        assert!(read.alerts.iter().all(|alert| alert.status == AlertStatus::Firing));
        read.alerts.iter().map(|alert| alert.label("alertname").to_owned()).collect()
    }

    #[test]
    fn every_shape_is_read() {
        let labels = json!({"alertname": "A", "namespace": "shop"});
        let of_api = json!({
            "labels": labels, "annotations": {}, "startsAt": "2026-03-01T09:00:00.000Z", "endsAt": "2026-03-01T09:05:00.000Z",
            "fingerprint": "0123456789abcdef", "status": {"state": "suppressed", "silencedBy": ["x"], "inhibitedBy": []},
        });
        for value in [
            labels.clone(),
            json!({ "labels": labels }),
            of_api.clone(),
            json!([of_api]),
            json!({"version": "4", "status": "firing", "alerts": [{"status": "firing", "labels": labels}]}),
        ] {
            assert_eq!(labels_of(value), ["A"]);
        }
        let read = notification(json!([of_api]), NOW).expect("alerts");
        assert_eq!(read.alerts[0].fingerprint.to_string(), "0123456789abcdef");
        assert_eq!(read.alerts[0].starts_at.to_string(), "2026-03-01T09:00:00.000Z");
    }

    #[test]
    fn what_is_no_alert_is_refused() {
        for value in [json!([]), json!({}), json!("alert"), json!({"alertname": 7}), json!([{"labels": 7}])] {
            assert!(notification(value.clone(), NOW).is_err(), "{value}");
        }
    }
}
