//! Every TCP segment at the server's interface, both directions, by an AF_PACKET socket.
//!
//! Outgoing packets are seen as they leave: after netem has held them, but before the user-space
//! link does.

pub(crate) mod concurrent;

use std::{
    io::{self, IoSliceMut},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use crate::{
    LabError,
    cell::netns::{Namespace, Pending},
    ends::sockopt as own_sockopt,
    ends::watched::watch,
    error::During,
};
use overflow_core::{capture::headers::tcp_segment, packet::Packet};
use overflow_host::clock::wall_offset_ns;

/// Enough for every packet of the largest cell, at about 800 bytes of kernel memory each.
const BUFFER: usize = 64 << 20;

/// A running capture.
pub(crate) struct Capture {
    stop: oneshot::Sender<()>,
    captured: Pending<Result<Captured, LabError>>,
}

/// What was captured.
pub(crate) struct Captured {
    /// In order of their kernel timestamps.
    pub(crate) packets: Vec<Packet>,
    /// Packets that did not fit into the socket's buffer.
    pub(crate) drops: u64,
    /// How far the wall clock, which the kernel stamps packets with, was moved during the
    /// capture, nanoseconds; every time is off by up to that much.
    pub(crate) clock_moved_ns: u64,
}

impl Capture {
    /// Starts to capture in `namespace`; packets are seen as soon as this returns.
    pub(crate) async fn start(namespace: &Namespace) -> Result<Self, LabError> {
        let socket = namespace.run(|| async { open() }).await?;
        let (stop, stopped) = oneshot::channel();
        let captured = namespace.spawn(move || run(socket, stopped));
        Ok(Self { stop, captured })
    }

    /// Ends the capture.
    pub(crate) async fn stop(self) -> Result<Captured, LabError> {
        // If the task is gone, its answer holds the cause.
        let _ = self.stop.send(());
        self.captured.wait().await?
    }
}

fn open() -> Result<Socket, LabError> {
    let what = "opening a capture socket";
    // Not bound to an interface: the namespace has only the one, and lo, which is down.
    // SOCK_DGRAM: packets begin at the network header. ETH_P_ALL: outgoing ones are seen too.
    let every_protocol = i32::from(u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be());
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(every_protocol)))
        .during(what)?;
    socket.set_nonblocking(true).during(what)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).during(what)?;
    // Without the privilege to force it, as much as net.core.rmem_max allows has to do.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER).during(what)?;
    }
    Ok(socket)
}

async fn run(socket: Socket, mut stopped: oneshot::Receiver<()>) -> Result<Captured, LabError> {
    let what = "capturing packets";
    let socket = watch(socket)?;
    let offset = wall_offset_ns();
    let mut reader =
        Reader { buffer: vec![0; 65_536], wall_offset_ns: offset, packets: Vec::new() };
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            ready = socket.readable() => {
                reader.drain(socket.get_ref()).during(what)?;
                ready.during(what)?.clear_ready();
            }
        }
    }
    reader.drain(socket.get_ref()).during(what)?;
    let mut packets = reader.packets;
    // Two CPUs may queue in another order than they stamped.
    packets.sort_by_key(|p| p.t_ns);
    Ok(Captured {
        packets,
        drops: own_sockopt::capture_drops(socket.get_ref())?,
        clock_moved_ns: (wall_offset_ns() - offset).unsigned_abs(),
    })
}

struct Reader {
    buffer: Vec<u8>,
    /// CLOCK_REALTIME, which the kernel stamps packets with, minus CLOCK_MONOTONIC.
    wall_offset_ns: i64,
    packets: Vec<Packet>,
}

impl Reader {
    /// Reads until the socket is empty.
    fn drain(&mut self, socket: &Socket) -> io::Result<()> {
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut into = [IoSliceMut::new(&mut self.buffer)];
            let fd = socket.as_raw_fd();
            let message =
                match recvmsg::<()>(fd, &mut into, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
                    Ok(message) => message,
                    Err(Errno::EAGAIN) => return Ok(()),
                    Err(Errno::EINTR) => continue,
                    Err(errno) => return Err(errno.into()),
                };
            let real = message.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampns(t) => Some(nanos(t)),
                _ => None,
            });
            let real = real.ok_or_else(|| io::Error::other("a packet without a timestamp"))?;
            let len = message.bytes;
            let t_ns = u64::try_from(real - self.wall_offset_ns).unwrap_or(0);
            let raw = &self.buffer[..len];
            if let Some(headers) = tcp_segment(t_ns, raw, len) {
                self.packets.push(Packet { raw: raw.to_vec(), ..headers.packet });
            }
        }
    }
}

fn nanos(t: TimeSpec) -> i64 {
    t.tv_sec() * 1_000_000_000 + t.tv_nsec()
}
