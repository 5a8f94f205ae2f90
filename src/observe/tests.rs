//! Observers over HTTP against servers that misbehave: every fault is an unknown of the right kind, within its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{AlertmanagerClient, HttpProbeClient, PrometheusClient, PrometheusLimits, WATCHDOG};
use crate::model::{Fingerprint, HttpCheck, HttpFact, PeerAlertState, Time, UnknownKind};
use crate::outgoing::{Clients, EndpointSettings};
use crate::policy::matcher::parse_one;
use crate::ports::{Alertmanagers, Clock, HttpProbe, Prometheus};

/// Real time is of no matter here; a sleep is over at once.
struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        Time::from_millis(1_800_000_000_000)
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

fn clients() -> Clients {
    rustls::crypto::ring::default_provider().install_default().ok();
    Clients::new().expect("clients")
}

type Answers = Arc<dyn Fn(usize, &str) -> (u16, String) + Send + Sync>;

/// Answers by the number of the request and its path. Tells how many there were.
async fn server(answers: impl Fn(usize, &str) -> (u16, String) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let state: (Answers, Arc<AtomicUsize>) = (Arc::new(answers), Arc::clone(&count));
    let handle = async |State((answers, count)): State<(Answers, Arc<AtomicUsize>)>, uri: axum::http::Uri| -> Response {
        let (status, body) = answers(count.fetch_add(1, Ordering::SeqCst), uri.path());
        let location = [("location", "/elsewhere")];
        (StatusCode::from_u16(status).expect("a status"), location, body).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().fallback(handle).with_state(state);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, count)
}

/// Says that it will send much, sends little, and then keeps still or hangs up.
async fn breaks_off(hang_up: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.readable().await.ok();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"status\":").await.ok();
            if !hang_up {
                open.push(stream);
            }
        }
    });
    url
}

fn prometheus(urls: &[&str]) -> PrometheusClient {
    let servers: Vec<_> = urls.iter().map(|url| EndpointSettings::plain(*url)).collect();
    let limits = PrometheusLimits { timeout: Duration::from_millis(300), ..PrometheusLimits::default() };
    PrometheusClient::new(&clients(), &servers, Arc::new(Still), limits).expect("a client")
}

const TWO: &str = r#"{"status":"success","data":{"resultType":"scalar","result":[1800000000,"2"]}}"#;

#[tokio::test]
async fn faults_of_prometheus_are_unknown_and_the_next_one_is_asked() {
    let (good, _) = server(|_, _| (200, TWO.to_owned())).await;
    let (unavailable, _) = server(|_, _| (503, r#"{"status":"error","errorType":"timeout","error":"slow"}"#.to_owned())).await;
    let (forbidden, _) = server(|_, _| (403, "no".to_owned())).await;
    for (broken, kind) in [
        (breaks_off(true).await, UnknownKind::Unreachable),
        (breaks_off(false).await, UnknownKind::Unreachable),
        (unavailable, UnknownKind::Unreachable),
        (forbidden, UnknownKind::Forbidden),
    ] {
        let why = prometheus(&[&broken]).query("x".to_owned()).await.value.expect_err("unknown");
        assert_eq!(why.kind, kind, "{why:?}");
        let fact = prometheus(&[&broken, &good]).query("x".to_owned()).await;
        assert_eq!(fact.value.map(|number| number.get()), Ok(2.0));
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_unusable_and_final() {
    let (good, asked) = server(|_, _| (200, TWO.to_owned())).await;
    for (status, body, detail) in [
        (200, "<html>", "unexpected"),
        (200, "{}", "unexpected"),
        (302, "", "302"),
        (422, r#"{"status":"error","errorType":"execution","error":"found duplicate series"}"#, "found duplicate series"),
        (400, "no JSON", "400: no JSON"),
        (
            200,
            r#"{"status":"success","warnings":["store gone: partial response"],"data":{"resultType":"scalar","result":[1,"2"]}}"#,
            "partial response",
        ),
    ] {
        let (odd, _) = server(move |_, _| (status, body.to_owned())).await;
        let before = asked.load(Ordering::SeqCst);
        let why = prometheus(&[&odd, &good]).query("x".to_owned()).await.value;
        if status == 302 {
            assert!(why.is_ok(), "a redirect is somebody else's answer: the next one is asked");
            continue;
        }
        let why = why.expect_err("unknown");
        assert!(why.kind == UnknownKind::Unusable && why.detail.contains(detail), "{why:?}");
        assert_eq!(asked.load(Ordering::SeqCst), before, "it answered: nobody else is asked");
    }
}

#[tokio::test]
async fn prometheus_is_not_asked_without_limit() {
    let (good, asked) = server(|_, _| (200, TWO.to_owned())).await;
    let client = prometheus(&[&good]);
    let all = futures_util::future::join_all((0..300).map(|_| client.query("x".to_owned()))).await;
    let refused = all.iter().filter(|fact| fact.value.is_err()).count();
    assert!(refused > 100 && asked.load(Ordering::SeqCst) == 300 - refused, "{refused}");
    let why = all.into_iter().find_map(|fact| fact.value.err()).expect("one");
    assert!(why.kind == UnknownKind::Unreachable && why.detail.contains("too many queries"), "{why:?}");
}

const STATUS: &str = r#"{"uptime":"2027-01-15T07:00:00.000Z"}"#;

#[tokio::test]
async fn a_peer_that_misbehaves_is_unknown_and_the_others_are_not() {
    let alerts =
        |body: &'static str| move |_: usize, path: &str| (200, if path.ends_with("status") { STATUS } else { body }.to_owned());
    let (good, _) = server(alerts("[]")).await;
    let (garbage, _) = server(alerts("[{}]")).await;
    let (down, _) = server(|_, _| (500, "no".to_owned())).await;
    let (v1, _) = server(|_, _| (410, "gone".to_owned())).await;
    let (denied, _) = server(|_, _| (401, String::new())).await;
    let peers = [good, garbage, down, v1, denied, breaks_off(true).await, breaks_off(false).await];
    let settings: Vec<_> = peers.iter().map(EndpointSettings::plain).collect();
    let client = AlertmanagerClient::new(&clients(), &settings, Arc::new(Still)).expect("a client");
    let started = Instant::now();
    let view = client.view(vec![Fingerprint(1)]).await;
    assert!(started.elapsed() < Duration::from_secs(8), "5 s for each, all at once");
    let kinds: Vec<_> = view.peers.iter().map(|peer| peer.value.as_ref().map_err(|why| why.kind).err()).collect();
    use UnknownKind::{Forbidden, Unreachable, Unusable};
    let expected =
        [None, Some(Unusable), Some(Unreachable), Some(Unusable), Some(Forbidden), Some(Unreachable), Some(Unreachable)];
    assert_eq!(kinds, expected);
    assert_eq!(view.peers[0].get().map(|peer| peer.up), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn an_alert_without_fingerprint_and_an_unreadable_silence_still_count() {
    let (url, _) = server(|_, path| match path {
        "/am/api/v2/status" => (200, STATUS.to_owned()),
        "/am/api/v2/alerts" => (
            200,
            r#"[{"startsAt":"2027-01-15T07:30:00.5Z","labels":{"alertname":"A"},
                "status":{"state":"suppressed","silencedBy":["1-2","../x"],"inhibitedBy":["z"]}}]"#
                .to_owned(),
        ),
        _ => (404, String::new()),
    })
    .await;
    let peers = [EndpointSettings::plain(format!("{url}/am/"))];
    let client = AlertmanagerClient::new(&clients(), &peers, Arc::new(Still)).expect("a client");
    let wanted = Fingerprint::of([("alertname", "A")].into_iter());
    let view = client.view(vec![wanted]).await;
    let alert = view.peers[0].get().expect("an answer").alerts[0].clone();
    assert_eq!(alert.occurrence.fingerprint, wanted);
    let by = vec!["silence ../x".to_owned(), "silence 1-2".to_owned()];
    assert_eq!(alert.state, PeerAlertState::Silenced { by });
}

#[tokio::test]
async fn a_filter_that_got_lost_makes_no_other_alert_the_watchdog() {
    let held = |name: &str, at: &str| {
        format!(
            r#"{{"fingerprint":"0000000000000001","startsAt":"{at}","updatedAt":"{at}","labels":{{"alertname":"{name}"}},"status":{{}}}}"#
        )
    };
    let (late, early) = ("2027-01-15T07:59:00Z", "2027-01-15T07:30:00Z");
    for (alerts, expected) in [
        (vec![held("Other", late)], None),
        (vec![held("Other", early), held("Watchdog", late)], Time::parse(late)),
        (vec![held("Watchdog", late), held("Watchdog", early)], Time::parse(early)),
        (vec![held("Watchdog", "soon")], None),
    ] {
        let body = format!("[{}]", alerts.join(","));
        let (url, _) =
            server(move |_, path| (200, if path.ends_with("status") { STATUS.to_owned() } else { body.clone() })).await;
        let peers = [EndpointSettings::plain(url)];
        let client = AlertmanagerClient::new(&clients(), &peers, Arc::new(Still)).expect("a client");
        let client = client.with_watchdog(vec![parse_one(WATCHDOG).expect("a matcher")]);
        let told = client.view(Vec::new()).await.peers[0].get().map(|peer| peer.watchdog_at);
        // A time that cannot be read spoils the witness, not the peer's word; of the alerts themselves it would.
        assert_eq!(told, Some(expected), "{alerts:?}");
    }
}

#[tokio::test]
async fn a_query_for_the_past_says_when() {
    // The server says at what time it was asked: the form is `query=x&timeout=…&time=…`.
    let asked = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&asked);
    let app = Router::new().fallback(async move |body: String| {
        *seen.lock().expect("no panic") = body;
        TWO
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = prometheus(&[&url]);
    assert_eq!(client.query_at("x".to_owned(), Time::from_millis(1_700_000_000_042)).await.value.map(|n| n.get()), Ok(2.0));
    assert!(asked.lock().expect("no panic").ends_with("&time=1700000000.042"), "{asked:?}");
    client.query("x".to_owned()).await;
    assert!(!asked.lock().expect("no panic").contains("time=1"), "{asked:?}");
}

#[tokio::test]
async fn a_value_of_a_document_is_one_scalar() {
    let probe = HttpProbeClient::new(&clients(), Arc::new(Still));
    let (url, _) = server(|_, path| match path {
        "/good" => (200, r#"{"a":{"n":1.5,"t":"x","b":true,"z":null,"l":[1]}}"#.to_owned()),
        "/odd" => (200, "<html>".to_owned()),
        _ => (404, "{}".to_owned()),
    })
    .await;
    let fetch = async |path: &str, pointer: &str| {
        let what = HttpFact { url: format!("{url}{path}"), pointer: pointer.to_owned() };
        probe.fetch(what).await.value.map_err(|why| why.kind)
    };
    assert_eq!(fetch("/good", "/a/n").await, Ok("1.5".to_owned()));
    assert_eq!(fetch("/good", "/a/t").await, Ok("x".to_owned()));
    assert_eq!(fetch("/good", "/a/b").await, Ok("true".to_owned()));
    assert_eq!(fetch("/good", "/a/z").await, Err(UnknownKind::Empty));
    assert_eq!(fetch("/good", "/b").await, Err(UnknownKind::Empty));
    assert_eq!(fetch("/good", "/a/l").await, Err(UnknownKind::Unusable));
    assert_eq!(fetch("/odd", "").await, Err(UnknownKind::Unusable));
    assert_eq!(fetch("/gone", "").await, Err(UnknownKind::Unusable));
    let broken = HttpFact { url: breaks_off(true).await, pointer: String::new() };
    assert_eq!(probe.fetch(broken).await.value.map_err(|why| why.kind), Err(UnknownKind::Unreachable));
}

#[tokio::test]
async fn a_probe_wants_every_answer_in_a_row() {
    let probe = HttpProbeClient::new(&clients(), Arc::new(Still));
    let (flaky, asked) = server(|n, _| if n == 2 { (500, "no".to_owned()) } else { (200, "it is fine".to_owned()) }).await;
    let check = async |url: &str, attempts: u32, status: Option<u16>, text: Option<&str>| {
        let check = HttpCheck { url: url.to_owned(), attempts, status, text: text.map(str::to_owned) };
        probe.check(check).await.result
    };
    assert_eq!(check(&flaky, 2, None, Some("fine")).await, Ok(()));
    assert_eq!(check(&flaky, 2, None, None).await, Err("answered 500, expected 2xx (attempt 1 of 2)".to_owned()));
    assert_eq!(asked.load(Ordering::SeqCst), 3, "it stops at the first that is wrong");
    assert_eq!(check(&flaky, 3, Some(200), Some("fine")).await, Ok(()));
    assert!(check(&flaky, 1, Some(204), None).await.is_err_and(|why| why.contains("answered 200, expected 204")));
    assert!(check(&flaky, 1, None, Some("broken")).await.is_err_and(|why| why.contains("does not contain `broken`")));
    let (moved, asked) = server(|_, _| (302, String::new())).await;
    assert!(check(&moved, 1, None, None).await.is_err_and(|why| why.contains("answered 302")));
    assert_eq!(check(&moved, 1, Some(302), None).await, Ok(()));
    assert_eq!(asked.load(Ordering::SeqCst), 2, "nothing is followed");
    let (large, _) = server(|_, _| (200, "x".repeat(2 << 20))).await;
    assert!(check(&large, 1, None, None).await.is_err_and(|why| why.contains("larger than 1 MiB")));
    for url in ["file:///etc/passwd", "gopher://x", "", "http://user:hunter2@x/"] {
        assert!(check(url, 1, None, None).await.is_err_and(|why| !why.contains("hunter2")), "{url}");
    }
    assert!(check(&breaks_off(true).await, 1, None, None).await.is_err());
}
