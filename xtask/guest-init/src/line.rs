//! The serial line to the host, shared by the threads that have something to send.

use std::{
    fs::File,
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use guest_init::frame::{Frame, MAGIC};
use rustix::{
    fs::{Mode, OFlags},
    termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr},
};

/// A serial line in raw mode.
pub struct Line(Mutex<File>);

impl Line {
    /// Opens the device, makes it carry bytes unchanged and sends the magic.
    pub fn open(tty: &str) -> Result<Self> {
        let context = || format!("cannot open {tty}, the line to the host");
        // NOCTTY: process 1 must not be hit by the line's signals.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(tty, flags, Mode::empty()).with_context(context)?;
        let mut termios = tcgetattr(&fd).with_context(context)?;
        termios.make_raw();
        tcsetattr(&fd, OptionalActions::Now, &termios).with_context(context)?;
        let mut file = File::from(fd);
        file.write_all(MAGIC).with_context(context)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Sends one frame, whole.
    pub fn send(&self, frame: &Frame) -> Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write(&mut *file).context("cannot write to the line to the host")
    }

    /// Waits until everything has left the machine.
    pub fn drain(&self) -> Result<()> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tcdrain(&*file).context("cannot drain the line to the host")
    }
}
