//! Who is let in, by what, and who is not.

use prometheus::{Error, Gauge, IntCounterVec, IntGauge, IntGaugeVec};

use super::Make;
use crate::model::{LatchCause, Mark};

label_values! {
    /// Why a request with a credential, or without one, was not let in.
    LoginRefusal {
        /// No credential, or one that nobody has.
        Unknown = "unknown",
        /// A credential, and not for this.
        Scope = "scope",
        /// Without credentials only a local address may be asked.
        Host = "host",
        /// Too many failed from there.
        Limited = "limited",
    }
}

label_values! {
    /// Why a connection to the TLS port never came to a request.
    TlsRefusal {
        /// It did not speak TLS.
        Plain = "plain",
        /// The handshake failed: no certificate of ours is trusted, none of theirs is, no version in common.
        Failed = "failed",
        /// The handshake took too long.
        Late = "late",
    }
}

/// What the door counts.
#[derive(Debug)]
pub struct AccessMetrics {
    marks: IntCounterVec,
    trust_spent: IntGaugeVec,
    latches: IntGaugeVec,
    logins_refused: IntCounterVec,
    tls_refused: IntCounterVec,
    tls_reloads: IntCounterVec,
    tls_reload_success: IntGauge,
    /// `backout_tls_certificate_expiry_timestamp_seconds`: when the certificate in use ends, in Unix time; 0 without TLS.
    pub tls_certificate_expiry: Gauge,
    /// `backout_event_watchers`: who watches `/api/v1/events`.
    pub event_watchers: IntGauge,
}

impl AccessMetrics {
    pub(super) fn new(make: &Make) -> Result<Self, Error> {
        let metrics = Self {
            marks: make.counters("marks_total", "Rollbacks that a person marked.", &["policy", "mark"])?,
            trust_spent: make.gauges(
                "policy_trust_spent",
                "1: rollbacks of this policy were marked wrong, and it asks for approval.",
                &["policy"],
            )?,
            latches: make.gauges("latches", "Latches that hold until somebody looked at the data.", &["cause"])?,
            logins_refused: make.counters("logins_refused_total", "Requests to the API that were not let in.", &["reason"])?,
            tls_refused: make.counters("tls_refused_total", "TLS connections that came to no request.", &["reason"])?,
            tls_reloads: make.counters("tls_reloads_total", "Times that certificates were read again.", &["result"])?,
            tls_reload_success: make.gauge("tls_reload_success", "1: the certificates on the disk are what is used.")?,
            tls_certificate_expiry: make.float(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use ends, in Unix time; 0 without TLS.",
            )?,
            event_watchers: make.gauge("event_watchers", "Who watches the events of the API.")?,
        };
        for cause in LatchCause::ALL {
            metrics.latches(*cause, 0);
        }
        for reason in LoginRefusal::ALL {
            metrics.logins_refused.with_label_values(&[reason.as_str()]);
        }
        for reason in TlsRefusal::ALL {
            metrics.tls_refused.with_label_values(&[reason.as_str()]);
        }
        for result in ["success", "failure"] {
            metrics.tls_reloads.with_label_values(&[result]);
        }
        metrics.tls_reload_success.set(1);
        Ok(metrics)
    }

    /// Shows the policies' marks with zeros.
    pub fn policies<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for policy in names {
            for mark in Mark::ALL {
                self.marks.with_label_values(&[policy, mark.as_str()]);
            }
            self.trust_spent.with_label_values(&[policy]);
        }
    }

    /// `backout_marks_total{policy,mark}`: a person said whether a rollback was right.
    pub fn marked(&self, policy: &str, mark: Mark) {
        self.marks.with_label_values(&[policy, mark.as_str()]).inc();
    }

    /// `backout_policy_trust_spent{policy}`: whether it asks for approval because rollbacks of it were marked wrong.
    pub fn trust_spent(&self, policy: &str, spent: bool) {
        self.trust_spent.with_label_values(&[policy]).set(i64::from(spent));
    }

    /// `backout_latches{cause}`: so many latches hold.
    pub fn latches(&self, cause: LatchCause, holding: usize) {
        self.latches.with_label_values(&[cause.as_str()]).set(i64::try_from(holding).unwrap_or(i64::MAX));
    }

    /// `backout_logins_refused_total{reason}`: a request to the API was not let in.
    pub fn login_refused(&self, reason: LoginRefusal) {
        self.logins_refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// `backout_tls_refused_total{reason}`: a connection to the TLS port never came to a request.
    pub fn tls_refused(&self, reason: TlsRefusal) {
        self.tls_refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// `backout_tls_reloads_total{result}`, `backout_tls_reload_success`: certificates were read again.
    pub fn tls_reloaded(&self, taken: bool) {
        self.tls_reloads.with_label_values(&[if taken { "success" } else { "failure" }]).inc();
        self.tls_reload_success.set(i64::from(taken));
    }
}
