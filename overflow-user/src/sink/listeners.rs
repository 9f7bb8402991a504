//! The static view of listeners: a table per network namespace, or `listener` lines.

use std::io::{self, Write};

use overflow_core::{
    listeners::{
        Forecast, Inventory, Listener, Surroundings, Sysctls,
        forecast::{self, forecast},
    },
    model::kernels::Kernel,
    owner::Owner,
    text::{
        style::{Options, Page, Tone},
        table::{Column, Field, table},
    },
    wire::{self, Counts, Line},
};

/// The settings by their full names.
pub(super) fn sysctl_names(sysctls: &Sysctls) -> Counts<'static> {
    [
        ("net.core.somaxconn", sysctls.somaxconn.map(u64::from)),
        ("net.ipv4.tcp_abort_on_overflow", sysctls.abort_on_overflow.map(u64::from)),
        ("net.ipv4.tcp_syncookies", sysctls.syncookies.map(u64::from)),
        ("net.ipv4.tcp_max_syn_backlog", sysctls.max_syn_backlog.map(u64::from)),
        ("net.ipv4.tcp_synack_retries", sysctls.synack_retries.map(u64::from)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.into(), value?)))
    .collect()
}

/// What an overflow will do to this listener.
pub(super) fn forecast_of(inventory: &Inventory, listener: &Listener, kernel: &Kernel) -> Forecast {
    let there = inventory.namespaces.get(&listener.netns);
    let sysctls = there.map(|s| s.sysctls).unwrap_or_default();
    let foreign = there.is_some_and(|s| !s.namespace.own);
    let host = inventory.own_sysctls().filter(|_| foreign);
    forecast(&kernel.features, listener, &sysctls, host.as_ref())
}

/// One `listener` line for each.
pub fn json(out: &mut dyn Write, inventory: &Inventory, kernel: &Kernel) -> io::Result<()> {
    for listener in &inventory.listeners {
        wire::line(out, &line(inventory, listener, kernel))?;
    }
    Ok(())
}

fn line<'a>(inventory: &'a Inventory, listener: &'a Listener, kernel: &Kernel) -> Line<'a> {
    let there = inventory.namespaces.get(&listener.netns);
    let forecast = forecast_of(inventory, listener, kernel);
    let send_q = listener.send_q.unwrap_or_default();
    Line::Listener(wire::Listener {
        netns: Some(listener.netns),
        socket: Some(wire::Socket {
            netns_name: there
                .and_then(|s| s.namespace.name.as_ref())
                .map(|name| name.verbatim().into()),
            inode: listener.inode,
            uid: listener.uid,
            syn_recv: listener.syn_recv.unwrap_or_default(),
            syn_queue_limit: forecast.syn_queue_limit,
            drops: listener.drops,
            reuseport_group: listener.group,
        }),
        owner: Some(wire::Owner::of(listener.owner.as_ref())),
        sysctls: Some(there.map(|s| sysctl_names(&s.sysctls)).unwrap_or_default()),
        on_overflow: Some(forecast.effect.into()),
        advice: Some(forecast.advice),
        ..wire::Listener::new(listener.place().into(), listener.recv_q, send_q)
    })
}

/// A table per namespace, with the advice below it.
pub fn text(
    out: &mut dyn Write,
    inventory: &Inventory,
    kernel: &Kernel,
    opts: Options,
) -> io::Result<()> {
    let mut page = Page::new(opts);
    if let Some(doubt) = &kernel.doubt {
        page.flow("", 0, Tone::Dim, &format!("kernel {}: {doubt}.", kernel.name));
        page.blank();
    }
    let mut shown = 0;
    for (inum, there) in &inventory.namespaces {
        let listeners: Vec<&Listener> =
            inventory.listeners.iter().filter(|l| l.netns == *inum).collect();
        if !listeners.is_empty() {
            if shown > 0 {
                page.blank();
            }
            shown += 1;
            namespace(&mut page, inventory, there, &listeners, kernel);
        }
    }
    if shown == 0 {
        page.line("No TCP listener was found.");
    }
    page.write_to(out)
}

fn namespace(
    page: &mut Page,
    inventory: &Inventory,
    there: &Surroundings,
    listeners: &[&Listener],
    kernel: &Kernel,
) {
    let namespace = &there.namespace;
    let name = match (&namespace.name, namespace.own) {
        (Some(name), _) => format!(" ({name})"),
        (None, true) => " (this one)".to_owned(),
        (None, false) => String::new(),
    };
    page.rule(&format!("netns {}{name}", namespace.inum));
    let settings = sysctl_names(&there.sysctls);
    let settings: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{}\u{a0}{value}", name.rsplit('.').next().unwrap_or(name)))
        .collect();
    page.flow("sysctls", 11, Tone::Plain, &settings.join(", "));
    if let Some(c) = there.counters {
        let counters = format!(
            "ListenOverflows\u{a0}{}, ListenDrops\u{a0}{}, TCPReqQFullDoCookies\u{a0}{}, \
             TCPReqQFullDrop\u{a0}{}",
            c.listen_overflows, c.listen_drops, c.req_q_full_do_cookies, c.req_q_full_drop
        );
        page.flow("counters", 11, Tone::Plain, &counters);
    }
    let effect = forecast::effect(&kernel.features, &there.sysctls, None);
    page.flow("when full", 11, Tone::Plain, &effect);
    page.blank();
    rows(page, inventory, listeners, kernel);
    notes(page, inventory, listeners, kernel);
}

fn rows(page: &mut Page, inventory: &Inventory, listeners: &[&Listener], kernel: &Kernel) {
    let columns = [
        Column::left("LISTENER", 0),
        Column::right("Recv-Q", 0),
        Column::right("Send-Q", 0),
        Column::right("SYN-Q", 1),
        Column::right("Drops", 2),
        Column::left("OWNER", 0),
        Column::left("UNIT OR CONTAINER", 3),
    ];
    let rows: Vec<Vec<Field>> = listeners
        .iter()
        .map(|l| {
            let limit = forecast_of(inventory, l, kernel).syn_queue_limit;
            let plain = |text: String| Field::new(text, Tone::Plain);
            let full = if l.full() { Tone::Bad } else { Tone::Plain };
            let or_unknown = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
            let owner = l.owner.as_ref().map_or_else(|| "?".to_owned(), |o| o.short(24));
            vec![
                plain(l.place()),
                Field::new(l.recv_q.to_string(), full),
                plain(or_unknown(l.send_q)),
                plain(format!("{}/{}", or_unknown(l.syn_recv), or_unknown(limit))),
                plain(or_unknown(l.drops)),
                plain(owner),
                plain(whereabouts(l.owner.as_ref())),
            ]
        })
        .collect();
    table(page, &columns, &rows);
}

/// Unit or container, whether systemd holds the socket, and whether it is known at all who does.
pub(super) fn whereabouts(owner: Option<&Owner>) -> String {
    let Some(owner) = owner else { return String::new() };
    let place = match (owner.container(), owner.unit()) {
        (Some(container), _) => Some(format!("{} {}", container.runtime, container.short_id())),
        (None, Some(unit)) => Some(unit.to_string()),
        (None, None) => None,
    };
    let activated = owner.socket_activated() && owner.main().is_some_and(|p| p.pid != 1);
    let facts = [
        place,
        activated.then(|| "socket-activated".to_owned()),
        owner.called_listen.then(|| "which called listen(); who held it is not known".to_owned()),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn notes(page: &mut Page, inventory: &Inventory, listeners: &[&Listener], kernel: &Kernel) {
    // The same warning is printed once, for all listeners it is about.
    let mut warnings: Vec<(String, Vec<String>)> = Vec::new();
    for listener in listeners {
        for text in forecast_of(inventory, listener, kernel).advice {
            let place = listener.place();
            match warnings.iter_mut().find(|(t, _)| *t == text) {
                Some((_, places)) if places.contains(&place) => {}
                Some((_, places)) => places.push(place),
                None => warnings.push((text, vec![place])),
            }
        }
    }
    if !warnings.is_empty() {
        page.blank();
    }
    for (text, places) in warnings {
        let about = if places.len() == listeners.len() && places.len() > 1 {
            "all".to_owned()
        } else {
            places.join(" ")
        };
        page.flow("  !", 4, Tone::Warn, &format!("{about}: {text}"));
    }
}
