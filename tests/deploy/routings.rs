//! Alertmanager's two routings, in a real old and a real new Alertmanager, with a real backout behind them: who hears of what.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Alertmanager, Backout, Release, Setup, Sink, eventually, holds};
use crate::tools::text;

const SOON: Duration = Duration::from_secs(30);
/// The net's wait, which is 15 minutes in the file.
const LATE: Duration = Duration::from_secs(5);
const TOKEN: &str = "token-of-the-tests-0123456789abcdef";

const POLICIES: &str = "
policies:
  - name: shop
    matchers: ['namespace = \"shop\"', 'severity = \"critical\"']
    decide: [{name: all, page: {}}]
";

/// Who may hear of an alert.
struct People {
    oncall: Sink,
    database: Sink,
    late: Sink,
    backout: Backout,
    alertmanager: Alertmanager,
    /// Read again for each notification.
    _token: tempfile::TempDir,
}

impl People {
    async fn listen(file: &str, release: Release) -> Self {
        let (oncall, database, late) = (Sink::start().await, Sink::start().await, Sink::start().await);
        let setup = Setup {
            config: "tokens: {ingest: [token], operate: [token]}\n".to_owned(),
            rules: vec![("shop.yaml".to_owned(), POLICIES.to_owned())],
            ..Setup::default()
        };
        let backout = Backout::start(setup).await;
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("ingest");
        std::fs::write(&token, format!("{TOKEN}\n")).expect("written");
        let replaced = [
            ("http://oncall.example.com/", oncall.url().to_owned()),
            ("http://database.example.com/", database.url().to_owned()),
            ("http://late.example.com/", late.url().to_owned()),
            ("http://backout.backout.svc:9095/v1/webhook/alertmanager", backout.webhook_url()),
            ("/etc/alertmanager/backout/ingest", token.to_string_lossy().into_owned()),
            ("group_wait: 15m", format!("group_wait: {}s", LATE.as_secs())),
            ("group_interval: 1m", "group_interval: 1s".to_owned()),
        ];
        let mut config = text(file);
        for (placeholder, real) in replaced {
            config = config.replace(placeholder, &real);
        }
        assert!(!config.contains("example.com") && !config.contains("svc"), "nothing of the world is left: {config}");
        // The root's own wait is the user's, and 30 s where it is not said.
        config =
            config.replacen("  group_by: [alertname, namespace]\n", "  group_by: [alertname, namespace]\n  group_wait: 0s\n", 1);
        let alertmanager = Alertmanager::start(release, &config, &[]).await;
        Self { oncall, database, late, backout, alertmanager, _token: folder }
    }

    /// How many firing alerts backout took.
    async fn taken(&self) -> f64 {
        self.backout.metric("backout_alerts_received_total", &[("status", "firing"), ("result", "accepted")]).await
    }

    async fn backout_takes(&self, alerts: f64) {
        eventually(&format!("backout takes {alerts}"), SOON, async || {
            let taken = self.taken().await;
            if taken == alerts { Ok(()) } else { Err(format!("{taken}\n{}", self.alertmanager.log())) }
        })
        .await;
    }
}

async fn hears(sink: &Sink, alertname: &str) -> Value {
    sink.wait_for(&format!("notification of {alertname}"), SOON, |body| about(body, alertname)).await
}

fn heard(sink: &Sink, alertname: &str) -> bool {
    sink.received().iter().any(|body| about(body, alertname))
}

fn about(body: &Value, alertname: &str) -> bool {
    body["alerts"].as_array().is_some_and(|alerts| alerts.iter().any(|alert| alert["labels"]["alertname"] == alertname))
}

const SHOP: &[(&str, &str)] =
    &[("alertname", "ShopErrors"), ("namespace", "shop"), ("deployment", "checkout"), ("severity", "critical")];
const CART: &[(&str, &str)] = &[("alertname", "CartErrors"), ("namespace", "cart"), ("severity", "critical")];
const DATABASE: &[(&str, &str)] = &[("alertname", "DiskFull"), ("team", "database")];
/// As backout posts it; a policy may give its pages any label, those of a team or a namespace too.
const PAGE: &[(&str, &str)] =
    &[("alertname", "BackoutPage"), ("backout_incident", "i0123456789ab"), ("namespace", "shop"), ("severity", "critical")];
const DOWN: &[(&str, &str)] = &[("alertname", "BackoutDown"), ("namespace", "shop"), ("severity", "critical")];

/// What both routings have in common.
async fn everybody_else_hears_as_before(people: &People) {
    for alert in [CART, DATABASE, PAGE, DOWN] {
        people.alertmanager.post_alert(alert, &[]).await;
    }
    for alertname in ["CartErrors", "BackoutPage", "BackoutDown"] {
        hears(&people.oncall, alertname).await;
    }
    hears(&people.database, "DiskFull").await;
    assert!(!heard(&people.oncall, "DiskFull"), "it has a route of its own");
    assert_eq!(people.taken().await, 0.0, "none of them is for backout");
    let own = people.backout.metric("backout_webhook_requests_total", &[]).await;
    assert_eq!(own, 0.0, "its own pages do not even come back to it");
}

#[tokio::test]
async fn beside_people_hear_what_they_heard_and_backout_too() {
    for release in [Release::Old, Release::New] {
        let people = People::listen("deploy/alertmanager/beside.yaml", release).await;
        everybody_else_hears_as_before(&people).await;

        people.alertmanager.post_alert(SHOP, &[]).await;
        people.backout_takes(1.0).await;
        hears(&people.oncall, "ShopErrors").await;
        let refused = people.backout.metric("backout_webhook_requests_total", &[("result", "unauthorized")]).await;
        assert_eq!(refused, 0.0, "the token was shown");

        people.alertmanager.resolve_alert(SHOP).await;
        eventually("backout hears that it is over", SOON, async || {
            let labels = [("status", "resolved"), ("result", "accepted")];
            let over = people.backout.metric("backout_alerts_received_total", &labels).await;
            if over >= 1.0 { Ok(()) } else { Err(over.to_string()) }
        })
        .await;
    }
}

#[tokio::test]
async fn in_front_people_hear_from_backout_and_late_from_the_net() {
    for release in [Release::Old, Release::New] {
        let people = People::listen("deploy/alertmanager/in-front.yaml", release).await;
        everybody_else_hears_as_before(&people).await;

        people.alertmanager.post_alert(SHOP, &[]).await;
        people.backout_takes(1.0).await;
        assert!(!heard(&people.late, "ShopErrors"), "backout has it first");
        // It goes on firing, and nobody says why.
        hears(&people.late, "ShopErrors").await;
        assert!(!heard(&people.oncall, "ShopErrors"), "from the net only");

        // One that backout deals with in time: nobody is woken.
        let quick: Vec<_> = SHOP.iter().map(|(n, v)| (*n, if *n == "alertname" { "ShopSlow" } else { *v })).collect();
        people.alertmanager.post_alert(&quick, &[]).await;
        people.backout_takes(2.0).await;
        people.alertmanager.resolve_alert(&quick).await;
        holds("nobody is woken by what was over in time", LATE + Duration::from_secs(2), async || {
            if heard(&people.late, "ShopSlow") || heard(&people.oncall, "ShopSlow") { Err("somebody was") } else { Ok(()) }
        })
        .await;
    }
}
