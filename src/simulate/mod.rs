//! L3: the second set of hands. A cluster, Prometheus, Alertmanager and channels in memory, for the demo and for tests; a driver
//! that tells whole stories in virtual time with the same brain as the service. What it claims about the real thing is checked by
//! contract tests that run on both.

mod alertmanager;
mod answers;
mod channels;
mod cluster;
mod command;
mod deployment;
mod driver;
mod facts;
mod fault;
mod firing;
mod hands;
mod happening;
mod line;
mod migration;
mod prometheus;
mod recorded;
mod script;
mod store;
mod time;
mod transcript;
mod watch;
mod witness;
mod world;

pub use channels::Delivered;
pub use cluster::Doubt;
pub use command::{Command, Event, Person};
pub use driver::{DIED, Driver, Hook, Keep, Latency, NOBODY, Protocol, Told, Written};
pub use facts::{FactSeries, Sample, Samples};
pub use fault::{Answer, Fault, Kill, Side};
pub use firing::{Firing, Window};
pub use hands::{Hands, Mouths};
pub use prometheus::{INTERVAL, Rule, Series};
pub use recorded::{Recorded, Wanted};
pub use script::Script;
pub use store::MemoryStore;
pub use time::SpeedClock;
pub use transcript::Transcript;
pub use witness::{Request, Testimony};
pub use world::{Emitted, NewDeployment, Part, World};
