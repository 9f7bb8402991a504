//! The process that exports: takes requests from a pipe, delivers them, and reports what became
//! of them. It can connect to the collector's port and look up its name, and nothing else.

use std::{
    cell::RefCell,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::process::{Signal as Kill, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe::{Receiver, Sender},
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    Report, Request, Signal, Target,
    http_client::HttpClient,
    retry_queue::{Attempt, RetryQueue},
};
use crate::confine::{ConfineError, confine_sender, ignore_signals, wire};

/// At the end, the requests that still wait get so much time.
pub(super) const FLUSH: Duration = Duration::from_secs(3);
/// Least time between two reports.
const PACE: Duration = Duration::from_millis(100);
/// Longest settings, bytes.
const MAX_SETUP: u32 = 1 << 20;

/// The first message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// Where metrics go.
    pub(super) metrics: Option<Target>,
    /// Where logs go.
    pub(super) logs: Option<Target>,
}

/// What the tasks share; all run in one thread.
struct Exporter {
    queues: [RefCell<RetryQueue>; 2],
    /// Why nothing is delivered from each queue now.
    troubles: [RefCell<Option<String>>; 2],
    arrived: [Notify; 2],
    changed: Notify,
}

/// Exports what comes over stdin until it ends, and reports on stdout.
pub fn serve(confined: bool) -> Result<(), ConfineError> {
    let failed = |step| ConfineError::step(step);
    // For when the tracing process is killed; otherwise the pipe's end says it.
    set_parent_process_death_signal(Some(Kill::KILL))
        .map_err(|e| failed("cannot follow the tracing process")(e.into()))?;
    // A service manager sends SIGTERM to both, and the tracing process still has requests then.
    ignore_signals()?;
    let setup = setup(io::stdin().lock()).map_err(failed("cannot read where to export to"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("cannot start the runtime"))?;
    if confined {
        let ports = [&setup.metrics, &setup.logs].into_iter().flatten().map(|t| t.port);
        confine_sender(&ports.collect::<Vec<_>>())?;
    }
    runtime.block_on(deliver(setup)).map_err(failed("cannot use its pipes"))?;
    // A name that is still being looked up holds nobody up.
    runtime.shutdown_background();
    Ok(())
}

fn setup(mut from: impl Read) -> io::Result<Setup> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut body = vec![0; wire::announced(head, MAX_SETUP)?];
    from.read_exact(&mut body)?;
    wire::unpack(&body)
}

async fn deliver(setup: Setup) -> io::Result<()> {
    let own = |fd: io::Result<OwnedFd>| fd;
    let mut requests = Receiver::from_owned_fd(own(io::stdin().as_fd().try_clone_to_owned())?)?;
    let mut reports = Sender::from_owned_fd(own(io::stdout().as_fd().try_clone_to_owned())?)?;
    let exporter = Exporter::new();
    let (close, closing) = watch::channel(false);
    let read = async {
        // Nonsense ends it as the end does.
        while let Ok(Some(request)) = Request::read(&mut requests).await {
            let at = request.signal as usize;
            exporter.queues[at].borrow_mut().push(request);
            exporter.arrived[at].notify_one();
        }
        let _ = close.send(true);
        sleep(FLUSH).await;
    };
    let drain = async {
        let each = |signal, target: Option<Target>, closing| {
            let exporter = &exporter;
            async move {
                if let Some(target) = target {
                    exporter.drain(signal, HttpClient::new(target), closing).await;
                }
            }
        };
        tokio::join!(
            each(Signal::Metrics, setup.metrics, closing.clone()),
            each(Signal::Logs, setup.logs, closing.clone()),
        );
    };
    let report = async {
        loop {
            exporter.changed.notified().await;
            if reports.write_all(&wire::pack(&exporter.report())?).await.is_err() {
                // Nobody reads any more, and the requests will end too.
                return std::future::pending::<io::Result<()>>().await;
            }
            sleep(PACE).await;
        }
    };
    tokio::select! {
        () = read => {}
        () = drain => {}
        failed = report => failed?,
    }
    let _ = reports.write_all(&wire::pack(&exporter.report())?).await;
    Ok(())
}

impl Exporter {
    fn new() -> Self {
        Self {
            queues: [RefCell::default(), RefCell::default()],
            troubles: [RefCell::default(), RefCell::default()],
            arrived: [Notify::new(), Notify::new()],
            changed: Notify::new(),
        }
    }

    fn report(&self) -> Report {
        let mut report = Report::default();
        for signal in Signal::ALL {
            *report.of(signal) = self.queues[signal as usize].borrow().counts();
        }
        report.trouble = self.troubles.iter().find_map(|trouble| trouble.borrow().clone());
        report
    }

    /// Delivers what comes. Once `closing`, until there is no more, or until an attempt fails without
    /// a `Retry-After`.
    async fn drain(
        &self,
        signal: Signal,
        mut client: HttpClient,
        mut closing: watch::Receiver<bool>,
    ) {
        let at = signal as usize;
        loop {
            let ending = *closing.borrow();
            let next = self.queues[at].borrow_mut().next();
            let Some(request) = next else {
                if ending {
                    return;
                }
                tokio::select! {
                    () = self.arrived[at].notified() => {}
                    _ = closing.changed() => {}
                }
                continue;
            };
            let attempt = client.send(&request).await;
            let wait = self.queues[at].borrow_mut().attempted(&attempt, fastrand::f64());
            *self.troubles[at].borrow_mut() = trouble(signal, &attempt);
            self.changed.notify_one();
            if !wait.is_zero() {
                if matches!(attempt, Attempt::Later { retry_after: Some(_), .. }) {
                    // The end of the trace does not change when the collector wants it again.
                    sleep(wait).await;
                } else if ending {
                    return;
                } else {
                    tokio::select! {
                        () = sleep(wait) => {}
                        _ = closing.changed() => {}
                    }
                }
            }
        }
    }
}

fn trouble(signal: Signal, attempt: &Attempt) -> Option<String> {
    let what = match signal {
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    };
    match attempt {
        Attempt::Delivered { refused: 0, .. } => None,
        Attempt::Delivered { why, .. } => {
            Some(format!("the collector did not take all {what}: {why}"))
        }
        Attempt::Refused(why) => Some(format!("the collector does not take {what}: {why}")),
        Attempt::Later { why, .. } => {
            Some(format!("the collector does not get {what}, to be tried again: {why}"))
        }
    }
}
