//! The signals that end a trace.

use std::io;

use overflow_host::own_status;
use tokio::signal::unix::{Signal, SignalKind, signal};

const SIGHUP: u32 = 1;

/// SIGINT, SIGTERM and SIGHUP, caught from the time this is made.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it is ignored, as by `nohup`.
    hangup: Option<Signal>,
}

impl Stop {
    /// From now on, these signals end the trace instead of the process.
    pub fn catch() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let caught = !own_status::ignored(SIGHUP);
        let hangup = caught.then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Returns when the first of them comes.
    pub async fn asked(mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
