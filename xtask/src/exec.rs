//! Runs other programs, so that each failure is one sentence.
//!
//! Standard output is kept for what the user asked for: what other programs print goes to
//! standard error.

use std::{
    io::{self, Read},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::progress::seconds;

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
    succeeded(command, &out)?;
    String::from_utf8(out.stdout)
        .with_context(|| format!("`{}` printed what is not UTF-8", line(command)))
}

/// The error of a program that failed, with the last line of what it printed.
pub fn succeeded(command: &Command, out: &Output) -> Result<()> {
    if !out.status.success() {
        bail!("`{}` failed ({}): {}", line(command), out.status, complaint(&out.stderr));
    }
    Ok(())
}

/// Runs a program, whatever its exit status; silently, unless its streams go elsewhere.
pub fn capture(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", name(command)))
}

/// Runs a program silently, whatever its exit status, and kills it when `limit` is over.
pub fn capture_within(command: &mut Command, limit: Duration) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", name(command)))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` killed after its limit of {}", line(command), seconds(limit));
        }
        thread::sleep(Duration::from_millis(20));
    };
    let [stdout, stderr] = [stdout, stderr].map(|thread| thread.join().unwrap_or_default());
    Ok(Output { status, stdout, stderr })
}

fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What could be read counts, whatever ended it.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// The last line that says something: most programs put the reason there.
pub fn complaint(stderr: &[u8]) -> String {
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
    fn what_takes_too_long_is_killed() {
        let error = capture_within(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(error.unwrap_err().to_string().contains("killed after"));
        let out = capture_within(Command::new("echo").arg("a"), Duration::from_mins(1)).unwrap();
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), b"a\n".as_slice()));
    }

    #[test]
    fn a_failure_is_one_sentence_with_the_last_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo the reason >&2; echo >&2; exit 3"]);
        let error = output(&mut command).unwrap_err().to_string();
        assert!(error.ends_with("failed (exit status: 3): the reason"), "{error}");
    }
}
