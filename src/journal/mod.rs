//! L1: what the journal's rows mean. Pure; the bytes are kept by `store`.

pub mod census;
pub mod receipt;
pub mod record;
pub mod scan;
pub mod snapshot;
pub mod wire;
