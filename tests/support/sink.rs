//! Somebody who listens: keeps every JSON body that is posted to it.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, body::Bytes};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Sink {
    url: String,
    kept: Arc<Kept>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Kept {
    bodies: Mutex<Vec<Value>>,
    answer: AtomicU16,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let kept = Arc::new(Kept { bodies: Mutex::default(), answer: AtomicU16::new(200) });
        let app = Router::new().fallback(keep).with_state(Arc::clone(&kept));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { url, kept, server }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The status code from now on; bodies are kept whatever it is.
    pub(crate) fn answer_with(&self, status: u16) {
        self.kept.answer.store(status, Ordering::SeqCst);
    }

    pub(crate) fn received(&self) -> Vec<Value> {
        self.kept.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first body that fits, waiting for it if it has not come yet.
    pub(crate) async fn wait_for(&self, what: &str, limit: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, limit, async || {
            let all = self.received();
            let count = all.len();
            all.into_iter().find(|body| fits(body)).ok_or_else(|| format!("none of {count} bodies fits"))
        })
        .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn keep(State(kept): State<Arc<Kept>>, body: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
    kept.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    StatusCode::from_u16(kept.answer.load(Ordering::SeqCst)).expect("a status code")
}
