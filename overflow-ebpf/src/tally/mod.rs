//! Counting in the kernel: what user space shows as aggregates, exact even if the ring is full.

mod places;
mod waiting;

use aya_ebpf::{
    btf_maps::{HashMap, PerCpuArray},
    helpers::bpf_ktime_get_ns,
    macros::btf_map,
};
use overflow_common::{Counting, Healthy, Kind, Loss, RawEvent, Signature, Tally, Waiting, valid};

use crate::{
    arm, atomic,
    globals::{AGGREGATE, SOCK_ACK_BACKLOG, SOCK_MAX_ACK_BACKLOG},
    losses,
    read::{Memory, Probed},
};

/// SYNs and third ACKs by signature; used if `AGGREGATE` is set.
#[btf_map]
pub static COUNTS: HashMap<Signature, u64, 65536> = HashMap::new();

/// Of these, what each CPU has not added yet.
#[btf_map]
pub static COUNTING: PerCpuArray<[Counting; Counting::PLACES], 1> = PerCpuArray::new();

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
    let which = sk_of(event) ^ u64::from(event.path) << 6;
    // Fibonacci hashing, as structures of one slab need it.
    let place = (which.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
    let counting = &mut counting[place % Counting::PLACES];
    if counting.count != 0 && same(&counting.signature, &signature) {
        counting.count += 1;
    } else {
        change(counting, signature, event);
    }
}

/// The address of a record's listener as a plain number.
#[inline(always)]
fn sk_of(event: &RawEvent) -> u64 {
    // SAFETY: a field of a record. Volatile: what was just stored there may still be a pointer in its
    // register, and verifiers let nobody calculate with those.
    unsafe { core::ptr::read_volatile(&raw const event.sk) }
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
        places::settle(sk_of(event));
    }
    counting.signature = signature;
    counting.count = 1;
}

/// Where healthy SYNs to the listener of `event` are counted; `None` where they are counted as all others
/// are.
#[inline(always)]
pub fn healthy(event: &RawEvent) -> Option<&'static mut Healthy> {
    places::healthy(sk_of(event)).map(|(healthy, _)| healthy)
}

/// A third ACK to the listener of `event` became `child`, which is in its accept queue, and nothing was
/// the matter; `listener` is the same, as it may be read. False where it is to be counted as all others are.
#[inline(always)]
pub fn healthy_ack<M: Memory>(event: &RawEvent, listener: u64, child: u64) -> bool {
    let sk = sk_of(event);
    let Some((healthy, tally)) = places::healthy(sk) else { return false };
    healthy.acks += 1;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    waiting::put(child, Waiting { sk, since_ns: now });
    length(
        tally,
        M::exact::<u32>(listener, &SOCK_ACK_BACKLOG) as u32,
        M::exact::<u32>(listener, &SOCK_MAX_ACK_BACKLOG) as u32,
        now,
    );
    true
}

/// `child` was put into the accept queue of the listener that `event` is about.
#[inline(always)]
pub fn queued(event: &RawEvent, child: u64) {
    if !counts() {
        return;
    }
    let sk = sk_of(event);
    let Some(tally) = places::queue(sk) else { return };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    waiting::put(child, Waiting { sk, since_ns: now });
    add(&raw mut tally.queued, 1);
    if event.valid & valid::AFTER != 0 && event.valid & valid::ACCEPT_QUEUE != 0 {
        length(tally, event.after.ack_backlog, event.after.max_ack_backlog, now);
    }
}

/// accept() took `child`, if it is known to be in an accept queue. The address of its listener; 0 if it
/// is not.
#[inline(always)]
pub fn accepted(child: u64) -> u64 {
    if !counts() {
        return 0;
    }
    let Some(child) = waiting::number(child) else { return 0 };
    let Waiting { sk, since_ns } = waiting::take_once(child);
    if sk != 0 {
        took::<Probed>(sk, sk, since_ns);
    }
    sk
}

/// accept() took `child` of `listener`.
#[inline(always)]
pub fn accepted_of<M: Memory>(child: u64, listener: u64) {
    if counts()
        && let (Some(child), Some(sk)) = (waiting::number(child), waiting::number(listener))
    {
        took::<M>(sk, listener, waiting::take(child).since_ns);
    }
}

/// A child was taken from the queue of `listener`, where it had been since `since_ns`; `sk` is its address
/// as a plain number.
#[inline(always)]
fn took<M: Memory>(sk: u64, listener: u64, since_ns: u64) -> Option<()> {
    let tally = places::queue(sk)?;
    add(&raw mut tally.accepted, 1);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    length(
        tally,
        M::exact::<u32>(listener, &SOCK_ACK_BACKLOG) as u32,
        M::exact::<u32>(listener, &SOCK_MAX_ACK_BACKLOG) as u32,
        now,
    );
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
    let Some(tally) = waiting::number(listener).and_then(places::known) else { return };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    tally.len = 0;
    tally.closed = 1;
    end(tally, now);
}

/// The queue's length has changed.
#[inline(always)]
fn length(tally: &mut Tally, len: u32, max: u32, now: u64) {
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

/// Adds to a number in a map's value, as other CPUs do.
#[inline(always)]
fn add(number: *mut u64, n: u64) {
    // SAFETY: an aligned word of a map's value, which stays while the program runs.
    unsafe { atomic::add(number, n) };
}
