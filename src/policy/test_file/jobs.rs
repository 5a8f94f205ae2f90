//! Jobs that change data in a test, from what is written to what it means.

use super::super::diagnostic::Raised;
use super::super::source::At;
use super::super::yaml::Field;
use super::lower::Lower;
use super::syntax;
use super::types::{Instant, Job};
use crate::model::{MigrationState, TargetRef};

impl Lower<'_> {
    pub(super) fn jobs(&self, world: &syntax::World) -> Vec<Job> {
        let mut made: Vec<Job> = Vec::new();
        for (written, at) in world.jobs.get().into_iter().flatten().filter_map(Field::placed) {
            self.required("name", &written.name, at);
            self.required("namespace", &written.namespace, at);
            let moments = self.moments(written, at);
            let (Some(name), Some(namespace)) = (written.name.get(), written.namespace.get()) else { continue };
            // A Job's name and namespace are made of what a Deployment's are.
            if TargetRef::deployment(namespace, name).is_err() {
                let message = format!("no Job can be called `{namespace}/{name}`");
                let raised = Raised::error("bad-name", written.name.at().unwrap_or(at), message);
                self.raise(raised.expected("lowercase letters, digits and `-`, as in a cluster"));
                continue;
            }
            if made.iter().any(|known| known.name == *name && known.namespace == *namespace) {
                let message = format!("there is a Job `{namespace}/{name}` already");
                self.raise(Raised::error("duplicate-name", at, message).help("give each its own name, as in a cluster"));
                continue;
            }
            let image = written.image.get().cloned().unwrap_or_else(|| "migrate:1".to_owned());
            made.push(Job { namespace: namespace.clone(), name: name.clone(), image, moments });
        }
        made
    }

    /// What becomes of it and when, in the order of its life.
    fn moments(&self, written: &syntax::Job, at: At) -> Vec<(Instant, Option<MigrationState>)> {
        let fields = [
            ("started_at", &written.started_at, Some(MigrationState::Running)),
            ("completed_at", &written.completed_at, Some(MigrationState::Completed)),
            ("failed_at", &written.failed_at, Some(MigrationState::Failed)),
            ("deleted_at", &written.deleted_at, None),
        ];
        if fields.iter().take(3).all(|(_, field, _)| field.is_missing()) {
            let raised = Raised::error("missing-key", at, "nothing says when this Job ran").missing_in(at);
            self.raise(raised.expected("`started_at`, and `completed_at` or `failed_at`"));
        }
        if !written.completed_at.is_missing() && !written.failed_at.is_missing() {
            let at = written.failed_at.at().unwrap_or(at);
            let raised = Raised::error("contradiction", at, "both `completed_at` and `failed_at` say how this Job ended");
            self.raise(raised.help("remove one of the two"));
        }
        let mut made: Vec<(Instant, Option<MigrationState>)> = Vec::new();
        let mut before = None;
        for (key, field, state) in fields {
            let Some(when) = self.instant(field) else { continue };
            if let Some((earlier, last)) = before.filter(|(_, last)| when <= *last) {
                let message = format!("`{key}` is {when}, and `{earlier}` is {last}");
                let raised = Raised::error("out-of-order", field.at().unwrap_or(at), message);
                self.raise(raised.expected("a Job that starts, then ends, then is deleted"));
            }
            before = Some((key, when));
            made.push((when, state));
        }
        made
    }
}
