//! Values of labels that only counting needs. Enums, so that a label is bounded; what else bears a name is in `model`.

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
