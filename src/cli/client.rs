//! Talking to a running service over its API. Turns whatever comes back into an answer or into a failure that says what to do.
//! Must not know what the answers mean; the commands do.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::outgoing::{Answer, Clients, Endpoint, EndpointSettings, Question, Unanswered};

/// The engine answers within 10 s, or says that it cannot; the answer needs its way, too.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Where the service is unless told otherwise.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:9095";
/// No answer of the API is larger.
const MOST_BYTES: usize = 64 << 20;

/// Which service is asked.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The service")]
pub struct Remote {
    /// The service's address
    #[arg(long, env = "BACKOUT_URL", value_name = "URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// A file with a bearer token, one line; on loopback, reading needs none
    #[arg(long, env = "BACKOUT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with the only certificate authorities to trust (PEM)
    #[arg(long, env = "BACKOUT_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// A service to ask.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
}

impl Client {
    /// A client of that service. Nothing is asked yet.
    ///
    /// # Errors
    /// The address or a file cannot be used.
    pub(super) fn new(remote: &Remote) -> Result<Self, Failure> {
        let Remote { url, token_file, ca_file } = remote.clone();
        let settings = EndpointSettings { url, token_file, ca_file, ..EndpointSettings::default() };
        let endpoint = Clients::new().and_then(|clients| clients.endpoint(&settings));
        Ok(Self { endpoint: endpoint.map_err(|error| Failure::usage(error.to_string()))? })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// The service cannot be reached, or says no.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.json(Question::get(&under(path), query)).await
    }

    /// Reads text.
    ///
    /// # Errors
    /// As for `get`.
    pub(super) async fn get_text(&self, path: &str, query: &[(&str, &str)]) -> Result<String, Failure> {
        let answer = self.ask(Question::get(&under(path), query)).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Tells the service something.
    ///
    /// # Errors
    /// As for `get`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(Question::post_json(&under(path), Bytes::from(body.to_string()))).await
    }

    /// Ends something.
    ///
    /// # Errors
    /// As for `get`.
    pub(super) async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.json(Question::delete(&under(path), query)).await
    }

    /// Reads JSON from the service's own door, `/-/`.
    ///
    /// # Errors
    /// As for `get`.
    pub(super) async fn get_admin(&self, path: &str) -> Result<Value, Failure> {
        self.json(Question::get(&format!("-/{path}"), &[])).await
    }

    /// Changes something there.
    ///
    /// # Errors
    /// As for `get`.
    pub(super) async fn put_admin(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let path = format!("-/{path}");
        let question = Question::post_json(&path, Bytes::from(body.to_string()));
        self.json(Question { method: Some(reqwest::Method::PUT), ..question }).await
    }

    async fn json(&self, question: Question<'_>) -> Result<Value, Failure> {
        let answer = self.ask(question).await?;
        serde_json::from_slice(&answer.body).map_err(|_| self.stranger(&answer))
    }

    async fn ask(&self, question: Question<'_>) -> Result<Answer, Failure> {
        let question = Question { timeout: TIMEOUT, most_bytes: MOST_BYTES, ..question };
        let answer = self.endpoint.ask(question).await.map_err(|why| self.unanswered(&why))?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    fn unanswered(&self, why: &Unanswered) -> Failure {
        match why {
            Unanswered::Secret { .. } => {
                Failure::usage(why.to_string()).help("`--token-file` names a file with one token on one line")
            }
            _ => Failure::new(Exit::Unreachable, format!("the service at `{}` does not answer: {why}", self.endpoint.name()))
                .help("is it running? name its address with `--url` or BACKOUT_URL"),
        }
    }

    /// The service says no, and why.
    fn refused(&self, answer: &Answer) -> Failure {
        let problem = serde_json::from_slice::<Problem>(&answer.body).ok();
        let Some(problem) = problem.filter(|problem| problem.kind.starts_with("urn:backout:problem:")) else {
            return self.stranger(answer);
        };
        let exit = match answer.status {
            401 | 403 => Exit::NotPermitted,
            404 => Exit::NotFound,
            408 | 429 | 503 => Exit::Unreachable,
            409 => Exit::Conflict,
            400..=499 => Exit::Usage,
            _ => Exit::Internal,
        };
        let help = match exit {
            Exit::NotPermitted => Some(
                "name a file with a token with `--token-file` or BACKOUT_TOKEN_FILE; what changes something needs one of the \
                 scope `operate`",
            ),
            Exit::NotFound => Some("`backout incidents --state all` and `backout pauses` list what there is"),
            Exit::Unreachable => Some("try again in a moment; the service's log and `/-/ready` say what it waits for"),
            _ => None,
        };
        Failure { exit, message: problem.detail, help: help.map(str::to_owned) }
    }

    /// Whoever answers there is not the service.
    fn stranger(&self, answer: &Answer) -> Failure {
        let (name, status, excerpt) = (self.endpoint.name(), answer.status, answer.excerpt());
        let said = if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") };
        let message = format!("what answers at `{name}` is not backout's API (status {status}{said})");
        Failure::new(Exit::Unreachable, message).help("name the service's address with `--url` or BACKOUT_URL")
    }
}

/// RFC 9457, as the service writes it.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
}

fn under(path: &str) -> String {
    format!("api/v1/{path}")
}

/// An incident's id, checked here: it becomes a part of an address.
///
/// # Errors
/// It is none.
pub(super) fn incident_id(text: &str) -> Result<String, String> {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 13 && text.starts_with('i') && text.bytes().skip(1).all(hex) {
        Ok(text.to_owned())
    } else {
        Err("expected `i` and 12 hex digits, as `backout incidents` shows them".to_owned())
    }
}
