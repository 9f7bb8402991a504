//! Runs other programs, so that each failure is one sentence.
//!
//! Standard output is kept for what the user asked for: what other programs print goes to
//! standard error.

use std::{
    io,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Runs a program that shows its own progress.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}); its output above says why", line(command));
    }
    Ok(())
}

/// Runs a program silently and returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let out = capture(command)?;
    if !out.status.success() {
        bail!("`{}` failed ({}): {}", line(command), out.status, complaint(&out.stderr));
    }
    String::from_utf8(out.stdout)
        .with_context(|| format!("`{}` printed what is not UTF-8", line(command)))
}

/// Runs a program silently, whatever its exit status.
pub fn capture(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", name(command)))
}

/// The last line that says something: most programs put the reason there.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|l| !l.trim().is_empty());
    last.map_or_else(|| "it did not say why".to_owned(), |l| l.trim().to_owned())
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_with_the_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo the reason >&2; echo >&2; exit 3"]);
        let error = output(&mut command).unwrap_err().to_string();
        assert!(error.ends_with("failed (exit status: 3): the reason"), "{error}");
    }
}
