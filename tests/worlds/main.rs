//! `backout test` as people run it.
