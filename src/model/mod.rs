//! L0, the vocabulary: plain data that every layer shares. No behaviour beyond parsing, printing and comparing.

mod alert;
mod change;
mod fact;
mod ids;
pub mod manifest;
mod message;
mod migration;
mod observed;
mod operation;
mod plan;
mod reason;
mod shown;
mod target;
pub mod template;
mod texts;
mod time;

pub use alert::{Alert, AlertStatus, Labels, Notification, Occurrence, Source};
pub use change::{ChangeId, ChangeKind, PostedChange};
pub use fact::{Fact, FactType, HttpFact, Number, ReadFrom, Reading, Unknown, UnknownKind};
pub use ids::{Digest, Fingerprint, IncidentId, PlanHash};
pub use message::{About, AboutAlert, AboutPlan, Delivery, Message, Moment, Urgency};
pub use migration::{MIGRATION, Migration, MigrationState};
pub use observed::{
    AlertAlike, AlertOnPeer, AlertmanagerView, Evidence, HttpResult, Onset, PeerAlertState, PeerView, PreflightFinding,
    PreflightReport, ReplicaSetSeen, Replicas, Resolution, RolloutStatus, TailSource, WatchEvent, Workload, Write,
};
pub use operation::{Credential, Identity, Mark, Operation, Order, PauseScope};
pub use plan::{Applied, Guard, HttpCheck, Level, Plan, PlannedStep, Query, ReleaseRef, StepKind, VerifyPlan};
pub use reason::{Brake, Dependency, LatchCause, Mode, Outcome, Paging, Reason};
pub use shown::{hides, shown};
pub use target::{Lookup, Owner, Strategy, TargetId, TargetRef, WorkloadKind};
pub use texts::Texts;
pub use time::Time;
