//! The per-CPU path state: the segment this CPU is handling, from the outermost hook's entry to
//! its exit.

use aya_ebpf::{EbpfContext, btf_maps::PerCpuArray, macros::btf_map};
#[cfg(feature = "ring")]
use aya_log_ebpf::debug;
use overflow_common::{
    Kind, Loss, Path, Queue, RawEvent, Rung,
    segment::{ACK, RST, SYN},
    valid,
};

use crate::{
    arm, audit,
    counters::{Counters, Rise},
    emit, filter,
    globals::{BARE, FILTER_NETNS, QUIET},
    losses,
    number::Number,
    read::{Memory, Probed},
    retry,
    skb::{self, At},
    sock, tally,
};

/// The segment that this CPU is handling. One is enough: everything from `tcp_v4_rcv` to the
/// verdict runs in one softirq on one CPU.
#[btf_map]
pub static STATE: PerCpuArray<PathState, 1> = PerCpuArray::new();

/// Nothing was refused where one of these is set.
const HEALTHY: u32 = Path::REQSK_HASHED | Path::CHECK_REQ_CHILD | Path::COOKIE_CHECK_CHILD;

/// What is known so far of the segment being handled.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PathState {
    /// Address of the `struct sk_buff`; 0 when no segment is being followed.
    pub skb: u64,
    /// Not zero: the segment is not asked for, and only what it counts is of interest.
    pub unwanted: u64,
    /// Not zero: of the record there is only which segment, listener and request it is about, and its
    /// path, see [`Self::begin_bare`].
    pub bare: u64,
    /// Path bits of a SYN whose beginning is not hooked, for its end: nothing else passes what sets them
    /// while no segment is followed. Noted before anything is judged, too: a SYN may be under way then.
    pub loose: u32,
    padding: u32,
    /// For the address of the child that came of it, as a plain number.
    pub child: Number,
    /// By tracepoints: the `struct net` of the device that received the segment.
    pub net: u64,
    /// By tracepoints: how many segments this CPU had received before.
    pub number: u64,
    /// The record being collected.
    pub event: RawEvent,
}

impl PathState {
    /// This CPU's state.
    #[inline(always)]
    pub fn get() -> Option<&'static mut Self> {
        // SAFETY: the slot is this CPU's own. The hooks that use it run in one softirq, one after
        // the other, so no two of them hold the reference at the same time.
        STATE.get_ptr_mut(0).map(|state| unsafe { &mut *state })
    }

    /// This CPU's state if it follows the segment `skb`.
    #[inline(always)]
    pub fn following(skb: u64) -> Option<&'static mut Self> {
        Self::get()?.of(skb)
    }

    /// This state if it is that of the segment `skb`. The address alone is no proof: a freed `sk_buff`
    /// is soon used again, so the headers are compared too.
    #[inline(always)]
    pub fn of(&'static mut self, skb: u64) -> Option<&'static mut Self> {
        if self.skb != skb || skb == 0 {
            return None;
        }
        if self.bare != 0 {
            // Nothing but its address is known, which is enough in a function alone, see `is_bare`.
            return None;
        }
        if is_still(self, skb) != 0 { Some(self) } else { None }
    }

    /// Begins to follow `skb` on its way through `listener`, or goes on if it already is followed
    /// (a segment can meet first a request and then the cookie check). One that is not asked for is
    /// followed as well, but for those of other namespaces: what it makes counters rise by is not the
    /// next one's. `None` if the segment cannot be parsed.
    #[inline(always)]
    pub fn begin<M: Memory>(
        skb: u64,
        listener: u64,
        kind: Kind,
        rung: Rung,
    ) -> Option<&'static mut Self> {
        if let Some(state) = Self::following(skb) {
            return Some(state);
        }
        let state = Self::get()?;
        if state.is_inside() {
            losses::count(Loss::PathInterrupted);
        }
        // From here on an exit finds either this segment or none.
        state.skb = 0;
        if !arm::armed() {
            return None;
        }
        let port = sock::local_port::<M>(listener)?;
        let netns = sock::netns::<M>(listener)?;
        if !filter::wants_netns(netns) {
            return None;
        }
        state.reset(kind, rung);
        state.event.netns = netns;
        skb::parse_by::<M>(skb, At::Tcp, &mut state.event)?;
        let wanted = filter::wants(port, netns)
            && filter::wants_socket(listener, netns)
            && filter::wants_segment(&state.event);
        state.unwanted = u64::from(!wanted);
        state.listener::<M>(listener);
        state.skb = skb;
        Some(state)
    }

    /// As [`Self::begin`], where healthy segments are only counted: nothing is read of it yet but which one
    /// it is. What turns out to be more than that is [completed](Self::complete) then.
    #[inline(always)]
    pub fn begin_bare<M: Memory>(
        skb: u64,
        listener: u64,
        kind: Kind,
        rung: Rung,
    ) -> Option<&'static mut Self> {
        let state = Self::get()?;
        // IPv4's SYNs to a dual-stack listener enter two functions.
        let again =
            kind as u8 == Kind::Syn as u8 && state.event.kind == kind as u8 && state.skb == skb;
        if state.is_inside() && !again {
            losses::count(Loss::PathInterrupted);
        }
        state.skb = 0;
        state.loose = 0;
        if !arm::armed() {
            return None;
        }
        if FILTER_NETNS.load() != 0 && !filter::wants_netns(sock::netns::<M>(listener)?) {
            return None;
        }
        state.bare = 1;
        state.event.kind = kind as u8;
        state.event.rung = rung as u8;
        state.event.path = 0;
        state.event.req = 0;
        state.event.valid = 0;
        state.event.sk = listener;
        state.skb = skb;
        Some(state)
    }

    /// As [`Self::begin_bare`], of a SYN that has come to its end.
    #[inline(always)]
    pub fn end_bare<M: Memory>(skb: u64, listener: u64, rung: Rung) -> Option<&'static mut Self> {
        let seen = Self::get()?.loose;
        let state = Self::begin_bare::<M>(skb, listener, Kind::Syn, rung)?;
        state.mark(Path::CONN_REQUEST | seen);
        Some(state)
    }

    /// Reads what [`Self::begin_bare`] did not, later: the queues may not be as they were then. This CPU's
    /// counters tell what was decided. False if it cannot be read.
    #[inline(always)]
    pub fn complete<M: Memory>(&mut self, listener: u64, skb: u64) -> bool {
        complete::<M>(self, listener, skb) != 0
    }

    #[inline(always)]
    fn try_complete<M: Memory>(&mut self, listener: u64, skb: u64) -> Option<()> {
        let RawEvent { kind, rung, path, req, valid, reset_reason, .. } = self.event;
        self.clear();
        self.event.kind = kind;
        self.event.rung = rung;
        self.event.path = path;
        self.event.valid = valid;
        if valid & valid::RESET_REASON != 0 {
            self.event.reset_reason = reset_reason;
        }
        emit::stamp(&mut self.event);
        self.event.netns = sock::netns::<M>(listener)?;
        skb::parse_by::<M>(skb, At::Tcp, &mut self.event)?;
        self.listener::<M>(listener);
        if req != 0 {
            sock::request::<Probed>(req, &mut self.event);
        }
        // tcp_v4_send_reset and its IPv6 twin answer no RST, though they are called.
        if self.event.tcp_flags & RST != 0 {
            self.event.path &= !Path::SEND_RESET;
            self.event.valid &= !valid::RESET_REASON;
            self.event.reset_reason = 0;
        }
        self.skb = skb;
        Some(())
    }

    /// Whether `skb` is in a function whose entry was noted by [`Self::begin_bare`], and whose exit is
    /// still to come: no other segment can have its address, then.
    #[inline(always)]
    pub fn is_bare(&self, skb: u64) -> bool {
        self.bare != 0 && self.skb == skb && self.is_inside()
    }

    /// Whether the segment entered a function whose exit was not seen. A kretprobe of a kernel that is
    /// not preemptible has no more instances than there are CPUs before v6.2 (commit 3b7ddab8a19a).
    /// Softirqs need one each, but `tcp_check_req` runs in processes too, for what Fast Open accepted
    /// (`release_sock`), and a softirq may come in between.
    #[inline(always)]
    fn is_inside(&self) -> bool {
        const CHECK_REQ: u32 =
            Path::CHECK_REQ_NULL | Path::CHECK_REQ_LISTENER | Path::CHECK_REQ_CHILD;
        const COOKIE_CHECK: u32 =
            Path::COOKIE_CHECK_NULL | Path::COOKIE_CHECK_LISTENER | Path::COOKIE_CHECK_CHILD;
        self.skb != 0
            && (self.has(Path::CONN_REQUEST)
                || (self.has(Path::CHECK_REQ) && !self.has(CHECK_REQ))
                || (self.has(Path::COOKIE_CHECK) && !self.has(COOKIE_CHECK)))
    }

    /// Forgets the last segment and starts a record.
    #[inline(always)]
    pub fn reset(&mut self, kind: Kind, rung: Rung) {
        self.clear();
        emit::begin(&mut self.event, kind, rung);
    }

    /// Forgets the last segment.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.skb = 0;
        self.unwanted = 0;
        self.bare = 0;
        emit::clear(&raw mut self.event);
    }

    /// Reads everything about the listener as the segment enters.
    #[inline(always)]
    pub fn listener<M: Memory>(&mut self, listener: u64) {
        let (before, read) = sock::queue::<M>(listener);
        self.event.sk = listener;
        self.event.ino = sock::inode::<M>(listener);
        self.event.sk_state = sock::state::<M>(listener);
        self.event.before = before;
        self.event.after = Queue::default();
        self.event.valid |= read;
        sock::settings::<M>(listener, &mut self.event);
        if self.event.tcp_flags & (SYN | ACK) == SYN
            && self.event.payload_len != 0
            && sock::fastopen_full(listener)
        {
            self.mark(Path::FASTOPEN_FULL);
        }
    }

    /// Reads the queues of `listener` again: the decision is over.
    #[inline(always)]
    pub fn after<M: Memory>(&mut self, listener: u64) {
        let (after, read) = sock::queue::<M>(listener);
        if read == self.event.valid & (valid::ACCEPT_QUEUE | valid::SYN_QUEUE | valid::YOUNG) {
            self.event.after = after;
            self.event.valid |= valid::AFTER;
        }
    }

    /// Notes what this CPU's counters rose by: the segment got no answer and no child.
    #[inline(always)]
    pub fn counted(&mut self) {
        let rise = Counters::rose_at_socket(self.event.sk);
        let path = rise.path();
        // Where they do not tell, the queues do.
        if path & Path::COUNTED != 0 {
            self.event.path |= path;
        }
        self.compare(rise, path);
    }

    /// Notes what they rose by with a child that Fast Open tried at the SYN and did not get: the SYN
    /// goes on without it.
    #[inline(always)]
    pub fn counted_child(&mut self, rise: Rise) {
        let path = rise.path();
        self.compare(rise, path);
    }

    #[inline(always)]
    fn compare(&mut self, rise: Rise, path: u32) {
        let (before, after) = (self.event.before, self.event.after);
        let full = before.ack_backlog > before.max_ack_backlog
            || after.ack_backlog > after.max_ack_backlog;
        let own = audit::own(path, full);
        if self.unwanted != 0 {
            self.event.path |= own;
        }
        audit::compare(self.event.netns, rise, own);
    }

    /// Sets path bits of the segment that this CPU is handling.
    #[inline(always)]
    pub fn pass(bits: u32) {
        let Some(state) = Self::get() else { return };
        // What was left behind in a function that was done with is no SYN's.
        if state.skb != 0 && (BARE.load() == 0 || state.is_inside()) {
            state.mark(bits);
        } else if BARE.load() != 0 {
            state.loose |= bits;
        }
    }

    /// What is noted of a SYN that was not followed is none of the next one's.
    #[inline(always)]
    pub fn forget() {
        if BARE.load() != 0
            && let Some(state) = Self::get()
        {
            state.loose = 0;
        }
    }

    /// Sets path bits.
    #[inline(always)]
    pub fn mark(&mut self, bits: u32) {
        self.event.path |= bits;
    }

    /// Whether any of `bits` is set.
    #[inline(always)]
    pub fn has(&self, bits: u32) -> bool {
        self.event.path & bits != 0
    }

    /// Counts and sends the record, and stops following the segment.
    #[inline(always)]
    pub fn finish(&mut self) {
        if self.unwanted != 0 {
            audit::unwanted(&self.event, sock::has_fastopen(self.event.sk));
            self.skb = 0;
            return;
        }
        tally::segment(&self.event);
        if QUIET.load() == 0 || self.is_of_refused() {
            emit::record(&self.event);
        }
        self.skb = 0;
    }

    /// Whether something was refused, now or before: who gets in at last is to be seen.
    #[inline(always)]
    fn is_of_refused(&self) -> bool {
        if self.has(HEALTHY) {
            // Fast Open refused it: it went on without its data.
            return self.has(Path::FASTOPEN_FULL)
                || (self.has(Path::CHECK_REQ_CHILD | Path::COOKIE_CHECK_CHILD)
                    && retry::was_refused(&self.event));
        }
        if !self.has(Path::COOKIE_INIT | Path::SEND_RESET) {
            retry::refused(&self.event);
        }
        true
    }
}

/// Whether the segment that is followed is `skb` by its headers too. In a function of its own, for the
/// stack.
#[inline(never)]
fn is_still(state: &mut PathState, skb: u64) -> u32 {
    let (port, seq) = (state.event.client_port, state.event.seq);
    if skb::parse(skb, At::Tcp, &mut state.event).is_none() {
        return 0;
    }
    let same = state.event.client_port == port && state.event.seq == seq;
    if !same {
        state.skb = 0;
        losses::count(Loss::PathInterrupted);
    }
    u32::from(same)
}

/// [`PathState::complete`] in a function of its own, for the stack.
#[inline(never)]
fn complete<M: Memory>(state: &mut PathState, listener: u64, skb: u64) -> u32 {
    u32::from(state.try_complete::<M>(listener, skb).is_some())
}

/// Says in the debug log what has become of the segment at hook `what`. Without `--debug` the level
/// is a constant 0 and the verifier removes it all. Numbers from the state only: the log would do
/// arithmetic on the hook's own pointers, which verifiers refuse.
#[cfg(feature = "ring")]
#[inline(always)]
pub fn log(ctx: &impl EbpfContext, what: &str) {
    if let Some(state) = PathState::get() {
        let event = &state.event;
        let (port, path, netns) = (event.client_port, event.path, event.netns);
        debug!(ctx, "{}: client port {}, netns {}, path {:x}", what, port, netns, path);
    }
}

/// Nothing: the log leaves by a ring of its own.
#[cfg(not(feature = "ring"))]
#[inline(always)]
pub fn log(_ctx: &impl EbpfContext, _what: &str) {}

/// This CPU's state if it is inside a decision of `kind`. An exit without its entry is normal: the
/// entry was filtered out, or the tracer attached in between.
#[inline(always)]
pub fn current(kind: Kind) -> Option<&'static mut PathState> {
    let state = PathState::get()?;
    if state.skb != 0 && state.event.kind == kind as u8 { Some(state) } else { None }
}
