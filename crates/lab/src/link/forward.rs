//! The user-space link: a thread that moves packets between two TUN devices, the server's ones
//! late by the delay, the client's at once.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use overflow_host::clock::monotonic_ns;

use crate::{LabError, error::During, link::delay::DelayLine};

/// Packets on their way to the client at most.
const LIMIT: usize = 65_536;
/// Packets moved from one device before the other has its turn.
const TURN: usize = 256;

/// The running thread; dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct Forwarder {
    stop: Arc<OwnedFd>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Forwarder {
    /// Starts to forward between the two devices.
    pub(crate) fn start(server: File, client: File, delay: Duration) -> Result<Self, LabError> {
        let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).during("making an eventfd")?);
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).during("making a timerfd")?;
        let lost = Arc::new(AtomicU64::new(0));
        let mut ends = Ends {
            server,
            client,
            timer,
            line: DelayLine::new(delay_ns, LIMIT),
            lost: Arc::clone(&lost),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("lab-forward".into())
            .spawn(move || ends.forward_until(&stopped))
            .during("starting a thread")?;
        Ok(Self { stop, lost, thread: Some(thread) })
    }

    /// Packets lost so far: the line was full, or a device refused them.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Stops forwarding; packets on their way are gone. An error here means that forwarding
    /// ended early.
    pub(crate) fn stop(mut self) -> Result<(), LabError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), LabError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        rustix::io::write(&*self.stop, &1u64.to_ne_bytes()).during("stopping the link")?;
        let ended = thread.join().map_err(|_| LabError::ThreadEnded("lab-forward"))?;
        ended.during("forwarding packets")
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls stop().
        let _ = self.join();
    }
}

struct Ends {
    server: File,
    client: File,
    timer: OwnedFd,
    line: DelayLine,
    lost: Arc<AtomicU64>,
}

impl Ends {
    fn forward_until(&mut self, stop: &OwnedFd) -> io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            if self.wait(stop)? {
                return Ok(());
            }
            for _ in 0..TURN {
                let Some(len) = read_packet(&self.client, &mut buffer)? else { break };
                self.write_packet(&self.server, &buffer[..len]);
            }
            for _ in 0..TURN {
                let Some(len) = read_packet(&self.server, &mut buffer)? else { break };
                if !self.line.push(monotonic_ns(), &buffer[..len]) {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            while let Some(packet) = self.line.pop_due(monotonic_ns()) {
                self.write_packet(&self.client, &packet);
            }
        }
    }

    /// Sleeps until there is something to do; `true` if that is to stop.
    fn wait(&self, stop: &OwnedFd) -> io::Result<bool> {
        // An absolute time in the past fires at once; all zero disarms.
        let due = self.line.next_due().map_or(0, |due| due.max(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let due = Timespec {
            tv_sec: (due / 1_000_000_000).cast_signed(),
            tv_nsec: (due % 1_000_000_000).cast_signed(),
        };
        let once = Itimerspec { it_interval: zero, it_value: due };
        // Setting it also clears an earlier expiry, so the timer is never read.
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        let mut fds = [stop.as_fd(), self.server.as_fd(), self.client.as_fd(), self.timer.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().is_empty()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_packet(&self, mut device: &File, packet: &[u8]) {
        if device.write(packet).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn read_packet(mut device: &File, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match device.read(buffer) {
        Ok(len) => Ok(Some(len)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(e) => Err(e),
    }
}
