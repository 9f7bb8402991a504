//! Where what is counted of a listener stands: in a place of its own, or, where others have all those
//! that it may have, in a map.
//!
//! A place is the same on every CPU, and its owner keeps it until it was closed and user space has read it
//! for good. It goes by address and inode: of sockets that listen at one address, one after the other,
//! each may have another. Which one it is now is remembered by the address alone ([`Door`]): as long
//! as nobody has called `listen()`, the listener at an address is the one it was.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use overflow_common::{Healthy, Loss, Place, Socket, Tally};

use crate::{atomic::Word, globals::STATE_LISTEN, losses, openers, read::Probed, sock};

/// Accept queues of the listeners that have a place.
#[btf_map]
pub static QUEUES: Array<Place, { Place::PLACES }> = Array::new();

/// Which place the listener at an address has.
#[repr(C)]
struct Door {
    /// Address of its `struct sock`.
    sk: Word,
    /// How many listeners had been opened when that was known for sure, and below it, in [`NUMBER`], which
    /// place.
    what: Word,
    /// Both, one XOR the other: two CPUs may write at once.
    sum: Word,
}

/// Where [`Door::what`] has the number of the place, and above it how many had been opened.
const NUMBER: u32 = 16;
/// Stands for no place: it is counted in the map.
const NOWHERE: u32 = (1 << NUMBER) - 1;

/// [`Door`]s, by [`spread`] of the address, by words. Of two listeners that have the same, one has the door
/// beside it.
#[btf_map]
static DOORS: Array<[u64; size_of::<Door>() / size_of::<u64>()], { Place::PLACES }> = Array::new();

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

/// Structures of one slab differ in a few bits only, at regular distances: Fibonacci hashing.
#[inline(always)]
fn spread(which: u64) -> u32 {
    (which.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32 & (Place::PLACES as u32 - 1)
}

/// The places that a listener may have.
#[inline(always)]
fn ways(socket: &Socket) -> impl Iterator<Item = u32> + use<> {
    let first = spread(socket.sk ^ u64::from(socket.ino) << 32);
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
    let tally = TALLIES.get_ptr_mut(socket(sk)?).map(|tally| unsafe { &mut *tally });
    if tally.is_none() {
        losses::count(Loss::Uncounted);
    }
    tally
}

/// The queue of listener `sk` if anything was counted of it.
#[inline(always)]
pub fn known(sk: u64) -> Option<&'static mut Tally> {
    let socket = socket(sk)?;
    for number in ways(&socket) {
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
    let opened = openers::opened();
    let number = if let Some(number) = behind(spread(sk), sk, opened) {
        number
    } else {
        core::hint::cold_path();
        settle(sk)
    };
    if number == NOWHERE { None } else { Some(number) }
}

/// Which place is behind a door, if it is that of listener `sk`; or [`NOWHERE`].
#[inline(always)]
fn behind(door: u32, sk: u64, opened: u64) -> Option<u32> {
    let door = Door::at(door)?;
    let what = door.what.load();
    let known = door.sk.load() == sk && door.sum.load() == sk ^ what && what >> NUMBER == opened;
    if !known {
        return None;
    }
    let number = what as u32 & NOWHERE;
    // User space may have freed the place of one that was closed.
    if number != NOWHERE && place(number)?.socket.sk != sk {
        return None;
    }
    Some(number)
}

impl Door {
    #[inline(always)]
    fn at(door: u32) -> Option<&'static Self> {
        // SAFETY: the entry stays, and consists of words that are read and written whole.
        DOORS.get_ptr_mut(door).map(|door| unsafe { &*door.cast() })
    }
}

#[inline(always)]
fn place(number: u32) -> Option<&'static mut Place> {
    // SAFETY: the entry stays; racing CPUs lose a maximum, not memory.
    QUEUES.get_ptr_mut(number).map(|place| unsafe { &mut *place })
}

/// Which socket `sk` is.
#[inline(always)]
fn socket(sk: u64) -> Option<Socket> {
    Some(Socket { sk, ino: sock::inode::<Probed>(sk), netns: sock::netns::<Probed>(sk)? })
}

/// Sees to it that something stands of listener `sk`: the number of its place, or [`NOWHERE`] if it is in
/// the map.
#[inline(never)]
pub fn settle(sk: u64) -> u32 {
    // Read before the socket is: who listens later is seen the next time.
    let opened = openers::opened();
    if let Some(number) = behind(spread(sk) ^ 1, sk, opened) {
        return number;
    }
    let Some(socket) = socket(sk) else { return NOWHERE };
    let number = look(&socket);
    if number == NOWHERE && in_map(&socket) == 0 {
        return NOWHERE;
    }
    remember(sk, opened, number);
    number
}

/// Notes which place the listener at an address has: at its own door, or, where another listener has that
/// one, beside it.
#[inline(always)]
fn remember(sk: u64, opened: u64, number: u32) -> Option<()> {
    let first = spread(sk);
    let mut door = Door::at(first)?;
    if door.sk.load() != sk && door.what.load() >> NUMBER == opened && door.sk.load() != 0 {
        door = Door::at(first ^ 1)?;
    }
    let what = opened << NUMBER | u64::from(number);
    door.sk.store(sk);
    door.what.store(what);
    door.sum.store(sk ^ what);
    Some(())
}

/// The place of a listener, which takes one if it has none. In a function of its own, for the stack.
#[inline(never)]
fn look(socket: &Socket) -> u32 {
    find_or_take(*socket).unwrap_or(NOWHERE)
}

#[inline(always)]
fn find_or_take(socket: Socket) -> Option<u32> {
    for number in ways(&socket) {
        let place = place(number)?;
        if place.socket == socket {
            reopened(&mut place.tally, socket.sk);
            return Some(number);
        }
    }
    // What began in the map stays there.
    if let Some(tally) = TALLIES.get_ptr_mut(socket) {
        // SAFETY: as of a place.
        reopened(unsafe { &mut *tally }, socket.sk);
        return None;
    }
    for number in ways(&socket) {
        if take(number, &socket) {
            let place = place(number)?;
            describe(&mut place.tally, socket)?;
            place.socket = socket;
            return Some(number);
        }
    }
    None
}

/// A socket that was closed may listen again.
#[inline(always)]
fn reopened(tally: &mut Tally, sk: u64) {
    if tally.closed != 0 && sock::state::<Probed>(sk) == STATE_LISTEN.load() {
        tally.closed = 0;
    }
}

/// Takes a place for a listener. Another CPU may just have done so for the same one.
#[inline(always)]
fn take(number: u32, socket: &Socket) -> bool {
    OWNERS.insert(number, socket, NOEXIST).is_ok()
        // SAFETY: compared at once.
        || unsafe { OWNERS.get(number) } == Some(socket)
}

/// Sees to it that a listener is in the map: 0 if it is not. In a function of its own, for the stack.
#[inline(never)]
fn in_map(socket: &Socket) -> u32 {
    u32::from(put_into_map(*socket).is_some())
}

#[inline(always)]
fn put_into_map(socket: Socket) -> Option<()> {
    if TALLIES.get_ptr_mut(socket).is_some() {
        return Some(());
    }
    // SAFETY: this CPU's own.
    let scratch = unsafe { &mut *SCRATCH.get_ptr_mut(0)? };
    scratch.address = [0; 16];
    describe(scratch, socket)?;
    let entry: &Tally = scratch;
    let put =
        TALLIES.insert(socket, entry, NOEXIST).is_ok() || TALLIES.get_ptr_mut(socket).is_some();
    if !put {
        losses::count(Loss::Uncounted);
    }
    put.then_some(())
}

/// Says whose queue it is.
#[inline(always)]
fn describe(tally: &mut Tally, socket: Socket) -> Option<()> {
    tally.family = sock::local_address(socket.sk, &mut tally.address)?;
    tally.netns = socket.netns;
    tally.port = sock::local_port::<Probed>(socket.sk)?;
    Some(())
}
