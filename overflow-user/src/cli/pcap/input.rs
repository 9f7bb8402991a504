//! Where the capture comes from: it ends when there is no more, or when SIGINT or SIGTERM comes.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A capture's bytes.
pub(super) struct Input {
    bytes: File,
    signals: SignalFd,
    stopped: Cell<bool>,
}

impl Input {
    /// From standard input.
    pub(super) fn stdin() -> io::Result<Self> {
        Self::file(File::from(io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// From an open file.
    pub(super) fn file(bytes: File) -> io::Result<Self> {
        let mut asked = SigSet::empty();
        asked.add(Signal::SIGINT);
        asked.add(Signal::SIGTERM);
        asked.thread_block()?;
        let signals = SignalFd::with_flags(&asked, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { bytes, signals, stopped: Cell::new(false) })
    }

    /// Whether it ended because it was asked to.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Whether whoever reads on would have to wait.
    pub(super) fn is_drained(&self) -> bool {
        let mut ready = [PollFd::new(&self.bytes, PollFlags::IN)];
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n == 0)
    }
}

impl Read for &Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ready =
            [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.bytes, PollFlags::IN)];
        poll(&mut ready, None)?;
        if ready[0].revents().contains(PollFlags::IN) {
            self.stopped.set(true);
            return Ok(0);
        }
        (&self.bytes).read(buffer)
    }
}
