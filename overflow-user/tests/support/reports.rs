//! Hand-made cells as the lab would report them, down to the packets' bytes.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use overflow_common::Rung;
use overflow_core::{
    hook_point::HookPoint,
    loss::Loss,
    model::scenario::Phase,
    packet::{Packet, flags},
    verdict::{Connection, Counter, Known, Stage, Values, VerdictId},
    wire::LinkKind,
};
use overflow_lab::{
    CellConfig, ClientView, ListenerQueue, Observation, ServerSocket, Timeline,
    report::{CellReport, HookInUse, Host, Report},
    witness::Coverage,
};

/// How the handshake of one connection of a cell ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    Accepted,
    Cookie,
    Kept,
    Reset,
    /// First by the SYN queue, a second later by the accept queue.
    SynDropped,
}

pub const SERVER: ([u8; 4], u16) = ([10, 7, 0, 1], 12345);
const MS: u64 = 1_000_000;
/// CLOCK_MONOTONIC when the burst starts.
pub const BURST: u64 = 100_000 * MS;
const HOLD_END: u64 = BURST + 2_500 * MS;
const DELAY: u64 = 200 * MS;

/// A cell under construction.
pub struct Cell {
    pub config: CellConfig,
    pub handshakes: Vec<Handshake>,
    pub link: LinkKind,
    pub coverage: Option<Coverage>,
    pub losses: Vec<(Loss, u64)>,
}

impl Cell {
    pub fn new(abort: u8, syncookies: u8, prefill: u32, handshakes: &[Handshake]) -> Self {
        let config = CellConfig {
            abort_on_overflow: abort,
            syncookies,
            backlog: 1,
            somaxconn: None,
            clients: u32::try_from(handshakes.len()).unwrap(),
            port: SERVER.1,
            delay: Duration::from_millis(200),
            prefill,
            payload: 0,
            hold: Duration::from_millis(2500),
            ..CellConfig::SEED
        };
        Self {
            config,
            handshakes: handshakes.to_vec(),
            link: LinkKind::Netem,
            coverage: Some(Coverage::default()),
            losses: vec![(Loss::from_id("events for which the ring had no room"), 0)],
        }
    }

    /// Makes the observation and what the tracer saw, and lets the witnesses compare them.
    pub fn report(self, tamper: impl FnOnce(&mut Observation, &mut Vec<Connection>)) -> CellReport {
        let mut made = Made::new(self.config.prefill, self.link);
        let prefill = (0..self.config.prefill).map(|_| (Handshake::Accepted, Phase::Prefill));
        let burst = self.handshakes.iter().map(|handshake| (*handshake, Phase::Burst));
        for (handshake, phase) in prefill.chain(burst) {
            made.connection(&self.config, handshake, phase);
        }
        made.observation.packets.sort_by_key(|p| p.t_ns);
        made.observation.queue.1.recv_q = u32::try_from(made.queued).unwrap();
        tamper(&mut made.observation, &mut made.traced);
        let traced = if self.coverage.is_some() { made.traced } else { Vec::new() };
        let hooks = if self.coverage.is_some() { hooks() } else { Vec::new() };
        CellReport::new(
            self.config,
            made.observation,
            traced,
            self.coverage.as_ref(),
            hooks,
            self.losses,
        )
    }
}

/// The four cells of the seed experiment on a kernel of today.
pub fn seed() -> Report {
    use Handshake::{Accepted as A, Cookie as C, SynDropped as S};
    let cells = [
        Cell::new(0, 1, 0, &[A, A, C, C, C]),
        Cell::new(1, 1, 0, &[A, A, C, C, C]),
        Cell::new(0, 0, 0, &[A, A, S, S, S]),
        Cell::new(1, 0, 0, &[A, A, S, S, S]),
    ];
    report(cells.map(|c| c.report(|_, _| ())).into())
}

pub fn report(cells: Vec<CellReport>) -> Report {
    let host = Host {
        kernel: "6.12.107+deb13-cloud-amd64".into(),
        distro: Some("Debian GNU/Linux 13 (trixie)".into()),
    };
    Report { host, cells }
}

fn hooks() -> Vec<HookInUse> {
    let hook = |hook_point, rung, hook: &str| HookInUse { hook_point, rung, hook: hook.into() };
    vec![
        hook(HookPoint::Syn, Rung::Fentry, "tcp_conn_request"),
        hook(HookPoint::ThirdAck, Rung::Fentry, "tcp_check_req"),
        hook(HookPoint::ThirdAck, Rung::Fentry, "cookie_v4_check"),
        hook(HookPoint::ThirdAck, Rung::Fentry, "tcp_v4_syn_recv_sock"),
        hook(HookPoint::SynAckRetransmit, Rung::Tracepoint, "tcp_retransmit_synack"),
        hook(HookPoint::Reset, Rung::Tracepoint, "tcp_send_reset"),
    ]
}

struct Made {
    observation: Observation,
    traced: Vec<Connection>,
    queued: usize,
    requests: u32,
    number: u16,
    lag: u64,
}

impl Made {
    fn new(prefill: u32, link: LinkKind) -> Self {
        let queue = |recv_q| ListenerQueue { recv_q, send_q: 1 };
        let observation = Observation {
            server: SERVER.into(),
            clients: Vec::new(),
            server_sockets: Vec::new(),
            queue: (queue(prefill), queue(0)),
            counters: Counter::ALL.iter().map(|c| (c.as_str().to_owned(), 0)).collect(),
            packets: Vec::new(),
            capture_drops: 0,
            link_drops: 0,
            link,
            notes: Vec::new(),
            global_sysctls: false,
            concurrent: true,
            attempts: 1,
            timeline: Timeline { burst: BURST, hold_end: HOLD_END, close: HOLD_END + 10 * MS },
        };
        let lag = if link == LinkKind::Netem { DELAY } else { 0 };
        Self { observation, traced: Vec::new(), queued: 0, requests: 0, number: 0, lag }
    }

    fn connection(&mut self, config: &CellConfig, handshake: Handshake, phase: Phase) {
        let start = match phase {
            Phase::Prefill => BURST - 1_000 * MS,
            Phase::Burst => BURST,
        };
        let base = if phase == Phase::Prefill { 20001 } else { 30001 };
        if phase == Phase::Burst && self.number >= 20001 && self.number < 30001 {
            self.number = 0;
            self.requests = 0;
        }
        self.number = self.number.max(base - 1) + 1;
        let client: SocketAddr = ([10, 7, 0, 2], self.number).into();
        let syn = start + u64::from(self.number - base) * MS / 20;
        let ack = syn + DELAY + MS / 2;
        let mut stages = Vec::new();
        let mut resent = Vec::new();
        let len = u32::try_from(self.queued).unwrap();

        self.packet(client, true, syn, flags::SYN);
        if handshake == Handshake::SynDropped {
            let again = syn + 1_000 * MS;
            self.packet(client, true, again, flags::SYN);
            stages.push(stage(config, VerdictId::SynDropSynQueueFull, syn, self.requests, 0));
            stages.push(stage(config, VerdictId::SynDropAcceptQueueFull, again, 0, 2));
            self.count(&["TCPReqQFullDrop", "ListenDrops", "ListenOverflows", "ListenDrops"]);
        } else {
            self.packet(client, false, syn, flags::SYN | flags::ACK);
            self.packet(client, true, ack, flags::ACK);
            let before = if phase == Phase::Prefill { len } else { config.prefill };
            if handshake == Handshake::Cookie {
                stages.push(stage(config, VerdictId::SynCookie, syn, self.requests, before));
                self.count(&["SyncookiesSent", "TCPReqQFullDoCookies", "SyncookiesRecv"]);
            } else {
                stages.push(stage(config, VerdictId::SynQueued, syn, self.requests, before));
                self.requests += u32::from(phase == Phase::Burst);
            }
        }
        let close = HOLD_END + 10 * MS;
        match handshake {
            Handshake::Accepted => {
                self.packet(client, false, close, flags::RST | flags::ACK);
                stages.push(stage(config, VerdictId::AckAccepted, ack, 0, len));
                stages.push(stage(config, VerdictId::LaterListenerClosed, close, 0, 0));
                self.queued += 1;
                self.count(&["PassiveOpens"]);
            }
            Handshake::Cookie => {
                stages.push(stage(config, VerdictId::AckDropOverflowCookie, ack, 0, len));
                self.count(&["ListenOverflows", "ListenDrops"]);
            }
            Handshake::Kept => {
                let again = syn + 1_000 * MS;
                self.packet(client, false, again, flags::SYN | flags::ACK);
                self.packet(client, true, again + DELAY + MS / 2, flags::ACK);
                let mut drop = stage(config, VerdictId::AckDropOverflow, ack, 0, len);
                drop.repeats_ns = vec![again + DELAY + MS / 2];
                stages.push(drop);
                resent.push(again);
                self.count(&["ListenOverflows", "ListenDrops", "ListenOverflows", "ListenDrops"]);
            }
            Handshake::Reset => {
                self.packet(client, false, ack, flags::RST);
                stages.push(stage(config, VerdictId::AckResetOverflow, ack, 0, len));
                self.count(&["ListenOverflows", "ListenDrops", "EmbryonicRsts", "OutRsts"]);
            }
            Handshake::SynDropped => {}
        }
        self.views(client, phase, handshake);
        let outcome = match handshake {
            Handshake::Cookie => Some(VerdictId::LaterPhantom),
            Handshake::Kept => Some(VerdictId::LaterPending),
            Handshake::Accepted | Handshake::Reset | Handshake::SynDropped => {
                stages.last().map(|s| s.id)
            }
        };
        self.traced.push(Connection {
            client,
            server: SERVER.into(),
            stages,
            synack_retransmits_ns: resent,
            outcome,
            ..Connection::default()
        });
    }

    fn views(&mut self, client: SocketAddr, phase: Phase, handshake: Handshake) {
        let (state, error) = match handshake {
            Handshake::Reset => ("CLOSE", Some("ECONNRESET".to_owned())),
            Handshake::SynDropped => ("SYN_SENT", None),
            Handshake::Accepted | Handshake::Cookie | Handshake::Kept => ("ESTABLISHED", None),
        };
        let pending = handshake == Handshake::SynDropped;
        let connect = if pending { Err("pending".to_owned()) } else { Ok(DELAY) };
        let state = state.to_owned();
        self.observation.clients.push(ClientView { local: client, phase, connect, state, error });
        let socket = match handshake {
            Handshake::Accepted => Some("ESTABLISHED"),
            Handshake::Kept => Some("SYN_RECV"),
            Handshake::Cookie | Handshake::Reset | Handshake::SynDropped => None,
        };
        self.observation.server_sockets.extend(socket.map(|state| ServerSocket {
            peer: client,
            state: state.to_owned(),
            retransmits: 0,
        }));
    }

    fn count(&mut self, counters: &[&str]) {
        for counter in counters {
            *self.observation.counters.get_mut(*counter).expect("a compared counter") += 1;
        }
    }

    /// A segment with right sequence numbers; one from the server is captured `lag` late.
    fn packet(&mut self, client: SocketAddr, to_server: bool, t_ns: u64, flags: u8) {
        let server: SocketAddr = SERVER.into();
        let (src, dst) = if to_server { (client, server) } else { (server, client) };
        let t_ns = if to_server { t_ns } else { t_ns + self.lag };
        let syn = u32::from(flags & flags::SYN == 0);
        let (mine, peers) = if to_server { (100, 900) } else { (900, 100) };
        let ack = if flags & flags::ACK == 0 { 0 } else { peers + 1 };
        let seq = mine + syn;
        let raw = ipv4_tcp(src, dst, flags, seq, ack);
        let payload_len = 0;
        self.observation.packets.push(Packet { t_ns, src, dst, flags, seq, ack, payload_len, raw });
    }
}

fn stage(config: &CellConfig, id: VerdictId, t_ns: u64, requests: u32, queued: u32) -> Stage {
    let path: &'static [&'static str] = match id {
        VerdictId::SynQueued => {
            &["tcp_v4_rcv", "tcp_conn_request", "inet_csk_reqsk_queue_hash_add"]
        }
        VerdictId::SynCookie => &["tcp_v4_rcv", "tcp_conn_request", "cookie_v4_init_sequence"],
        VerdictId::AckDropOverflowCookie => {
            &["tcp_v4_rcv", "cookie_v4_check", "tcp_get_cookie_sock", "tcp_v4_syn_recv_sock"]
        }
        VerdictId::AckResetOverflow => {
            &["tcp_v4_rcv", "tcp_check_req", "tcp_v4_syn_recv_sock", "tcp_v4_send_reset"]
        }
        VerdictId::LaterListenerClosed => &["inet_csk_listen_stop", "tcp_send_active_reset"],
        id if id.is_under("ack") => &["tcp_v4_rcv", "tcp_check_req", "tcp_v4_syn_recv_sock"],
        id if id.is_under("syn") => &["tcp_v4_rcv", "tcp_conn_request"],
        id => panic!("no path is known for {id}"),
    };
    let ack = id.is_under("ack");
    let later = id.is_under("later");
    let read = id.is_under("ack.drop") || id.is_under("ack.reset");
    let values = Values {
        sk_ack_backlog: Some(queued),
        sk_max_ack_backlog: Some(1),
        syn_queue_len: Some(requests),
        syncookies: Some(config.syncookies),
        abort_on_overflow: ack.then_some(config.abort_on_overflow),
        abort_on_overflow_read: read.then_some(id != VerdictId::AckDropOverflowCookie),
        ..Values::default()
    };
    Stage {
        id,
        t_ns,
        known: Known::Traced,
        path,
        values: if later { Values::default() } else { values },
        repeats_ns: Vec::new(),
    }
}

/// An IPv4 packet with a bare TCP header, both checksums right.
fn ipv4_tcp(src: SocketAddr, dst: SocketAddr, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let octets = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => panic!("the sample speaks IPv4"),
    };
    let mut tcp = Vec::new();
    tcp.extend(src.port().to_be_bytes());
    tcp.extend(dst.port().to_be_bytes());
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([5 << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    let pseudo = [&octets(src)[..], &octets(dst)[..], &[0, 6, 0, 20], &tcp].concat();
    tcp[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(octets(src));
    ip.extend(octets(dst));
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend(tcp);
    ip
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
