//! The hands that read and write a cluster, on a real control plane, in the name of the service account that is shipped.

mod bed;
mod doubt;
mod looking;
mod preflight;
#[path = "../support/mod.rs"]
mod support;
mod undo;
mod watching;
