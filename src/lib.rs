//! backout
