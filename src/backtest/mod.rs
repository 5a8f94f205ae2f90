//! L4: what the policies would have done in the past. Histories are read from a Prometheus or from a journal, lived through by the service's own
//! engine in virtual time, and written down incident by incident. Decides nothing itself, prints nothing.

mod blind;
mod changes;
mod compare;
mod download;
mod facts;
mod history;
mod journal;
mod kept;
mod ledger;
mod life;
mod page;
mod said;
mod series;
mod story;
mod writer;

pub use blind::as_of_then;
pub use compare::{Difference, compare};
pub use download::{Broken, Span, Tick, download};
pub use facts::{Ask, Facts};
pub use history::{Alert, Change, Hidden, History, Workload};
pub use journal::{Journal, Unusable};
pub use kept::Kept;
pub use ledger::{Brake, Entry, Ledger, Moment, Totals, Verdict};
pub use life::{Settings, live};
pub use page::{clock, page, sampled, then};
pub use said::Said;
pub use series::{Run, Series};
pub use story::{Refusal, Source};
