//! The clients: sockets bound to known ports, connected without waiting for each other.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;

use overflow_core::{model::scenario::Phase, tcp_state::TcpState};

use crate::{
    ClientView, LabError, Script,
    cell::config::{BURST_PORT, PREFILL_PORT},
    ends::{listener, sockopt, watched::watch},
    error::{During, errno_name},
};
use overflow_host::clock::monotonic_ns;

/// One client.
pub(crate) struct Client {
    local: SocketAddr,
    phase: Phase,
    socket: Arc<AsyncFd<Socket>>,
    progress: Arc<Mutex<Progress>>,
}

/// What a client has learnt so far.
#[derive(Default)]
struct Progress {
    connect: Option<Result<u64, String>>,
    /// An error that a `send()` took off the socket, so that `SO_ERROR` has it no more.
    send_error: Option<String>,
}

/// Connects prefill client number `index` (from 0) and waits until it is established, from a
/// thread of the clients' namespace. `Err` with the reason if that takes longer than `timeout`.
pub(crate) async fn prefill(
    from: IpAddr,
    server: SocketAddr,
    index: u16,
    timeout: Duration,
    script: &Script,
) -> Result<Result<Client, String>, LabError> {
    let local = SocketAddr::from((from, PREFILL_PORT + index));
    let socket = bound(local, script)?;
    let started = start(&socket, server, false);
    let client = Client::new(local, Phase::Prefill, socket)?;
    let outcome = tokio::time::timeout(timeout, client.established(started)).await;
    if outcome.is_err() {
        return Ok(Err(TcpState::name_of(sockopt::tcp_state(client.socket.get_ref())?)));
    }
    let failed = match &lock(&client.progress).connect {
        Some(Err(errno)) => Some(errno.clone()),
        _ => None,
    };
    Ok(failed.map_or(Ok(client), Err))
}

/// Connects `count` clients back to back, from a thread of the clients' namespace; each then
/// sends `payload` bytes as soon as it is established. Also answers with the time just before
/// the first `connect()`, CLOCK_MONOTONIC nanoseconds.
pub(crate) fn burst(
    from: IpAddr,
    server: SocketAddr,
    count: u16,
    payload: usize,
    script: &Script,
) -> Result<(Vec<Client>, u64), LabError> {
    let sockets = (0..count)
        .map(|i| {
            let local = SocketAddr::from((from, BURST_PORT + i));
            Ok((local, bound(local, script)?))
        })
        .collect::<Result<Vec<_>, LabError>>()?;
    launch(sockets, server, payload, script.fast_open().is_some())
}

/// As [`burst`], from wherever the calling thread is and from ports of the kernel's choice.
pub(crate) fn burst_from_anywhere(
    server: SocketAddr,
    count: u16,
    payload: usize,
) -> Result<(Vec<Client>, u64), LabError> {
    let script = Script::default();
    let any = |_| Ok((server, unbound(server, &script)?));
    let sockets = (0..count).map(any).collect::<Result<Vec<_>, LabError>>()?;
    let (mut clients, since) = launch(sockets, server, payload, false)?;
    for client in &mut clients {
        let local = client.socket.get_ref().local_addr().ok().and_then(|a| a.as_socket());
        // One that could not even start has no address.
        client.local = local.unwrap_or(SocketAddr::new(client.local.ip(), 0));
    }
    Ok((clients, since))
}

fn launch(
    sockets: Vec<(SocketAddr, Socket)>,
    server: SocketAddr,
    payload: usize,
    fast_open: bool,
) -> Result<(Vec<Client>, u64), LabError> {
    // On veth each SYN is received on the CPU that sends it; moving to another CPU half-way could
    // let a later SYN overtake.
    let free = pin_to_this_cpu();
    let before = monotonic_ns();
    let started: Vec<_> =
        sockets.iter().map(|(_, socket)| start(socket, server, fast_open)).collect();
    if let Some(free) = free {
        sched_setaffinity(None, &free).during("unpinning the clients' thread")?;
    }
    let mut clients = Vec::with_capacity(sockets.len());
    for ((local, socket), started) in sockets.into_iter().zip(started) {
        let client = Client::new(local, Phase::Burst, socket)?;
        let watched = client.clone();
        tokio::task::spawn_local(async move {
            watched.established(started).await;
            watched.send(payload).await;
        });
        clients.push(client);
    }
    Ok((clients, before))
}

impl Client {
    fn new(local: SocketAddr, phase: Phase, socket: Socket) -> Result<Self, LabError> {
        let socket = Arc::new(watch(socket)?);
        Ok(Self { local, phase, socket, progress: Arc::default() })
    }

    fn clone(&self) -> Self {
        Self {
            local: self.local,
            phase: self.phase,
            socket: Arc::clone(&self.socket),
            progress: Arc::clone(&self.progress),
        }
    }

    /// What the client believes now; takes the pending error off the socket.
    pub(crate) fn view(&self) -> Result<ClientView, LabError> {
        let socket = self.socket.get_ref();
        let pending = socket.take_error().during("reading SO_ERROR")?;
        let progress = lock(&self.progress);
        Ok(ClientView {
            local: self.local,
            phase: self.phase,
            connect: progress.connect.clone().unwrap_or_else(|| Err("pending".to_owned())),
            state: TcpState::name_of(sockopt::tcp_state(socket)?),
            error: pending.map(|e| errno_name(&e)).or_else(|| progress.send_error.clone()),
        })
    }

    /// Waits until `connect()` has an outcome, and notes it.
    async fn established(&self, started: io::Result<u64>) {
        let outcome = match started {
            Ok(since) => self.outcome(since).await,
            Err(error) => Err(error),
        };
        lock(&self.progress).connect = Some(outcome.map_err(|e| errno_name(&e)));
    }

    async fn outcome(&self, since: u64) -> io::Result<u64> {
        loop {
            let mut ready = self.socket.writable().await?;
            let took = monotonic_ns() - since;
            if let Some(error) = self.socket.get_ref().take_error()? {
                return Err(error);
            }
            // Only a connected socket has a peer; anything else was a stray wake-up.
            if self.socket.get_ref().peer_addr().is_ok() {
                return Ok(took);
            }
            ready.clear_ready();
        }
    }

    /// Sends so many segments of so many bytes back to back, if connected; what the socket's buffer
    /// does not take is not sent.
    pub(crate) fn send_now(&self, segments: u32, bytes: usize) {
        if !matches!(lock(&self.progress).connect, Some(Ok(_))) {
            return;
        }
        let socket = self.socket.get_ref();
        let data = vec![0; bytes];
        // Without Nagle's algorithm the second segment does not wait for the first one's ACK.
        let sent = socket.set_tcp_nodelay(true).and_then(|()| {
            (0..segments).try_for_each(|_| {
                socket.send_with_flags(&data, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT).map(drop)
            })
        });
        if let Err(error) = sent {
            lock(&self.progress).send_error = Some(errno_name(&error));
        }
    }

    /// Sends `payload` zeros if connected.
    async fn send(&self, payload: usize) {
        if !matches!(lock(&self.progress).connect, Some(Ok(_))) {
            return;
        }
        let data = vec![0; payload];
        let mut rest = &data[..];
        while !rest.is_empty() {
            let sent = self
                .socket
                .async_io(tokio::io::Interest::WRITABLE, |s| {
                    s.send_with_flags(rest, libc::MSG_NOSIGNAL)
                })
                .await;
            match sent {
                Ok(len) => rest = &rest[len..],
                Err(error) => {
                    lock(&self.progress).send_error = Some(errno_name(&error));
                    return;
                }
            }
        }
    }
}

fn bound(local: SocketAddr, script: &Script) -> Result<Socket, LabError> {
    let socket = unbound(local, script)?;
    socket.bind(&SockAddr::from(local)).during(format!("binding a client to {local}"))?;
    Ok(socket)
}

fn unbound(like: SocketAddr, script: &Script) -> Result<Socket, LabError> {
    let what = "making a client's socket";
    let protocol = listener::protocol(script);
    let socket =
        Socket::new(Domain::for_address(like), Type::STREAM, Some(protocol)).during(what)?;
    socket.set_nonblocking(true).during(what)?;
    Ok(socket)
}

/// Starts to connect, with data in the SYN if `fast_open`; answers with the time of `connect()`.
fn start(socket: &Socket, server: SocketAddr, fast_open: bool) -> io::Result<u64> {
    const DATA_IN_SYN: &[u8] = b"overflow";
    let now = monotonic_ns();
    let to = SockAddr::from(server);
    let started = if fast_open {
        socket.send_to_with_flags(DATA_IN_SYN, &to, libc::MSG_FASTOPEN).map(drop)
    } else {
        socket.connect(&to)
    };
    match started {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(now),
    }
}

/// Keeps the calling thread on its CPU; answers with the CPUs it was free to use.
fn pin_to_this_cpu() -> Option<CpuSet> {
    let free = sched_getaffinity(None).ok()?;
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    sched_setaffinity(None, &here).ok()?;
    Some(free)
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    // The fields are independent values; a panic elsewhere cannot leave them half-written.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
