//! Child sockets that cannot be made although the accept queue has room.

use std::time::Duration;

use super::{Alternative, Scenario, When};
use crate::{Action, CellConfig, Script, Setup, Step};

const MARK: u32 = 7;

/// The request keeps the mark its SYN found on the listener, and `inet_csk_route_child_sock`
/// (IPv6: `inet6_csk_route_req`) routes by it, while the RST is routed by the listener's own.
const ROUTE: &[Step] = &[
    Step { at_ms: 50, action: Action::Unroutable(MARK) },
    Step { at_ms: 50, action: Action::Mark(0) },
];

/// `sk_clone_lock` charges the child for its copy of the filter (`sk_filter_charge` in
/// net/core/filter.c) and gives up above net.core.optmem_max, which is the whole host's before v6.8
/// (f5769faeec36) and the namespace's own since.
const FILTER: &[Setup] = &[Setup::NeedsSysctl("core.optmem_max"), Setup::Filter];
const NO_MEMORY: &[Step] = &[Step { at_ms: 50, action: Action::Sysctl("core.optmem_max", 16) }];

const TWO_CLIENTS: CellConfig =
    CellConfig { backlog: 5, clients: 2, hold: Duration::from_millis(2500), ..CellConfig::SEED };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "reset-with-empty-queue",
        shows: "abort=1 resets although the accept queue is empty: the child has no route back",
        config: CellConfig {
            abort_on_overflow: 1,
            script: Script { name: "", setup: &[Setup::Mark(MARK)], steps: ROUTE },
            ..TWO_CLIENTS
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(2, "syn.queued ack.reset.child_failed")],
        }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 2), ("EmbryonicRsts", 2)],
    },
    Scenario {
        name: "drop-with-empty-queue",
        shows: "The same with abort=0: the ACK is dropped although the accept queue is empty",
        config: CellConfig {
            script: Script { name: "", setup: &[Setup::Mark(MARK)], steps: ROUTE },
            ..TWO_CLIENTS
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(2, "syn.queued ack.drop.child_failed")],
        }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 2), ("EmbryonicRsts", 0)],
    },
    Scenario {
        name: "reset-unsent",
        shows: "The same, but the RST has no route either: EmbryonicRsts counts it, the wire stays silent",
        config: CellConfig {
            abort_on_overflow: 1,
            script: Script {
                name: "",
                setup: &[Setup::Mark(MARK)],
                steps: &[Step { at_ms: 50, action: Action::Unroutable(MARK) }],
            },
            ..TWO_CLIENTS
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(2, "syn.queued ack.reset.child_failed")],
        }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 2), ("EmbryonicRsts", 2)],
    },
    Scenario {
        name: "reset-without-memory",
        shows: "abort=1 resets with an empty queue: the child may not have its copy of the \
                listener's socket filter",
        config: CellConfig {
            abort_on_overflow: 1,
            script: Script { name: "", setup: FILTER, steps: NO_MEMORY },
            ..TWO_CLIENTS
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(2, "syn.queued ack.reset.child_failed")],
        }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 2), ("EmbryonicRsts", 2)],
    },
    Scenario {
        name: "cookie-without-memory",
        shows: "The same on the cookie path: dropped silently, whatever abort says",
        config: CellConfig {
            abort_on_overflow: 1,
            syncookies: 2,
            script: Script { name: "", setup: FILTER, steps: NO_MEMORY },
            ..TWO_CLIENTS
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(2, "syn.cookie ack.drop.child_failed")],
        }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 2), ("OutRsts", 0)],
    },
    Scenario {
        name: "cookie-without-route",
        shows: "A valid cookie whose client has no route back is dropped before any child is tried",
        config: CellConfig {
            abort_on_overflow: 1,
            syncookies: 2,
            script: Script {
                name: "",
                setup: &[Setup::Mark(MARK)],
                steps: &[Step { at_ms: 50, action: Action::Unroutable(MARK) }],
            },
            ..TWO_CLIENTS
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(2, "syn.cookie ack.drop.other")],
        }],
        counters: &[("ListenOverflows", 0), ("SyncookiesRecv", 2), ("OutRsts", 0)],
    },
];
