//! The load: healthy handshakes, then each way to overflow, every segment timed by itself.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use guest_bench::{
    job::{Amount, Consumed, Load},
    stat::{Stat, as_f64},
};

use crate::{
    net::{Answer, Client, Listener, Wire, counters, listen_overflows, sysctl},
    tool::Running,
};

/// A backlog that healthy handshakes do not fill.
const ROOMY: i32 = 128;
/// A backlog that is soon full: with 9 in the queue, because full means above the limit.
const SMALL: i32 = 8;
const FULL: usize = 9;
/// Requests that the SYN queue of such a listener takes before it answers by cookies.
const REQUESTS: usize = 8;
/// How often a client sends an ACK that is dropped.
const REPEATS: usize = 24;
/// Cookies are sent in pieces of this size.
const COOKIES: usize = 25;
/// Answers that the device has room for, and some more.
const ANSWERS: usize = 400;
/// Time for the tool to read what was traced.
const PAUSE: Duration = Duration::from_millis(300);

/// Ways to overflow: the verdict that names each, and the work that brings it about.
pub const WAYS: [(&str, Work); 6] = [
    ("syn.drop.accept_queue_full", syn_dropped),
    ("syn.cookie", syn_cookie),
    ("syn.drop.syn_queue_full", syn_queue_full),
    ("ack.drop.overflow", ack_dropped),
    ("ack.reset.overflow", ack_reset),
    ("ack.drop.overflow.cookie", crowded_cookie_dropped),
];

/// Everything timed so far.
#[derive(Default)]
pub struct Times {
    syn: Vec<u64>,
    ack: Vec<u64>,
    accept: Vec<u64>,
    syn_dropped: Vec<u64>,
    ack_dropped: Vec<u64>,
    ack_reset: Vec<u64>,
    cookie_dropped: Vec<u64>,
}

/// What the tool used and printed in one part of the load.
#[derive(Default)]
struct Part {
    cpu_ns: f64,
    lines: u64,
    exact: u64,
    n: usize,
}

impl Part {
    fn per_one(&self, what: f64) -> f64 {
        if self.n == 0 { 0.0 } else { what / as_f64(self.n as u64) }
    }

    fn lines_per_one(&self) -> f64 {
        self.per_one(as_f64(self.lines))
    }
}

/// Drives the load.
pub fn drive(
    wire: &mut Wire,
    amount: Amount,
    verdicts: &[String],
    mut tool: Option<&mut Running>,
) -> Result<Load> {
    let mut times = Times::default();
    let mut parts: [Part; 5] = Default::default();
    for _ in 0..amount.rounds {
        let works: [(usize, Work); 5] = [
            (amount.healthy, healthy),
            (amount.drops, syn_dropped),
            (amount.drops, ack_dropped),
            (amount.drops, ack_reset),
            (amount.drops, cookie_dropped),
        ];
        for (index, ((n, work), part)) in works.into_iter().zip(&mut parts).enumerate() {
            let before = tool.as_deref_mut().map(Running::consumed).transpose()?;
            if let Some(tool) = tool.as_deref_mut() {
                let verdict = index.checked_sub(1).and_then(|index| verdicts.get(index));
                tool.expect(verdict.map_or("", String::as_str));
            }
            let done = work(wire, n, &mut times)?;
            let Some(tool) = tool.as_deref_mut() else { continue };
            thread::sleep(PAUSE);
            let Some(before) = before else { continue };
            let after = tool.consumed()?;
            part.n += done;
            part.lines += after.lines - before.lines;
            part.exact += after.exact - before.exact;
            let idle = tool.idle() * (after.at - before.at).as_secs_f64() * 1e9;
            part.cpu_ns += as_f64(after.cpu_ns.saturating_sub(before.cpu_ns)) - idle;
        }
    }
    let mut handshakes: Vec<u64> =
        times.syn.iter().zip(&times.ack).map(|(syn, ack)| syn + ack).collect();
    let after_drops = handshakes.split_off(amount.healthy.min(handshakes.len()));
    Ok(Load {
        handshake: Stat::of(handshakes),
        handshake_after_drops: Stat::of(after_drops),
        accept: Stat::of(times.accept),
        syn: Stat::of(times.syn),
        ack: Stat::of(times.ack),
        syn_dropped: Stat::of(times.syn_dropped),
        ack_dropped: Stat::of(times.ack_dropped),
        ack_reset: Stat::of(times.ack_reset),
        cookie_dropped: Stat::of(times.cookie_dropped),
        consumed: tool.map(|_| consumed(&parts)),
    })
}

/// Healthy handshakes alone, untimed.
pub fn handshakes(wire: &mut Wire, n: usize) -> Result<()> {
    healthy(wire, n, &mut Times::default()).map(drop)
}

fn consumed(parts: &[Part; 5]) -> Consumed {
    let [healthy, drops @ ..] = parts;
    let all = Part {
        cpu_ns: drops.iter().map(|p| p.cpu_ns).sum(),
        n: drops.iter().map(|p| p.n).sum(),
        ..Part::default()
    };
    let [syn, ack, reset, cookie] = drops;
    Consumed {
        cpu_per_handshake: healthy.per_one(healthy.cpu_ns),
        cpu_per_drop: all.per_one(all.cpu_ns),
        lines_per_handshake: healthy.lines_per_one(),
        lines_per_syn_dropped: syn.lines_per_one(),
        lines_per_ack_dropped: ack.lines_per_one(),
        lines_per_ack_reset: reset.lines_per_one(),
        lines_per_cookie_dropped: cookie.lines_per_one(),
        exact: [syn, ack, reset, cookie].map(|part| part.per_one(as_f64(part.exact))),
    }
}

/// Some part of the load; how many segments or handshakes it made of those asked for.
pub type Work = fn(&mut Wire, usize, &mut Times) -> Result<usize>;

fn healthy(wire: &mut Wire, n: usize, times: &mut Times) -> Result<usize> {
    let listener = wire.listen(ROOMY)?;
    for _ in 0..n {
        let (client, syn) = wire.half_open()?;
        let ack = wire.ack(&client)?;
        times.syn.push(nanos(syn));
        times.ack.push(nanos(ack));
        times.accept.push(nanos(listener.accept_and_reset()?));
        wire.drain()?;
    }
    Ok(n)
}

fn syn_dropped(wire: &mut Wire, n: usize, times: &mut Times) -> Result<usize> {
    while_full(wire, n, |wire| {
        for _ in 0..n {
            times.syn_dropped.push(nanos(wire.syn()?.1));
        }
        Ok(())
    })
}

/// Does something that must raise `ListenOverflows` by `n` while the accept queue is full; `n`.
pub fn while_full(
    wire: &mut Wire,
    n: usize,
    work: impl FnOnce(&mut Wire) -> Result<()>,
) -> Result<usize> {
    let listener = wire.listen(SMALL)?;
    fill(wire, FULL)?;
    let before = listen_overflows()?;
    work(wire)?;
    expect_silence(wire, "a dropped SYN")?;
    expect_overflows(before, n)?;
    empty(&listener, wire, FULL)?;
    Ok(n)
}

/// SYNs to a full SYN queue, without cookies.
fn syn_queue_full(wire: &mut Wire, n: usize, _: &mut Times) -> Result<usize> {
    sysctl("net/ipv4/tcp_syncookies", "0")?;
    let done = while_crowded(wire, n);
    sysctl("net/ipv4/tcp_syncookies", "1")?;
    done
}

/// The same, each answered by a cookie.
fn syn_cookie(wire: &mut Wire, n: usize, _: &mut Times) -> Result<usize> {
    while_crowded(wire, n)
}

/// SYNs to a full SYN queue. Those in it get their SYN-ACKs again meanwhile, so that what is
/// answered proves nothing.
fn while_crowded(wire: &mut Wire, n: usize) -> Result<usize> {
    let listener = wire.listen(SMALL)?;
    let before = turned_away()?;
    let queued = crowd(wire)?;
    // The first one was sent to find out whether the queue is full.
    for number in 1..n {
        wire.syn()?;
        if number.is_multiple_of(ANSWERS) {
            wire.drain()?;
        }
    }
    let counted = turned_away()? - before;
    ensure!(counted == n as u64, "the SYN queue turned {counted} away, not {n}");
    abandon(wire, &queued)?;
    empty(&listener, wire, 0)?;
    Ok(n)
}

/// Fills the SYN queue, and sends one SYN more. Kernels differ by one in what they call full.
fn crowd(wire: &mut Wire) -> Result<Vec<Client>> {
    let before = turned_away()?;
    let mut queued = Vec::with_capacity(REQUESTS + 1);
    loop {
        let client = wire.try_half_open()?;
        if turned_away()? > before {
            return Ok(queued);
        }
        queued.push(client.context("a SYN was neither answered nor counted as dropped")?);
        ensure!(queued.len() <= REQUESTS + 1, "the SYN queue does not become full");
    }
}

/// SYNs that found the SYN queue full.
fn turned_away() -> Result<u64> {
    counters(["TCPReqQFullDrop", "TCPReqQFullDoCookies"]).map(|[drop, cookie]| drop + cookie)
}

fn abandon(wire: &mut Wire, clients: &[Client]) -> Result<()> {
    clients.iter().try_for_each(|client| wire.reset(client))
}

fn ack_dropped(wire: &mut Wire, n: usize, times: &mut Times) -> Result<usize> {
    acks(wire, n, false, &mut times.ack_dropped)
}

fn ack_reset(wire: &mut Wire, n: usize, times: &mut Times) -> Result<usize> {
    sysctl("net/ipv4/tcp_abort_on_overflow", "1")?;
    let result = acks(wire, n, true, &mut times.ack_reset);
    sysctl("net/ipv4/tcp_abort_on_overflow", "0")?;
    result
}

/// Third ACKs of requests in the SYN queue. A request whose ACK is dropped stays, and its client
/// sends more of them; one that is reset is gone.
fn acks(wire: &mut Wire, n: usize, reset: bool, times: &mut Vec<u64>) -> Result<usize> {
    let listener = wire.listen(SMALL)?;
    let repeats = if reset { 1 } else { REPEATS };
    let batches = n.div_ceil((REQUESTS - 1) * repeats);
    fill(wire, FULL - 1)?;
    for _ in 0..batches {
        let mut clients = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            clients.push(wire.half_open()?.0);
        }
        // The first of them takes the last place in the accept queue.
        if let Some(first) = clients.pop() {
            wire.ack(&first)?;
            expect_silence(wire, "a third ACK")?;
        }
        let before = listen_overflows()?;
        for client in std::iter::repeat_n(&clients, repeats).flatten() {
            times.push(nanos(wire.ack(client)?));
        }
        expect_overflows(before, clients.len() * repeats)?;
        if reset {
            let answers = wire.drain()?;
            let resets = answers.iter().filter(|(_, answer)| *answer == Answer::Rst).count();
            ensure!(
                resets == clients.len(),
                "{resets} of {} ACKs were answered by an RST",
                clients.len()
            );
        } else {
            expect_silence(wire, "a dropped ACK")?;
            abandon(wire, &clients)?;
        }
        empty(&listener, wire, 1)?;
    }
    empty(&listener, wire, FULL - 1)?;
    Ok(batches * (REQUESTS - 1) * repeats)
}

/// Third ACKs with a cookie, which every SYN is answered by (`tcp_syncookies=2`).
fn cookie_dropped(wire: &mut Wire, n: usize, times: &mut Times) -> Result<usize> {
    sysctl("net/ipv4/tcp_syncookies", "2")?;
    let done = cookies(wire, n, &mut times.cookie_dropped, |_| Ok(Vec::new()));
    sysctl("net/ipv4/tcp_syncookies", "1")?;
    done
}

/// The same, but SYNs are answered by a cookie only because the SYN queue is full.
fn crowded_cookie_dropped(wire: &mut Wire, n: usize, times: &mut Times) -> Result<usize> {
    cookies(wire, n, &mut times.cookie_dropped, crowd)
}

/// Third ACKs with a cookie; `prepare` brings about that SYNs are answered so.
fn cookies(
    wire: &mut Wire,
    n: usize,
    times: &mut Vec<u64>,
    prepare: fn(&mut Wire) -> Result<Vec<Client>>,
) -> Result<usize> {
    let listener = wire.listen(SMALL)?;
    let batches = n.div_ceil(COOKIES);
    fill(wire, FULL - 1)?;
    for _ in 0..batches {
        let queued = prepare(wire)?;
        let mut clients = Vec::with_capacity(COOKIES);
        for _ in 0..COOKIES {
            clients.push(wire.half_open()?.0);
        }
        fill(wire, 1)?;
        let before = listen_overflows()?;
        for client in &clients {
            times.push(nanos(wire.ack(client)?));
        }
        expect_silence(wire, "a dropped ACK with a cookie")?;
        expect_overflows(before, COOKIES)?;
        abandon(wire, &queued)?;
        empty(&listener, wire, 1)?;
    }
    empty(&listener, wire, FULL - 1)?;
    Ok(batches * COOKIES)
}

/// Puts connections into the accept queue.
fn fill(wire: &mut Wire, n: usize) -> Result<()> {
    for _ in 0..n {
        let (client, _) = wire.half_open()?;
        wire.ack(&client)?;
        expect_silence(wire, "a third ACK")?;
    }
    Ok(())
}

/// Takes connections out of the accept queue; fails if they are not there.
fn empty(listener: &Listener, wire: &mut Wire, n: usize) -> Result<()> {
    for _ in 0..n {
        listener.accept_and_reset()?;
    }
    wire.drain().map(drop)
}

fn expect_silence(wire: &mut Wire, after: &str) -> Result<()> {
    let answers = wire.drain()?.len();
    ensure!(answers == 0, "{after} got an answer: the listener is not as it must be");
    Ok(())
}

fn expect_overflows(before: u64, n: usize) -> Result<()> {
    let counted = listen_overflows()? - before;
    ensure!(counted == n as u64, "ListenOverflows rose by {counted}, not by {n}");
    Ok(())
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}
