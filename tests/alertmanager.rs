//! Real Alertmanagers, an old and a new one: what we read of alerts, and that a page reaches somebody.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backout::metrics::Metrics;
use backout::model::{
    About, Fingerprint, IncidentId, Labels, Message, Moment, PeerAlertState, PeerView, TargetRef, Time, UnknownKind, Urgency,
};
use backout::notify::{AlertmanagerChannel, ChannelSettings, NotifierSet, WebhookChannel};
use backout::observe::{AlertmanagerClient, WATCHDOG};
use backout::outgoing::{Clients, EndpointSettings};
use backout::policy::matcher::parse_one;
use backout::ports::{Alertmanagers, Clock, Notifier};
use futures_util::future::BoxFuture;
use serde_json::Value;
use support::{Alertmanager, Release, Sink, eventually, free_port, holds, install_crypto, now};

const BOTH: [Release; 2] = [Release::Old, Release::New];
const SOON: Duration = Duration::from_secs(20);

/// The real time, or one that runs faster from now on.
struct TestClock {
    started: tokio::time::Instant,
    base: Time,
    speed: u32,
}

fn clock(speed: u32) -> Arc<TestClock> {
    let base = Time::from_millis(now().as_millisecond());
    Arc::new(TestClock { started: tokio::time::Instant::now(), base, speed })
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        self.base + self.started.elapsed() * self.speed
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.now()) / self.speed))
    }
}

fn clients() -> Clients {
    install_crypto();
    Clients::new().expect("clients")
}

fn observer(urls: &[&str]) -> AlertmanagerClient {
    let peers: Vec<_> = urls.iter().map(|url| EndpointSettings::plain(*url)).collect();
    AlertmanagerClient::new(&clients(), &peers, clock(1)).expect("a client")
}

/// Pages go to the sink at once and again whenever something changed; `Boss` inhibits what has `team: inhibited`.
fn config(sink: &str) -> String {
    format!(
        "route:\n  receiver: hook\n  group_by: [alertname, backout_incident]\n  group_wait: 0s\n  group_interval: 200ms\n  \
         repeat_interval: 1h\nreceivers:\n- name: hook\n  webhook_configs:\n  - url: {sink}\n    send_resolved: true\n\
         inhibit_rules:\n- source_matchers: [alertname=Boss]\n  target_matchers: [team=inhibited]\n"
    )
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn fingerprint(pairs: &[(&str, &str)]) -> Fingerprint {
    let labels = labels(pairs);
    Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

async fn view(client: &AlertmanagerClient, wanted: &[Fingerprint]) -> PeerView {
    let mut view = client.view(wanted.to_vec()).await;
    assert_eq!(view.evaluated_at.value.map_err(|why| why.kind), Err(UnknownKind::NotObserved));
    view.peers.remove(0).value.expect("an answer")
}

#[tokio::test]
async fn others_of_the_same_name_come_with_it_in_every_state() {
    for release in BOTH {
        let sink = Sink::start().await;
        let am = Alertmanager::start(release, &config(sink.url()), &[]).await;
        let client = observer(&[am.url()]);
        let ours = [("alertname", "Slow"), ("deployment", "web")];
        let escaped = [("alertname", "A \"name\" <&>\n"), ("deployment", "web")];
        for alert in [
            &ours[..],
            &escaped,
            &[("alertname", "Slow"), ("deployment", "cart")],
            &[("alertname", "Slow"), ("pod", "search-1-a"), ("team", "inhibited")],
            &[("alertname", "Slow"), ("pod", "search-1-b"), ("team", "inhibited")],
            &[("alertname", "Slow"), ("deployment", "gone")],
            &[("alertname", "A \"name\" <&>\n"), ("deployment", "cart")],
            &[("alertname", "Other"), ("deployment", "cart")],
            &[("alertname", "Boss")],
        ] {
            am.post_alert(alert, &[]).await;
        }
        am.silence(&[("alertname", "Slow"), ("deployment", "cart")]).await;
        am.resolve_alert(&[("alertname", "Slow"), ("deployment", "gone")]).await;
        let beside = async |wanted: &[(&str, &str)]| {
            let seen = view(&client, &[fingerprint(wanted)]).await;
            assert_eq!(seen.alike_left_out, 0);
            seen.alike.iter().map(|alert| alert.labels.clone()).collect::<Vec<_>>()
        };
        eventually("two others, whatever their state", SOON, async || {
            let seen = beside(&ours).await;
            let cart = seen.contains(&labels(&[("alertname", "Slow"), ("deployment", "cart")]));
            let pods = seen.iter().filter(|labels| labels.contains_key("pod")).count();
            if seen.len() == 2 && cart && pods == 1 { Ok(()) } else { Err(format!("{release:?}: {seen:?}")) }
        })
        .await;
        assert_eq!(beside(&escaped).await, [labels(&[("alertname", "A \"name\" <&>\n"), ("deployment", "cart")])]);
        assert!(beside(&[("alertname", "Slow"), ("deployment", "nobody's")]).await.is_empty(), "of what it does not hold");
    }
}

#[tokio::test]
async fn alerts_are_read_in_every_state() {
    for release in BOTH {
        let sink = Sink::start().await;
        let am = Alertmanager::start(release, &config(sink.url()), &[]).await;
        let client = observer(&[am.url()]);
        let firing = [("alertname", "Slow"), ("weird", "a\"b\\c\n\u{e9}\u{1F600}")];
        let silenced = [("alertname", "Silenced"), ("team", "x")];
        let inhibited = [("alertname", "Low"), ("team", "inhibited")];
        let resolved = [("alertname", "Gone")];
        let wanted = [&firing[..], &silenced, &inhibited, &resolved].map(fingerprint);
        assert!(view(&client, &wanted).await.alerts.is_empty());

        for alert in [&firing[..], &silenced, &inhibited, &resolved, &[("alertname", "Boss")], &[("alertname", "Other")]] {
            am.post_alert(alert, &[("summary", "x")]).await;
        }
        am.silence(&silenced).await;
        am.resolve_alert(&resolved).await;
        let state = async || {
            let seen = view(&client, &wanted).await;
            let state =
                |of: &[(&str, &str)]| seen.alerts.iter().find(|alert| alert.labels == labels(of)).map(|a| a.state.clone());
            [&firing[..], &silenced, &inhibited, &resolved].map(state)
        };
        let expected = [
            Some(PeerAlertState::Active),
            Some(PeerAlertState::Silenced { by: vec!["a test: a test".to_owned()] }),
            Some(PeerAlertState::Inhibited),
            None,
        ];
        eventually("every state is seen", SOON, async || {
            let state = state().await;
            if state == expected { Ok(()) } else { Err(format!("{state:?}")) }
        })
        .await;
        let seen = view(&client, &wanted).await;
        assert_eq!(seen.alerts.len(), 3, "only what was asked for");
        assert!(seen.up < Duration::from_secs(60), "{:?}", seen.up);
        assert_eq!(seen.peer, am.url());
        let raw = am.alerts().await;
        for alert in &seen.alerts {
            let fingerprint = alert.occurrence.fingerprint.to_string();
            let same = raw.iter().find(|raw| raw["fingerprint"] == fingerprint.as_str()).expect("the same alert");
            assert_eq!(same["startsAt"].as_str().and_then(Time::parse), Some(alert.occurrence.starts_at));
        }
    }
}

#[tokio::test]
async fn each_peer_answers_for_itself() {
    let sink = Sink::start().await;
    let mut pair = Alertmanager::start_pair(Release::New, &config(sink.url()), Duration::from_secs(1)).await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    let client = observer(&[pair[0].url(), &dead, pair[1].url()]);
    // Silences are gossiped among peers, alerts are not.
    let alert = [("alertname", "OnlyOne")];
    pair[0].post_alert(&alert, &[]).await;
    pair[1].silence(&alert).await;
    let wanted = vec![fingerprint(&alert)];
    eventually("the silence has arrived", SOON, async || {
        let view = client.view(wanted.clone()).await;
        let alerts: Vec<_> = view.peers.iter().map(|peer| peer.get().map(|peer| peer.alerts.clone())).collect();
        match &alerts[..] {
            [Some(one), None, Some(two)] if two.is_empty() && matches!(one[0].state, PeerAlertState::Silenced { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    pair[0].kill9();
    let view = client.view(wanted).await;
    assert_eq!(view.peers[0].value.as_ref().map_err(|why| why.kind).err(), Some(UnknownKind::Unreachable));
    assert!(view.peers[2].get().is_some());
    assert!(view.peers[0].source.contains(pair[0].url()), "{}", view.peers[0].source);
}

#[tokio::test]
async fn the_watchdog_is_the_one_that_was_heard_of_least() {
    let read = |items: &[&str]| items.iter().map(|text| parse_one(text).expect("a matcher")).collect::<Vec<_>>();
    for release in BOTH {
        let sink = Sink::start().await;
        let am = Alertmanager::start(release, &config(sink.url()), &[]).await;
        let any = observer(&[am.url()]).with_watchdog(read(&[WATCHDOG]));
        let ours = observer(&[am.url()]).with_watchdog(read(&[WATCHDOG, r#"prometheus=~"a|\"quoted\"""#]));
        am.post_alert(&[("alertname", "Other")], &[]).await;
        assert_eq!(view(&any, &[]).await.watchdog_at, None, "nobody sent it");

        let (a, b) = ([("alertname", "Watchdog"), ("prometheus", "a")], [("alertname", "Watchdog"), ("prometheus", "b")]);
        am.post_alert(&a, &[]).await;
        let first = view(&ours, &[]).await.watchdog_at.expect("sent");
        assert!(Time::from_millis(now().as_millisecond()).since(first) < SOON, "{first}");
        eventually("the other is sent later", SOON, async || {
            am.post_alert(&b, &[]).await;
            let raw = am.alerts().await;
            let times: Vec<_> = raw.iter().filter_map(|alert| Time::parse(alert["updatedAt"].as_str()?)).collect();
            if times.iter().any(|at| *at > first) { Ok(()) } else { Err(format!("{times:?}")) }
        })
        .await;
        assert_eq!(view(&any, &[]).await.watchdog_at, Some(first), "one of them is not heard of any more");
        am.silence(&a).await;
        eventually("a silence takes no witness away", SOON, async || {
            am.post_alert(&a, &[]).await;
            let told = view(&ours, &[]).await.watchdog_at;
            if told > Some(first) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
        assert_eq!(view(&observer(&[am.url()]), &[]).await.watchdog_at, None, "nobody asked for it");
    }
}

#[tokio::test]
async fn without_peers_nothing_is_claimed() {
    assert!(observer(&[]).view(vec![Fingerprint(1)]).await.peers.is_empty());
}

fn pager(urls: &[&str]) -> ChannelSettings {
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    let alertmanager = AlertmanagerChannel { urls, ..AlertmanagerChannel::default() };
    ChannelSettings { name: "pager".to_owned(), alertmanager: Some(alertmanager), ..ChannelSettings::default() }
}

fn fallback(sink: &Sink) -> ChannelSettings {
    let webhook =
        WebhookChannel { url: sink.url().to_owned(), takes: vec![Urgency::Page], token_file: None, ca_file: None, proxy: None };
    ChannelSettings { name: "fallback".to_owned(), webhook: Some(webhook), ..ChannelSettings::default() }
}

fn set(channels: &[ChannelSettings], speed: u32) -> NotifierSet {
    let metrics = Metrics::new().expect("metrics");
    NotifierSet::new(&clients(), channels, "test", clock(speed), metrics).expect("channels")
}

fn page(number: u32) -> Message {
    Message {
        id: format!("i0123456789ab/paged/{number}"),
        incident: Some(IncidentId("i0123456789ab".to_owned())),
        folded: Vec::new(),
        moment: Moment::Paged,
        urgency: Urgency::Page,
        severity: "critical".to_owned(),
        title: "shop/web: a human is needed".to_owned(),
        text: "because \"of\" this\nand <that>".to_owned(),
        target: TargetRef::deployment("shop", "web").ok(),
        policy: Some("web".to_owned()),
        to: Vec::new(),
        labels: labels(&[("team", "shop"), ("empty", "")]),
        about: About::default(),
        at: Time::from_millis(now().as_millisecond()),
    }
}

/// Status and page numbers of the alerts in a notification.
fn notified(body: &Value) -> Vec<(String, String)> {
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    alerts.iter().map(|alert| (text(&alert["status"]), text(&alert["labels"]["backout_page"]))).collect()
}

#[tokio::test]
async fn a_page_reaches_its_receiver_and_is_closed() {
    for release in BOTH {
        let sink = Sink::start().await;
        let am = Alertmanager::start(release, &config(sink.url()), &[]).await;
        let set = set(&[pager(&[am.url()])], 1);
        let delivery = set.deliver(page(1)).await;
        assert_eq!((delivery.delivered, delivery.failed), (vec!["pager".to_owned()], vec![]));
        let body = sink.wait_for("the page", SOON, |body| body["status"] == "firing").await;
        let alert = &body["alerts"][0];
        assert_eq!(alert["labels"]["alertname"], "BackoutPage");
        assert_eq!(alert["labels"]["backout_incident"], "i0123456789ab");
        assert_eq!(alert["labels"]["backout_target"], "deployment/shop/web");
        assert_eq!(alert["labels"]["team"], "shop");
        assert_eq!(alert["annotations"]["description"], "because \"of\" this\nand <that>");
        assert_eq!(set.open_pages().len(), 1);

        // The same message again is no second page; a later one is.
        set.deliver(page(1)).await;
        let firing = |number: u32| ("firing".to_owned(), format!("i0123456789ab/paged/{number}"));
        holds("one notification", Duration::from_secs(1), async || {
            if sink.received().len() == 1 { Ok(()) } else { Err(format!("{:?}", sink.received())) }
        })
        .await;
        set.deliver(page(2)).await;
        sink.wait_for("the second page", SOON, |body| notified(body).contains(&firing(2))).await;

        set.close_page(Some(IncidentId("i0123456789ab".to_owned()))).await;
        sink.wait_for("the end", SOON, |body| body["status"] == "resolved").await;
        eventually("nothing is left", SOON, async || {
            let left = am.alerts().await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn the_page_of_our_own_blindness_is_ended_too() {
    for release in BOTH {
        let sink = Sink::start().await;
        let am = Alertmanager::start(release, &config(sink.url()), &[]).await;
        let blind =
            |number: u32| Message { incident: None, moment: Moment::Blind, id: format!("blind-{number}"), ..page(number) };
        let other = set(&[pager(&[am.url()])], 1);
        other.deliver(page(1)).await;
        let set = set(&[pager(&[am.url()])], 1);
        assert_eq!(set.deliver(blind(1)).await.delivered, ["pager"]);
        sink.wait_for("the page", SOON, |body| notified(body).contains(&("firing".to_owned(), "blind-1".to_owned()))).await;
        // From another process: this one knows of no page, the peer does.
        other.close_page(None).await;
        sink.wait_for("the end", SOON, |body| notified(body).contains(&("resolved".to_owned(), "blind-1".to_owned()))).await;
        let left = am.alerts().await;
        let left: Vec<_> = left.iter().map(|alert| &alert["labels"]["backout_incident"]).collect();
        assert_eq!(left, ["i0123456789ab"], "and no other page");
    }
}

#[tokio::test]
async fn a_page_that_would_reach_nobody_goes_to_the_next_channel() {
    for release in BOTH {
        let (sink, next) = (Sink::start().await, Sink::start().await);
        let am = Alertmanager::start(release, &config(sink.url()), &[]).await;
        let set = set(&[pager(&[am.url()]), fallback(&next)], 1);
        am.silence(&[("team", "shop")]).await;
        let delivery = set.deliver(page(1)).await;
        assert_eq!(delivery.delivered, ["fallback"]);
        assert!(delivery.failed[0].1.contains("the page is silenced by"), "{delivery:?}");
        assert_eq!(next.received()[0]["id"], "i0123456789ab/paged/1");

        am.post_alert(&[("alertname", "Boss")], &[]).await;
        let delivery = set.deliver(Message { labels: labels(&[("team", "inhibited")]), ..page(2) }).await;
        assert!(delivery.delivered == ["fallback"] && delivery.failed[0].1.contains("inhibited"), "{delivery:?}");
        assert!(set.open_pages().is_empty());
    }
}

#[tokio::test]
async fn with_alertmanager_down_the_next_channel_has_the_page() {
    let (sink, next) = (Sink::start().await, Sink::start().await);
    let mut am = Alertmanager::start(Release::New, &config(sink.url()), &[]).await;
    // Ten times as fast: the retries take 15 s.
    let set = set(&[pager(&[am.url()]), fallback(&next)], 10);
    am.kill9();
    let delivery = set.deliver(page(1)).await;
    assert_eq!(delivery.delivered, ["fallback"]);
    assert!(delivery.failed[0].1.contains("cannot connect") && delivery.failed[0].1.contains("attempt 5"), "{delivery:?}");
}

#[tokio::test]
async fn labels_that_an_alertmanager_refuses_go_to_the_next_channel() {
    let (sink, next) = (Sink::start().await, Sink::start().await);
    let am = Alertmanager::start(Release::Old, &config(sink.url()), &[]).await;
    let set = set(&[pager(&[am.url()]), fallback(&next)], 1);
    let delivery = set.deliver(Message { labels: labels(&[("not a name", "x")]), ..page(1) }).await;
    assert_eq!(delivery.delivered, ["fallback"]);
    assert!(delivery.failed[0].1.contains("answered 400") && delivery.failed[0].1.contains("attempt 1"), "{delivery:?}");
}

#[tokio::test]
async fn a_pair_pages_once_and_one_of_it_is_enough() {
    let sink = Sink::start().await;
    let mut pair = Alertmanager::start_pair(Release::New, &config(sink.url()), Duration::from_secs(1)).await;
    let set = set(&[pager(&[pair[0].url(), pair[1].url()])], 1);
    assert_eq!(set.deliver(page(1)).await.delivered, ["pager"]);
    for peer in &pair {
        assert_eq!(peer.alerts().await.len(), 1, "posted to every peer");
    }
    sink.wait_for("the page", SOON, |body| body["status"] == "firing").await;
    holds("the pair notifies once", Duration::from_secs(3), async || {
        if sink.received().len() == 1 { Ok(()) } else { Err(format!("{:?}", sink.received())) }
    })
    .await;
    pair[0].kill9();
    let second = Message { incident: Some(IncidentId("i1".to_owned())), id: "i1/paged/1".to_owned(), ..page(1) };
    assert_eq!(set.deliver(second).await.delivered, ["pager"]);
    sink.wait_for("the second page", SOON, |body| body["groupLabels"]["backout_incident"] == "i1").await;
}
