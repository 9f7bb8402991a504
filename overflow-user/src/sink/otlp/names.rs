//! What a metric and a label are called in OpenTelemetry: dots for namespaces, units apart from
//! names. Where one of its conventions names the same thing, its name is used.

/// A metric's name and unit.
pub(in crate::sink) struct Named {
    pub(in crate::sink) name: &'static str,
    pub(in crate::sink) unit: &'static str,
}

/// The name of a family of the metrics page; `None` for what the resource tells.
pub(in crate::sink) fn metric(family: &str, seconds: bool) -> Option<Named> {
    let (name, unit) = match (family, seconds) {
        ("listener_moments", _) => ("overflow.listener.moments", "{segment}"),
        ("listener_overflows", _) => ("overflow.listener.overflows", "{segment}"),
        ("listener_phantoms", _) => ("overflow.listener.phantoms", "{connection}"),
        ("listener_synack_retransmits", _) => ("overflow.listener.synack_retransmits", "{segment}"),
        ("listener_accepts", _) => ("overflow.listener.accepts", "{connection}"),
        ("listener_full", false) => ("overflow.listener.full", "{spell}"),
        // The page tells them apart by their units, which are not part of a name here.
        ("listener_full", true) => ("overflow.listener.full_time", "s"),
        ("listener_queue_wait", _) => ("overflow.listener.queue_wait", "s"),
        ("listener_accept_queue_length", _) => {
            ("overflow.listener.accept_queue.length", "{connection}")
        }
        ("listener_accept_queue_limit", _) => {
            ("overflow.listener.accept_queue.limit", "{connection}")
        }
        ("listener_accept_queue_length_max", _) => {
            ("overflow.listener.accept_queue.length_max", "{connection}")
        }
        ("listener_syn_queue_length", _) => ("overflow.listener.syn_queue.length", "{request}"),
        ("listener_sockets", _) => ("overflow.listener.sockets", "{socket}"),
        ("losses", _) => ("overflow.losses", "{item}"),
        ("suppressed_moments", _) => ("overflow.suppressed_moments", "{segment}"),
        ("folded_listeners", _) => ("overflow.folded_listeners", "{listener}"),
        ("hook", _) => ("overflow.hook.info", "1"),
        _ => return None,
    };
    Some(Named { name, unit })
}

/// The attribute for a label of the metrics page.
pub(in crate::sink) fn attribute(label: &str) -> &str {
    match label {
        "netns" => "overflow.netns",
        "listener" => "overflow.listener",
        "process" => "overflow.process",
        "container" => "container.id",
        "pod_uid" => "k8s.pod.uid",
        "verdict" => "overflow.verdict",
        "cause" => "overflow.loss.cause",
        "moment" => "overflow.hook.moment",
        "rung" => "overflow.hook.rung",
        other => other,
    }
}
