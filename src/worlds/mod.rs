//! L4: tests of policies. A test file becomes a simulated world in which the service's own engine lives in virtual time; what it
//! did is held against what is expected. Decides nothing itself, prints nothing.

mod bound;
mod build;
mod compare;
mod coverage;
mod files;
mod got;
mod judge;
mod revision;
mod rules;
mod run;

pub use bound::{Bound, Counterexample, bound};
pub use build::{Surroundings, driver};
pub use compare::{Difference, compare, said};
pub use coverage::{Coverage, Gap, Judged, Share};
pub use files::{Loaded, Unusable, channels, find, load};
pub use got::Got;
pub use judge::Miss;
pub use revision::Revision;
pub use run::{Failure, Line, Report, run, run_all};
