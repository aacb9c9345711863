//! `smart-maintenance`: the command line.

mod cli;

use std::process::ExitCode;

/// The system's own keeps for each thread what a burst of large bodies took there: a third more memory under overload.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
