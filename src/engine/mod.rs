//! L3, the one loop: inputs in, step, commit, then acknowledge and start effects. Decides nothing; does no IO of its own but
//! through ports.

mod dispatch;
mod feed;
mod gauges;
mod handle;
mod leap;
mod lookout;
mod recover;
mod run;
mod snapshot_due;
mod spans;
mod view;

pub use dispatch::Hands;
pub use handle::{EngineHandle, PolicySource};
pub use lookout::Lookout;
pub use recover::{RecoverError, remembered};
pub use run::{Engine, EngineSettings};
