//! Asking Prometheus for a range of time: bounded, split where it is too much for one answer, kept on the disk.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::kept::Kept;
use super::series::{Series, join, millis};
use crate::model::{Labels, Time};
use crate::outgoing::{Answer, Endpoint, Question, Unanswered};

/// The largest answer that is read.
const MOST_BYTES: usize = 64 << 20;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Points of one series in one answer: Prometheus refuses more than 11,000.
const MOST_POINTS: i64 = 10_000;
/// How often a question without an answer is asked.
const TRIES: u32 = 3;

/// A Prometheus that is asked about the past.
#[derive(Debug)]
pub struct Source {
    endpoint: Endpoint,
    kept: Option<Kept>,
    /// How far samples are apart.
    pub step: Duration,
    /// What is older than this does not change any more, and is kept.
    settled: Time,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Prometheus does not take the query.
    #[error("{0}")]
    Refused(String),
    /// Nothing came, or something else than an answer.
    #[error("{0}")]
    Silent(String),
}

#[derive(Deserialize)]
struct Envelope {
    data: Data,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Raw>,
}

#[derive(Deserialize)]
struct Raw {
    metric: Labels,
    /// Of a range.
    #[serde(default)]
    values: Vec<(f64, String)>,
    /// Native histograms are no numbers.
    #[serde(default)]
    histograms: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Said {
    error: String,
}

impl Source {
    /// One that answers there. `settled`: what is older does not change any more.
    pub fn new(endpoint: Endpoint, kept: Option<Kept>, step: Duration, settled: Time) -> Self {
        Self { endpoint, kept, step: step.max(Duration::from_secs(1)), settled }
    }

    /// The address, for people.
    pub fn name(&self) -> &str {
        self.endpoint.name()
    }

    /// The query's series from one time up to another, which is not included.
    ///
    /// # Errors
    /// It is refused, or nothing answers.
    pub async fn range(&self, promql: &str, from: Time, to: Time) -> Result<Vec<Series>, Refusal> {
        let step = millis(self.step);
        let most = step.saturating_mul(MOST_POINTS);
        let mut left = vec![(from.millis(), to.millis())];
        let mut found = Vec::new();
        // The latest part lies on top until it is split: parts come in order of time.
        while let Some((begin, end)) = left.pop() {
            if begin >= end {
                continue;
            }
            if end - begin > most {
                left.extend([(begin + most, end), (begin, begin + most)]);
                continue;
            }
            match self.part(promql, begin, end).await {
                Ok(series) => found.push(series),
                Err(TooMuch(_)) if end - begin > 20 * step => {
                    let middle = begin + (end - begin) / step / 2 * step;
                    left.extend([(middle, end), (begin, middle)]);
                }
                Err(TooMuch(why)) => return Err(Refusal::Silent(why)),
                Err(Gone(why)) => return Err(why),
            }
        }
        Ok(join(found, self.step))
    }

    async fn part(&self, promql: &str, begin: i64, end: i64) -> Result<Vec<Series>, Trouble> {
        let times = [seconds(begin), seconds(end - 1), self.step.as_millis().to_string()];
        let question = [self.endpoint.name(), promql, &times[0], &times[1], &times[2]];
        let kept = self.kept.as_ref().filter(|_| end <= self.settled.millis());
        if let Some(series) = kept.and_then(|kept| kept.get(&question)) {
            return Ok(series);
        }
        let series = self.ask(promql, &times[0], &times[1]).await?;
        if let Some(kept) = kept {
            kept.put(&question, &series).map_err(|why| Gone(Refusal::Silent(why)))?;
        }
        Ok(series)
    }

    async fn ask(&self, promql: &str, begin: &str, end: &str) -> Result<Vec<Series>, Trouble> {
        let step = format!("{}", self.step.as_secs_f64());
        let timeout = format!("{}s", TIMEOUT.as_secs());
        let mut form = Serializer::new(String::new());
        form.append_pair("query", promql).append_pair("start", begin).append_pair("end", end);
        let body: Bytes = form.append_pair("step", &step).append_pair("timeout", &timeout).finish().into();
        let mut tries = 0;
        loop {
            let question = Question {
                body: Some(("application/x-www-form-urlencoded", body.clone())),
                timeout: TIMEOUT + Duration::from_secs(1),
                most_bytes: MOST_BYTES,
                ..Question::get("api/v1/query_range", &[])
            };
            tries += 1;
            let wait = match self.endpoint.ask(question).await {
                Ok(answer) if tries < TRIES && matches!(answer.status, 429 | 500 | 502 | 504) => answer.retry_after,
                Err(Unanswered::Broken(_)) if tries < TRIES => None,
                answer => return self.read(answer),
            };
            tokio::time::sleep(wait.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(30))).await;
        }
    }

    fn read(&self, answer: Result<Answer, Unanswered>) -> Result<Vec<Series>, Trouble> {
        let name = self.endpoint.name();
        let silent = |why: String| Gone(Refusal::Silent(format!("{name}: {why}")));
        let answer = match answer {
            Ok(answer) => answer,
            Err(why @ (Unanswered::TimedOut(_) | Unanswered::TooLarge(_))) => return Err(TooMuch(format!("{name}: {why}"))),
            Err(why) => return Err(silent(why.to_string())),
        };
        if !answer.is_success() {
            let said = serde_json::from_slice::<Said>(&answer.body).map(|said| said.error);
            let said: String = said.unwrap_or_else(|_| answer.excerpt()).chars().take(300).collect();
            // It would take too many samples, or too long: less may be answered.
            let much = ["too many samples", "timed out", "exceeded", "too large"].iter().any(|words| said.contains(words));
            return Err(match answer.status {
                400 | 422 | 503 if much => TooMuch(format!("{name} answered {}: {said}", answer.status)),
                400 | 422 => Gone(Refusal::Refused(format!("{name} refused the query: {said}"))),
                status => silent(format!("answered {status}: {said}")),
            });
        }
        let Envelope { data, warnings } =
            serde_json::from_slice(&answer.body).map_err(|error| silent(format!("no answer of Prometheus: {error}")))?;
        // Parts are missing.
        if let Some(warning) = warnings.first() {
            return Err(silent(format!("answered with a warning: {warning}")));
        }
        Ok(data.result.into_iter().map(|raw| self.series(raw)).collect())
    }

    fn series(&self, raw: Raw) -> Series {
        let sample = |(at, value): (f64, String)| ((at * 1000.0).round() as i64, value.parse().unwrap_or(f64::NAN));
        let mut labels = raw.metric;
        labels.remove("__name__");
        let mut series = Series::new(labels, raw.values.into_iter().map(sample), self.step);
        series.unusable |= !raw.histograms.is_empty();
        series
    }
}

/// What came instead of an answer.
enum Trouble {
    /// Less may be answered.
    TooMuch(String),
    /// Less will not be answered either.
    Gone(Refusal),
}

use Trouble::{Gone, TooMuch};

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}
