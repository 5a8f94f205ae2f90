//! L2: every metric that `backout` has, in one place. Names are public. Label values come from enums and from reviewed files
//! (policy, channel), never from an alert.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Error, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::model::{AlertStatus, Brake, Outcome, Reason, Source, Time};

/// A counter of [`Metrics`] that is handed to who counts.
pub type Counter = IntCounter;

/// What [`Metrics::render`] is, for the header `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From an interactive second to half a day: how long parts of an incident take.
const INCIDENT_SECONDS: &[f64] =
    &[1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0];

/// From a fast disk's sync to the time limit of a commit.
const COMMIT_SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label's value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

mod access;
mod drills;
mod labels;

pub use access::{AccessMetrics, LoginRefusal, TlsRefusal};
pub use drills::DrillMetrics;
pub use labels::{ActionResult, AlertResult, Asked, ChangeBy, Figure, NotificationResult, WebhookResult};

/// Every metric. Made once, handed on as `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    webhook_requests: Vec<IntCounter>,
    alerts_received: Vec<IntCounter>,
    alerts_unreadable: IntCounterVec,
    incidents_open: IntGaugeVec,
    decisions: IntCounterVec,
    brake_holds: IntCounterVec,
    brake_holding: IntGaugeVec,
    actions: IntCounterVec,
    attempts: IntCounterVec,
    incidents_closed: IntCounterVec,
    pages: IntCounterVec,
    changes: IntCounterVec,
    observations: IntCounterVec,
    store_stuck: Gauge,
    notifications: IntCounterVec,
    times: Vec<Histogram>,
    policy_reloads: IntCounterVec,
    policy_reload_success: IntGauge,
    policy_reload_timestamp: Gauge,
    policy_info: IntGaugeVec,
    watch_age: Gauge,
    /// Who is let in, and what people say.
    pub access: AccessMetrics,
    /// Drills.
    pub drills: DrillMetrics,
    /// `backout_webhook_commit_seconds`: from handing a receipt to the journal to its being on the disk.
    pub webhook_commit: Histogram,
    /// `backout_inbox_depth`: receipts that were taken and wait for the engine.
    pub inbox_depth: IntGauge,
    /// `backout_inbox_capacity`: how many may wait before webhooks are refused.
    pub inbox_capacity: IntGauge,
    /// `backout_store_commit_failures_total`: commits that the journal did not make.
    pub store_commit_failures: IntCounter,
    /// `backout_trace_spans_lost_total`: spans of traces that no collector took.
    pub spans_lost: IntCounter,
    /// `backout_rollback_unreconciled`: targets that still run a release that we put back; git says another one.
    pub rollback_unreconciled: IntGauge,
    /// `backout_pages_untaken`: open incidents whose newest page no channel took.
    pub pages_untaken: IntGauge,
    /// `backout_news_untold`: incidents of which something must be told, was sent again, and no channel is known to have.
    pub news_untold: IntGauge,
    /// `backout_clock_leaps_total`: times that somebody set the clock by two seconds or more.
    pub clock_leaps: IntCounter,
}

impl Metrics {
    /// All metrics, with a zero for every label value that is known beforehand, so that `rate()` sees the first one.
    ///
    /// # Errors
    /// When two metrics share a name; a mistake of ours that every test would find.
    pub fn new() -> Result<Arc<Self>, Error> {
        let make = Make(Registry::new());
        make.0.register(Box::new(ProcessCollector::for_self()))?;
        let build = make.gauges("build_info", "The version that runs; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            webhook_requests: make.webhook_requests()?,
            alerts_received: make.alerts_received()?,
            alerts_unreadable: make.counters(
                "alerts_unreadable_total",
                "Alerts that could not be read and were left out of their notification.",
                &["source"],
            )?,
            incidents_open: make.gauges("incidents_open", "Open incidents, by the state that they are in.", &["state"])?,
            decisions: make.counters("decisions_total", "Verdicts, by policy.", &["policy", "outcome", "reason"])?,
            brake_holds: make.counters("brake_holds_total", "Rollbacks that a brake held.", &["brake"])?,
            brake_holding: make.gauges("brake_holding", "Open incidents whose rollback this brake holds.", &["brake"])?,
            actions: make.counters("actions_total", "Steps of plans carried out or tried.", &["step", "result"])?,
            notifications: make.counters("notifications_total", "Messages to people, by channel.", &["channel", "result"])?,
            attempts: make.counters("attempts_total", "Plans on their way, by how they ended.", &["policy", "result"])?,
            incidents_closed: make.counters(
                "incidents_closed_total",
                "Incidents that are over, by how they ended.",
                &["policy", "reason"],
            )?,
            pages: make.counters("pages_total", "Pages, those sent again among them.", &["policy", "reason"])?,
            changes: make.counters("changes_total", "New releases of targets that the watch saw.", &["by"])?,
            observations: make.counters(
                "observations_total",
                "Times that something was asked, by whom, and whether it answered.",
                &["source", "result"],
            )?,
            store_stuck: make.float("store_stuck_seconds", "Time for which the journal has not committed; 0: it does.")?,
            pages_untaken: make.gauge("pages_untaken", "Open incidents whose newest page no channel took.")?,
            news_untold: make.gauge("news_untold", "Incidents with a ticket or news of a rollback that no channel took.")?,
            times: make.times()?,
            policy_reloads: make.counters("policy_reloads_total", "Times that policies were read.", &["result"])?,
            policy_reload_success: make.gauge("policy_reload_success", "1: the policy files on the disk are what is used.")?,
            policy_reload_timestamp: make
                .float("policy_reload_timestamp_seconds", "When policies were last taken into use, in Unix time.")?,
            policy_info: make.gauges("policy_info", "The hash of the policies in use; always 1.", &["hash"])?,
            watch_age: make.float("watch_age_seconds", "Time since the cluster's watch was last heard of; +Inf: never.")?,
            webhook_commit: make.histogram(
                "webhook_commit_seconds",
                "Time that a receipt took to be on the disk.",
                COMMIT_SECONDS,
            )?,
            inbox_depth: make.gauge("inbox_depth", "Receipts that were taken and wait for the engine.")?,
            inbox_capacity: make.gauge("inbox_capacity", "Receipts that may wait before webhooks are refused.")?,
            store_commit_failures: make.counter("store_commit_failures_total", "Commits that the journal did not make.")?,
            spans_lost: make.counter("trace_spans_lost_total", "Spans of traces that no collector took.")?,
            rollback_unreconciled: make
                .gauge("rollback_unreconciled", "Targets that still run a release that we put back; git says another one.")?,
            clock_leaps: make.counter("clock_leaps_total", "Times that the clock was set by two seconds or more.")?,
            access: AccessMetrics::new(&make)?,
            drills: DrillMetrics::new(&make)?,
            registry: make.0,
        };
        metrics.touch();
        Ok(Arc::new(metrics))
    }

    fn touch(&self) {
        for source in SOURCES {
            self.alerts_unreadable.with_label_values(&[source.as_str()]);
        }
        for brake in Brake::ALL {
            self.brake_holds.with_label_values(&[brake.as_str()]);
            self.brake_holding.with_label_values(&[brake.as_str()]);
        }
        for result in ActionResult::ALL {
            self.actions.with_label_values(&["undo", result.as_str()]);
        }
        for by in ChangeBy::ALL {
            self.changes.with_label_values(&[by.as_str()]);
        }
        for source in Asked::ALL {
            for answered in [true, false] {
                self.observations.with_label_values(&[source.as_str(), answered_or_not(answered)]);
            }
        }
        for result in ["success", "failure"] {
            self.policy_reloads.with_label_values(&[result]);
        }
        self.watch_age.set(f64::INFINITY);
    }

    /// The text of `/metrics`, see [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# some metrics cannot be shown: {error}\n"),
        }
    }

    /// `backout_webhook_requests_total{source,result}`: webhook requests, by how they ended.
    pub fn webhook_requests(&self, source: Source, result: WebhookResult) -> &IntCounter {
        &self.webhook_requests[source as usize * WebhookResult::ALL.len() + result as usize]
    }

    /// `backout_alerts_received_total{source,status,result}`: alerts in readable notifications, by what became of them.
    pub fn alerts_received(&self, source: Source, status: AlertStatus, result: AlertResult) -> &IntCounter {
        &self.alerts_received[(source as usize * STATUSES.len() + status as usize) * AlertResult::ALL.len() + result as usize]
    }

    /// `backout_alerts_unreadable_total{source}`: alerts that were left out of their notification.
    pub fn alerts_unreadable(&self, source: Source) -> IntCounter {
        self.alerts_unreadable.with_label_values(&[source.as_str()])
    }

    /// `backout_incidents_open{state}`: open incidents. Give all states each time, those at 0 too.
    pub fn incidents_open(&self, state: &'static str, open: usize) {
        self.incidents_open.with_label_values(&[state]).set(whole(open));
    }

    /// `backout_decisions_total{policy,outcome,reason}`: a verdict fell. The reason is a [`Reason`]'s or a [`Brake`]'s name.
    pub fn decided(&self, policy: &str, outcome: Outcome, reason: &'static str) {
        self.decisions.with_label_values(&[policy, outcome.as_str(), reason]).inc();
    }

    /// `backout_brake_holds_total{brake}`: a brake held a rollback.
    pub fn brake_held(&self, brake: Brake) {
        self.brake_holds.with_label_values(&[brake.as_str()]).inc();
    }

    /// `backout_brake_holding{brake}`: how many open incidents it holds now.
    pub fn brake_holding(&self, brake: Brake, incidents: usize) {
        self.brake_holding.with_label_values(&[brake.as_str()]).set(whole(incidents));
    }

    /// `backout_actions_total{step,result}`: a step of a plan ended.
    pub fn acted(&self, step: &'static str, result: ActionResult) {
        self.actions.with_label_values(&[step, result.as_str()]).inc();
    }

    /// `backout_attempts_total{policy,result}`: a plan is no longer on its way. The result is a [`Reason`]'s name.
    pub fn attempt_ended(&self, policy: &str, result: Reason) {
        self.attempts.with_label_values(&[policy, result.as_str()]).inc();
    }

    /// `backout_incidents_closed_total{policy,reason}`: an incident is over.
    pub fn incident_closed(&self, policy: &str, reason: Reason) {
        self.incidents_closed.with_label_values(&[policy, reason.as_str()]).inc();
    }

    /// `backout_pages_total{policy,reason}`: somebody is paged, for the first time or again.
    pub fn paged(&self, policy: &str, reason: Reason) {
        self.pages.with_label_values(&[policy, reason.as_str()]).inc();
    }

    /// `backout_changes_total{by}`: a target has a new release.
    pub fn changed(&self, by: ChangeBy) {
        self.changes.with_label_values(&[by.as_str()]).inc();
    }

    /// `backout_observations_total{source,result}`: somebody was asked, and answered or not.
    pub fn observed(&self, source: Asked, answered: bool) {
        self.observations.with_label_values(&[source.as_str(), answered_or_not(answered)]).inc();
    }

    /// `backout_store_stuck_seconds`: for how long the journal has not committed; `None`: it does.
    pub fn store_stuck(&self, time: Option<Duration>) {
        self.store_stuck.set(time.map_or(0.0, |time| time.as_secs_f64()));
    }

    /// `backout_notifications_total{channel,result}`: an attempt to tell people ended. The channel is a name from the settings.
    pub fn notified(&self, channel: &str, result: NotificationResult) {
        self.notifications.with_label_values(&[channel, result.as_str()]).inc();
    }

    /// Shows the channels of the settings with zeros.
    pub fn channels<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            for result in NotificationResult::ALL {
                self.notifications.with_label_values(&[name, result.as_str()]);
            }
        }
    }

    /// `backout_time_to_{detect,decide,start,rollback,verify}_seconds`: a figure of an incident is known.
    pub fn took(&self, figure: Figure, time: Duration) {
        self.times[figure as usize].observe(time.as_secs_f64());
    }

    /// `backout_policy_reloads_total{result}`, `backout_policy_reload_success`, `backout_policy_reload_timestamp_seconds`,
    /// `backout_policy_info{hash}`: policies were taken into use. Names the policies, to show their verdicts with zeros.
    pub fn policies_loaded<'a>(&self, hash: &str, at: Time, names: impl IntoIterator<Item = &'a str>) {
        self.policy_reloads.with_label_values(&["success"]).inc();
        self.policy_reload_success.set(1);
        // Milliseconds since 1970 stay exact in a double for 285,000 years.
        self.policy_reload_timestamp.set(at.millis() as f64 / 1e3);
        self.policy_info.reset();
        self.policy_info.with_label_values(&[hash]).set(1);
        for policy in names {
            self.access.policies([policy]);
            for (outcome, reason) in [
                (Outcome::Rollback, Reason::Rule),
                (Outcome::Page, Reason::Rule),
                (Outcome::Page, Reason::NoRule),
                (Outcome::FixForward, Reason::Rule),
            ] {
                self.decisions.with_label_values(&[policy, outcome.as_str(), reason.as_str()]);
            }
            for reason in [Reason::Verified, Reason::Ineffective, Reason::Failed, Reason::Unknown] {
                self.attempts.with_label_values(&[policy, reason.as_str()]);
                self.incidents_closed.with_label_values(&[policy, reason.as_str()]);
            }
            self.pages.with_label_values(&[policy, Reason::Rule.as_str()]);
        }
    }

    /// The files on the disk were refused; what was in use stays in use.
    pub fn policies_refused(&self) {
        self.policy_reloads.with_label_values(&["failure"]).inc();
        self.policy_reload_success.set(0);
    }

    /// `backout_watch_age_seconds`: how long ago the cluster's watch was heard of; `None`: never, or there is no cluster.
    pub fn watch_age(&self, age: Option<Duration>) {
        self.watch_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    }
}

/// In the order of the enums' discriminants: the held counters are found by it.
const SOURCES: [Source; 2] = [Source::Alertmanager, Source::Grafana];
const STATUSES: [(AlertStatus, &str); 2] = [(AlertStatus::Firing, "firing"), (AlertStatus::Resolved, "resolved")];

fn answered_or_not(answered: bool) -> &'static str {
    if answered { "answered" } else { "unanswered" }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Makes metrics and registers them.
struct Make(Registry);

impl Make {
    fn keep<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.keep(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.keep(IntGauge::with_opts(opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.keep(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn float(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.keep(Gauge::with_opts(opts(name, help))?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        self.keep(Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()))?)
    }

    fn webhook_requests(&self) -> Result<Vec<IntCounter>, Error> {
        let all = self.counters("webhook_requests_total", "Webhook requests, by how they ended.", &["source", "result"])?;
        let children = SOURCES.iter().flat_map(|source| WebhookResult::ALL.iter().map(move |result| (source, result)));
        Ok(children.map(|(source, result)| all.with_label_values(&[source.as_str(), result.as_str()])).collect())
    }

    fn alerts_received(&self) -> Result<Vec<IntCounter>, Error> {
        let all = self.counters("alerts_received_total", "Alerts, by what became of them.", &["source", "status", "result"])?;
        let mut children = Vec::new();
        for source in SOURCES {
            for (_, status) in STATUSES {
                for result in AlertResult::ALL {
                    children.push(all.with_label_values(&[source.as_str(), status, result.as_str()]));
                }
            }
        }
        Ok(children)
    }

    fn times(&self) -> Result<Vec<Histogram>, Error> {
        let help = |figure: &Figure| match figure {
            Figure::Detect => "Time from the change to the onset.",
            Figure::Decide => "Time from the onset to the verdict.",
            Figure::Start => "Time from the verdict to the first write.",
            Figure::Rollback => "Time from the first write to the complete rollout.",
            Figure::Verify => "Time from the complete rollout to the proof.",
        };
        let make =
            |figure: &Figure| self.histogram(&format!("time_to_{}_seconds", figure.as_str()), help(figure), INCIDENT_SECONDS);
        Figure::ALL.iter().map(make).collect()
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("backout_{name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, start: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    #[test]
    fn held_counters_are_those_of_their_labels() {
        let metrics = Metrics::new().expect("metrics");
        let mut count = 0;
        for source in SOURCES {
            for result in WebhookResult::ALL {
                count += 1;
                metrics.webhook_requests(source, *result).inc_by(count);
                let line = format!(
                    "backout_webhook_requests_total{{result=\"{}\",source=\"{}\"}} {count}",
                    result.as_str(),
                    source.as_str()
                );
                assert!(metrics.render().lines().any(|l| l == line), "{line}");
            }
            for (status, name) in STATUSES {
                for result in AlertResult::ALL {
                    count += 1;
                    metrics.alerts_received(source, status, *result).inc_by(count);
                    let labels = format!("{{result=\"{}\",source=\"{}\",status=\"{name}\"}}", result.as_str(), source.as_str());
                    let line = format!("backout_alerts_received_total{labels} {count}");
                    assert!(metrics.render().lines().any(|l| l == line), "{line}");
                }
            }
        }
    }

    #[test]
    fn zeros_are_there_from_the_start() {
        let metrics = Metrics::new().expect("metrics");
        metrics.channels(["pager"]);
        metrics.policies_loaded("abc", Time::from_millis(1_500), ["shop"]);
        metrics.policies_loaded("abd", Time::from_millis(2_500), ["shop"]);
        let text = metrics.render();
        assert_eq!(lines(&text, "backout_brake_holds_total").len(), Brake::ALL.len());
        assert!(text.contains("backout_notifications_total{channel=\"pager\",result=\"failed\"} 0"));
        assert!(text.contains("backout_decisions_total{outcome=\"rollback\",policy=\"shop\",reason=\"rule\"} 0"));
        assert_eq!(lines(&text, "backout_policy_info"), ["backout_policy_info{hash=\"abd\"} 1"]);
        assert_eq!(lines(&text, "backout_policy_reload_timestamp_seconds"), ["backout_policy_reload_timestamp_seconds 2.5"]);
        assert_eq!(lines(&text, "backout_watch_age_seconds"), ["backout_watch_age_seconds inf"]);
        assert_eq!(lines(&text, "backout_build_info").len(), 1);
        assert_eq!(lines(&text, "process_open_fds").len(), 1);
        metrics.policies_refused();
        assert!(metrics.render().contains("backout_policy_reload_success 0"));
    }
}
