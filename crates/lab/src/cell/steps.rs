//! A script's steps, carried out: what the server, and whoever else, does after the burst.

use std::{io::Read, net::SocketAddr, sync::Arc, time::Duration};

use socket2::Socket;
use tokio::{sync::oneshot, time::sleep};

use overflow_host::clock::monotonic_ns;

use crate::{
    Action, CellConfig, ClientView, LabError,
    cell::{
        destroy,
        netns::{Namespace, Pending},
        sysctl,
    },
    ends::{clients::Client, crafted, family::Addresses, listener, watched::watch},
    error::During,
    link::rules,
};

/// The two sides of a cell.
#[derive(Clone, Copy)]
pub(crate) struct Sides<'a> {
    /// The server's namespace.
    pub(crate) server: &'a Namespace,
    /// The clients' namespace.
    pub(crate) client: &'a Namespace,
    /// Their addresses.
    pub(crate) addresses: Addresses,
    /// What was asked for.
    pub(crate) config: &'a CellConfig,
}

/// The application at the server.
pub(crate) struct Application {
    listener: Option<Arc<Socket>>,
    accepting: Option<Accepting>,
    /// When the listener was closed, CLOCK_MONOTONIC nanoseconds.
    closed: Option<u64>,
    crafting: Vec<Pending<Result<ClientView, LabError>>>,
    crafted: Vec<ClientView>,
}

/// A task that accepts.
struct Accepting {
    stop: oneshot::Sender<()>,
    accepted: Pending<Result<Vec<Socket>, LabError>>,
}

impl Application {
    /// An application that listens and does nothing.
    pub(crate) fn new(listener: Socket) -> Self {
        let listener = Some(Arc::new(listener));
        Self { listener, accepting: None, closed: None, crafting: Vec::new(), crafted: Vec::new() }
    }

    /// The listener, unless it is closed.
    pub(crate) fn listener(&self) -> Option<&Arc<Socket>> {
        self.listener.as_ref()
    }

    /// The connections that were made by hand, in order.
    pub(crate) fn take_crafted(&mut self) -> Vec<ClientView> {
        std::mem::take(&mut self.crafted)
    }

    /// Goes through the script's steps; `burst_ns` is the time they count from. Answers with how late
    /// the latest step was done.
    pub(crate) async fn follow(
        &mut self,
        sides: Sides<'_>,
        burst: &[Client],
        burst_ns: u64,
    ) -> Result<Duration, LabError> {
        let mut latest = Duration::ZERO;
        for step in sides.config.script.steps {
            let due = Duration::from_millis(step.at_ms);
            sleep(due.saturating_sub(since(burst_ns))).await;
            self.act(sides, burst, step.action).await?;
            latest = latest.max(since(burst_ns).saturating_sub(due));
        }
        for crafting in std::mem::take(&mut self.crafting) {
            self.crafted.push(crafting.wait().await??);
        }
        Ok(latest)
    }

    async fn act(
        &mut self,
        sides: Sides<'_>,
        burst: &[Client],
        action: Action,
    ) -> Result<(), LabError> {
        let ipv6 = sides.config.family.listens_on_ipv6();
        match action {
            Action::Listen(backlog) => {
                if let Some(listener) = &self.listener {
                    listener::again(listener, backlog)?;
                }
            }
            Action::Accept => {
                if let Some(listener) = &self.listener {
                    let listener = listener.try_clone().during("duplicating the listener")?;
                    let (stop, stopped) = oneshot::channel();
                    let accepted = sides.server.spawn(move || accept(listener, stopped));
                    self.accepting = Some(Accepting { stop, accepted });
                }
            }
            Action::Close => self.close(sides.server).await?,
            Action::Replace(backlog) => {
                let address = sides.bind_address();
                let script = sides.config.script;
                let second = sides
                    .server
                    .run(move || async move { listener::open(address, backlog, &script) })
                    .await?;
                self.listener = Some(Arc::new(second));
            }
            Action::Sysctl(key, value) => {
                sides.server.run(move || async move { sysctl::set(key, value) }).await?;
            }
            Action::Mark(mark) => {
                if let Some(listener) = &self.listener {
                    listener.set_mark(mark).during("setting SO_MARK")?;
                }
            }
            Action::Unroutable(mark) => {
                sides.server.run(move || rules::unroutable(mark, ipv6)).await?;
            }
            Action::Send { segments, bytes } => {
                for client in burst {
                    client.send_now(segments, bytes);
                }
            }
            Action::Destroy => {
                let port = sides.config.port;
                sides.server.run(move || async move { destroy::destroy(ipv6, port) }).await?;
            }
            Action::Craft(scripts) => {
                let (from, delay) = (sides.addresses.crafted, sides.config.delay);
                let server = SocketAddr::new(sides.addresses.server, sides.config.port);
                for &script in scripts {
                    let index = u16::try_from(self.crafting.len()).unwrap_or(u16::MAX);
                    let play = move || crafted::play(from, server, index, delay, script);
                    self.crafting.push(sides.client.spawn(play));
                }
            }
        }
        Ok(())
    }

    /// Closes the listener, if it is open; answers with when it was closed, CLOCK_MONOTONIC
    /// nanoseconds.
    pub(crate) async fn close(&mut self, server: &Namespace) -> Result<(), LabError> {
        if let Some(listener) = self.listener.take() {
            self.closed = Some(monotonic_ns());
            server.spawn(move || async move { drop(listener) }).wait().await?;
        }
        Ok(())
    }

    /// When the listener was closed, CLOCK_MONOTONIC nanoseconds.
    pub(crate) fn closed(&self) -> Option<u64> {
        self.closed
    }

    /// Stops accepting; what was accepted is closed with the answer.
    pub(crate) async fn stop_accepting(&mut self) -> Result<Vec<Socket>, LabError> {
        let Some(accepting) = self.accepting.take() else { return Ok(Vec::new()) };
        // If the task is gone, its answer holds the cause.
        let _ = accepting.stop.send(());
        accepting.accepted.wait().await?
    }
}

/// How long ago that was, by CLOCK_MONOTONIC.
pub(crate) fn since(ns: u64) -> Duration {
    Duration::from_nanos(monotonic_ns().saturating_sub(ns))
}

impl Sides<'_> {
    fn bind_address(&self) -> SocketAddr {
        let server = SocketAddr::new(self.addresses.server, self.config.port);
        self.config.family.bind_address(server)
    }
}

/// Accepts until stopped; keeps what it accepted open. Whoever is accepted is greeted with a byte:
/// the wire shows that the connection exists.
pub(crate) async fn accept(
    listener: Socket,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Vec<Socket>, LabError> {
    let what = "accepting connections";
    listener.set_nonblocking(true).during(what)?;
    let listener = watch(listener)?;
    let mut accepted = Vec::new();
    loop {
        let mut ready = tokio::select! {
            _ = &mut stopped => {
                accepted.iter().for_each(drain);
                return Ok(accepted);
            }
            ready = listener.readable() => ready.during(what)?,
        };
        match ready.try_io(|l| l.get_ref().accept()) {
            Ok(Ok((socket, _))) => {
                // A client that is gone already will not miss it.
                let _ = socket.send_with_flags(b".", libc::MSG_NOSIGNAL);
                accepted.push(socket);
            }
            Ok(Err(error)) => return Err(error).during(what),
            Err(_would_block) => {}
        }
    }
}

/// Reads what came: a socket closed with unread data would send a RST instead of its FIN
/// (`tcp_close` in net/ipv4/tcp.c).
fn drain(mut socket: &Socket) {
    let mut buffer = [0; 4096];
    let nonblocking = socket.set_nonblocking(true).is_ok();
    while nonblocking && matches!(socket.read(&mut buffer), Ok(1..)) {}
}
