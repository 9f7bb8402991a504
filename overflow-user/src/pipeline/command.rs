//! The command of `--cmd`: tracing lasts as long as it runs.

use std::{
    io,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use tokio::process::{Child, Command};

/// A running command.
pub(crate) struct Traced {
    text: String,
    child: Child,
}

impl Traced {
    /// Starts `text` in a shell. Its output goes to stderr: stdout is for the trace.
    pub(super) fn start(text: &str) -> Result<Self> {
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(text)
            .stdout(Stdio::from(io::stderr()))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `{text}`"))?;
        Ok(Self { text: text.to_owned(), child })
    }

    /// Its pid, until its end was seen.
    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id()?.try_into().ok()?)
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// How it ended, or that it was ended, as a sentence; fails if the shell could not run it.
    pub(crate) async fn report(mut self) -> Result<String> {
        let text = &self.text;
        Ok(match self.child.try_wait() {
            // POSIX, "Exit Status for Commands": found but not executable, not found.
            Ok(Some(status)) if matches!(status.code(), Some(126 | 127)) => {
                bail!("`{text}` could not be run ({status}), so there was nothing to trace of it")
            }
            Ok(Some(status)) => format!("`{text}` ended with {status}"),
            Ok(None) => match self.child.kill().await {
                Ok(()) => format!("`{text}` was still running and was ended"),
                Err(e) => format!("`{text}` is still running and cannot be ended: {e}"),
            },
            Err(e) => format!("how `{text}` ended is not known: {e}"),
        })
    }
}
