//! Asking the health URLs of a verification. Follows nothing, sends no credentials, reads little.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::{HttpCheck, HttpResult};
use crate::outgoing::{self, Clients, Unanswered};
use crate::ports::{Clock, HttpProbe};

/// For one answer, body included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest body that is looked at.
const MOST_BYTES: usize = 1 << 20;
/// No check asks more often than this.
const MOST_ATTEMPTS: u32 = 60;

/// Health URLs over HTTP.
pub struct HttpProbeClient {
    clients: Clients,
    clock: Arc<dyn Clock>,
}

impl HttpProbeClient {
    /// A probe with the shared client.
    pub fn new(clients: &Clients, clock: Arc<dyn Clock>) -> Self {
        Self { clients: clients.clone(), clock }
    }

    async fn ask(&self, check: &HttpCheck) -> Result<(), String> {
        let url = outgoing::address(&check.url).map_err(|error| error.to_string())?;
        let attempts = check.attempts.clamp(1, MOST_ATTEMPTS);
        for attempt in 1..=attempts {
            if attempt > 1 {
                self.clock.sleep(PAUSE).await;
            }
            let request = self.clients.plain().get(url.clone());
            let answered = tokio::time::timeout(TIMEOUT, async {
                let response = request.send().await.map_err(|error| outgoing::broken(&error))?;
                outgoing::answer(response, MOST_BYTES).await
            });
            let answer = answered.await.unwrap_or(Err(Unanswered::TimedOut(TIMEOUT)));
            let judged = answer.map_err(|why| why.to_string()).and_then(|answer| judge(check, &answer));
            judged.map_err(|why| format!("{why} (attempt {attempt} of {attempts})"))?;
        }
        Ok(())
    }
}

impl HttpProbe for HttpProbeClient {
    fn check(&self, check: HttpCheck) -> BoxFuture<'_, HttpResult> {
        Box::pin(async move {
            let result = self.ask(&check).await;
            HttpResult { url: check.url, result }
        })
    }
}

fn judge(check: &HttpCheck, answer: &outgoing::Answer) -> Result<(), String> {
    match check.status {
        Some(expected) if answer.status != expected => {
            return Err(format!("answered {}, expected {expected}", answer.status));
        }
        None if !answer.is_success() => return Err(format!("answered {}, expected 2xx", answer.status)),
        _ => {}
    }
    match &check.text {
        Some(text) if !String::from_utf8_lossy(&answer.body).contains(text.as_str()) => {
            Err(format!("the body does not contain `{text}`"))
        }
        _ => Ok(()),
    }
}
