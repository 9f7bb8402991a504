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
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt::{set_socket_linger, set_socket_reuseaddr},
};

/// The port that handshakes go to, unless another is asked for.
const PORT: u16 = 8080;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 50);
const DEVICE: &str = "tun9";
/// The network of clients that come from many addresses, a part of it for each device.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
/// Addresses in such a part: a /16.
const PART: u32 = 1 << 16;

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
    /// The port of the listener.
    server: u16,
    /// Source of the last client.
    address: Ipv4Addr,
    port: u16,
    /// The addresses that clients come from in turn; one always does if `None`.
    part: Option<Ipv4Addr>,
    sequence: u32,
}

/// A client whose SYN was sent.
#[derive(Clone, Copy)]
pub struct Client {
    from: SocketAddrV4,
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
        let device = open_tun(DEVICE)?;
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
        Ok(Self::over(device, None))
    }

    /// One more device, to be used by another thread on another processor; its clients come from
    /// many addresses. The first [`Self::new`] must be there; `number` is at most 100.
    pub fn another(number: u8) -> Result<Self> {
        let name = format!("tun{}", 10 + u16::from(number));
        let device = open_tun(&name)?;
        sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
        busybox(&["ip", "link", "set", &name, "up"])?;
        let part = Ipv4Addr::from_bits(CLIENTS.to_bits() + (1 + u32::from(number)) * PART);
        route(part, &name)?;
        Ok(Self::over(device, Some(part)))
    }

    /// From now on, clients come from many addresses.
    pub fn spread(&mut self) -> Result<()> {
        self.part = Some(CLIENTS);
        route(CLIENTS, DEVICE)
    }

    /// From now on, handshakes go to this port.
    pub fn aim(&mut self, port: u16) {
        self.server = port;
    }

    fn over(device: File, part: Option<Ipv4Addr>) -> Self {
        Self { device, server: PORT, address: CLIENT, port: 20_000, part, sequence: 1_000_000 }
    }

    /// Listens where handshakes go to.
    pub fn listen(&self, backlog: i32) -> Result<Listener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(SERVER, self.server))
            .context("cannot bind the listener")?;
        listen(&socket, backlog)?;
        Ok(Listener(socket))
    }

    /// Sends a SYN from a new port; how long that took.
    pub fn syn(&mut self) -> Result<(Client, Duration)> {
        self.port = if self.port == 60_000 { 20_000 } else { self.port + 1 };
        if let Some(part) = self.part {
            // Every address once before the first comes again, far from the one before.
            let last = self.address.to_bits() % PART;
            self.address = Ipv4Addr::from_bits(part.to_bits() + (last + 40_503) % PART);
        }
        self.sequence = self.sequence.wrapping_add(100_003);
        let from = SocketAddrV4::new(self.address, self.port);
        let client = Client { from, sequence: self.sequence, server: 0 };
        let segment = segment(from).tcp(from.port(), self.server, client.sequence, 64_240).syn();
        let mut bytes = Vec::with_capacity(segment.size(0));
        segment.write(&mut bytes, &[])?;
        Ok((client, self.send(&bytes)?))
    }

    /// Sends a SYN and takes the SYN-ACK.
    pub fn half_open(&mut self) -> Result<(Client, Duration)> {
        let (client, took) = self.syn()?;
        match self.answers(client.from)?[..] {
            [Answer::SynAck(server)] => Ok((Client { server, ..client }, took)),
            _ => bail!("a SYN was not answered by one SYN-ACK"),
        }
    }

    /// Sends a SYN; the client if it was answered.
    pub fn try_half_open(&mut self) -> Result<Option<Client>> {
        let (client, _) = self.syn()?;
        Ok(match self.answers(client.from)?[..] {
            [Answer::SynAck(server)] => Some(Client { server, ..client }),
            _ => None,
        })
    }

    /// Sends the third ACK; how long that took.
    pub fn ack(&mut self, client: &Client) -> Result<Duration> {
        let segment = segment(client.from)
            .tcp(client.from.port(), self.server, client.sequence.wrapping_add(1), 64_240)
            .ack(client.server.wrapping_add(1));
        let mut bytes = Vec::with_capacity(segment.size(0));
        segment.write(&mut bytes, &[])?;
        self.send(&bytes)
    }

    /// Gives a half-open connection up.
    pub fn reset(&mut self, client: &Client) -> Result<()> {
        let sequence = client.sequence.wrapping_add(1);
        let segment = segment(client.from).tcp(client.from.port(), self.server, sequence, 0).rst();
        let mut bytes = Vec::with_capacity(segment.size(0));
        segment.write(&mut bytes, &[])?;
        self.send(&bytes).map(drop)
    }

    /// Takes everything the server sent, and returns what went to this client.
    fn answers(&mut self, client: SocketAddrV4) -> Result<Vec<Answer>> {
        let all = self.drain()?;
        Ok(all.into_iter().filter(|(to, _)| *to == client).map(|(_, answer)| answer).collect())
    }

    /// Takes everything the server sent: to whom, what.
    pub fn drain(&mut self) -> Result<Vec<(SocketAddrV4, Answer)>> {
        let mut answers = Vec::new();
        let mut bytes = [0; 2048];
        loop {
            match self.device.read(&mut bytes) {
                Ok(n) => answers.extend(parse(&bytes[..n], self.server)),
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
    /// Accepts one connection and closes it by an RST, so that nothing of it remains. How long
    /// `accept()` took.
    pub fn accept_and_reset(&self) -> Result<Duration> {
        let begun = Instant::now();
        let accepted = accept_with(&self.0, SocketFlags::CLOEXEC);
        let took = begun.elapsed();
        let socket = accepted
            .context("a connection is not in the accept queue although its handshake was done")?;
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        Ok(took)
    }
}

/// Sets a sysctl, given as its path under /proc/sys.
pub fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    fs::write(&path, value).with_context(|| format!("cannot set {}", path.display()))
}

/// `ListenOverflows` of this network namespace.
pub fn listen_overflows() -> Result<u64> {
    let [overflows] = counters(["ListenOverflows"])?;
    Ok(overflows)
}

/// Counters of TCP in this network namespace.
pub fn counters<const N: usize>(names: [&str; N]) -> Result<[u64; N]> {
    let text = fs::read_to_string("/proc/net/netstat").context("cannot read /proc/net/netstat")?;
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = counter(&text, "TcpExt:", name)
            .with_context(|| format!("this kernel has no counter {name}"))?;
    }
    Ok(values)
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

/// What goes to a client of this network goes through this device.
fn route(part: Ipv4Addr, device: &str) -> Result<()> {
    busybox(&["ip", "route", "add", &format!("{part}/16"), "dev", device])
}

fn segment(from: SocketAddrV4) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ipv4(from.ip().octets(), SERVER.octets(), 64)
}

/// A segment from the listener's port.
fn parse(bytes: &[u8], listener: u16) -> Option<(SocketAddrV4, Answer)> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let Some(NetSlice::Ipv4(ip)) = packet.net else { return None };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
    let answer = match (tcp.syn() && tcp.ack(), tcp.rst()) {
        (true, false) => Answer::SynAck(tcp.sequence_number()),
        (_, true) => Answer::Rst,
        _ => return None,
    };
    let to = SocketAddrV4::new(ip.header().destination_addr(), tcp.destination_port());
    (tcp.source_port() == listener).then_some((to, answer))
}

fn open_tun(name: &str) -> Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun")?;
    // struct ifreq: name, then flags.
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
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
        let to = SocketAddrV4::new(CLIENT, 30_000);
        let parse = |bytes: &[u8]| parse(bytes, PORT);
        assert!(matches!(parse(&synack), Some((from, Answer::SynAck(77))) if from == to));
        assert!(matches!(parse(&segment(PORT, &Step::rst)), Some((_, Answer::Rst))));
        assert!(parse(&segment(PORT, &|s| s.ack(1))).is_none());
        assert!(parse(&segment(22, &|s| s.syn().ack(1))).is_none());
        assert!(parse(b"noise").is_none());
    }

    type Step = etherparse::PacketBuilderStep<etherparse::TcpHeader>;
}
