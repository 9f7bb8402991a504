//! The wire: a TUN device whose other end is this program, which plays the client by hand.
//!
//! A segment written to the device is handled by the kernel before write() returns, so that the
//! time of the call is the time the passive side takes, and nothing else.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{OpenOptionsExt as _, symlink},
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt::{set_socket_linger, set_socket_reuseaddr},
};

/// The port that handshakes go to.
pub const PORT: u16 = 8080;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 50);
const DEVICE: &str = "tun9";

/// Sysctls that decide what a handshake costs, as the figures to be reproduced had them.
const SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv4/tcp_abort_on_overflow", "0"),
    ("net/ipv4/tcp_invalid_ratelimit", "0"),
    ("net/ipv4/tcp_tw_reuse", "1"),
    ("net/ipv6/conf/tun9/disable_ipv6", "1"),
    ("kernel/printk", "0"),
];

/// A listener; gone when dropped.
pub struct Listener(OwnedFd);

/// The client's end of the wire.
pub struct Wire {
    device: File,
    /// Source port of the next client.
    port: u16,
    sequence: u32,
}

/// A client whose SYN was sent.
#[derive(Clone, Copy)]
pub struct Client {
    port: u16,
    sequence: u32,
    /// The server's sequence number, from its SYN-ACK.
    server: u32,
}

/// What came from the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// SYN-ACK with this sequence number.
    SynAck(u32),
    /// RST.
    Rst,
}

impl Wire {
    /// Makes the device and sets the machine up; only in a machine made for that.
    pub fn new() -> Result<Self> {
        ensure!(
            Path::new(guest_init::plan::PLAN).is_file(),
            "the load changes the machine's settings, and is driven only in a VM of \
             `cargo xtask bench`"
        );
        let device = open_tun()?;
        busybox(&["ifconfig", DEVICE, "10.99.0.1", "netmask", "255.255.255.0", "up"])?;
        busybox(&["ifconfig", "lo", "127.0.0.1", "up"])?;
        // pwru looks for what can be traced there.
        if !Path::new("/sys/kernel/debug/tracing").exists() {
            busybox(&["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"])?;
        }
        for (name, value) in SYSCTLS {
            sysctl(name, value)?;
        }
        // Not there without udev, and bpftrace opens it.
        if !Path::new("/dev/fd").exists() {
            symlink("/proc/self/fd", "/dev/fd").context("cannot make /dev/fd")?;
        }
        Ok(Self { device, port: 20_000, sequence: 1_000_000 })
    }

    /// Sends a SYN from a new port; how long that took.
    pub fn syn(&mut self) -> Result<(Client, Duration)> {
        self.port = if self.port == 60_000 { 20_000 } else { self.port + 1 };
        self.sequence = self.sequence.wrapping_add(100_003);
        let client = Client { port: self.port, sequence: self.sequence, server: 0 };
        let segment = builder().tcp(client.port, PORT, client.sequence, 64_240).syn();
        let mut bytes = Vec::with_capacity(segment.size(0));
        segment.write(&mut bytes, &[])?;
        Ok((client, self.send(&bytes)?))
    }

    /// Sends a SYN and takes the SYN-ACK.
    pub fn half_open(&mut self) -> Result<(Client, Duration)> {
        let (client, took) = self.syn()?;
        match self.answers(client.port)?[..] {
            [Answer::SynAck(server)] => Ok((Client { server, ..client }, took)),
            _ => bail!("a SYN was not answered by one SYN-ACK"),
        }
    }

    /// Sends the third ACK; how long that took.
    pub fn ack(&mut self, client: &Client) -> Result<Duration> {
        let segment = builder()
            .tcp(client.port, PORT, client.sequence.wrapping_add(1), 64_240)
            .ack(client.server.wrapping_add(1));
        let mut bytes = Vec::with_capacity(segment.size(0));
        segment.write(&mut bytes, &[])?;
        self.send(&bytes)
    }

    /// Gives a half-open connection up.
    pub fn reset(&mut self, client: &Client) -> Result<()> {
        let segment = builder().tcp(client.port, PORT, client.sequence.wrapping_add(1), 0).rst();
        let mut bytes = Vec::with_capacity(segment.size(0));
        segment.write(&mut bytes, &[])?;
        self.send(&bytes).map(drop)
    }

    /// Takes everything the server sent, and returns what went to this port.
    pub fn answers(&mut self, port: u16) -> Result<Vec<Answer>> {
        let all = self.drain()?;
        Ok(all.into_iter().filter(|(to, _)| *to == port).map(|(_, answer)| answer).collect())
    }

    /// Takes everything the server sent: to which port, what.
    pub fn drain(&mut self) -> Result<Vec<(u16, Answer)>> {
        let mut answers = Vec::new();
        let mut bytes = [0; 2048];
        loop {
            match self.device.read(&mut bytes) {
                Ok(n) => answers.extend(parse(&bytes[..n])),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(answers),
                Err(e) => return Err(e).context("cannot read the TUN device"),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<Duration> {
        let before = Instant::now();
        let written = self.device.write(bytes);
        let took = before.elapsed();
        ensure!(written.context("cannot write to the TUN device")? == bytes.len(), "a short write");
        Ok(took)
    }
}

impl Listener {
    /// Listens with this backlog.
    pub fn new(backlog: i32) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(SERVER, PORT)).context("cannot bind the listener")?;
        listen(&socket, backlog)?;
        Ok(Self(socket))
    }

    /// Accepts one connection and closes it by an RST, so that nothing of it remains.
    pub fn accept_and_reset(&self) -> Result<()> {
        let socket = accept_with(&self.0, SocketFlags::CLOEXEC)
            .context("a connection is not in the accept queue although its handshake was done")?;
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        Ok(())
    }
}

/// Sets a sysctl, given as its path under /proc/sys.
pub fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    fs::write(&path, value).with_context(|| format!("cannot set {}", path.display()))
}

/// `ListenOverflows` of this network namespace.
pub fn listen_overflows() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat").context("cannot read /proc/net/netstat")?;
    counter(&text, "TcpExt:", "ListenOverflows").context("there is no counter ListenOverflows")
}

/// A line of names, then a line of values, each with the group's name first.
fn counter(netstat: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

fn busybox(args: &[&str]) -> Result<()> {
    let status = Command::new("/bin/busybox").args(args).status().context("cannot run busybox")?;
    ensure!(status.success(), "`busybox {}` failed", args.join(" "));
    Ok(())
}

fn builder() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ipv4(CLIENT.octets(), SERVER.octets(), 64)
}

fn parse(bytes: &[u8]) -> Option<(u16, Answer)> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
    let answer = match (tcp.syn() && tcp.ack(), tcp.rst()) {
        (true, false) => Answer::SynAck(tcp.sequence_number()),
        (_, true) => Answer::Rst,
        _ => return None,
    };
    (tcp.source_port() == PORT).then_some((tcp.destination_port(), answer))
}

fn open_tun() -> Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun")?;
    // struct ifreq: name, then flags.
    let mut request = [0u8; 40];
    request[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request[16..20].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one struct ifreq, which has 40 bytes.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot make the TUN device");
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text =
            "TcpExt: A ListenOverflows B\nTcpExt: 1 22 3\nIpExt: ListenOverflows\nIpExt: 9\n";
        assert_eq!(counter(text, "TcpExt:", "ListenOverflows"), Some(22));
        assert_eq!(counter(text, "TcpExt:", "C"), None);
    }

    #[test]
    fn only_answers_of_the_listener_count() {
        let segment = |from, flags: &dyn Fn(Step) -> Step| {
            let step = PacketBuilder::ipv4(SERVER.octets(), CLIENT.octets(), 64);
            let mut bytes = Vec::new();
            flags(step.tcp(from, 30_000, 77, 1)).write(&mut bytes, &[]).unwrap();
            bytes
        };
        let synack = segment(PORT, &|s| s.syn().ack(1));
        assert!(matches!(parse(&synack), Some((30_000, Answer::SynAck(77)))));
        assert!(matches!(parse(&segment(PORT, &Step::rst)), Some((30_000, Answer::Rst))));
        assert!(parse(&segment(PORT, &|s| s.ack(1))).is_none());
        assert!(parse(&segment(22, &|s| s.syn().ack(1))).is_none());
        assert!(parse(b"noise").is_none());
    }

    type Step = etherparse::PacketBuilderStep<etherparse::TcpHeader>;
}
