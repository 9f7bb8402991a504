//! Where what is counted of a listener stands: in a place of its own, found by its address alone, or,
//! where another has that place, in a map.
//!
//! A place is the same on every CPU, and its owner stays until it was closed: user space then makes it
//! free. So a listener is known to be the one it was by two comparisons: nobody has called `listen()`
//! since, or its socket has been looked at since.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use overflow_common::{Healthy, Loss, Place, Socket, Tally};

use crate::{losses, openers, read::Probed, sock};

/// Accept queues of the listeners that have a place.
#[btf_map]
pub static QUEUES: Array<Place, { Place::PLACES }> = Array::new();

/// Which place the listener at an address has: what is found at once.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Door {
    /// Address of its `struct sock`.
    sk: u64,
    /// As [`Place::opened`].
    opened: u64,
    /// The number of its place.
    number: u64,
}

/// By [`first`]. Of two listeners that have the same, one is looked for each time.
#[btf_map]
pub static DOORS: Array<Door, { Place::PLACES }> = Array::new();

/// Whose each place is: to put an entry here is to take it.
#[btf_map]
pub static OWNERS: HashMap<u32, Socket, { Place::PLACES }> = HashMap::new();

/// Healthy handshakes of the listeners that have a place.
#[btf_map]
pub static HEALTHY: PerCpuArray<Healthy, { Place::PLACES }> = PerCpuArray::new();

/// Accept queues of all other listeners.
#[btf_map]
pub static TALLIES: HashMap<Socket, Tally, 16384> = HashMap::new();

/// Where a new [`TALLIES`] entry is made: too large for the stack. Only what says whose it is is
/// ever written.
#[btf_map]
pub static SCRATCH: PerCpuArray<Tally, 1> = PerCpuArray::new();

/// `BPF_NOEXIST` of include/uapi/linux/bpf.h.
const NOEXIST: u64 = 1;

/// The first of the places where a listener may be, by the address of its `struct sock`, a plain number.
/// Structures of one slab differ in a few bits only, at regular distances: Fibonacci hashing.
#[inline(always)]
fn first(sk: u64) -> u32 {
    (sk.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32 & (Place::PLACES as u32 - 1)
}

/// All of them, the first one first.
#[inline(always)]
fn ways(first: u32) -> impl Iterator<Item = u32> {
    let among = Place::WAYS - 1;
    (0..Place::WAYS).map(move |way| first & !among | (first + way) & among)
}

/// Healthy handshakes of listener `sk` on this CPU, and its queue; `None` where it has no place.
#[inline(always)]
pub fn healthy(sk: u64) -> Option<(&'static mut Healthy, &'static mut Tally)> {
    let number = find(sk)?;
    // SAFETY: this CPU's own, and SYNs and third ACKs are handled in softirqs, one after the other.
    let healthy = unsafe { &mut *HEALTHY.get_ptr_mut(number)? };
    Some((healthy, &mut place(number)?.tally))
}

/// The queue of listener `sk`, wherever it stands.
#[inline(always)]
pub fn queue(sk: u64) -> Option<&'static mut Tally> {
    if let Some(number) = find(sk) {
        return Some(&mut place(number)?.tally);
    }
    // SAFETY: the entry stays while the program runs; racing CPUs lose a maximum, not memory.
    TALLIES.get_ptr_mut(socket(sk)?).map(|tally| unsafe { &mut *tally })
}

/// The queue of listener `sk` if anything was counted of it.
#[inline(always)]
pub fn known(sk: u64) -> Option<&'static mut Tally> {
    let socket = socket(sk)?;
    for number in ways(first(sk)) {
        let place = place(number)?;
        if place.socket == socket {
            return Some(&mut place.tally);
        }
    }
    // SAFETY: as above.
    TALLIES.get_ptr_mut(socket).map(|tally| unsafe { &mut *tally })
}

/// The place of listener `sk`, if it has one.
#[inline(always)]
fn find(sk: u64) -> Option<u32> {
    let door = door(first(sk))?;
    let number = door.number as u32;
    // User space may have freed the place of one that was closed and listens again.
    if door.sk == sk && door.opened == openers::opened() && place(number)?.socket.sk == sk {
        return Some(number);
    }
    core::hint::cold_path();
    match settle(sk) {
        NOWHERE => None,
        number => Some(number),
    }
}

#[inline(always)]
fn door(first: u32) -> Option<&'static mut Door> {
    // SAFETY: as of a place.
    DOORS.get_ptr_mut(first).map(|door| unsafe { &mut *door })
}

#[inline(always)]
fn place(number: u32) -> Option<&'static mut Place> {
    // SAFETY: the entry stays; racing CPUs lose a maximum, not memory.
    QUEUES.get_ptr_mut(number).map(|place| unsafe { &mut *place })
}

/// Whether `sk` is the listener that was last seen to have this place.
#[inline(always)]
fn is_at(place: &Place, sk: u64) -> bool {
    place.socket.sk == sk && place.opened == openers::opened()
}

/// Which socket `sk` is.
#[inline(always)]
fn socket(sk: u64) -> Option<Socket> {
    Some(Socket { sk, ino: sock::inode::<Probed>(sk), netns: sock::netns::<Probed>(sk)? })
}

/// Stands for no place.
const NOWHERE: u32 = u32::MAX;

/// Sees to it that something stands of listener `sk`: the number of its place, or [`NOWHERE`] if it is in
/// the map.
#[inline(never)]
pub fn settle(sk: u64) -> u32 {
    // Read before the socket is: who listens later is seen the next time.
    let opened = openers::opened();
    let Some(number) = look(sk, opened) else { return NOWHERE };
    if let Some(door) = door(first(sk))
        && (door.sk == 0 || door.sk == sk)
    {
        // The number first: who finds the rest finds it.
        door.number = number.into();
        door.opened = opened;
        door.sk = sk;
    }
    number
}

#[inline(always)]
fn look(sk: u64, opened: u64) -> Option<u32> {
    let first = first(sk);
    for number in ways(first) {
        if is_at(place(number)?, sk) {
            return Some(number);
        }
    }
    let socket = socket(sk)?;
    for number in ways(first) {
        let place = place(number)?;
        if place.socket == socket {
            place.opened = opened;
            return Some(number);
        }
    }
    // What began in the map stays there.
    if TALLIES.get_ptr_mut(socket).is_some() {
        return None;
    }
    for number in ways(first) {
        if take(number, &socket) != 0 {
            let place = place(number)?;
            describe(&mut place.tally, socket)?;
            place.opened = opened;
            place.socket = socket;
            return Some(number);
        }
    }
    // SAFETY: this CPU's own.
    let scratch = unsafe { &mut *SCRATCH.get_ptr_mut(0)? };
    scratch.address = [0; 16];
    describe(scratch, socket)?;
    let entry: &Tally = scratch;
    if TALLIES.insert(socket, entry, NOEXIST).is_err() && TALLIES.get_ptr_mut(socket).is_none() {
        losses::count(Loss::Uncounted);
    }
    None
}

/// Takes a place for a listener. Another CPU may just have done so for the same one.
/// In a function of its own, for the stack.
#[inline(never)]
fn take(number: u32, socket: &Socket) -> u32 {
    let taken = OWNERS.insert(number, socket, NOEXIST).is_ok()
        // SAFETY: compared at once.
        || unsafe { OWNERS.get(number) } == Some(socket);
    u32::from(taken)
}

/// Says whose queue it is.
#[inline(always)]
fn describe(tally: &mut Tally, socket: Socket) -> Option<()> {
    tally.family = sock::local_address(socket.sk, &mut tally.address)?;
    tally.netns = socket.netns;
    tally.port = sock::local_port::<Probed>(socket.sk)?;
    Some(())
}
