//! The program `hourpass`.

use std::process::ExitCode;

/// Memory for password hashes goes back to the system, which glibc's allocator does not see to.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hourpass::cli::run()
}
