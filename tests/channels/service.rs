//! The service itself pages through PagerDuty: who takes a page there has the incident here, and the other way round.

use std::time::Duration;

use serde_json::{Value, json};

use crate::pagerduty::{self, PagerDuty};
use crate::server::{Server, lock};
use crate::support::{Backout, Setup, eventually, now};

const SOON: Duration = Duration::from_secs(60);

const RULES: &str = "
policies:
  - name: everything
    mode: enforce
    paging: in_front
    targets: ['*/*']
    decide: [{name: look, page: {}}]
";

fn alert(name: &str) -> Value {
    let annotations = json!({"runbook_url": "https://runbook.example/errors"});
    json!({"version": "4", "receiver": "hook", "status": "firing", "alerts": [{
        "status": "firing", "labels": {"alertname": name, "severity": "warning"}, "annotations": annotations,
        "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
    }]})
}

/// The key of the page that is in a state, once there is one.
async fn page_that_is(server: &Server<PagerDuty>, status: &str) -> String {
    eventually(&format!("a page is {status}"), SOON, async || {
        let alerts = lock(&server.rules.alerts);
        let found = alerts.iter().find(|(_, alert)| alert.status == status).map(|(key, _)| key.clone());
        found.ok_or(format!("{alerts:?}"))
    })
    .await
}

#[tokio::test]
async fn an_acknowledgement_goes_both_ways() {
    let (server, folder) = (Server::start(PagerDuty::default()).await, tempfile::tempdir().expect("a folder"));
    let config = format!(
        "tokens: {{read: [token], operate: [token]}}\nexternal_url: https://backout.example\nchannels: {}\n",
        pagerduty::settings(&server.url, &folder)
    );
    let rules = vec![("policy.yaml".to_owned(), RULES.to_owned())];
    let backout = Backout::start(Setup { config, rules, cluster_name: "test".to_owned(), ..Setup::default() }).await;

    assert_eq!(backout.post_webhook(&alert("One")).await, 200);
    let incident = page_that_is(&server, "triggered").await;
    let event = lock(&server.rules.alerts)[&incident].events[0].clone();
    assert_eq!(event["client_url"], format!("https://backout.example/api/v1/incidents/{incident}/report?format=markdown"));
    assert_eq!(event["payload"]["custom_details"]["state"], "paged");
    let runbook = event["links"].as_array().expect("links").iter().find(|link| link["text"] == "runbook").expect("a runbook");
    assert_eq!(runbook["href"], "https://runbook.example/errors");
    server.rules.take(&incident, ("user_reference", "Ada Lovelace"));
    eventually("she has the incident", SOON, async || {
        let report = backout.get(&format!("/api/v1/incidents/{incident}")).await?;
        let acknowledged = report["incident"]["acknowledged"].to_string();
        if acknowledged.contains("Ada Lovelace (PagerDuty)") { Ok(()) } else { Err(acknowledged) }
    })
    .await;

    assert_eq!(backout.post_webhook(&alert("Two")).await, 200);
    let other = page_that_is(&server, "triggered").await;
    assert_ne!(other, incident);
    let path = format!("/api/v1/incidents/{other}/acknowledge");
    assert!(backout.operate(&path, &json!({"by": "grace"})).await.is_success());
    eventually("PagerDuty knows", SOON, async || {
        let status = lock(&server.rules.alerts)[&other].status;
        if status == "acknowledged" { Ok(()) } else { Err(status) }
    })
    .await;
    server.assert_kept();
}
