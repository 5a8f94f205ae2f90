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

#[cfg(feature = "planted")]
#[expect(clippy::print_stderr, reason = "there is nothing else that it could do")]
fn main() -> ExitCode {
    eprintln!("backout: built to plant defects, and therefore without hands: build it without the feature `planted`");
    ExitCode::FAILURE
}
