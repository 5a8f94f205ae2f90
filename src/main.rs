//! The binary: the allocator, the one provider of cryptography, the command line. Everything else is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Fails only where one is installed already, and nobody was there before us.
    let _ = rustls::crypto::ring::default_provider().install_default();
    backout::cli::main()
}
