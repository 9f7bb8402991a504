//! The client's end: a TUN device, and what each client has sent and got.
//!
//! A segment written to the device is handled by the kernel before write() returns, on this CPU.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use guest_cases::action::{Segment, flags_word};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    links::Links,
    segment::{self, ACK, SYN, Wired},
    sys,
};

/// The device.
pub const DEVICE: &str = "tun0";
/// Its address, and the clients'.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
/// How long a SYN-ACK is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long where there may be none.
const IMPATIENCE: Duration = Duration::from_millis(30);
/// Kinds of TCP options.
const TIMESTAMP: u8 = 8;
const FASTOPEN: u8 = 34;

/// The client's end.
pub struct Wire {
    device: File,
    /// What stands before each packet: of Ethernet.
    header: Vec<u8>,
    clients: BTreeMap<u16, Client>,
}

/// A client, by its port.
#[derive(Default)]
struct Client {
    isn: u32,
    /// The server's first sequence number.
    server: Option<u32>,
    /// The timestamp of the server's last SYN-ACK.
    recent: u32,
    /// The Fast Open cookie that it was given.
    cookie: Vec<u8>,
    /// Flags of what came since it was last asked.
    answers: Vec<String>,
}

impl Wire {
    /// Makes the device in this namespace, an Ethernet one if so asked.
    pub fn new(links: &Links, ethernet: bool) -> Result<Self> {
        let device = sys::tun(DEVICE, ethernet).context("cannot make a TUN device")?;
        links.up("lo", &[])?;
        let more = [([10, 7, 0, 10].into(), 24), ([0xfd00, 7, 0, 0, 0, 0, 0, 0x10].into(), 64)];
        links.up(DEVICE, &[(server(false), 24), (server(true), 64), more[0], more[1]])?;
        let mut header = links.find(DEVICE)?.1;
        header.truncate(if ethernet { 6 } else { 0 });
        if ethernet {
            // From a neighbour whose address nobody knows; IPv4.
            header.extend([2, 0, 0, 0, 0, 2, 8, 0]);
        }
        Ok(Self { device, header, clients: BTreeMap::new() })
    }

    /// Sends a segment of each of its clients.
    pub fn send(&mut self, segment: &Segment) -> Result<()> {
        segment.clients.clone().try_for_each(|port| self.send_one(segment, port))
    }

    /// Sends a segment of each of its clients that got a SYN-ACK.
    pub fn send_answered(&mut self, segment: &Segment) -> Result<()> {
        for port in segment.clients.clone() {
            if self.clients.get(&port).is_some_and(|client| client.server.is_some()) {
                self.send_one(segment, port)?;
            }
        }
        Ok(())
    }

    fn send_one(&mut self, segment: &Segment, port: u16) -> Result<()> {
        let cookie = match segment.cookie_of {
            Some(of) => self.clients.get(&of).map(|client| client.cookie.clone()),
            None => None,
        };
        let client = self.clients.entry(port).or_default();
        if segment.flags & SYN != 0 && segment.flags & ACK == 0 && segment.seq == 0 {
            client.isn = segment.isn.unwrap_or(1000);
            client.server = None;
            client.recent = 0;
        }
        let mut options = segment.options.clone();
        if let Some(value) = segment.timestamp {
            options.extend([TIMESTAMP, 10]);
            options.extend(value.to_be_bytes());
            options.extend(client.recent.to_be_bytes());
        }
        if let Some(cookie) = cookie {
            ensure!(!cookie.is_empty(), "no Fast Open cookie was given");
            options.extend([FASTOPEN, u8::try_from(2 + cookie.len())?]);
            options.extend(cookie);
        }
        while !options.len().is_multiple_of(4) {
            options.push(1);
        }
        let acknowledged = client.server.unwrap_or(0).wrapping_add_signed(segment.ack);
        let wired = Wired {
            addresses: (
                segment.from.unwrap_or_else(|| self::client(segment.v6)),
                segment.to.unwrap_or_else(|| server(segment.v6)),
            ),
            ports: (port, segment.port),
            flags: segment.flags,
            seq: client.isn.wrapping_add_signed(segment.seq),
            ack: if segment.flags & ACK == 0 { 0 } else { acknowledged },
            options,
            len: segment.len,
        };
        let bytes = segment::write(&wired, segment.extension, segment.bad_checksum)?;
        self.write(&bytes)
    }

    fn write(&mut self, packet: &[u8]) -> Result<()> {
        let bytes = [&self.header, packet].concat();
        let written = self.device.write(&bytes).context("cannot write to the TUN device")?;
        ensure!(written == bytes.len(), "the TUN device took a part of a packet");
        Ok(())
    }

    /// A router says that the client cannot be reached, about the SYN-ACK that it was sent.
    pub fn unreachable(&mut self, server_port: u16, port: u16, v6: bool) -> Result<()> {
        let seq = self.clients.get(&port).and_then(|client| client.server);
        let about = Wired {
            addresses: (server(v6), client(v6)),
            ports: (server_port, port),
            flags: SYN | ACK,
            seq: seq.with_context(|| format!("{port} got no SYN-ACK"))?,
            ack: 0,
            options: Vec::new(),
            len: 0,
        };
        let bytes = segment::unreachable(&about)?;
        self.write(&bytes)
    }

    /// A handshake of each of its clients, the third ACK sent when the SYN-ACK is there.
    pub fn handshake(&mut self, segment: &Segment, any: bool) -> Result<()> {
        let limit = if any { IMPATIENCE } else { PATIENCE };
        for port in segment.clients.clone() {
            if !self.try_handshake(segment, port, limit)? && !any {
                bail!("the SYN of {port} got no SYN-ACK");
            }
        }
        Ok(())
    }

    /// Whether the SYN was answered.
    pub fn try_handshake(&mut self, segment: &Segment, port: u16, limit: Duration) -> Result<bool> {
        self.send_one(segment, port)?;
        let begun = Instant::now();
        while self.clients.get(&port).is_some_and(|client| client.server.is_none()) {
            if begun.elapsed() > limit {
                return Ok(false);
            }
            self.take(limit)?;
        }
        let ack = Segment { flags: ACK, seq: 1, ack: 1, options: Vec::new(), ..segment.clone() };
        self.send_one(&ack, port)?;
        Ok(true)
    }

    /// Takes what comes until nothing came for so long.
    pub fn drain(&mut self, silence: Duration) -> Result<()> {
        while self.take(silence)? {}
        Ok(())
    }

    /// Waits at most so long for something, and takes it; whether there was anything.
    fn take(&mut self, limit: Duration) -> Result<bool> {
        let mut bytes = [0; 2048];
        loop {
            match self.device.read(&mut bytes) {
                Ok(n) => {
                    if let Some(wired) =
                        segment::read(bytes.get(self.header.len()..n).unwrap_or_default())
                    {
                        self.note(&wired);
                        return Ok(true);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let limit = Timespec::try_from(limit).map_err(|e| anyhow!("{e}"))?;
                    match poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&limit)) {
                        Ok(0) => return Ok(false),
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(e) => return Err(e).context("cannot wait for the TUN device"),
                    }
                }
                Err(e) => return Err(e).context("cannot read the TUN device"),
            }
        }
    }

    fn note(&mut self, wired: &Wired) {
        let client = self.clients.entry(wired.ports.1).or_default();
        if wired.flags & (SYN | ACK) == SYN | ACK {
            client.server = Some(wired.seq);
            // Since v6.14 tcp_check_req refuses any but those of its SYN-ACKs.
            if let Some(&[a, b, c, d, ..]) = segment::option(&wired.options, TIMESTAMP) {
                client.recent = u32::from_be_bytes([a, b, c, d]);
            }
        }
        if let Some(cookie) = segment::option(&wired.options, FASTOPEN) {
            client.cookie = cookie.to_vec();
        }
        let word = flags_word(wired.flags);
        if client.answers.last() != Some(&word) {
            client.answers.push(word);
        }
    }

    /// What came for a client since it was last asked.
    pub fn answers(&mut self, port: u16) -> Vec<String> {
        self.clients.get_mut(&port).map(|c| std::mem::take(&mut c.answers)).unwrap_or_default()
    }

    /// Forgets a client, whose port may be used again.
    pub fn forget(&mut self, port: u16) {
        self.clients.remove(&port);
    }
}

fn server(v6: bool) -> IpAddr {
    if v6 { [0xfd00, 7, 0, 0, 0, 0, 0, 1].into() } else { SERVER.into() }
}

fn client(v6: bool) -> IpAddr {
    if v6 { [0xfd00, 7, 0, 0, 0, 0, 0, 2].into() } else { CLIENT.into() }
}
