//! The namespaces that are there when tracing begins: their counters are read on each CPU, so that
//! what rises later is told from what had been counted before.
//!
//! Attached to nothing: user space has it run once for each CPU, after all hooks are attached and
//! before anything is judged. Drops in between are seen by the hooks, which read the counters anew.
//!
//! Later it runs again for each look at the counters, and only finds what no hook has read yet: it may
//! interrupt one that is about to.
//!
//! # Minimum kernel version
//! `BPF_PROG_TEST_RUN` of a raw tracepoint's program: 5.10 (commit 1b4d60ec162f).

use aya_ebpf::{
    btf_maps::{Array, HashMap},
    helpers::bpf_get_current_task,
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};

use overflow_common::{CountersRead, Loss};

use crate::{
    counters::{Counters, Rise},
    globals::{NET_HASH_MIX, NET_INUM, NET_LIST, NET_STATISTICS, NSPROXY_NET, TASK_NSPROXY},
    losses, read,
};

/// Where the survey has come to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Survey {
    /// `net->list` of the namespace it begins with; 0 before the first run.
    pub first: u64,
    /// The one to go on with; 0 when all have been read.
    pub next: u64,
    /// Not zero: what was counted since a hook last looked goes to [`PENDING`], and nothing is noted.
    pub peek: u64,
}

/// What was counted where no hook has looked since, by inode number of the namespace.
#[btf_map]
pub static PENDING: HashMap<u32, CountersRead, 8192> = HashMap::new();

/// The survey of the CPU whose turn it is.
#[btf_map]
pub static SURVEY: Array<Survey, 1> = Array::new();

/// Namespaces that are read in one run: a verifier follows each of them.
const AT_ONCE: usize = 8;

/// Begins where the last run ended; the first one runs in the context of a process.
#[raw_tracepoint]
pub fn survey(_ctx: RawTracePointContext) -> i32 {
    let _ = go_on();
    0
}

#[inline(always)]
fn go_on() -> Option<()> {
    // SAFETY: one run comes after the other, and nobody else writes it meanwhile.
    let survey = unsafe { &mut *SURVEY.get_ptr_mut(0)? };
    if survey.first == 0 {
        // SAFETY: a helper without arguments.
        let task = unsafe { bpf_get_current_task() };
        let net = read::field(read::field(task, &TASK_NSPROXY)?, &NSPROXY_NET)?;
        survey.first = read::address(net, &NET_LIST)?;
        survey.next = survey.first;
    }
    let mut at = survey.next;
    for _ in 0..AT_ONCE {
        if at == 0 {
            break;
        }
        look(at, survey.peek);
        // `struct list_head` begins with `next`.
        let mut next = 0_u64;
        if !read::quietly(at, &mut next) {
            next = 0;
        }
        at = if next == survey.first { 0 } else { next };
    }
    survey.next = at;
    Some(())
}

/// The list's head is among the namespaces: there, what is read as theirs is none, and nobody ever
/// asks for it again.
#[inline(never)]
fn look(list: u64, peek: u64) -> u32 {
    let Some(counters) = Counters::get() else { return 0 };
    let place = NET_LIST.load();
    if !place.exists() {
        return 0;
    }
    let net = list.wrapping_sub(place.offset());
    let (mut mix, mut statistics) = (0_u32, 0_u64);
    if read::quietly(net + NET_HASH_MIX.load().offset(), &mut mix)
        && read::quietly(net + NET_STATISTICS.load().offset(), &mut statistics)
    {
        let id = net ^ u64::from(mix) << 32;
        if peek == 0 {
            counters.survey(id, statistics);
        } else {
            pending(net, counters.peek(id, statistics));
        }
    }
    0
}

/// One CPU after the other adds what it finds.
#[inline(always)]
fn pending(net: u64, rise: Rise) {
    let mut netns = 0_u32;
    if !rise.any() || !read::quietly(net + NET_INUM.load().offset(), &mut netns) {
        return;
    }
    // SAFETY: copied at once.
    let mut found = unsafe { PENDING.get(netns) }.copied().unwrap_or_default();
    if rise.is_known() {
        found.overflows += rise.overflows;
        found.drops += rise.drops;
        found.queue_full += rise.queue_full;
    } else {
        found.unknown += 1;
    }
    if PENDING.insert(netns, found, 0).is_err() {
        losses::count(Loss::Uncounted);
    }
}
