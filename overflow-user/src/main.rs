//! The `overflow` command.

#![warn(unreachable_pub)]
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
