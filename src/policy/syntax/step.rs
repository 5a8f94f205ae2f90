//! The steps of a procedure as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::{Entries, Field, Listed, Named};
use super::text::{CelText, DurationText, Free, ScalarText, TemplateText};
use super::verify::Expect;

/// One step: exactly one of its keys.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "step")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Step {
    /// Put the last good release back on the target.
    pub(in super::super) undo: Field<Undo>,
    /// Put another image into a container.
    pub(in super::super) image: Field<Image>,
    /// Change how many pods there are.
    pub(in super::super) scale: Field<Scale>,
    /// Turn a Service to the other side.
    pub(in super::super) switch: Field<Switch>,
    /// Move traffic by weights.
    pub(in super::super) traffic: Field<Traffic>,
    /// Cut the traffic to a Service, or give it back.
    pub(in super::super) isolate: Field<Isolate>,
    /// Restart the pods.
    pub(in super::super) restart: Field<Restart>,
    /// Put a ConfigMap or Secret back.
    pub(in super::super) config: Field<Config>,
    /// Roll a Helm release back.
    pub(in super::super) helm: Field<Helm>,
    /// Run a Job.
    pub(in super::super) job: Field<Job>,
    /// Send a request.
    pub(in super::super) http: Field<Http>,
    /// Revert or pin in git.
    pub(in super::super) git: Field<Git>,
    /// Put a container of a Docker Engine back.
    pub(in super::super) docker: Field<Docker>,
    /// Run a program that the server's settings allow.
    pub(in super::super) exec: Field<Exec>,
    /// Wait for something.
    pub(in super::super) wait: Field<Wait>,
}

impl Named for Step {
    const WORDS: &'static [&'static str] = &["undo", "image", "switch", "restart", "helm", "docker"];
}

macro_rules! word {
    ($($(#[$doc:meta])* $name:ident, $rename:literal { $($(#[$variant_doc:meta])* $variant:ident,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case", rename = $rename)]
        pub(in super::super) enum $name { $($(#[$variant_doc])* $variant,)+ }
    )+};
}

word! {
    /// The release to go to.
    LastGood, "to" {
        /// The last one that was seen healthy.
        LastGood,
    }
    /// Through whom a release is put back.
    Through, "through" {
        /// By the lever of who owns the workload.
        Owner,
    }
    /// What becomes of a Service's traffic.
    Cut, "traffic" {
        /// None arrives.
        None,
        /// As it was before.
        Restore,
    }
    /// Of whom.
    UsedBy, "used_by" {
        /// Of the target's pods.
        Target,
    }
    /// Which image a Job runs.
    JobImage, "image" {
        /// Its own.
        Own,
        /// That of the release that is left.
        Leaving,
        /// That of the release that is gone to.
        Target,
    }
    /// What is reverted.
    Revert, "revert" {
        /// The change that brought the release.
        Change,
    }
    /// In which form.
    GitAs, "as" {
        /// A commit on the branch.
        Commit,
        /// A pull request.
        PullRequest,
    }
}

macro_rules! step {
    ($($(#[$doc:meta])* $name:ident, $rename:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
        #[serde(default, rename = $rename)]
        #[schemars(deny_unknown_fields)]
        pub(in super::super) struct $name {
            /// Whether it is done at all: evaluated once, when the plan is made.
            pub(in super::super) when: Field<CelText>,
            $($(#[$field_doc])* pub(in super::super) $field: Field<$type>,)*
        }
    )+};
}

step! {
    /// Put a release back; `to`, `revision` or `image`.
    Undo, "step `undo`" {
        /// `KIND/NAME`, in the target's namespace unless it is `NAMESPACE/KIND/NAME` (the target).
        workload: TemplateText,
        /// The release to go to.
        to: LastGood,
        /// The release of that revision number.
        revision: u32,
        /// The release of that image.
        image: TemplateText,
        /// Through whom.
        through: Through,
    }
    /// Put another image into a container.
    Image, "step `image`" {
        /// As in `undo`.
        workload: TemplateText,
        /// The container (the only one).
        container: String,
        /// `last_good`, or an image (`last_good`).
        image: TemplateText,
    }
    /// Change how many pods there are.
    Scale, "step `scale`" {
        /// As in `undo`.
        workload: TemplateText,
        /// A number, or `restore`: what the incident found first.
        replicas: ScalarText,
        /// Whether it waits until they are ready (false).
        ready: bool,
    }
    /// Turn a Service to the other side.
    Switch, "step `switch`" {
        /// The Service (that of the target).
        service: TemplateText,
        /// The key of its selector that differs.
        key: String,
        /// `last_good`, `standby` or a value of that key (`last_good`).
        to: TemplateText,
    }
    /// Move traffic by weights.
    Traffic, "step `traffic`" {
        /// The `HTTPRoute`.
        route: TemplateText,
        /// The backend that gets it.
        to: TemplateText,
        /// Percent, in order (100).
        through: Vec<Field<u16>>,
        /// How long each of them stays.
        every: DurationText,
        /// What must stay true.
        r#while: CelText,
    }
    /// Cut the traffic to a Service, or give it back.
    Isolate, "step `isolate`" {
        /// The Service (that of the target).
        service: TemplateText,
        /// Which of the two (`none`).
        traffic: Cut,
    }
    /// Restart the pods.
    Restart, "step `restart`" {
        /// As in `undo`.
        workload: TemplateText,
    }
    /// Put a ConfigMap or Secret back: exactly one of `configmap`, `secret`, `used_by`.
    Config, "step `config`" {
        /// A ConfigMap's name.
        configmap: TemplateText,
        /// A Secret's name.
        secret: TemplateText,
        /// All that the target's pods use.
        used_by: UsedBy,
        /// The content to go to.
        to: LastGood,
    }
    /// Roll a Helm release back.
    Helm, "step `helm`" {
        /// Its name (that of the target).
        release: TemplateText,
        /// The revision to go to.
        to: LastGood,
        /// The revision of that number.
        revision: u32,
    }
    /// Run a Job.
    Job, "step `job`" {
        /// What it is made of: `cronjob/NAME` or `job/NAME`.
        from: TemplateText,
        /// Which image it runs (`own`).
        image: JobImage,
        /// Its arguments.
        args: Listed<Field<TemplateText>>,
        /// Its environment, besides its own.
        env: Entries<TemplateText>,
        /// How long it may take (10m).
        within: DurationText,
    }
    /// Send a request: exactly one of the methods.
    Http, "step `http`" {
        /// Where to.
        get: TemplateText,
        /// Where to.
        post: TemplateText,
        /// Where to.
        put: TemplateText,
        /// Where to.
        patch: TemplateText,
        /// Where to.
        delete: TemplateText,
        /// The body.
        json: Free,
        /// Headers whose values stand in files of the settings, by name.
        header_files: Entries<String>,
        /// What is expected of the answer (any 2xx).
        expect: Expected,
    }
    /// Revert or pin in git: exactly one of `revert`, `pin`.
    Git, "step `git`" {
        /// The repository.
        repo: TemplateText,
        /// The file or folder.
        path: TemplateText,
        /// What is reverted.
        revert: Revert,
        /// The image that is written.
        pin: TemplateText,
        /// In which form (`commit`).
        r#as: GitAs,
    }
    /// Put a container of a Docker Engine back.
    Docker, "step `docker`" {
        /// The release to go to.
        to: LastGood,
        /// That image.
        image: TemplateText,
    }
    /// Run a program that the server's settings allow.
    Exec, "step `exec`" {
        /// Its path.
        program: String,
        /// Its arguments; never a shell.
        args: Listed<Field<TemplateText>>,
        /// How long it may take (10m).
        within: DurationText,
    }
    /// Wait: exactly one of `for`, `time`, `person`.
    Wait, "step `wait`" {
        /// Until that is true.
        r#for: CelText,
        /// That long.
        time: DurationText,
        /// Until somebody of these channels says so.
        person: Listed<Field<String>>,
        /// How long at most (10m).
        within: DurationText,
    }
}

/// `2xx`, a status, or a map as in `verify`.
#[derive(Clone, Debug)]
pub(in super::super) enum Expected {
    /// `2xx` or a status.
    Status(String),
    /// More than that.
    Answer(Expect),
}
