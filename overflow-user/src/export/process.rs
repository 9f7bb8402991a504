//! The process that exports, from the tracing side.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::{Receiver, Sender},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::{
    Report, Request, Settings, Signal,
    retry_queue::CAPACITY,
    serve::{FLUSH, Setup},
};
use crate::confine::{second_process, wire};
use overflow_core::{loss::Loss, text::untrusted::escape};

/// The hidden command that [`super::serve`]s.
pub const COMMAND: &str = "export";

/// Longest report, bytes: the other process talks to hosts outside.
const MAX_REPORT: u32 = 64 << 10;
/// The other process ends by itself after [`FLUSH`]; this is for a loaded machine.
const GRACE: Duration = Duration::from_secs(1);

/// The process, and what is known of its work.
#[derive(Debug)]
pub struct Export {
    process: Child,
    outbox: Outbox,
    /// Until [`Self::begin`].
    idle: Option<Idle>,
    writer: Option<JoinHandle<()>>,
    reader: Option<JoinHandle<()>>,
}

/// Takes requests, and never waits.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// `None` is the end. What waits is bounded by [`State::waiting`].
    requests: mpsc::UnboundedSender<Option<Request>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct Idle {
    requests: mpsc::UnboundedReceiver<Option<Request>>,
    pipe: Sender,
    reports: Receiver,
}

/// Counts are in items, by signal.
#[derive(Debug, Default)]
struct State {
    /// On their way to the other process, bytes.
    waiting: usize,
    handed: [u64; 2],
    no_room: [u64; 2],
    report: Report,
    /// The end was asked for.
    closing: bool,
    /// Nothing is delivered any more.
    ended: bool,
}

impl Export {
    /// Starts it, from inside a runtime and before this process is confined.
    pub fn start(settings: &Settings, confined: bool) -> io::Result<Self> {
        let (process, mut pipe, reports) = second_process::start(COMMAND, confined)?;
        let setup = Setup { metrics: settings.metrics.clone(), logs: settings.logs.clone() };
        // By the pipe, since others can read arguments, and headers may hold secrets.
        pipe.write_all(&wire::pack(&setup)?)?;
        let (sender, requests) = mpsc::unbounded_channel();
        let idle = Idle {
            requests,
            pipe: Sender::from_owned_fd(OwnedFd::from(pipe))?,
            reports: Receiver::from_owned_fd(OwnedFd::from(reports))?,
        };
        let outbox = Outbox { requests: sender, state: Arc::default() };
        Ok(Self { process, outbox, idle: Some(idle), writer: None, reader: None })
    }

    /// Where requests go.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Begins to hand requests over, when something is next awaited.
    pub(crate) fn begin(&mut self) {
        if let Some(Idle { requests, pipe, reports }) = self.idle.take() {
            self.writer = Some(tokio::spawn(write(requests, pipe, self.outbox.clone())));
            self.reader = Some(tokio::spawn(read(reports, self.outbox.clone())));
        }
    }

    /// Waits for what was handed over to be delivered, though not for long. What was not delivered
    /// then is lost, and so is whatever follows.
    pub(crate) async fn finish(&mut self) {
        self.outbox.state().closing = true;
        let (writer, reader) = (self.writer.take(), self.reader.take());
        let requests = self.outbox.requests.clone();
        let flush = async move {
            let _ = requests.send(None);
            for task in [writer, reader].into_iter().flatten() {
                let _ = task.await;
            }
        };
        let _ = timeout(FLUSH + GRACE, flush).await;
        self.outbox.state().ended = true;
        let _ = self.process.try_wait();
    }

    /// What was lost so far, by cause, zeros included.
    pub(crate) fn losses(&self) -> Vec<(Loss, u64)> {
        self.outbox.losses()
    }
}

impl Outbox {
    /// Hands a request over; it is counted if there is no room.
    pub fn send(&self, request: Request) {
        let (at, items) = (request.signal as usize, u64::from(request.items));
        let len = request.body.len();
        let mut state = self.state();
        let room = !state.ended && (state.waiting == 0 || state.waiting + len <= CAPACITY);
        if room && self.requests.send(Some(request)).is_ok() {
            state.waiting += len;
            state.handed[at] += items;
        } else {
            state.no_room[at] += items;
        }
    }

    /// One whose requests go nowhere, and its other end.
    #[cfg(test)]
    pub(crate) fn kept() -> (Self, mpsc::UnboundedReceiver<Option<Request>>) {
        let (requests, kept) = mpsc::unbounded_channel();
        (Self { requests, state: Arc::default() }, kept)
    }

    /// What was lost so far, by cause, zeros included.
    pub(crate) fn losses(&self) -> Vec<(Loss, u64)> {
        let state = &mut *self.state();
        let mut losses = Vec::new();
        for signal in Signal::ALL {
            let counts = *state.report.of(signal);
            let handed = state.handed[signal as usize];
            let undelivered = if state.ended {
                handed.saturating_sub(counts.delivered + counts.refused)
            } else {
                counts.dropped
            };
            let (not_delivered, refused) = match signal {
                Signal::Metrics => (Loss::MetricsUndelivered, Loss::MetricsRefused),
                Signal::Logs => (Loss::LogsUndelivered, Loss::LogsRefused),
            };
            losses.push((not_delivered, state.no_room[signal as usize] + undelivered));
            losses.push((refused, counts.refused));
        }
        losses
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(
    mut requests: mpsc::UnboundedReceiver<Option<Request>>,
    mut pipe: Sender,
    outbox: Outbox,
) {
    while let Some(Some(request)) = requests.recv().await {
        let written = match request.head() {
            Ok(head) => {
                async {
                    pipe.write_all(&head).await?;
                    pipe.write_all(&request.body).await
                }
                .await
            }
            Err(error) => Err(error),
        };
        if written.is_err() {
            // Without a reader nothing more is delivered; the end of its reports says so.
            return;
        }
        outbox.state().waiting -= request.body.len();
    }
}

/// Takes reports until there are no more, and says on stderr when something changes.
async fn read(mut reports: Receiver, outbox: Outbox) {
    let mut trouble = None;
    while let Ok(report) = wire::receive::<Report>(&mut reports, MAX_REPORT).await {
        if report.trouble != trouble {
            match (&trouble, &report.trouble) {
                (None, Some(why)) => crate::say!("overflow: {}", escape(why)),
                (Some(_), None) => crate::say!("overflow: the collector gets everything again"),
                // Why it fails may change with every attempt.
                _ => {}
            }
            trouble.clone_from(&report.trouble);
        }
        outbox.state().report = report;
    }
    let mut state = outbox.state();
    state.ended = true;
    if !state.closing {
        crate::say!(
            "overflow: the process that exports has ended, so nothing is exported any more; what \
             was not delivered is counted as lost"
        );
    }
}
