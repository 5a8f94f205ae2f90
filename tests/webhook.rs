//! The webhook endpoints over real connections: every answer, every limit, and what a hostile or unlucky sender can do.

#[path = "support/http.rs"]
mod support;

use std::fs;
use std::time::Duration;

use backout::http::HttpSettings;
use backout::http::auth::TokenFiles;
use backout::journal::receipt::Receipt;
use backout::model::Source;
use backout::ports::{RowKind, StoreError};
use support::{Client, HOOK, PATIENCE, Service, Setup, notification, now};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

fn payload(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/payloads/{name}.json", env!("CARGO_MANIFEST_DIR"))).expect("a payload")
}

fn with(settings: HttpSettings) -> Setup {
    Setup { settings, ..Setup::default() }
}

/// A line of `/metrics`.
fn requests(source: &str, result: &str, count: u64) -> String {
    format!("backout_webhook_requests_total{{result=\"{result}\",source=\"{source}\"}} {count}")
}

fn alerts(result: &str, status: &str, count: u64) -> String {
    format!("backout_alerts_received_total{{result=\"{result}\",source=\"alertmanager\",status=\"{status}\"}} {count}")
}

#[tokio::test]
async fn a_200_means_that_the_receipt_is_committed_and_on_its_way() {
    let mut service = Service::start(Setup::default()).await;
    for (number, name) in [
        "alertmanager-0.20",
        "alertmanager-0.25-live",
        "alertmanager-0.25-mixed",
        "alertmanager-0.25-truncated",
        "alertmanager-0.32",
        "alertmanager-0.34",
        "by-hand",
        "sender-2016",
        "spoiled",
    ]
    .into_iter()
    .enumerate()
    {
        let body = payload(name);
        let reply = service.post(&body).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "accepted\n"), "{name}");
        let row = service.store.rows.lock().expect("rows").last().cloned().expect("a row");
        assert_eq!((row.seq, row.kind, row.at), (number as u64 + 1, RowKind::Receipt, now()));
        assert_eq!(Receipt::decode(&row.body), Ok(Receipt { source: Source::Alertmanager, body: body.as_slice().into() }));
        let received = service.received().await;
        assert_eq!((received.seq, received.at, received.source), (row.seq, row.at, Source::Alertmanager));
        assert_eq!(received.body, body);
    }
    service.counts(&requests("alertmanager", "accepted", 9)).await;
    service.counts(&alerts("own_page", "firing", 1)).await;
    service.counts("backout_alerts_unreadable_total{source=\"alertmanager\"} 7").await;
    service.counts("backout_webhook_commit_seconds_count 9").await;
}

#[tokio::test]
async fn grafana_has_a_path_of_its_own() {
    let mut service = Service::start(Setup::default()).await;
    for method in ["POST", "PUT"] {
        assert_eq!(service.ask(method, "/v1/webhook/grafana", "", &payload("grafana-11")).await.status, 200);
        assert_eq!(service.received().await.source, Source::Grafana);
    }
    let legacy = service.ask("POST", "/v1/webhook/grafana", "", &payload("grafana-legacy")).await;
    assert_eq!(legacy.status, 400);
    assert!(legacy.body.contains("legacy alerting: expected grafana 9"), "{}", legacy.body);
    service.counts(&requests("grafana", "accepted", 2)).await;
    service.counts(&requests("grafana", "unparseable", 1)).await;
}

#[tokio::test]
async fn every_other_answer() {
    let settings = HttpSettings { cluster: Some("prod-1".to_owned()), ..HttpSettings::default() };
    let service = Service::start(with(settings)).await;
    let own = br#"{"alerts":[{"status":"firing","labels":{"alertname":"BackoutPage","backout_incident":"i0123456789ab"}}]}"#;
    let good = payload("by-hand");
    let long_path = format!("/{}", "x".repeat(60_000));
    for (method, path, body, status, text) in [
        ("POST", "/v1/webhook/alertmanager/", good.as_slice(), 200, "accepted\n"),
        ("POST", "/v1/webhook/alertmanager?x=1", good.as_slice(), 200, "accepted\n"),
        ("POST", HOOK, br#"{"alerts":[]}"#, 200, "accepted\n"),
        ("POST", HOOK, own, 200, "accepted\n"),
        ("POST", HOOK, b"", 400, "the body is not json\n"),
        ("POST", HOOK, b"\xff\xfe", 400, "the body is not utf-8 text\n"),
        (
            "POST",
            HOOK,
            b"{}",
            400,
            "the body has no list `alerts`: expected an alertmanager webhook of version 4, without a `payload` of its own\n",
        ),
        (
            "POST",
            HOOK,
            br#"{"alerts":[{}]}"#,
            400,
            "no alert in the list has readable labels: expected `labels` with text values\n",
        ),
        ("GET", HOOK, b"", 405, "expected a POST\n"),
        ("PUT", HOOK, good.as_slice(), 405, "expected a POST\n"),
        ("DELETE", "/v1/webhook/grafana", b"", 405, "expected a POST\n"),
        ("POST", "/v1/webhook", good.as_slice(), 404, "no such path\n"),
        ("POST", "//v1/webhook/alertmanager", good.as_slice(), 404, "no such path\n"),
        ("GET", "/", b"", 404, "no such path\n"),
        ("GET", long_path.as_str(), b"", 404, "no such path\n"),
    ] {
        let reply = service.ask(method, path, "", body).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, text), "{method} {path}");
        assert!(!reply.head.contains("location:"));
    }
    assert_eq!(service.store.rows(), 2, "nothing is committed of what is not for us");
    service.counts(&requests("alertmanager", "empty", 1)).await;
    service.counts(&requests("alertmanager", "own_pages", 1)).await;
    service.counts(&requests("alertmanager", "unparseable", 4)).await;
    service.counts(&requests("alertmanager", "method", 2)).await;

    assert_eq!(service.post(&payload("alertmanager-0.25-mixed")).await.status, 200);
    service.counts(&alerts("foreign", "firing", 1)).await;
    service.counts(&alerts("accepted", "resolved", 1)).await;
}

#[tokio::test]
async fn a_journal_that_fails_is_a_503_and_nothing_goes_on() {
    let mut service = Service::start(Setup::default()).await;
    for error in [StoreError::Full, StoreError::Failed("disk full at /secret/path".to_owned()), StoreError::Closed] {
        service.store.fail(Some(error));
        let reply = service.post(&payload("by-hand")).await;
        assert_eq!((reply.status, reply.body.as_str()), (503, "the journal does not commit: try again\n"));
    }
    assert!(service.inbox.try_recv().is_err());
    service.counts(&requests("alertmanager", "store_failed", 3)).await;
    service.counts(&alerts("refused", "firing", 3)).await;
    service.store.fail(None);
    assert_eq!(service.post(&payload("by-hand")).await.status, 200, "and it goes on when the journal does");
}

#[tokio::test]
async fn a_journal_that_hangs_is_a_503_in_time_and_what_it_commits_later_is_not_lost() {
    let settings = HttpSettings { commit_deadline: Duration::from_millis(50), ..HttpSettings::default() };
    let mut service = Service::start(with(settings)).await;
    service.store.hang();
    let reply = service.post(&payload("by-hand")).await;
    assert_eq!((reply.status, reply.body.as_str()), (503, "the journal did not commit in time: try again\n"));
    service.counts(&requests("alertmanager", "store_late", 1)).await;
    service.store.release();
    assert_eq!(service.received().await.seq, 1, "the engine sees every committed receipt");
}

#[tokio::test]
async fn a_sender_that_hangs_up_while_we_commit_loses_nothing() {
    let mut service = Service::start(Setup::default()).await;
    service.store.hang();
    let mut client = service.connect().await;
    client.send("POST", HOOK, "", &payload("by-hand")).await;
    while service.store.begun.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    service.store.release();
    assert_eq!(service.received().await.seq, 1);
}

#[tokio::test]
async fn a_full_inbox_is_a_503_until_the_engine_takes_something() {
    let mut service = Service::start(Setup { inbox: Some(2), ..Setup::default() }).await;
    service.counts("backout_inbox_capacity 2").await;
    for wanted in [200, 200, 503, 503] {
        assert_eq!(service.post(&payload("by-hand")).await.status, wanted);
    }
    assert!(service.ask("GET", "/metrics", "", b"").await.body.contains("\nbackout_inbox_depth 2\n"));
    assert_eq!(service.post(&payload("by-hand")).await.body, "the inbox is full: try again\n");
    assert_eq!(service.store.rows(), 2, "what cannot be handed on is not committed");
    service.received().await;
    assert_eq!(service.post(&payload("by-hand")).await.status, 200);
    service.counts(&requests("alertmanager", "inbox_full", 3)).await;
    service.inbox.close();
    assert_eq!(service.post(&payload("by-hand")).await.status, 503);
    while service.inbox.recv().await.is_some() {}
    assert_eq!(service.post(&payload("by-hand")).await.body, "going down: try again\n");
}

#[tokio::test]
async fn a_refused_sender_keeps_its_connection() {
    let service = Service::start(Setup { inbox: Some(1), ..Setup::default() }).await;
    let mut client = service.connect().await;
    let body = notification(20, 100_000);
    for wanted in [200, 503, 503, 503] {
        client.send("POST", HOOK, "", &body).await;
        assert_eq!(client.reply().await.status, wanted, "on the same connection, with its body read");
    }
}

#[tokio::test]
async fn bytes_in_flight_have_a_budget_that_the_engine_gives_back() {
    let settings = HttpSettings { body_limit: 3000, bytes_in_flight: 3000, ..HttpSettings::default() };
    let mut service = Service::start(with(settings)).await;
    let body = notification(1, 1500);
    assert_eq!(service.post(&body).await.status, 200);
    let refused = service.post(&body).await;
    assert_eq!((refused.status, refused.body.as_str()), (503, "too many bytes in flight: try again\n"));
    assert_eq!(chunked(&service, &body, 100).await.status, 503, "whether the length is announced or not");
    drop(service.received().await);
    assert_eq!(chunked(&service, &body, 100).await.status, 200);
    service.counts(&requests("alertmanager", "bytes_full", 2)).await;
}

#[tokio::test]
async fn who_still_writes_a_large_body_sees_the_refusal() {
    let settings = HttpSettings { body_limit: 4 << 20, bytes_in_flight: 4 << 20, ..HttpSettings::default() };
    let service = Service::start(with(settings)).await;
    let large = notification(4000, 3 << 20);
    assert_eq!(service.post(&large).await.status, 200);
    for _ in 0..3 {
        let refused = service.post(&large).await;
        assert_eq!((refused.status, refused.body.as_str()), (503, "too many bytes in flight: try again\n"));
    }
}

#[tokio::test]
async fn large_bodies_pass_and_a_body_over_the_limit_is_no_413() {
    let settings = HttpSettings { body_limit: 4 << 20, ..HttpSettings::default() };
    let mut service = Service::start(with(settings)).await;
    let large = notification(4000, 3 << 20);
    assert!(large.len() > 3 << 20 && large.len() < 4 << 20);
    assert_eq!(service.post(&large).await.status, 200);
    assert_eq!(service.received().await.body, large);
    assert_eq!(chunked(&service, &large, 70_000).await.status, 200);
    service.counts(&alerts("accepted", "firing", 8000)).await;

    let mut client = service.connect().await;
    client.write(format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n").as_bytes()).await;
    let over = client.reply().await;
    assert_eq!(over.status, 503);
    assert!(over.body.contains("raise backout's `http.body_limit`"), "{}", over.body);
    service.counts(&requests("alertmanager", "too_large", 1)).await;
}

/// Posts in chunks, without announcing a length.
async fn chunked(service: &Service, body: &[u8], size: usize) -> support::Reply {
    let mut client = service.connect().await;
    client.write(format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let mut framed = Vec::new();
    for chunk in body.chunks(size) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    let _ = client.0.write_all(&framed).await;
    client.reply().await
}

#[tokio::test]
async fn half_sent_heads_and_bodies_are_cut_off() {
    let short = Duration::from_millis(100);
    let settings = HttpSettings { head_deadline: short, body_deadline: short, ..HttpSettings::default() };
    let service = Service::start(with(settings)).await;
    for start in ["", "P", "POST /v1/web", "POST /v1/webhook/alertmanager HTTP/1.1\r\nHost: x\r\nX-"] {
        let mut client = service.connect().await;
        client.write(start.as_bytes()).await;
        client.closed().await;
    }
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut client = service.connect().await;
        client.write(format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n").as_bytes()).await;
        assert_eq!((head, client.reply().await.status), (head, 503));
        client.closed().await;
    }
    service.counts(&requests("alertmanager", "late", 2)).await;

    let mut client = service.connect().await;
    client.write(format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{\"alerts\"").as_bytes()).await;
    client.0.shutdown().await.expect("half closed");
    client.closed().await;
    service.counts(&requests("alertmanager", "broken", 1)).await;
    assert_eq!(service.store.rows(), 0);
}

#[tokio::test]
async fn floods_of_headers_are_turned_away() {
    let service = Service::start(Setup::default()).await;
    let many: String = (0..20_000).map(|number| format!("X-{number}: {number}\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(4 << 20));
    for flood in [many, long] {
        let mut client = service.connect().await;
        let head = format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n{flood}\r\n{{}}");
        // It may hang up while we still write.
        let _ = client.0.write_all(head.as_bytes()).await;
        if let Some(reply) = client.try_reply().await {
            assert_eq!(reply.status, 431, "{}", reply.head);
        }
        client.closed().await;
    }
    assert_eq!(service.store.rows(), 0);
    assert_eq!(service.post(&payload("by-hand")).await.status, 200, "nobody else notices");
}

#[tokio::test]
async fn packed_bodies_are_never_unpacked() {
    let service = Service::start(Setup::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bomb");
    std::fs::write(&path, vec![b' '; 256 << 20]).expect("written");
    let packed = std::process::Command::new("gzip").args(["-1", "-c"]).arg(&path).output().expect("gzip runs").stdout;
    assert!(packed.len() < 2 << 20, "{} bytes", packed.len());
    for encoding in ["gzip", "gzip, gzip", "br", "zstd"] {
        let reply = service.ask("POST", HOOK, &format!("Content-Encoding: {encoding}\r\n"), &packed).await;
        assert_eq!((reply.status, reply.body.as_str()), (400, "the body is not utf-8 text\n"), "{encoding}");
    }
    assert_eq!(service.store.rows(), 0);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let settings = HttpSettings { write_deadline: Duration::from_millis(100), ..HttpSettings::default() };
    let service = Service::start(with(settings)).await;
    let mut client = service.connect().await;
    let asking = async { while client.0.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking).await.expect("cut off");
    assert_eq!(service.post(&payload("by-hand")).await.status, 200, "nobody else notices");
}

#[tokio::test]
async fn tokens_are_asked_for_and_can_be_changed_without_a_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    fs::write(&first, "old-token-0123456789\n").expect("written");
    fs::write(&second, "other-token-0123456789\n").expect("written");
    let operate = folder.path().join("operate");
    fs::write(&operate, "operate-token-0123456789\n").expect("written");
    let tokens = TokenFiles { ingest: vec![first.clone(), second], operate: vec![operate], ..TokenFiles::default() };
    let service = Service::start(Setup { tokens, ..Setup::default() }).await;
    let post = async |token: &str| service.ask("POST", HOOK, &format!("Authorization: {token}\r\n"), br#"{"alerts":[]}"#).await;

    let without = service.post(&payload("by-hand")).await;
    assert_eq!((without.status, without.body.as_str()), (401, "expected a valid token of the scope `ingest`\n"));
    assert!(without.head.contains("www-authenticate: bearer"));
    assert_eq!(post("Bearer old-token-0123456789").await.status, 200);
    assert_eq!(post("bearer other-token-0123456789").await.status, 200, "all files count");
    assert_eq!(post("Bearer new-token-0123456789").await.status, 401);
    assert_eq!(post("Basic old-token-0123456789").await.status, 401);
    assert_eq!(post("Bearer operate-token-0123456789").await.status, 403);

    fs::write(&first, "old-token-0123456789\nnew-token-0123456789\n").expect("written");
    let rotated = async { while post("Bearer new-token-0123456789").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, rotated).await.expect("read again");
    assert_eq!(post("Bearer old-token-0123456789").await.status, 200, "both are valid");
    fs::write(&first, "new-token-0123456789\n").expect("written");
    let revoked = async { while post("Bearer old-token-0123456789").await.status != 401 {} };
    tokio::time::timeout(PATIENCE, revoked).await.expect("read again");
    assert_eq!(post("Bearer new-token-0123456789").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_and_each_receipt_arrives_once() {
    let mut service = Service::start(Setup { inbox: Some(2048), ..Setup::default() }).await;
    let body = notification(10, 1000);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..256 {
        let (address, body) = (service.address, body.clone());
        clients.spawn(async move {
            let mut client = Client(TcpStream::connect(address).await.expect("connected"));
            for _ in 0..4 {
                client.send("POST", HOOK, "", &body).await;
                assert_eq!(client.reply().await.status, 200);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.expect("all answered");
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1024 {
        assert!(seen.insert(service.received().await.seq));
    }
    assert_eq!((seen.first(), seen.last()), (Some(&1), Some(&1024)));
    assert!(service.inbox.try_recv().is_err());
}

#[tokio::test]
async fn connections_over_the_limit_are_told_to_come_again() {
    let settings = HttpSettings { connections: 1, ..HttpSettings::default() };
    let service = Service::start(with(settings)).await;
    let mut first = service.connect().await;
    first.send("POST", HOOK, "", &payload("by-hand")).await;
    assert_eq!(first.reply().await.status, 200);
    let mut second = service.connect().await;
    let told = second.reply().await;
    assert_eq!((told.status, told.body.as_str()), (503, "too many connections: try again\n"));
    second.closed().await;
    drop(first);
    let healthy = async || {
        let mut client = service.connect().await;
        let _ = client.0.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await;
        client.try_reply().await.is_some_and(|reply| reply.status == 200)
    };
    let again = async { while !healthy().await {} };
    tokio::time::timeout(PATIENCE, again).await.expect("a place is free again");
}

#[tokio::test]
async fn draining_answers_what_is_under_way_and_then_lets_the_inbox_go() {
    let mut service = Service::start(Setup::default()).await;
    service.store.hang();
    let mut idle = service.connect().await;
    idle.send("GET", "/-/healthy", "", b"").await;
    assert_eq!(idle.reply().await.status, 200);
    let mut busy = service.connect().await;
    busy.send("POST", HOOK, "", &payload("by-hand")).await;
    while service.store.begun.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    service.drain.cancel();
    idle.closed().await;
    assert!(!service.ended.is_finished(), "something is under way");
    service.store.release();
    assert_eq!(busy.reply().await.status, 200);
    busy.closed().await;
    tokio::time::timeout(PATIENCE, &mut service.ended).await.expect("ended").expect("well");
    assert_eq!(service.received().await.seq, 1);
    assert!(service.inbox.recv().await.is_none(), "no sender is left");
    assert!(TcpStream::connect(service.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn the_second_stage_ends_at_once() {
    let mut service = Service::start(Setup::default()).await;
    service.store.hang();
    let mut busy = service.connect().await;
    busy.send("POST", HOOK, "", &payload("by-hand")).await;
    while service.store.begun.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    service.drain.cancel();
    service.abort.cancel();
    tokio::time::timeout(PATIENCE, &mut service.ended).await.expect("ended").expect("well");
    busy.closed().await;
}
