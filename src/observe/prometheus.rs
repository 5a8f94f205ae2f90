//! Asking Prometheus: one number for one query, when a condition began, whether rules are still evaluated. Whatever is not exactly
//! one finite number is unknown. What the rules say is read in `rules`.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::http::{good, json, unusable};
use super::rules::Rules;
use crate::model::{Alert, Fact, Labels, Number, Onset, TailSource, Texts, Time, Unknown, UnknownKind};
use crate::outgoing::{Answer, Clients, Endpoint, EndpointError, EndpointSettings, Question, Unanswered};
use crate::ports::{Clock, Prometheus};

/// How much Prometheus is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusLimits {
    /// How long one server has for one answer. It is told, and stops working on a query then.
    pub timeout: Duration,
    /// Requests a second, over a longer time.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl Default for PrometheusLimits {
    fn default() -> Self {
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self { timeout: Duration::from_secs(5), per_second: number(20), burst: number(100) }
    }
}

/// One Prometheus, or several that hold the same (a pair for availability).
pub struct PrometheusClient {
    servers: Vec<Endpoint>,
    limits: PrometheusLimits,
    limiter: DefaultDirectRateLimiter,
    clock: Arc<dyn Clock>,
}

impl PrometheusClient {
    /// A client of these servers: the first that answers counts. None is allowed: then everything is unknown.
    ///
    /// # Errors
    /// A server's settings cannot be used.
    pub fn new(
        clients: &Clients,
        servers: &[EndpointSettings],
        clock: Arc<dyn Clock>,
        limits: PrometheusLimits,
    ) -> Result<Self, EndpointError> {
        let servers = servers.iter().map(|server| clients.endpoint(server)).collect::<Result<_, _>>()?;
        let limiter = RateLimiter::direct(Quota::per_second(limits.per_second).allow_burst(limits.burst));
        Ok(Self { servers, limits, limiter, clock })
    }

    /// Whether each server answers a query, by address.
    pub async fn ping(&self) -> Vec<(String, Result<(), Unknown>)> {
        let mut found = Vec::new();
        for server in &self.servers {
            let answer = self.ask_one(server, self.instant("vector(1)", None).question()).await;
            found.push((server.name().to_owned(), good(answer).map(drop)));
        }
        found
    }

    /// Asks the servers in order until one answers. A refusal of the query is an answer.
    async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a Endpoint) -> F) -> (String, Result<T, Unknown>)
    where
        F: Future<Output = Result<T, Unknown>>,
    {
        let why = Unknown::new(UnknownKind::NotConfigured, "no prometheus is configured; set `--prometheus URL`");
        let mut last = ("prometheus".to_owned(), Err(why));
        for server in &self.servers {
            let name = format!("prometheus {}", server.name());
            match ask(server).await {
                Err(why) if matches!(why.kind, UnknownKind::Unreachable | UnknownKind::Forbidden) => last = (name, Err(why)),
                answer => return (name, answer),
            }
        }
        last
    }

    async fn ask_one(&self, server: &Endpoint, question: Question<'_>) -> Result<Answer, Unanswered> {
        // A bound for the queue, too: a fact that waited long for its turn is worth little.
        let turn = tokio::time::timeout(self.limits.timeout, self.limiter.until_ready()).await;
        turn.map_err(|_| Unanswered::Broken("too many queries at once; it was not asked".to_owned()))?;
        server.ask(question).await
    }

    fn instant(&self, promql: &str, at: Option<Time>) -> Instant {
        let timeout = format!("{}ms", self.limits.timeout.as_millis());
        let mut form = Serializer::new(String::new());
        form.append_pair("query", promql).append_pair("timeout", &timeout);
        if let Some(at) = at {
            let millis = at.millis();
            form.append_pair("time", &format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000)));
        }
        let body = form.finish();
        // A second more than it was told, so that its own message arrives.
        Instant { body: body.into(), timeout: self.limits.timeout + Duration::from_secs(1) }
    }

    async fn result(&self, server: &Endpoint, promql: &str, at: Option<Time>) -> Result<QueryResult, Unknown> {
        let answer = self.ask_one(server, self.instant(promql, at).question()).await;
        // Prometheus says in the body what is wrong with a query: more than the status tells.
        if let Ok(Answer { status: 400 | 422, body, .. }) = &answer
            && let Ok(Refusal { error }) = serde_json::from_slice(body)
        {
            return Err(unusable(format!("refused the query: {}", error.chars().take(300).collect::<String>())));
        }
        let envelope: Envelope<QueryResult> = json(&good(answer)?)?;
        match envelope.warnings.first() {
            // Parts are missing, or the query does not mean what it seems to.
            Some(warning) => Err(unusable(format!("answered with a warning: {warning}"))),
            None => Ok(envelope.data),
        }
    }

    async fn rules(&self) -> (String, Result<Rules, Unknown>) {
        self.first(async |server: &Endpoint| {
            let query = [("type", "alert"), ("exclude_alerts", "true")];
            let question = Question { timeout: self.limits.timeout, ..Question::get("api/v1/rules", &query) };
            let envelope: Envelope<Rules> = json(&good(self.ask_one(server, question).await)?)?;
            Ok(envelope.data)
        })
        .await
    }

    /// The time that `ALERTS_FOR_STATE` has for this alert: by all its labels, else by the one series that fits them best
    /// (external labels and relabelling add and drop some on the way to Alertmanager).
    async fn active_since(&self, server: &Endpoint, alert: &Alert) -> Result<Time, Unknown> {
        let mut series = self.result(server, &for_state(&alert.labels), None).await?.series()?;
        if series.len() != 1 {
            let only_name = alert.labels.iter().filter(|(name, _)| *name == "alertname").collect();
            series = self.result(server, &for_state(&only_name), None).await?.series()?;
            series.retain(|one| one.fits(&alert.labels));
            let most = series.iter().map(|one| one.metric.len()).max().unwrap_or(0);
            series.retain(|one| one.metric.len() == most);
        }
        let [one] = &series[..] else {
            let why = if series.is_empty() { "no series fits the alert" } else { "several series fit the alert" };
            return Err(Unknown::new(UnknownKind::Empty, why));
        };
        let since = one.sample()?.number()?;
        let since = Time::from_millis((since.get() * 1000.0) as i64);
        // It is cut to seconds, so it never lies after the firing that it led to; else it belongs to a later one.
        if since > alert.starts_at {
            return Err(Unknown::new(UnknownKind::Stale, "it tells of a later firing"));
        }
        Ok(since)
    }

    async fn find_onset(&self, alert: Alert) -> Onset {
        let (_, since) = self.first(async |server: &Endpoint| self.active_since(server, &alert).await).await;
        let no_state = match since {
            Ok(since) => return Onset { at: Ok(since), source: "ALERTS_FOR_STATE".to_owned() },
            Err(why) => why,
        };
        let source = "startsAt less the rule's `for`".to_owned();
        let (_, rules) = self.rules().await;
        let hold = rules.and_then(|rules| rules.hold(&alert.labels).map_err(unusable));
        let at = hold.map(|hold| alert.starts_at - hold).map_err(|why| {
            let kind = if no_state.kind == UnknownKind::Empty { why.kind } else { no_state.kind };
            Unknown::new(kind, format!("ALERTS_FOR_STATE: {no_state}; rules: {why}"))
        });
        Onset { at, source }
    }

    async fn ask_number(&self, promql: String, at: Option<Time>) -> Fact<Number> {
        let (source, answer) = self
            .first(async |server: &Endpoint| {
                let sample = self.result(server, &promql, at).await?.only()?;
                Ok((sample.number()?, sample.at()))
            })
            .await;
        match answer {
            Ok((number, at)) => Fact::known(number, at, source),
            Err(why) => Fact::unknown(why, self.clock.now(), source),
        }
    }
}

impl Prometheus for PrometheusClient {
    fn query(&self, promql: String) -> BoxFuture<'_, Fact<Number>> {
        Box::pin(self.ask_number(promql, None))
    }

    fn query_at(&self, promql: String, at: Time) -> BoxFuture<'_, Fact<Number>> {
        Box::pin(self.ask_number(promql, Some(at)))
    }

    fn onset(&self, alert: Alert) -> BoxFuture<'_, Onset> {
        Box::pin(self.find_onset(alert))
    }

    fn evaluated_at(&self) -> BoxFuture<'_, Fact<Time>> {
        Box::pin(async move {
            let (source, rules) = self.rules().await;
            let now = self.clock.now();
            let empty = || Unknown::new(UnknownKind::Empty, "it has no alerting rules");
            match rules.and_then(|rules| rules.evaluated_at(now).ok_or_else(empty)) {
                Ok(at) => Fact::known(at, now, source),
                Err(why) => Fact::unknown(why, now, source),
            }
        })
    }

    fn tail(&self, alertname: String) -> BoxFuture<'_, Option<TailSource>> {
        Box::pin(async move {
            let (_, rules) = self.rules().await;
            let tail = rules.ok()?.tail(&alertname)?;
            Some(TailSource { tail, source: "prometheus rules".to_owned() })
        })
    }
}

/// An instant query's form, which outlives the question that borrows it.
struct Instant {
    body: Bytes,
    timeout: Duration,
}

impl Instant {
    fn question(&self) -> Question<'static> {
        Question {
            body: Some(("application/x-www-form-urlencoded", self.body.clone())),
            timeout: self.timeout,
            most_bytes: 8 << 20,
            ..Question::get("api/v1/query", &[])
        }
    }
}

/// The selector of an alert's state. Label values are untrusted: they are quoted. Names that PromQL cannot spell are left out.
fn for_state(labels: &Texts) -> String {
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name != "__name__"
    };
    let matchers = labels.iter().filter(|(name, _)| plain(name)).map(|(name, value)| format!("{name}={}", quoted(value)));
    format!("ALERTS_FOR_STATE{{{}}}", matchers.collect::<Vec<_>>().join(","))
}

/// A PromQL string: Go's rules for what is between double quotes.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum QueryResult {
    Vector(Vec<Series>),
    Scalar(Sample),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: Labels,
    /// Absent for native histograms.
    value: Option<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample(f64, String);

impl QueryResult {
    fn series(self) -> Result<Vec<Series>, Unknown> {
        match self {
            Self::Vector(series) => Ok(series),
            _ => Err(unusable("expected an instant vector")),
        }
    }

    /// The one sample, or why there is not exactly one.
    fn only(self) -> Result<Sample, Unknown> {
        match self {
            Self::Scalar(sample) => Ok(sample),
            Self::Vector(mut series) => match series.len() {
                0 => Err(Unknown::new(UnknownKind::Empty, "no sample")),
                1 => series.remove(0).value.ok_or_else(|| unusable("a histogram; expected a number")),
                n => Err(unusable(format!("{n} series; expected one (aggregate them in the query)"))),
            },
            Self::Matrix(_) => Err(unusable("a range vector; expected one number")),
            Self::String(_) => Err(unusable("a string; expected one number")),
        }
    }
}

impl Series {
    /// Whether the alert has every label of this series.
    fn fits(&self, labels: &Texts) -> bool {
        self.metric.iter().all(|(name, value)| name == "__name__" || labels.get(name) == Some(value.as_str()))
    }

    fn sample(&self) -> Result<&Sample, Unknown> {
        self.value.as_ref().ok_or_else(|| unusable("a histogram; expected a number"))
    }
}

impl Sample {
    /// Prometheus' own time of the sample.
    fn at(&self) -> Time {
        Time::from_millis((self.0 * 1000.0) as i64)
    }

    fn number(&self) -> Result<Number, Unknown> {
        let value: f64 = self.1.parse().map_err(|_| unusable("expected a number"))?;
        Number::new(value).ok_or_else(|| unusable(format!("{}; expected a finite number", self.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        let labels =
            [("alertname", "A"), ("path", "a\"} or vector(1) #\\"), ("line", "x\ny\u{0}"), ("bad-name", "z"), ("é", "z")];
        let labels = Texts::from(labels);
        let expected = r#"ALERTS_FOR_STATE{alertname="A",line="x\u000ay\u0000",path="a\"} or vector(1) #\\"}"#;
        assert_eq!(for_state(&labels), expected);
    }

    fn only(json: &str) -> Result<f64, UnknownKind> {
        let result: QueryResult = serde_json::from_str(json).expect("a result");
        result.only().and_then(|sample| sample.number()).map(Number::get).map_err(|why| why.kind)
    }

    #[test]
    fn exactly_one_finite_number_is_a_value() {
        assert_eq!(only(r#"{"resultType":"scalar","result":[1.5,"2"]}"#), Ok(2.0));
        assert_eq!(only(r#"{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"0.5"]}]}"#), Ok(0.5));
        assert_eq!(only(r#"{"resultType":"vector","result":[]}"#), Err(UnknownKind::Empty));
        for text in [
            r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]},{"metric":{"a":"b"},"value":[1,"1"]}]}"#,
            r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}"#,
            r#"{"resultType":"scalar","result":[1,"+Inf"]}"#,
            r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1"}]}]}"#,
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]}]}"#,
            r#"{"resultType":"string","result":[1,"1"]}"#,
        ] {
            assert_eq!(only(text), Err(UnknownKind::Unusable), "{text}");
        }
    }
}
