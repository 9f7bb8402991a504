//! The `overflow` command.

fn main() -> std::process::ExitCode {
    overflow::cli::main()
}
