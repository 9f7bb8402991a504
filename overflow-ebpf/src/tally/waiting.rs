//! Children that wait in accept queues: since when, and in whose.
//!
//! A table of one entry for each place, which a child takes and gives back by a few stores; whom
//! another's child is in the way of makes room, and goes to a map. So nothing is looked up in a map of
//! the kernel's, and nothing put there, which would cost more than all the rest, but where two children
//! of one place wait at once.
//!
//! Softirqs of several CPUs put children there, and processes, which may be preempted at any time, take
//! them. Who comes to an entry while another is at it lets it be and goes to the map: see [`Child::begin`].

use core::arch::asm;

use aya_ebpf::{
    btf_maps::{Array, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use overflow_common::{Loss, Waiting};

use crate::{atomic::Word, losses, number::Number};

/// The child that was last put at a place.
#[repr(C)]
struct Child {
    /// How many are at this entry now, in the low half, and how often it was changed, in the high one.
    turn: Word,
    /// Address of its `struct sock`.
    sk: Word,
    /// Address of its listener's.
    listener: Word,
    /// Since when it waits; 0 if it waits no longer.
    since_ns: Word,
    /// [`Child::sum`] of the rest.
    sum: Word,
}

/// How many places there are.
const PLACES: usize = 1 << 16;
/// So often somebody comes to an entry where others are.
const TRIES: usize = 4;
/// Of [`Child::turn`]: it was changed once more, and one is there less.
const CHANGED: u64 = (1 << 32) - 1;
/// One is there less.
const LEFT: u64 = u64::MAX;

/// [`Child`]ren, by words.
#[btf_map]
static WAITING: Array<[u64; size_of::<Child>() / size_of::<u64>()], PLACES> = Array::new();

/// Those that had to make room, by the address of their `struct sock`. The oldest go: those of a listener
/// that was closed are never taken. One since the time 0 was taken, though its entry says that it waits.
#[btf_map]
pub static CHILDREN: LruHashMap<u64, Waiting, 65536> = LruHashMap::new();

/// For [`number`] in processes.
#[btf_map]
pub static ACCEPTED: PerCpuArray<Number, 1> = PerCpuArray::new();

/// Nobody waits, as far as is known.
const NOBODY: Waiting = Waiting { sk: 0, since_ns: 0 };

/// An address as a plain number, in a process. Where the kernel is preemptible another process may come in
/// between, and what is read be its number: then once more.
#[inline(always)]
pub fn number(address: u64) -> Option<u64> {
    let word = ACCEPTED.get_ptr_mut(0)?;
    for _ in 0..TRIES {
        // SAFETY: this CPU's own word, written and read whole.
        let number = unsafe { (*word).of(address) };
        if equal(number, address) {
            return Some(number);
        }
    }
    losses::count(Loss::Uncounted);
    None
}

/// Whether a number is that of a pointer. Verifiers let anybody compare them; but where the compiler knows
/// that they are equal, it calculates with the pointer.
#[inline(always)]
fn equal(number: u64, pointer: u64) -> bool {
    let equal: u64;
    // SAFETY: compares two registers.
    unsafe {
        asm!(
            "{equal} = 1",
            "if {number} == {pointer} goto +1",
            "{equal} = 0",
            equal = out(reg) equal,
            number = in(reg) number,
            pointer = in(reg) pointer,
            options(nostack, nomem),
        );
    }
    equal != 0
}

impl Child {
    /// The entry of the child at this address.
    #[inline(always)]
    fn of(child: u64) -> Option<&'static Self> {
        // Fibonacci hashing.
        let place = child.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        // SAFETY: the entry stays, and consists of words that are read and written whole.
        WAITING.get_ptr_mut(place as u32).map(|place| unsafe { &*place.cast() })
    }

    /// Comes to the entry: how often it was changed so far, or `None` if others are there. Of those who come
    /// at once, at most one finds itself alone, for all add themselves before they look. Nothing else can
    /// be had everywhere: additions that say what there was take v5.12.
    ///
    /// Nor are there barriers. What the last one stored may not be seen yet where that it has left is: then
    /// the sum is wrong, as it is by the number of changes if it is older.
    #[inline(always)]
    fn begin(&self) -> Option<u64> {
        self.turn.add(1);
        let turn = self.turn.load();
        let changes = turn >> 32;
        if turn as u32 == 1 && self.sum.load() == self.sum(changes) {
            return Some(changes);
        }
        self.leave();
        None
    }

    #[inline(always)]
    fn sum(&self, changes: u64) -> u64 {
        self.sk.load() ^ self.listener.load() ^ self.since_ns.load() ^ changes
    }

    /// Leaves the entry as it was.
    #[inline(always)]
    fn leave(&self) {
        self.turn.add(LEFT);
    }

    /// Leaves it with another child, or none; `changes` is what [`Self::begin`] said.
    #[inline(always)]
    fn end(&self, changes: u64, sk: u64, waiting: Waiting) {
        self.sk.store(sk);
        self.listener.store(waiting.sk);
        self.since_ns.store(waiting.since_ns);
        let changes = (changes + 1) & u64::from(u32::MAX);
        self.sum.store(sk ^ waiting.sk ^ waiting.since_ns ^ changes);
        self.turn.add(CHANGED);
    }

    /// As it is; whoever is at the entry may be changing it.
    #[inline(always)]
    fn waiting(&self) -> Waiting {
        Waiting { sk: self.listener.load(), since_ns: self.since_ns.load() }
    }
}

/// `child` was put into an accept queue.
#[inline(always)]
pub fn put(child: u64, waiting: Waiting) {
    let Some(entry) = Child::of(child) else { return };
    for _ in 0..TRIES {
        let Some(changes) = entry.begin() else { continue };
        let sk = entry.sk.load();
        if entry.since_ns.load() != 0 && sk != child {
            core::hint::cold_path();
            aside(sk, entry.waiting());
        }
        entry.end(changes, child, waiting);
        return;
    }
    core::hint::cold_path();
    aside(child, waiting);
    if entry.sk.load() == child {
        // What is there of an earlier child at its address will be taken for it.
        losses::count(Loss::Uncounted);
    }
}

/// Puts a child into the map.
#[inline(always)]
fn aside(child: u64, waiting: Waiting) {
    if CHILDREN.insert(child, waiting, 0).is_err() {
        losses::count(Loss::Uncounted);
    }
}

/// Takes `child` out; zeros where it is not known: it was there before the trace, or it was taken before
/// its ACK was done with.
#[inline(always)]
pub fn take(child: u64) -> Waiting {
    let Some(entry) = Child::of(child) else { return NOBODY };
    for _ in 0..TRIES {
        let Some(changes) = entry.begin() else { continue };
        if entry.sk.load() != child {
            entry.leave();
            return take_aside(child);
        }
        let waiting = entry.waiting();
        if waiting.since_ns == 0 {
            entry.leave();
        } else {
            entry.end(changes, child, NOBODY);
        }
        return waiting;
    }
    core::hint::cold_path();
    let waiting = take_aside(child);
    if waiting.since_ns == 0 {
        // A process may have been preempted there: how long the child waited is not known.
        losses::count(Loss::Uncounted);
        aside(child, NOBODY);
    }
    waiting
}

#[inline(always)]
fn take_aside(child: u64) -> Waiting {
    // SAFETY: copied at once.
    match unsafe { CHILDREN.get(child) }.copied() {
        Some(waiting) => {
            let _ = CHILDREN.remove(child);
            waiting
        }
        None => NOBODY,
    }
}

/// As [`take`], where it may have been taken already, which then is to be noticed.
#[inline(always)]
pub fn take_once(child: u64) -> Waiting {
    let Some(entry) = Child::of(child) else { return NOBODY };
    if entry.sk.load() == child && entry.since_ns.load() == 0 {
        return NOBODY;
    }
    let waiting = take(child);
    // SAFETY: only that is looked at, at once.
    let taken = unsafe { CHILDREN.get(child) }.is_some_and(|aside| aside.since_ns == 0);
    if taken && waiting.since_ns != 0 {
        let _ = CHILDREN.remove(child);
        return NOBODY;
    }
    waiting
}
