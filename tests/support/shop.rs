//! A shop that is as good as the image its Deployment is on: the thing that breaks in end-to-end tests.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::namespace::{Namespace, image_of};

/// Images with one of these in their name answer with errors. `bad` does not become ready either,
/// `faulty` does: the rollout looks fine and the shop is not.
const FAULTY: &[&str] = &["bad", "faulty"];
const FAULTY_RATIO: f64 = 0.6;
const REQUESTS_PER_SECOND: f64 = 100.0;
const TICK: Duration = Duration::from_millis(100);
/// A new image goes bad after this: the API server stamps changes with whole seconds, and trouble that begins in the second of its
/// change cannot be told from trouble before it.
const GOES_BAD_AFTER: Duration = Duration::from_millis(1100);

/// Serves `http_requests_total{namespace,deployment,code}` on `/metrics`, as if requests came in all the time.
#[derive(Debug)]
pub(crate) struct FakeShop {
    url: String,
    till: Arc<Mutex<Till>>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Till {
    labels: String,
    image: String,
    forced: Option<f64>,
    good: f64,
    failed: f64,
}

impl FakeShop {
    /// The shop of one Deployment.
    pub(crate) async fn start(namespace: &Namespace, deployment: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let labels = format!("namespace=\"{}\",deployment=\"{deployment}\"", namespace.name);
        let till = Arc::new(Mutex::new(Till { labels, ..Till::default() }));
        let app = Router::new().route("/metrics", get(metrics)).with_state(Arc::clone(&till));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        let trade = tokio::spawn(trade(namespace.clone(), deployment.to_owned(), Arc::clone(&till)));
        Self { url, till, tasks: [server, trade] }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The share of requests that fail from now on, whatever the image; `None` gives it back to the image.
    pub(crate) fn set_errors(&self, ratio: Option<f64>) {
        lock(&self.till).forced = ratio;
    }
}

impl Drop for FakeShop {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn trade(namespace: Namespace, deployment: String, till: Arc<Mutex<Till>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut changed = last;
    loop {
        ticks.tick().await;
        // Without an answer the shop goes on as it was.
        let seen = namespace.deployments().get_opt(&deployment).await;
        let requests = last.elapsed().as_secs_f64() * REQUESTS_PER_SECOND;
        last = Instant::now();
        let mut till = lock(&till);
        if let Ok(Some(found)) = seen {
            let image = image_of(&found);
            if image != till.image {
                (till.image, changed) = (image, last);
            }
        }
        let goes_bad = FAULTY.iter().any(|word| till.image.contains(word)) && changed.elapsed() >= GOES_BAD_AFTER;
        let by_image = if goes_bad { FAULTY_RATIO } else { 0.0 };
        let ratio = till.forced.unwrap_or(by_image);
        till.failed += requests * ratio;
        till.good += requests * (1.0 - ratio);
    }
}

async fn metrics(State(till): State<Arc<Mutex<Till>>>) -> String {
    let till = lock(&till);
    let mut text = "# TYPE http_requests_total counter\n".to_owned();
    for (code, count) in [("200", till.good), ("500", till.failed)] {
        let _ = writeln!(text, "http_requests_total{{{},code=\"{code}\"}} {}", till.labels, count.floor());
    }
    text
}

fn lock(till: &Mutex<Till>) -> std::sync::MutexGuard<'_, Till> {
    till.lock().unwrap_or_else(PoisonError::into_inner)
}
