//! `timing`: the product's times as settings. A test world turns faster than production; policies cannot change these.

use std::time::Duration;

use crate::decide::limits::Limits;
use crate::policy::duration;

use super::file::Scalar;

/// The section as it is written; what is absent keeps its default.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Timing {
    close_after: Option<Scalar>,
    expire_after: Option<Scalar>,
    peer_up: Option<Scalar>,
    evaluation_age: Option<Scalar>,
    patience: Option<Scalar>,
    watch_every: Option<Scalar>,
    verify_every: Option<Scalar>,
    remind_every: Option<Scalar>,
    tail: Option<Scalar>,
    target_age: Option<Scalar>,
    forget_after: Option<Scalar>,
}

impl Timing {
    /// The times. What makes no sense is told to `problem` by its key.
    pub(super) fn limits(self, mut problem: impl FnMut(&str, String)) -> Limits {
        let mut limits = Limits::default();
        let fields = [
            ("close_after", self.close_after, &mut limits.close_after),
            ("expire_after", self.expire_after, &mut limits.expire_after),
            ("peer_up", self.peer_up, &mut limits.peer_up),
            ("evaluation_age", self.evaluation_age, &mut limits.evaluation_age),
            ("patience", self.patience, &mut limits.patience),
            ("watch_every", self.watch_every, &mut limits.watch_every),
            ("verify_every", self.verify_every, &mut limits.verify_every),
            ("remind_every", self.remind_every, &mut limits.remind_every),
            ("tail", self.tail, &mut limits.tail),
            ("target_age", self.target_age, &mut limits.target_age),
            ("forget_after", self.forget_after, &mut limits.forget_after),
        ];
        for (key, written, limit) in fields {
            let Some(Scalar(text)) = written else { continue };
            match duration::parse(&text) {
                Ok(time) if time > Duration::ZERO => *limit = time,
                Ok(_) => problem(&format!("timing.{key}"), format!("`{text}` is no time; expected more than 0, such as `30s`")),
                Err(wrong) => problem(&format!("timing.{key}"), wrong.message),
            }
        }
        limits
    }
}
