//! Many namespaces, each with listeners that come and go and every way to drop, in an order that the
//! seed decides. What each namespace counted is what the tool must have told of it.

use std::{collections::BTreeMap, fs::File, process, time::Duration};

use anyhow::{Context as _, Result};
use guest_cases::{
    action::{Listen, Segment},
    job::Reply,
};
use nix::sched::{CloneFlags, unshare};

use crate::{
    counters,
    links::Links,
    segment::{ACK, SYN},
    sockets::{self, Sockets},
    wire::Wire,
};

/// Listeners in each namespace, one after the other.
const LISTENERS: u16 = 6;
/// Clients of each.
const CLIENTS: u16 = 12;

/// What one listener meets.
#[derive(Clone, Copy)]
enum Way {
    /// SYNs that find the accept queue full.
    FullAcceptQueue,
    /// SYNs that find the SYN queue full: cookies, whose third ACKs are dropped.
    Cookies,
    /// The same without cookies.
    NoCookies,
    /// Third ACKs that find the accept queue full.
    ThirdAcks,
    /// The same, answered by an RST.
    Resets,
}

const WAYS: [Way; 5] =
    [Way::FullAcceptQueue, Way::Cookies, Way::NoCookies, Way::ThirdAcks, Way::Resets];

/// In each of so many new namespaces; what each counted, and what keeps them: the tool reads their
/// counters again at its end, and their inode numbers are used again as soon as they are gone. This
/// process ends up in the last one.
pub fn storm(namespaces: u16, seed: u64) -> Result<(Reply, Vec<File>)> {
    let mut counted = BTreeMap::new();
    let mut kept = Vec::new();
    let mut seed = seed;
    for _ in 0..namespaces {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        kept.push(File::open("/proc/self/ns/net").context("cannot open the namespace")?);
        let mut wire = Wire::new(&Links::here()?, false)?;
        for number in 0..LISTENERS {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let way = WAYS[usize::try_from(seed >> 33)? % WAYS.len()];
            meet(&mut wire, way, 5100 + number)?;
        }
        counted.insert(sockets::namespace()?, counters::of(process::id())?);
    }
    Ok((Reply::Counted(counted), kept))
}

fn meet(wire: &mut Wire, way: Way, port: u16) -> Result<()> {
    let sysctl = |name: &str, on: bool| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, if on { "1" } else { "0" })
            .with_context(|| format!("cannot set {path}"))
    };
    sysctl("tcp_syncookies", !matches!(way, Way::NoCookies))?;
    sysctl("tcp_abort_on_overflow", matches!(way, Way::Resets))?;
    let backlog = match way {
        Way::FullAcceptQueue | Way::Cookies | Way::NoCookies => 1,
        Way::ThirdAcks | Way::Resets => 64,
    };
    let name = "storm".to_owned();
    let mut open = Sockets::default();
    open.listen(&Listen { name: name.clone(), port, backlog, ..Listen::default() })?;
    let clients = 30_000..30_000 + CLIENTS;
    let syn = Segment::bare(port, clients, SYN);
    let ack = Segment { flags: ACK, seq: 1, ack: 1, ..syn.clone() };
    match way {
        Way::FullAcceptQueue => {
            wire.handshake(&Segment { clients: 29_000..29_002, ..syn.clone() }, false)?;
            wire.send(&syn)?;
        }
        Way::Cookies | Way::NoCookies => {
            wire.send(&syn)?;
            wire.drain(SILENCE)?;
            // Who got no SYN-ACK acknowledges nothing, and is answered by an RST.
            wire.send_answered(&ack)?;
        }
        Way::ThirdAcks | Way::Resets => {
            wire.send(&syn)?;
            wire.drain(SILENCE)?;
            open.relisten(&name, 0)?;
            wire.send(&ack)?;
        }
    }
    wire.drain(SILENCE)?;
    open.close(&name)?;
    wire.drain(Duration::ZERO)
}

/// How long the server says nothing when it has said all.
const SILENCE: Duration = Duration::from_millis(2);
