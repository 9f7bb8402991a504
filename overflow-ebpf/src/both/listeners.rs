//! The listeners of this host, for the tracepoint rung: no tracepoint says which socket a SYN was
//! for. Learnt from an iterator over what is there when tracing begins, and then from
//! `inet_sock_set_state`.
//!
//! # Minimum kernel version
//! `bpf_iter_tcp`: 5.9 (commit 52d87d5f6418). tp_btf: 5.10.

use core::ffi::c_void;

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray},
    helpers::generated::bpf_seq_write,
    macros::btf_map,
};
use overflow_common::{Loss, RawEvent, Slot};

use crate::{
    atomic,
    counters::Counters,
    globals::{SOCK_DROPS, SOCK_IPV6ONLY, STATE_LISTEN},
    losses,
    number::Number,
    read::{self, Probed},
    sock,
};

/// Where listeners listen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    /// Inode number of the network namespace.
    netns: u32,
    /// Port, host order.
    port: u16,
    /// Its number among those that share both; 0 for all together.
    slot: u16,
}

/// All listeners of a [`Place`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Together {
    /// How many.
    count: u64,
    /// The sum of the addresses of their `struct sock`: where there is one, its address.
    sum: u64,
}

/// One of several.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Member {
    /// Address of its `struct sock`.
    sk: u64,
    /// `sk_drops` when it was last looked at.
    drops: u64,
    /// Local address, as in [`RawEvent::server`]; zeros for every one.
    address: [u8; 16],
    /// 4 or 6.
    family: u32,
    /// Not zero for a socket on `::` that takes no IPv4.
    v6only: u32,
}

/// Room is made when it is needed (`BPF_F_NO_PREALLOC`): on the other rungs nothing is ever put there.
const ALLOCATED: usize = 1;
/// Listeners that one place may have; of more, the rest are not told apart.
const SLOTS: u16 = 64;

/// How many listeners there are on a port, in any namespace.
#[btf_map]
pub static PORTS_IN_USE: Array<u64, 65536> = Array::new();

#[btf_map]
pub static PLACES: HashMap<Place, Together, 65536, ALLOCATED> = HashMap::new();

#[btf_map]
pub static MEMBERS: HashMap<Place, Member, 65536, ALLOCATED> = HashMap::new();

/// Where a listener stands in `MEMBERS`, by the address of its `struct sock`.
#[btf_map]
pub static LISTENERS: HashMap<u64, Place, 65536, ALLOCATED> = HashMap::new();

/// Listeners that SYNs for another's place were given to, as their requests show.
#[btf_map]
pub static STEERED: LruHashMap<Place, u64, 1024> = LruHashMap::new();

/// For what processes do, which a segment may interrupt: [`Counters::number`] is for segments.
#[btf_map]
pub static NUMBER: PerCpuArray<Number, 1> = PerCpuArray::new();

/// The address of a `struct sock` as a plain number.
#[inline(always)]
fn number(sk: u64) -> Option<u64> {
    // SAFETY: this CPU's own, used by one process at a time: tracepoints keep others off.
    NUMBER.get_ptr_mut(0).map(|number| unsafe { (*number).of(sk) })
}

/// A SYN for `port` became a request of `sk`, which is not the only listener there. From now on third
/// ACKs to that port are followed, whether anybody listens there or not: a rule of netfilter may give
/// them to another (REDIRECT, TPROXY).
#[inline(always)]
pub fn steered(netns: u32, port: u16, sk: u64) {
    if let Some(counters) = Counters::get() {
        let sk = counters.number(sk);
        if !is_steered(netns, port)
            && let Some(count) = PORTS_IN_USE.get_ptr_mut(port.into())
        {
            // SAFETY: an aligned word of a map's value, which stays while the program runs.
            unsafe { atomic::add(count, 1) };
        }
        let _ = STEERED.insert(Place { netns, port, slot: 0 }, sk, 0);
    }
}

/// A listener has had a SYN for `port`: somebody listens there, even where nobody was found (a namespace
/// that only threads are in, a rule that redirects). Third ACKs to that port are followed from now on.
#[inline(always)]
pub fn asked(port: u16) {
    if let Some(count) = PORTS_IN_USE.get_ptr_mut(port.into()) {
        // SAFETY: an aligned word of a map's value, which stays while the program runs. Where another CPU
        // is as far it counts twice, which is as good: it is never taken back.
        unsafe {
            if *count == 0 {
                atomic::add(count, 1);
            }
        }
    }
}

/// Whether SYNs for `port` were seen to be given to another listener than the only one there.
#[inline(always)]
pub fn is_steered(netns: u32, port: u16) -> bool {
    // SAFETY: only whether it is there counts.
    unsafe { STEERED.get(Place { netns, port, slot: 0 }) }.is_some()
}

/// The listener that SYNs for `port` were last given to, if it has dropped anything since it was
/// last looked at; else 0.
#[inline(always)]
pub fn dropped_by_steered(netns: u32, port: u16) -> u64 {
    // SAFETY: copied at once.
    match unsafe { STEERED.get(Place { netns, port, slot: 0 }) }.copied() {
        Some(sk) if dropped(sk) => sk,
        _ => 0,
    }
}

/// Whether anybody listens on this port, in any namespace.
#[inline(always)]
pub fn in_use(port: u16) -> bool {
    // SAFETY: a word, copied at once.
    PORTS_IN_USE.get(port.into()).is_some_and(|count| *count != 0)
}

/// `sk` listens.
#[inline(always)]
pub fn opened(sk: u64) -> Option<()> {
    let sk = number(sk)?;
    // SAFETY: only whether it is there counts.
    if unsafe { LISTENERS.get(sk) }.is_some() {
        return Some(());
    }
    let mut member = Member {
        sk,
        drops: read::field(sk, &SOCK_DROPS)?,
        address: [0; 16],
        family: 0,
        v6only: read::field(sk, &SOCK_IPV6ONLY).unwrap_or(0) as u32,
    };
    member.family = sock::local_address(sk, &mut member.address)?.into();
    let mut place =
        Place { netns: sock::netns::<Probed>(sk)?, port: sock::local_port::<Probed>(sk)?, slot: 0 };
    let all = place;
    for slot in 0..SLOTS {
        place.slot = slot;
        // BPF_NOEXIST: the first that is free.
        if MEMBERS.insert(place, member, 1).is_ok() {
            if LISTENERS.insert(sk, place, 0).is_err() {
                losses::count(Loss::Uncounted);
            }
            count(all, 1, sk);
            return Some(());
        }
    }
    losses::count(Loss::Uncounted);
    None
}

/// `sk` listens no longer.
#[inline(always)]
pub fn closed(sk: u64) {
    let Some(sk) = number(sk) else { return };
    // SAFETY: copied at once.
    let Some(place) = unsafe { LISTENERS.get(sk) }.copied() else { return };
    let _ = LISTENERS.remove(sk);
    let _ = MEMBERS.remove(place);
    count(Place { slot: 0, ..place }, u64::MAX, sk.wrapping_neg());
}

/// One more at a place, or, by all ones, one less.
#[inline(always)]
fn count(place: Place, n: u64, sk: u64) {
    if PLACES.get_ptr_mut(place).is_none() {
        // Another CPU may be first.
        let _ = PLACES.insert(place, Together { count: 0, sum: 0 }, 1);
    }
    let port = PORTS_IN_USE.get_ptr_mut(place.port.into());
    let (Some(all), Some(port)) = (PLACES.get_ptr_mut(place), port) else {
        losses::count(Loss::Uncounted);
        return;
    };
    // SAFETY: aligned words of values that stay while the program runs.
    unsafe {
        atomic::add(&raw mut (*all).sum, sk);
        atomic::add(&raw mut (*all).count, n);
        atomic::add(port, n);
    }
}

/// The only listener of a port in this namespace; 0 if there is none, or more than one.
#[inline(always)]
pub fn only(netns: u32, port: u16) -> u64 {
    // SAFETY: copied at once.
    match unsafe { PLACES.get(Place { netns, port, slot: 0 }) } {
        Some(&Together { count: 1, sum }) => {
            // Another may come or go meanwhile.
            let listens = sock::state::<Probed>(sum) == STATE_LISTEN.load();
            if listens && sock::local_port::<Probed>(sum) == Some(port) { sum } else { 0 }
        }
        _ => 0,
    }
}

/// Whether `sk` is the only listener of its port, or one of several: a request of its is no news.
#[inline(always)]
pub fn is_known(netns: u32, port: u16, sk: u64) -> bool {
    // SAFETY: copied at once.
    match unsafe { PLACES.get(Place { netns, port, slot: 0 }) } {
        Some(&Together { count: 1, sum }) => sum == sk,
        Some(&Together { count, .. }) => count != 0,
        None => false,
    }
}

/// Whether `sk` has dropped anything since it was last looked at, by its `sk_drops`.
#[inline(always)]
pub fn dropped(sk: u64) -> bool {
    // SAFETY: copied at once.
    let place = unsafe { LISTENERS.get(sk) }.copied();
    if let Some(member) = place.and_then(|place| MEMBERS.get_ptr_mut(place))
        && let Some(drops) = read::field(sk, &SOCK_DROPS)
    {
        // SAFETY: the value stays while the program runs.
        unsafe {
            let risen = (*member).drops != drops;
            (*member).drops = drops;
            return risen;
        }
    }
    false
}

/// Whether anybody listens on the port in this namespace.
#[inline(always)]
pub fn any(netns: u32, port: u16) -> bool {
    // SAFETY: copied at once.
    unsafe { PLACES.get(Place { netns, port, slot: 0 }) }.is_some_and(|all| all.count != 0)
}

/// The listener that dropped `event`'s segment, of several on its port: `sk_drops` of one has risen
/// since it was last looked at, or, where CPUs drop at once, one alone is full. 0 if that does not
/// tell.
#[inline(never)]
pub fn dropped_by(event: &RawEvent) -> u64 {
    let Some(search) = SEARCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own; what uses it runs in one softirq.
    let search = unsafe { &mut *search };
    *search = Search { risen: 0, rises: 0, full: 0, fulls: 0 };
    for slot in 0..SLOTS {
        look(event, slot);
    }
    match (search.rises, search.fulls) {
        (1, _) => search.risen,
        (_, 1) => search.full,
        _ => 0,
    }
}

/// What was found among several; in a map, for a verifier follows each number that it knows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Search {
    risen: u64,
    rises: u64,
    full: u64,
    fulls: u64,
}

#[btf_map]
pub static SEARCH: PerCpuArray<Search, 1> = PerCpuArray::new();

#[inline(never)]
fn look(event: &RawEvent, slot: u16) -> u32 {
    let place = Place { netns: event.netns, port: event.server_port, slot };
    let (Some(search), Some(member)) = (SEARCH.get_ptr_mut(0), MEMBERS.get_ptr_mut(place)) else {
        return 0;
    };
    // SAFETY: values stay while the program runs; CPUs that race leave a count of either.
    let (search, member) = unsafe { (&mut *search, &mut *member) };
    let Some(drops) = read::field(member.sk, &SOCK_DROPS) else { return 0 };
    let risen = drops != member.drops;
    member.drops = drops;
    if !takes(member, event) {
        return 0;
    }
    if risen {
        search.risen = member.sk;
        search.rises += 1;
    }
    let (queue, _) = sock::queue::<Probed>(member.sk);
    if queue.ack_backlog > queue.max_ack_backlog {
        search.full = member.sk;
        search.fulls += 1;
    }
    0
}

/// Whether a listener's address is that of the segment, or every address.
#[inline(always)]
fn takes(member: &Member, event: &RawEvent) -> bool {
    let any = member.address == [0; 16];
    if member.family == 6 && event.family == 4 {
        return any && member.v6only == 0;
    }
    u32::from(event.family) == member.family && (any || member.address == event.server)
}

/// Each TCP socket of the reader's namespace, listeners first. Nothing is written but a byte at the
/// first that is none, so that the reader stops.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn iter_tcp(ctx: *mut c_void) -> i32 {
    // `struct bpf_iter__tcp`: `meta`, `sk_common`, `uid`.
    let (meta, sk) = (read::slot(ctx, Slot(0), 0), read::slot(ctx, Slot(1), 0));
    if meta == 0 || sk == 0 {
        return 0;
    }
    if sock::state::<Probed>(sk) == STATE_LISTEN.load() {
        opened(sk);
        return 0;
    }
    let end = 0_u8;
    // SAFETY: `meta` is a `struct bpf_iter_meta`, which begins with `seq`; the helper copies the byte.
    unsafe {
        let seq = core::ptr::read_volatile(meta as *const u64);
        bpf_seq_write(seq as *mut _, core::ptr::from_ref(&end).cast_mut().cast(), 1);
    }
    0
}
