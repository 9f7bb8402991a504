//! Who called `listen()`, noted while that process runs: by the time that user space looks into
//! `/proc`, a listener may be closed and its process gone. A cost of listeners, not of handshakes.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns,
    },
    macros::btf_map,
};
use overflow_common::{Loss, Opener, filter::ListenerKey};

use crate::{
    atomic::Word,
    globals::SOCK_IPV6ONLY,
    losses,
    read::{self, Probed},
    sock,
};

/// By socket. Those opened longest ago make room: who holds them was looked up long since.
#[btf_map]
pub static OPENERS: LruHashMap<ListenerKey, Opener, 16384> = LruHashMap::new();

static OPENED: Word = Word::new(0);

/// How many listeners were opened so far: while it is the same, the one at an address is no other.
#[inline(always)]
pub fn opened() -> u64 {
    OPENED.load()
}

/// The current process called `listen()` on `sk`. It may still be refused.
#[inline(always)]
pub fn note(sk: u64) -> Option<()> {
    OPENED.add(1);
    let listener =
        ListenerKey { netns: sock::netns::<Probed>(sk)?, ino: sock::inode::<Probed>(sk) };
    if listener.ino == 0 {
        return None;
    }
    let mut opener = Opener {
        // SAFETY: a helper without arguments.
        t_ns: unsafe { bpf_ktime_get_ns() },
        address: [0; 16],
        comm: bpf_get_current_comm().unwrap_or_default(),
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        port: sock::local_port::<Probed>(sk)?,
        family: 0,
        v6only: u8::from(read::field(sk, &SOCK_IPV6ONLY).unwrap_or(0) != 0),
        padding: 0,
    };
    opener.family = sock::local_address(sk, &mut opener.address)?;
    if OPENERS.insert(listener, opener, 0).is_err() {
        losses::count(Loss::Uncounted);
    }
    Some(())
}
