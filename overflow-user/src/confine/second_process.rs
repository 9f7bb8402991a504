//! This program started again, with its hidden commands, as a process that has other rights.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The flag of the hidden commands that leaves them unconfined.
const UNCONFINED: &str = "--no-confine";

/// Starts `command` of this program with a pipe to its stdin and one from its stdout.
pub(crate) fn start(command: &str, confined: bool) -> io::Result<(Child, ChildStdin, ChildStdout)> {
    let mut process = Command::new("/proc/self/exe")
        .arg0("overflow")
        .arg(command)
        .args((!confined).then_some(UNCONFINED))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C is for the tracing process, which still has work for this one.
        .process_group(0)
        .spawn()?;
    match (process.stdin.take(), process.stdout.take()) {
        (Some(input), Some(output)) => Ok((process, input, output)),
        _ => Err(io::Error::other("it has no pipes")),
    }
}
