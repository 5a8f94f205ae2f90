//! L1, the heart: `step` turns an input into records and effects. Total and synchronous: no clock, no IO, no entropy.

mod about;
mod act;
pub mod book;
pub mod brakes;
pub mod decision;
mod draft;
mod due;
pub mod effect;
mod events;
mod fold;
pub mod incident;
mod index;
mod intake;
mod leap;
pub mod ledger;
mod life;
pub mod limits;
mod locate;
pub mod memory;
pub mod observation;
pub mod operate;
pub mod pages;
mod plan;
pub mod presence;
mod proof;
pub mod report;
mod request;
mod scope;
mod step;
mod tell;
pub mod transition;
mod unwatched;
pub mod verdict;

pub use intake::concerns;
pub use leap::set_back_while_away;
pub use step::{step, wake_at};
