//! Values of labels that only counting needs. Enums, so that a label is bounded; what else bears a name is in `model`.

use crate::model::Applied;

label_values! {
    /// How a webhook request ended.
    WebhookResult {
        /// 200: the receipt is committed.
        Accepted = "accepted",
        /// 200: no alert in it, nothing was committed.
        Empty = "empty",
        /// 200: only our own pages, nothing was committed.
        OwnPages = "own_pages",
        /// 400: can never be parsed.
        Unparseable = "unparseable",
        /// 401: no token, or a wrong one.
        Unauthorized = "unauthorized",
        /// 405: not a POST.
        Method = "method",
        /// 503: the inbox is full; the engine is behind.
        InboxFull = "inbox_full",
        /// 503: the budget of bytes in flight is spent.
        BytesFull = "bytes_full",
        /// 503: greater than the body limit. It will never get through: raise the limit, or set `max_alerts` at the sender.
        TooLarge = "too_large",
        /// 503: the body did not arrive in time.
        Late = "late",
        /// The body broke off.
        Broken = "broken",
        /// 503: the journal did not take it.
        StoreFailed = "store_failed",
        /// 503: the journal did not answer in time.
        StoreLate = "store_late",
        /// 503: draining before the end.
        Closing = "closing",
    }
}

label_values! {
    /// What became of a received alert. Each counts once; `duplicate` and `unmatched` count beside `accepted`.
    AlertResult {
        /// Its receipt is committed.
        Accepted = "accepted",
        /// Committed, and of another cluster: never acted on.
        Foreign = "foreign",
        /// Our own page, dropped.
        OwnPage = "own_page",
        /// Its notification was refused with 503.
        Refused = "refused",
        /// An occurrence in a status that was known already.
        Duplicate = "duplicate",
        /// No policy wants it.
        Unmatched = "unmatched",
    }
}

label_values! {
    /// How a step of a plan ended.
    ActionResult {
        /// Written.
        Done = "done",
        /// It was so already.
        Already = "already",
        /// Nothing was written.
        Refused = "refused",
        /// The cluster said that we may not.
        Forbidden = "forbidden",
        /// No telling.
        Doubtful = "doubtful",
    }
}

impl From<&Applied> for ActionResult {
    fn from(applied: &Applied) -> Self {
        match applied {
            Applied::Done { .. } => Self::Done,
            Applied::Already { .. } => Self::Already,
            Applied::Refused { forbidden: true, .. } => Self::Forbidden,
            Applied::Refused { forbidden: false, .. } => Self::Refused,
            Applied::Doubtful { .. } => Self::Doubtful,
        }
    }
}

label_values! {
    /// How an attempt to tell people ended.
    NotificationResult {
        /// The channel has it.
        Delivered = "delivered",
        /// An attempt failed and is made again.
        Retried = "retried",
        /// Given up; the next channel is used.
        Failed = "failed",
        /// Held back by the limit on what goes out.
        Limited = "limited",
        /// It left together with others, as one message that lists them all.
        Merged = "merged",
    }
}

label_values! {
    /// Who made a change that the watch saw.
    ChangeBy {
        /// We: a rollback.
        Backout = "backout",
        /// Somebody else.
        Others = "others",
    }
}

label_values! {
    /// What is asked while an incident is judged or proven.
    Asked {
        /// The API server, for the target.
        Cluster = "cluster",
        /// Every Alertmanager peer, for the alerts.
        Alertmanager = "alertmanager",
        /// Prometheus, for facts and for when it evaluated its rules.
        Prometheus = "prometheus",
    }
}

label_values! {
    /// The figures kept for an incident.
    Figure {
        /// From the change to the onset.
        Detect = "detect",
        /// From the onset to the verdict.
        Decide = "decide",
        /// From the verdict to the first write.
        Start = "start",
        /// From the first write to the complete rollout.
        Rollback = "rollback",
        /// From the complete rollout to the proof.
        Verify = "verify",
    }
}
