//! Counting in the kernel: what user space shows as aggregates, exact even if the ring is full.

use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap, PerCpuArray},
    helpers::bpf_ktime_get_ns,
    macros::btf_map,
};
use overflow_common::{Counting, Kind, Loss, RawEvent, Signature, Socket, Tally, Waiting, valid};

use crate::{
    arm, atomic,
    globals::{AGGREGATE, SOCK_ACK_BACKLOG, SOCK_MAX_ACK_BACKLOG},
    losses,
    read::{Memory, Probed},
    sock,
};

/// SYNs and third ACKs by signature; used if `AGGREGATE` is set.
#[btf_map]
pub static COUNTS: HashMap<Signature, u64, 65536> = HashMap::new();

/// Of these, what each CPU has not added yet.
#[btf_map]
pub static COUNTING: PerCpuArray<[Counting; Counting::PLACES], 1> = PerCpuArray::new();

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
    // SAFETY: this CPU's own, and the hooks that use it run one after the other.
    let Some(counting) = COUNTING.get_ptr_mut(0).map(|counting| unsafe { &mut *counting }) else {
        return;
    };
    // SAFETY: a field of a record. Volatile: what was just stored there may still be a pointer in its
    // register, and verifiers let nobody calculate with those.
    let sk = unsafe { core::ptr::read_volatile(&raw const event.sk) };
    let which = sk ^ u64::from(event.path) << 6;
    // Fibonacci hashing, as structures of one slab need it.
    let place = (which.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
    let counting = &mut counting[place % Counting::PLACES];
    if counting.count != 0 && same(&counting.signature, &signature) {
        counting.count += 1;
    } else {
        change(counting, signature, event);
    }
}

/// By words: of so many fields of a byte the compiler makes as many loads.
#[inline(always)]
fn same(one: &Signature, other: &Signature) -> bool {
    let (one, other) =
        (core::ptr::from_ref(one).cast::<u64>(), core::ptr::from_ref(other).cast::<u64>());
    let mut differences = 0;
    for word in 0..size_of::<Signature>() / size_of::<u64>() {
        // SAFETY: inside of the signatures, which consist of words.
        unsafe {
            differences |=
                core::ptr::read_volatile(one.add(word)) ^ core::ptr::read_volatile(other.add(word));
        }
    }
    differences == 0
}

/// What was counted in this place goes to [`COUNTS`], and `signature` takes it. Each has its entry there
/// first; one whose listener was closed long ago has it no longer, and was read for good.
#[inline(always)]
fn change(counting: &mut Counting, signature: Signature, event: &RawEvent) {
    core::hint::cold_path();
    if counting.count != 0
        && let Some(count) = COUNTS.get_ptr_mut(counting.signature)
    {
        add(count, counting.count);
    }
    // Only now: who reads both, those of all first, may miss some for a moment, and has none twice.
    counting.count = 0;
    if COUNTS.get_ptr_mut(signature).is_none() {
        // Another CPU may have been first.
        if COUNTS.insert(signature, 0, 1).is_err() && COUNTS.get_ptr_mut(signature).is_none() {
            losses::count(Loss::Uncounted);
            return;
        }
        let _ = of(Socket { sk: event.sk, ino: event.ino, netns: event.netns });
    }
    counting.signature = signature;
    counting.count = 1;
}

/// `child` was put into the accept queue of the listener that `event` is about.
#[inline(always)]
pub fn queued(event: &RawEvent, child: u64) {
    if !counts() {
        return;
    }
    let Some(tally) = of(Socket { sk: event.sk, ino: event.ino, netns: event.netns }) else {
        return;
    };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if CHILDREN.insert(child, Waiting { sk: event.sk, since_ns: now }, 0).is_err() {
        losses::count(Loss::Uncounted);
    }
    add(&raw mut tally.queued, 1);
    if event.valid & valid::AFTER != 0 && event.valid & valid::ACCEPT_QUEUE != 0 {
        length(tally, (event.after.ack_backlog, event.after.max_ack_backlog), now);
    }
}

/// Whether `child` is known to be in an accept queue.
#[inline(always)]
pub fn waits(child: u64) -> bool {
    // SAFETY: only whether it is there counts.
    counts() && unsafe { CHILDREN.get(child) }.is_some()
}

/// accept() took `child`. The address of its listener; 0 if that is not known.
#[inline(always)]
pub fn accepted(child: u64) -> u64 {
    if !counts() {
        return 0;
    }
    match waited(child) {
        Waiting { sk: 0, .. } => 0,
        Waiting { sk, since_ns } => {
            took::<Probed>(sk, since_ns);
            sk
        }
    }
}

/// accept() took `child` of `listener`.
#[inline(always)]
pub fn accepted_of<M: Memory>(child: u64, listener: u64) {
    if counts() {
        took::<M>(listener, waited(child).since_ns);
    }
}

/// What is known of `child`, which waits no longer; zeros where nothing is: it was there before the
/// trace, or it was taken before its ACK was done with.
#[inline(always)]
fn waited(child: u64) -> Waiting {
    // SAFETY: copied at once.
    match unsafe { CHILDREN.get(child) }.copied() {
        Some(waiting) => {
            let _ = CHILDREN.remove(child);
            waiting
        }
        None => Waiting { sk: 0, since_ns: 0 },
    }
}

/// A child was taken from the queue of `listener`, where it had been since `since_ns`.
#[inline(always)]
fn took<M: Memory>(listener: u64, since_ns: u64) -> Option<()> {
    let tally = of(socket::<M>(listener)?)?;
    add(&raw mut tally.accepted, 1);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if let (Some(len), Some(max)) =
        (M::field(listener, &SOCK_ACK_BACKLOG), M::field(listener, &SOCK_MAX_ACK_BACKLOG))
    {
        length(tally, (len as u32, max as u32), now);
    }
    if since_ns == 0 {
        return None;
    }
    let waited = now.wrapping_sub(since_ns);
    add(&raw mut tally.wait_ns, waited);
    let below = (u64::BITS - (waited / 1000).leading_zeros()) as usize;
    if let Some(bucket) = tally.waits.get_mut(below.min(Tally::WAITS - 1)) {
        add(bucket, 1);
    }
    Some(())
}

/// `listener` goes away, and its queue with it.
#[inline(always)]
pub fn closed(listener: u64) {
    if !counts() {
        return;
    }
    let Some(socket) = socket::<Probed>(listener) else { return };
    if let Some(tally) = TALLIES.get_ptr_mut(socket) {
        // SAFETY: a helper without arguments; the entry stays while the program runs.
        let (tally, now) = unsafe { (&mut *tally, bpf_ktime_get_ns()) };
        tally.len = 0;
        tally.closed = 1;
        end(tally, now);
    }
}

/// The queue's length has changed: (length, limit).
#[inline(always)]
fn length(tally: &mut Tally, (len, max): (u32, u32), now: u64) {
    tally.len = len;
    tally.max = max;
    if len > tally.len_max {
        tally.len_max = len;
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
fn socket<M: Memory>(sk: u64) -> Option<Socket> {
    Some(Socket { sk, ino: sock::inode::<M>(sk), netns: sock::netns::<M>(sk)? })
}

/// The listener's tally, begun if there is none.
#[inline(always)]
fn of(socket: Socket) -> Option<&'static mut Tally> {
    if let Some(tally) = TALLIES.get_ptr_mut(socket) {
        // SAFETY: the entry stays while the program runs; racing CPUs lose a maximum, not memory.
        return Some(unsafe { &mut *tally });
    }
    // SAFETY: this CPU's own.
    let scratch = unsafe { &mut *SCRATCH.get_ptr_mut(0)? };
    let sk = socket.sk;
    scratch.address = [0; 16];
    scratch.family = sock::local_address(sk, &mut scratch.address)?;
    scratch.netns = socket.netns;
    scratch.port = sock::local_port::<Probed>(sk)?;
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
