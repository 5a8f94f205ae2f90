//! Asking the health URLs of a verification. Follows nothing, sends no credentials, reads little.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::{Fact, HttpCheck, HttpFact, HttpResult, Unknown, UnknownKind};
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

impl HttpProbeClient {
    async fn look(&self, what: &HttpFact) -> Result<String, Unknown> {
        let url = outgoing::address(&what.url).map_err(|error| Unknown::new(UnknownKind::Unusable, error.to_string()))?;
        let answered = tokio::time::timeout(TIMEOUT, async {
            let response = self.clients.plain().get(url).send().await.map_err(|error| outgoing::broken(&error))?;
            outgoing::answer(response, MOST_BYTES).await
        });
        let answer = answered.await.unwrap_or(Err(Unanswered::TimedOut(TIMEOUT)));
        let answer = answer.map_err(|why| Unknown::new(UnknownKind::Unreachable, why.to_string()))?;
        if !answer.is_success() {
            return Err(Unknown::new(UnknownKind::Unusable, format!("answered {}, expected 2xx", answer.status)));
        }
        what.read(&answer.body)
    }
}

impl HttpProbe for HttpProbeClient {
    fn check(&self, check: HttpCheck) -> BoxFuture<'_, HttpResult> {
        Box::pin(async move {
            let result = self.ask(&check).await;
            HttpResult { url: check.url, result }
        })
    }

    fn fetch(&self, what: HttpFact) -> BoxFuture<'_, Fact<String>> {
        Box::pin(async move {
            let found = self.look(&what).await;
            // Neither the path nor what follows it: they may hold what is nobody's business.
            let host = outgoing::address(&what.url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
            Fact { value: found, at: self.clock.now(), source: format!("http {host}") }
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
