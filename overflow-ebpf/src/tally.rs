//! Counting in the kernel: what user space shows as aggregates, exact even if the ring is full.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap, PerCpuArray},
    helpers::bpf_ktime_get_ns,
    macros::btf_map,
};
use overflow_common::{Kind, Loss, RawEvent, Signature, Socket, Tally, Waiting};

use crate::{
    arm, atomic,
    globals::{AGGREGATE, SOCK_ACK_BACKLOG, SOCK_MAX_ACK_BACKLOG},
    losses, read, sock,
};

/// SYNs and third ACKs by signature; used if `AGGREGATE` is set.
#[btf_map]
pub static COUNTS: HashMap<Signature, u64, 65536> = HashMap::new();

/// Accept queues by listener.
#[btf_map]
pub static TALLIES: HashMap<Socket, Tally, 16384> = HashMap::new();

/// Where a new [`TALLIES`] entry is made: too large for the stack. Only what says whose it is is
/// ever written.
#[btf_map]
pub static SCRATCH: PerCpuArray<Tally, 1> = PerCpuArray::new();

/// Children in accept queues, by the address of their `struct sock`. The oldest make room: those of
/// a listener that was closed are never taken.
#[btf_map]
pub static CHILDREN: LruHashMap<u64, Waiting, 65536> = LruHashMap::new();

/// Whether anything is counted.
#[inline(always)]
fn counts() -> bool {
    AGGREGATE.load() != 0 && arm::armed()
}

/// Counts a SYN or a third ACK by what it went through.
#[inline(always)]
pub fn segment(event: &RawEvent) {
    let counted = event.kind == Kind::Syn as u8 || event.kind == Kind::Ack as u8;
    if !counts() || !counted || event.sk == 0 {
        return;
    }
    let signature = Signature::of(event);
    if let Some(count) = COUNTS.get_ptr_mut(signature) {
        add(count, 1);
        return;
    }
    if COUNTS.insert(signature, 1, 1).is_err() {
        // Another CPU may have been first.
        match COUNTS.get_ptr_mut(signature) {
            Some(count) => add(count, 1),
            None => losses::count(Loss::Uncounted),
        }
    }
    let _ = of(event.sk);
}

/// `child` was put into the accept queue of `listener`.
#[inline(always)]
pub fn queued(listener: u64, child: u64) {
    if !counts() {
        return;
    }
    let Some(tally) = of(listener) else { return };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if CHILDREN.insert(child, Waiting { sk: listener, since_ns: now }, 0).is_err() {
        losses::count(Loss::Uncounted);
    }
    add(&raw mut tally.queued, 1);
    length(tally, listener, now);
}

/// Whether `child` is known to be in an accept queue.
#[inline(always)]
pub fn waits(child: u64) -> bool {
    // SAFETY: only whether it is there counts.
    counts() && unsafe { CHILDREN.get(child) }.is_some()
}

/// accept() took `child`, of `listener` (0 if that is not known). Whose it was, as far as that is
/// known then.
#[inline(always)]
pub fn accepted(child: u64, listener: u64) -> u64 {
    if !counts() {
        return listener;
    }
    let mut waiting = Waiting { sk: listener, since_ns: 0 };
    // SAFETY: copied at once.
    if let Some(known) = unsafe { CHILDREN.get(child) } {
        waiting = *known;
        let _ = CHILDREN.remove(child);
    }
    if waiting.sk == 0 {
        return 0;
    }
    let Some(tally) = of(waiting.sk) else { return waiting.sk };
    add(&raw mut tally.accepted, 1);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    length(tally, waiting.sk, now);
    // It was there before the trace, or it was taken before its ACK was done with.
    if waiting.since_ns == 0 {
        return waiting.sk;
    }
    let waited = now.wrapping_sub(waiting.since_ns);
    add(&raw mut tally.wait_ns, waited);
    let below = (u64::BITS - (waited / 1000).leading_zeros()) as usize;
    if let Some(bucket) = tally.waits.get_mut(below.min(Tally::WAITS - 1)) {
        add(bucket, 1);
    }
    waiting.sk
}

/// `listener` goes away, and its queue with it.
#[inline(always)]
pub fn closed(listener: u64) {
    if !counts() {
        return;
    }
    let Some(socket) = socket(listener) else { return };
    if let Some(tally) = TALLIES.get_ptr_mut(socket) {
        // SAFETY: a helper without arguments; the entry stays while the program runs.
        let (tally, now) = unsafe { (&mut *tally, bpf_ktime_get_ns()) };
        tally.len = 0;
        tally.closed = 1;
        end(tally, now);
    }
}

/// The queue's length has changed.
#[inline(always)]
fn length(tally: &mut Tally, listener: u64, now: u64) {
    let (Some(len), Some(max)) =
        (read::field(listener, &SOCK_ACK_BACKLOG), read::field(listener, &SOCK_MAX_ACK_BACKLOG))
    else {
        return;
    };
    tally.len = len as u32;
    tally.max = max as u32;
    if tally.len > tally.len_max {
        tally.len_max = tally.len;
    }
    if len <= max {
        end(tally, now);
    } else if tally.full_since_ns == 0 {
        tally.full_since_ns = now;
        add(&raw mut tally.full_times, 1);
    }
}

/// The queue is full no longer, if it was.
#[inline(always)]
fn end(tally: &mut Tally, now: u64) {
    let since = tally.full_since_ns;
    if since == 0 {
        return;
    }
    tally.full_since_ns = 0;
    let episode = now.wrapping_sub(since);
    add(&raw mut tally.full_ns, episode);
    if episode > tally.full_longest_ns {
        tally.full_longest_ns = episode;
    }
}

/// Which socket `sk` is.
#[inline(always)]
fn socket(sk: u64) -> Option<Socket> {
    Some(Socket { sk, ino: sock::inode(sk), netns: sock::netns(sk)? })
}

/// The listener's tally, begun if there is none.
#[inline(always)]
fn of(sk: u64) -> Option<&'static mut Tally> {
    let socket = socket(sk)?;
    if let Some(tally) = TALLIES.get_ptr_mut(socket) {
        // SAFETY: the entry stays while the program runs; racing CPUs lose a maximum, not memory.
        return Some(unsafe { &mut *tally });
    }
    // SAFETY: this CPU's own.
    let scratch = unsafe { &mut *SCRATCH.get_ptr_mut(0)? };
    scratch.address = [0; 16];
    scratch.family = sock::local_address(sk, &mut scratch.address)?;
    scratch.netns = socket.netns;
    scratch.port = sock::local_port(sk)?;
    let entry: &Tally = scratch;
    if TALLIES.insert(socket, entry, 1).is_err() && TALLIES.get_ptr_mut(socket).is_none() {
        losses::count(Loss::Uncounted);
    }
    // SAFETY: as above.
    TALLIES.get_ptr_mut(socket).map(|tally| unsafe { &mut *tally })
}

/// Adds to a number in a map's value, as other CPUs do.
#[inline(always)]
fn add(number: *mut u64, n: u64) {
    // SAFETY: an aligned word of a map's value, which stays while the program runs.
    unsafe { atomic::add(number, n) };
}
