//! L1: the policy language. What a policy *is* stands in `types`; how it is written in `parse` and `lower`.

pub mod duration;
pub mod expr;
pub mod matcher;
pub mod problem;
pub mod promql;
pub mod template;
pub mod types;
