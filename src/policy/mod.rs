//! L1: the policy language. What a policy *is* stands in `types`; how it is written in `syntax`, what makes the one of the other
//! in `lower`. Files come in as bytes: no IO in here.

mod defaults;
pub mod diagnostic;
pub mod duration;
pub mod expr;
pub mod index;
pub mod interval;
mod load;
mod lower;
pub mod matcher;
pub mod problem;
pub mod promql;
mod query;
mod source;
mod syntax;
pub mod template;
pub mod test_file;
pub mod types;
mod yaml;

pub use load::{Loaded, SourceFile, channels_named, load, may_act, not_yet, schema};
