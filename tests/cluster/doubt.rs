//! A write whose answer is lost, late or a refusal: what is said of it, and that it is sent once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backout::cluster::Clients;
use backout::execute::WriterSettings;
use backout::model::Applied;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;

use crate::bed::{Setup, Shop, plan};

/// What happens to a write on its way.
#[derive(Clone, Copy)]
enum Fate {
    /// It arrives; the answer is this one instead.
    Arrives(u16),
    /// It does not arrive; the answer is this one.
    Lost(u16),
    /// It arrives; there is no answer.
    Silence,
}

static SENT: [AtomicU32; 5] = [const { AtomicU32::new(0) }; 5];

/// The clients with every write meeting its fate; writes are counted.
fn through(clients: Clients, fate: Fate, counter: usize) -> Clients {
    let real = clients.writes;
    let service = tower::service_fn(move |request: Request<Body>| {
        let real = real.clone();
        async move {
            SENT[counter].fetch_add(1, Ordering::Relaxed);
            let status = match fate {
                Fate::Arrives(status) => {
                    real.send(request).await?;
                    status
                }
                Fate::Lost(status) => status,
                Fate::Silence => {
                    real.send(request).await?;
                    std::future::pending::<u16>().await
                }
            };
            let body = format!(r#"{{"kind":"Status","status":"Failure","code":{status},"message":"fate","reason":"Fate"}}"#);
            let answer = Response::builder().status(status).body(Body::from(body.into_bytes()))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
        }
    });
    Clients { reads: clients.reads, writes: Client::new(service, "default") }
}

async fn applied(name: &str, through: fn(Clients) -> Clients, counter: usize) -> (Shop, Applied) {
    let writer = WriterSettings { write_limit: Duration::from_millis(500), ..WriterSettings::default() };
    let shop = Shop::open_with(name, Setup { through, writer, ..Setup::default() }).await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    let applied = shop.apply(&plan, &guard).await;
    assert_eq!(SENT[counter].load(Ordering::Relaxed), 1, "sent once, whatever came back");
    (shop, applied)
}

#[tokio::test]
async fn a_gateway_that_gives_up_after_the_write_does_not_hide_it() {
    let (shop, applied) = applied("late", |clients| through(clients, Fate::Arrives(504), 0), 0).await;
    assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
    assert_eq!(shop.see().await.images, ["web:1"]);
}

#[tokio::test]
async fn silence_after_the_write_does_not_hide_it() {
    let (_, applied) = applied("silent", |clients| through(clients, Fate::Silence, 1), 1).await;
    assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
}

#[tokio::test]
async fn an_error_without_a_trace_of_the_write_is_doubtful() {
    let (shop, applied) = applied("lost", |clients| through(clients, Fate::Lost(504), 2), 2).await;
    assert!(matches!(applied, Applied::Doubtful { .. }), "{applied:?}");
    assert_eq!(shop.see().await.images, ["web:bad"]);
}

#[tokio::test]
async fn too_many_requests_means_that_nothing_was_written() {
    let (_, applied) = applied("busy", |clients| through(clients, Fate::Lost(429), 3), 3).await;
    assert!(matches!(applied, Applied::Refused { transient: true, .. }), "{applied:?}");
}

#[tokio::test]
async fn a_conflict_is_looked_at() {
    let (_, applied) = applied("conflict", |clients| through(clients, Fate::Arrives(409), 4), 4).await;
    assert!(matches!(applied, Applied::Already { ours: true, .. }), "{applied:?}");
}
