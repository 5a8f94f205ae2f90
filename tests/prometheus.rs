//! A real Prometheus: what counts as one number, when a condition began, whether rules are still evaluated.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backout::model::{Alert, AlertStatus, Fingerprint, Labels, Texts, Time, UnknownKind};
use backout::observe::{AlertmanagerClient, PrometheusClient, PrometheusLimits, WATCHDOG};
use backout::outgoing::{Clients, EndpointSettings};
use backout::policy::matcher::parse_one;
use backout::ports::{Alertmanagers, Clock, Prometheus as _};
use futures_util::future::BoxFuture;
use serde_json::Value;
use support::{Alertmanager, Prometheus, Release, Sink, eventually, free_port, holds, http, install_crypto, now};
use support::{prometheus_config, route_to_webhook};

const SOON: Duration = Duration::from_secs(20);

/// Two severities of one alert, a label that has to be quoted, a name that stands for two different waits.
const RULES: &str = r#"
groups:
- name: fast
  interval: 500ms
  rules:
  - alert: HighErrors
    expr: (sum(rate(prometheus_http_requests_total{path="[9h]"}[5m])) or vector(1)) > 0
    for: 1s
    keep_firing_for: 1m
    labels: {severity: critical, weird: "a\"b\\c {x}"}
    annotations: {summary: x}
  - alert: HighErrors
    expr: vector(0) > 1
    for: 10m
    labels: {severity: warning}
  - alert: Ambiguous
    expr: vector(0) > 1
    for: 1m
  - alert: Ambiguous
    expr: vector(0) > 1
    for: 2m
  - alert: Recorded
    expr: job:errors:rate5m > 1
  - alert: PerShard
    expr: label_replace(vector(1), "shard", "one", "", "") or label_replace(vector(1), "shard", "two", "", "")
"#;

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Time {
        Time::from_millis(now().as_millisecond())
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.now())))
    }
}

fn client(urls: &[&str]) -> PrometheusClient {
    install_crypto();
    let servers: Vec<_> = urls.iter().map(|url| EndpointSettings::plain(*url)).collect();
    let clients = Clients::new().expect("clients");
    PrometheusClient::new(&clients, &servers, Arc::new(RealClock), PrometheusLimits::default()).expect("a client")
}

/// What reaches Alertmanager has a label more (external) and one less (dropped) than the series.
fn config(alertmanagers: &[&str]) -> String {
    prometheus_config(&[], alertmanagers)
        .replace("global:\n", "global:\n  external_labels: {region: eu}\n")
        .replace("alerting:\n", "alerting:\n  alert_relabel_configs:\n  - {action: labeldrop, regex: shard}\n")
}

fn alert(pairs: &[(&str, &str)], starts_at: Time) -> Alert {
    let labels: Texts = pairs.iter().copied().collect();
    let fingerprint = Fingerprint::of(labels.iter());
    let (status, annotations) = (AlertStatus::Firing, Texts::new());
    Alert { fingerprint, status, labels, annotations, starts_at, ends_at: None, generator_url: String::new() }
}

const CRITICAL: [(&str, &str); 3] = [("alertname", "HighErrors"), ("severity", "critical"), ("weird", "a\"b\\c {x}")];

/// When Prometheus itself says that a firing alert became active.
async fn active_at(prometheus: &Prometheus, name: &str) -> Time {
    eventually("the alert fires", SOON, async || {
        let answer = http().get(format!("{}/api/v1/alerts", prometheus.url())).send().await.map_err(|e| e.to_string())?;
        let body: Value = answer.json().await.map_err(|e| e.to_string())?;
        let alerts = body["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().find(|alert| alert["labels"]["alertname"] == name && alert["state"] == "firing");
        firing.and_then(|alert| Time::parse(alert["activeAt"].as_str()?)).ok_or_else(|| body.to_string())
    })
    .await
}

#[tokio::test]
async fn one_finite_number_is_a_value_and_nothing_else_is() {
    let prometheus = Prometheus::start(&config(&[]), RULES).await;
    let client = client(&[prometheus.url()]);
    for (query, value) in [("vector(1) * 2.5", 2.5), ("scalar(vector(3))", 3.0), ("count(vector(7))", 1.0)] {
        let fact = client.query(query.to_owned()).await;
        assert_eq!(fact.value.map(|number| number.get()), Ok(value));
        assert!(RealClock.now().since(fact.at) < Duration::from_secs(5), "{}", fact.at);
        assert!(fact.source.contains(prometheus.url()));
    }
    for (query, kind, detail) in [
        ("nothing_of_that_name", UnknownKind::Empty, "no sample"),
        ("vector(1) / 0", UnknownKind::Unusable, "finite"),
        ("vector(0) / 0", UnknownKind::Unusable, "finite"),
        ("vector(1) or label_replace(vector(1), \"a\", \"b\", \"\", \"\")", UnknownKind::Unusable, "2 series"),
        ("ALERTS[5m]", UnknownKind::Unusable, "one number"),
        ("\"text\"", UnknownKind::Unusable, "one number"),
        ("sum(", UnknownKind::Unusable, "parse error"),
    ] {
        let why = client.query(query.to_owned()).await.value.expect_err(query);
        assert!(why.kind == kind && why.detail.contains(detail), "{query}: {why:?}");
    }
}

#[tokio::test]
async fn onset_is_when_the_condition_began() {
    let prometheus = Prometheus::start(&config(&[]), RULES).await;
    let client = client(&[prometheus.url()]);
    let active = active_at(&prometheus, "HighErrors").await;
    let whole_second = Time::from_millis(active.millis() / 1000 * 1000);
    let fired = active + Duration::from_secs(2);

    let exact = client.onset(alert(&CRITICAL, fired)).await;
    assert_eq!((exact.at, exact.source.as_str()), (Ok(whole_second), "ALERTS_FOR_STATE"));
    let external = [&CRITICAL[..], &[("region", "eu"), ("not/a/name", "x")]].concat();
    assert_eq!(client.onset(alert(&external, fired)).await.at, Ok(whole_second), "labels that Prometheus adds on the way");

    // A firing of before this one: its own state is gone, its rule is not.
    let before = active - Duration::from_secs(3600);
    let former = client.onset(alert(&CRITICAL, before)).await;
    assert_eq!((former.at, former.source.as_str()), (Ok(before - Duration::from_secs(1)), "startsAt less the rule's `for`"));
    let warning = client.onset(alert(&[("alertname", "HighErrors"), ("severity", "warning")], fired)).await;
    assert_eq!(warning.at, Ok(fired - Duration::from_secs(600)), "the rule is told by its labels");

    for name in ["Ambiguous", "NoSuchRule"] {
        let unknown = client.onset(alert(&[("alertname", name)], fired)).await;
        assert!(unknown.at.is_err(), "{unknown:?}");
    }
    // A label was dropped on the way: two series fit as well as each other.
    active_at(&prometheus, "PerShard").await;
    let dropped = client.onset(alert(&[("alertname", "PerShard")], fired)).await;
    assert_eq!(dropped.source, "startsAt less the rule's `for`");
}

#[tokio::test]
async fn an_alert_as_alertmanager_holds_it_finds_its_onset() {
    let sink = Sink::start().await;
    let am = Alertmanager::start(Release::New, &route_to_webhook(sink.url(), Duration::from_millis(500)), &[]).await;
    let prometheus = Prometheus::start(&config(&[am.url()]), RULES).await;
    let body = sink.wait_for("the alert", SOON, |body| body["alerts"][0]["labels"]["alertname"] == "HighErrors").await;
    let sent = &body["alerts"][0];
    assert_eq!(sent["labels"]["region"], "eu");
    let labels: Labels = serde_json::from_value(sent["labels"].clone()).expect("labels");
    let pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let starts_at = sent["startsAt"].as_str().and_then(Time::parse).expect("a time");
    let alert = alert(&pairs, starts_at);
    assert_eq!(Some(alert.fingerprint), sent["fingerprint"].as_str().and_then(Fingerprint::parse));

    let onset = client(&[prometheus.url()]).onset(alert.clone()).await;
    assert_eq!(onset.source, "ALERTS_FOR_STATE");
    let ahead = starts_at.since(onset.at.expect("an onset"));
    assert!(ahead >= Duration::from_secs(1) && ahead < Duration::from_secs(4), "its `for` is 1 s: {ahead:?}");

    let clients = Clients::new().expect("clients");
    let peers = [EndpointSettings::plain(am.url())];
    let client = AlertmanagerClient::new(&clients, &peers, Arc::new(RealClock)).expect("a client");
    let view = client.view(vec![alert.fingerprint]).await;
    let held = &view.peers[0].get().expect("an answer").alerts[0];
    assert_eq!(held.occurrence, alert.occurrence(), "the webhook's startsAt, cut as the API cuts it");
}

#[tokio::test]
async fn evaluation_and_tail_are_read_from_the_rules() {
    let prometheus = Prometheus::start(&config(&[]), RULES).await;
    let client = client(&[prometheus.url()]);
    active_at(&prometheus, "HighErrors").await;
    let evaluated = client.evaluated_at().await;
    let age = RealClock.now().since(evaluated.value.expect("a time"));
    assert!(age < Duration::from_secs(5), "{age:?}");
    let tail = client.tail("HighErrors".to_owned()).await.expect("a tail");
    assert_eq!((tail.tail, tail.source.as_str()), (Duration::from_secs(300 + 60 + 1), "prometheus rules"));
    assert_eq!(client.tail("Recorded".to_owned()).await, None, "a recording rule's own look-back is not seen");
    assert_eq!(client.tail("NoSuchRule".to_owned()).await, None);
}

/// The alert that always fires, and nothing else.
const ALWAYS: &str = r#"
groups:
- name: watchdog
  interval: 500ms
  rules:
  - alert: Watchdog
    expr: vector(1)
"#;

#[tokio::test]
async fn the_watchdog_tells_for_as_long_as_prometheus_evaluates() {
    for release in [Release::Old, Release::New] {
        let sink = Sink::start().await;
        let am = Alertmanager::start(release, &route_to_webhook(sink.url(), Duration::from_millis(500)), &[]).await;
        let mut prometheus = Prometheus::start(&config(&[am.url()]), ALWAYS).await;
        let clients = Clients::new().expect("clients");
        let watchdog = [WATCHDOG, r#"region="eu""#].map(|text| parse_one(text).expect("a matcher"));
        let peers = [EndpointSettings::plain(am.url())];
        let client = AlertmanagerClient::new(&clients, &peers, Arc::new(RealClock)).expect("a client");
        let client = client.with_watchdog(watchdog.into());
        let told = async || client.view(Vec::new()).await.peers[0].get().expect("an answer").watchdog_at;
        let later = async |than: Option<Time>| {
            eventually("it is heard of again", SOON, async || {
                let told = told().await;
                if told > than { Ok(told) } else { Err(format!("{told:?}")) }
            })
            .await
        };
        // What is sent again moves its time, though it is the same alert.
        let first = later(None).await;
        let second = later(first).await;
        let age = RealClock.now().since(second.expect("a time"));
        assert!(age < Duration::from_secs(10), "{age:?}");
        prometheus.kill9();
        // What was on its way arrives; some seconds later the peer holds it no more.
        let last = told().await.expect("a time");
        holds("nothing is heard of it any more", Duration::from_secs(4), async || {
            let told = told().await;
            if told.is_none_or(|told| told.since(last) <= Duration::from_secs(1)) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn without_rules_nothing_is_evaluated() {
    let prometheus = Prometheus::start(&config(&[]), "groups: []\n").await;
    let evaluated = client(&[prometheus.url()]).evaluated_at().await;
    assert_eq!(evaluated.value.map_err(|why| why.kind), Err(UnknownKind::Empty));
}

#[tokio::test]
async fn the_first_that_answers_counts_and_none_is_unknown() {
    let mut prometheus = Prometheus::start(&config(&[]), RULES).await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    let pair = client(&[&dead, prometheus.url()]);
    assert_eq!(pair.query("vector(1)".to_owned()).await.value.map(|number| number.get()), Ok(1.0));
    let pings: Vec<bool> = pair.ping().await.into_iter().map(|(_, answer)| answer.is_ok()).collect();
    assert_eq!(pings, [false, true]);
    prometheus.kill9();
    let kind = |answer: Result<(), backout::model::Unknown>| answer.expect_err("nobody answers").kind;
    assert_eq!(kind(pair.query("vector(1)".to_owned()).await.value.map(drop)), UnknownKind::Unreachable);
    assert_eq!(kind(pair.evaluated_at().await.value.map(drop)), UnknownKind::Unreachable);
    assert_eq!(kind(pair.onset(alert(&CRITICAL, RealClock.now())).await.at.map(drop)), UnknownKind::Unreachable);
    assert_eq!(pair.tail("HighErrors".to_owned()).await, None);
    assert_eq!(kind(client(&[]).query("vector(1)".to_owned()).await.value.map(drop)), UnknownKind::NotConfigured);
}
