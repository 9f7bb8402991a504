//! A running QEMU and the frames that come out of it.

use std::{
    io::{self, Read as _},
    process::Child,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use guest_init::frame::{Frame, MAGIC};

/// A running QEMU: killed when dropped.
pub struct Machine {
    child: Child,
    frames: mpsc::Receiver<Result<Frame>>,
    stderr: Option<thread::JoinHandle<String>>,
}

/// Why there is no frame.
pub enum Wait {
    /// The deadline passed.
    Timeout,
    /// The line carried something else.
    Broken(anyhow::Error),
}

impl Machine {
    /// Takes over a QEMU whose standard output is the guest's line.
    pub fn start(mut child: Child) -> Result<Self> {
        let mut stdout = child.stdout.take().context("QEMU has no standard output")?;
        let mut stderr = child.stderr.take().context("QEMU has no standard error")?;
        let (send, frames) = mpsc::channel();
        thread::spawn(move || {
            let mut magic = [0; MAGIC.len()];
            match stdout.read_exact(&mut magic) {
                Ok(()) if magic == MAGIC => {}
                Ok(()) => {
                    let _ = send.send(Err(anyhow!("the guest's init speaks another protocol")));
                    return;
                }
                // The machine ended: the closed channel says so.
                Err(_) => return,
            }
            let mut stdout = io::BufReader::new(stdout);
            loop {
                let frame = match Frame::read(&mut stdout) {
                    Ok(Some(frame)) => Ok(frame),
                    Ok(None) => return,
                    Err(e) => Err(anyhow::Error::from(e)),
                };
                let last = frame.is_err();
                if send.send(frame).is_err() || last {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { child, frames, stderr: Some(stderr) })
    }

    /// The next frame; `None` when the machine has ended.
    pub fn frame(&mut self, deadline: Option<Instant>) -> Result<Option<Frame>, Wait> {
        let Some(deadline) = deadline else {
            return self.frames.recv().ok().transpose().map_err(Wait::Broken);
        };
        match self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(frame)) => Ok(Some(frame)),
            Ok(Err(e)) => Err(Wait::Broken(e)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(Wait::Timeout),
        }
    }

    /// Ends the machine, which has nothing more to say, and returns what QEMU complained of.
    pub fn end(mut self) -> String {
        self.kill();
        self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}
