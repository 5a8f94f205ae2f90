//! The binary: the allocator, the one provider of cryptography, the command line. Everything else is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(not(feature = "planted"))]
fn main() -> ExitCode {
    // Fails only where one is installed already, and nobody was there before us.
    let _ = rustls::crypto::ring::default_provider().install_default();
    backout::cli::main()
}

/// A build that can plant defects has no hands: it is no service.
#[cfg(feature = "planted")]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
