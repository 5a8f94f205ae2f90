//! L2: asking somebody over HTTP. What every adapter that does so shares: time limits, bounded bodies, no redirects, no hidden
//! retries, credentials from files, errors without secrets. Knows nobody's API.

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Method, Proxy, Response};
use url::Url;

/// Where somebody answers, and how we show who we are. Secrets come from files only, read again for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSettings {
    /// The base address, `http` or `https`, without credentials.
    pub url: String,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// A user name for basic authentication.
    pub username: Option<String>,
    /// A file with that user's password.
    pub password_file: Option<PathBuf>,
    /// A file with the only certificate authorities to trust (PEM).
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy. The environment's proxies are not used.
    pub proxy: Option<String>,
}

impl EndpointSettings {
    /// Just an address.
    pub fn plain(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// Why an endpoint cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not an address that can be asked.
    #[error("`{url}` is no address to ask: {why}")]
    Address {
        /// As it was given, less its credentials.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Half of a pair, or two ways at once.
    #[error("`{url}`: {why}")]
    Credentials {
        /// The address.
        url: String,
        /// What does not go together.
        why: &'static str,
    },
    /// The certificate authorities cannot be read.
    #[error("cannot read certificates from `{}`: {why}; expected a PEM file", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The TLS library refused.
    #[error("cannot set up HTTP: {0}")]
    Client(String),
}

/// A set of clients, made once and shared by what needs no certificate authority of its own: each costs milliseconds and memory.
#[derive(Clone, Debug)]
pub struct Clients {
    plain: Client,
}

impl Clients {
    /// The shared client. The process' crypto provider must have been installed.
    ///
    /// # Errors
    /// The TLS library refused.
    pub fn new() -> Result<Self, EndpointError> {
        Ok(Self { plain: build(None, None, None)? })
    }

    /// An endpoint as it is set.
    ///
    /// # Errors
    /// The settings are no usable address, or do not go together.
    pub fn endpoint(&self, settings: &EndpointSettings) -> Result<Endpoint, EndpointError> {
        self.endpoint_certified(settings, None)
    }

    /// The same, with a client certificate and its key from a file (PEM, both in one).
    ///
    /// # Errors
    /// As for `endpoint`; or the certificate cannot be used.
    pub fn endpoint_certified(&self, settings: &EndpointSettings, certificate: Option<&Path>) -> Result<Endpoint, EndpointError> {
        let base = address(&settings.url)?;
        let url = base.to_string();
        let credentials = match (&settings.token_file, &settings.username, &settings.password_file) {
            (None, None, None) => Credentials::None,
            (Some(file), None, None) => Credentials::Bearer(file.clone()),
            (None, Some(user), Some(file)) => Credentials::Basic(user.clone(), file.clone()),
            (Some(_), ..) => return Err(EndpointError::Credentials { url, why: "set either a token or a user, not both" }),
            (None, ..) => {
                return Err(EndpointError::Credentials { url, why: "a user name and a password file need each other" });
            }
        };
        let client = match (&settings.ca_file, &settings.proxy, certificate) {
            (None, None, None) => self.plain.clone(),
            (ca_file, proxy, certificate) => build(ca_file.as_deref(), proxy.as_deref(), certificate)?,
        };
        let name = base.as_str().trim_end_matches('/').to_owned();
        Ok(Endpoint { base, name, credentials, token_scheme: "Bearer ", client })
    }

    /// The client without credentials, for addresses that are made up later.
    pub fn plain(&self) -> &Client {
        &self.plain
    }
}

enum Credentials {
    None,
    Bearer(PathBuf),
    Basic(String, PathBuf),
}

/// Somebody to ask.
pub struct Endpoint {
    base: Url,
    name: String,
    credentials: Credentials,
    /// What stands before the token in the header `Authorization`.
    token_scheme: &'static str,
    client: Client,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.name).finish()
    }
}

/// A question: what is sent, how long it may take, how much is read.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The method; unset: POST with a body, GET without one.
    pub method: Option<Method>,
    /// Under the base address, without a leading slash; empty for the address itself.
    pub path: &'a str,
    /// The query string's pairs.
    pub query: &'a [(&'a str, &'a str)],
    /// A body with its content type: then it is a POST.
    pub body: Option<(&'static str, Bytes)>,
    /// Further headers.
    pub headers: &'a [(&'static str, &'a str)],
    /// For all of it, the answer's body too.
    pub timeout: Duration,
    /// The largest body that is read.
    pub most_bytes: usize,
}

impl<'a> Question<'a> {
    /// A GET within 5 s, of at most 64 MiB.
    pub fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { method: None, path, query, body: None, headers: &[], timeout: Duration::from_secs(5), most_bytes: 64 << 20 }
    }

    /// A DELETE within 5 s, of whose answer at most 1 MiB is read.
    pub fn delete(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { method: Some(Method::DELETE), most_bytes: 1 << 20, ..Self::get(path, query) }
    }

    /// A POST of JSON within 5 s, of whose answer at most 1 MiB is read.
    pub fn post_json(path: &'a str, body: Bytes) -> Self {
        Self { body: Some(("application/json", body)), most_bytes: 1 << 20, ..Self::get(path, &[]) }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long to wait before asking again, if the answer says so.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first line of the body, cut short, for a report.
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]).into_owned();
        text.trim().lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// Why there is no whole answer. Never holds a secret: addresses are shown without credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Not in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No connection, or it broke.
    #[error("{0}")]
    Broken(String),
    /// More than we read.
    #[error("the answer is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// Our own credentials could not be read.
    #[error("cannot read the secret in `{}`: {why}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl Endpoint {
    /// The address, for people. It has no credentials.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// With another word before the token than `Bearer `, for who wants one.
    #[must_use]
    pub fn with_token_scheme(self, token_scheme: &'static str) -> Self {
        Self { token_scheme, ..self }
    }

    /// Asks once.
    ///
    /// # Errors
    /// There is no whole answer. An answer with a bad status is an answer.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, Unanswered> {
        let timeout = question.timeout;
        match tokio::time::timeout(timeout, self.ask_unbounded(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unanswered::TimedOut(timeout)),
        }
    }

    async fn ask_unbounded(&self, question: Question<'_>) -> Result<Answer, Unanswered> {
        let usual = if question.body.is_some() { Method::POST } else { Method::GET };
        let method = question.method.unwrap_or(usual);
        let mut request = self.client.request(method, self.url(question.path, question.query));
        request = match &self.credentials {
            Credentials::None => request,
            Credentials::Bearer(file) => {
                let value = HeaderValue::try_from(format!("{}{}", self.token_scheme, secret(file).await?));
                // The error would not show the value; that it cannot be in a header is all there is to say.
                let mut value = value.map_err(|_| Unanswered::Secret {
                    path: file.clone(),
                    why: "it has characters that no token has".to_owned(),
                })?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
            Credentials::Basic(user, file) => request.basic_auth(user, Some(secret(file).await?)),
        };
        if !question.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header(ACCEPT, "application/json");
        }
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        if let Some((kind, body)) = question.body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let response = request.send().await.map_err(|error| broken(&error))?;
        answer(response, question.most_bytes).await
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if !path.is_empty() {
            url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// Reads an answer up to a size.
///
/// # Errors
/// It broke off, or is too large.
pub async fn answer(mut response: Response, most_bytes: usize) -> Result<Answer, Unanswered> {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > most_bytes {
            return Err(Unanswered::TooLarge(most_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, retry_after, body: body.freeze() })
}

/// `Retry-After` in seconds; else, where an allowance is spent, when it is renewed by the server's own clock (GitHub, GitLab).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(seconds) = text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()) {
        return Some(Duration::from_secs(seconds));
    }
    let first = |names: [&str; 2]| names.iter().find_map(|name| text(name));
    if first(["x-ratelimit-remaining", "ratelimit-remaining"])? != "0" {
        return None;
    }
    let reset: i64 = first(["x-ratelimit-reset", "ratelimit-reset"])?.parse().ok()?;
    let now = jiff::fmt::rfc2822::parse(text(DATE.as_str())?).ok()?.timestamp().as_second();
    Some(Duration::from_secs(u64::try_from(reset - now).unwrap_or(0)))
}

/// What broke, down to its cause, without the address (it may hold what nobody should read).
pub fn broken(error: &reqwest::Error) -> Unanswered {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    // Without a cause below it the error is reqwest's own, which prints the address.
    let detail = if error.source().is_some() { cause.to_string() } else { String::new() };
    Unanswered::Broken(if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") })
}

/// Reads an address and refuses what cannot be asked or should not be written down.
///
/// # Errors
/// Says what is wrong with it.
pub fn address(text: &str) -> Result<Url, EndpointError> {
    let refuse = |url: &str, why: &str| EndpointError::Address { url: url.to_owned(), why: why.to_owned() };
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            let shown = text.rsplit('@').next().unwrap_or_default();
            return Err(refuse(shown, &format!("{error}; expected something like `http://host:9090`")));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        url.set_username("").ok();
        url.set_password(None).ok();
        return Err(refuse(url.as_str(), "it holds credentials; put them into a file and name that"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse(text, "expected `http://` or `https://`"));
    }
    Ok(url)
}

/// A secret, read again each time so that it can be changed without a restart.
///
/// # Errors
/// Names the file. What is in it is never shown.
pub async fn secret(path: &Path) -> Result<String, Unanswered> {
    let failed = |why: String| Unanswered::Secret { path: path.to_owned(), why };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))?;
    let text = text.trim();
    if text.is_empty() || text.contains(|c: char| c.is_control()) {
        return Err(failed("it is empty, or has more than one line".to_owned()));
    }
    Ok(text.to_owned())
}

fn build(ca_file: Option<&Path>, proxy: Option<&str>, certificate: Option<&Path>) -> Result<Client, EndpointError> {
    let refused = |error: reqwest::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        EndpointError::Client(format!("{error}{cause}"))
    };
    let builder = prepare(proxy, certificate)?;
    if let Some(path) = ca_file {
        let failed = |why: String| EndpointError::Certificates { path: path.to_owned(), why };
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
        if certificates.is_empty() {
            return Err(failed("there is no certificate in it".to_owned()));
        }
        return builder.tls_certs_only(certificates).build().map_err(refused);
    }
    match builder.build() {
        Ok(client) => Ok(client),
        // A machine that knows no authorities, like an empty root with this program alone in it: those that browsers trust.
        Err(error) => {
            tracing::debug!(%error, "the machine's certificate authorities cannot be used; the built-in public ones are");
            let public: Result<Vec<Certificate>, _> =
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der)).collect();
            prepare(proxy, certificate)?.tls_certs_only(public.map_err(refused)?).build().map_err(refused)
        }
    }
}

/// All but whom it trusts.
fn prepare(proxy: Option<&str>, certificate: Option<&Path>) -> Result<ClientBuilder, EndpointError> {
    let mut builder = Client::builder()
        .user_agent(concat!("backout/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4)
        .no_proxy();
    if let Some(path) = certificate {
        let failed = |why: String| EndpointError::Certificates { path: path.to_owned(), why };
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        // The library's own words may quote the file.
        let identity = Identity::from_pem(&pem).map_err(|_| failed("it needs a certificate and its key".to_owned()))?;
        builder = builder.identity(identity);
    }
    if let Some(proxy) = proxy {
        let proxy = Proxy::all(address(proxy)?).map_err(|error| EndpointError::Client(error.to_string()))?;
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        let text = address("http://user:hunter2@prometheus:9090").expect_err("refused").to_string();
        assert!(text.contains("put them into a file") && !text.contains("hunter2") && !text.contains("user:"), "{text}");
    }

    #[test]
    fn only_http_is_asked() {
        assert!(!address("http://user:hunter2@ho st").expect_err("refused").to_string().contains("hunter2"));
        for text in ["ftp://host", "file:///etc/passwd", "prometheus:9090", "host", ""] {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(address("https://host/prefix").is_ok());
    }
}
