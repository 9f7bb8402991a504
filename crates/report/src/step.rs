//! A step of a connection, as the sequence diagram has it: which segment went where, and what the
//! kernel decided about it by which evidence.

use overflow_core::{
    explain::Lang,
    model::time::Nanos,
    text::{duration, style::Tone, values},
    verdict::{Class, Ends, VerdictId},
    wire::{self, Functions, Known, prediction},
};

/// Repetitions that are named by their times.
const TIMES: usize = 4;

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Nanoseconds from the connection's beginning, or from the burst's; `None` where that is not known.
    pub(crate) t_ns: Option<Nanos>,
    /// What went over the wire, in order.
    pub(crate) arrows: Vec<Arrow>,
    /// What happened, in words.
    pub(crate) title: String,
    /// The verdict, where it is one.
    pub(crate) id: Option<VerdictId>,
    /// How good it is for the connection.
    pub(crate) tone: Tone,
    /// What shows it: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    /// Whose it is.
    pub(crate) by_client: bool,
    /// What it is: `SYN`.
    pub(crate) name: String,
    /// Whether the kernel dropped it.
    pub(crate) dropped: bool,
}

impl Arrow {
    fn client(name: &str) -> Self {
        Self { by_client: true, name: name.to_owned(), dropped: false }
    }

    fn server(name: &str) -> Self {
        Self { by_client: false, ..Self::client(name) }
    }

    fn dropped(self) -> Self {
        Self { dropped: true, ..self }
    }

    fn times(self, n: usize) -> Self {
        if n < 2 {
            return self;
        }
        Self { name: format!("{} ×{n}", self.name), ..self }
    }
}

/// The segments that a verdict is about, and the answer to them.
fn arrows(id: VerdictId, times: usize) -> Vec<Arrow> {
    let syn = || Arrow::client("SYN").times(times);
    let ack = || Arrow::client("ACK").times(times);
    let rst = || Arrow::server("RST").times(times);
    match id.class() {
        Class::SynAnswered if id == VerdictId::SynFastopenQueueFull => vec![syn()],
        Class::SynAnswered if id == VerdictId::SynCookie => {
            vec![syn(), Arrow::server("SYN-ACK, cookie").times(times)]
        }
        Class::SynAnswered => vec![syn(), Arrow::server("SYN-ACK").times(times)],
        Class::SynDropped => vec![syn().dropped()],
        Class::AckAccepted => vec![ack()],
        Class::AckDropped => vec![ack().dropped()],
        Class::AckReset => vec![ack(), rst()],
        Class::Later if id == VerdictId::LaterResetNoSocket => {
            vec![Arrow::client("data").times(times), rst()]
        }
        Class::Later => match id.ends() {
            Ends::RequestByClient | Ends::ChildByClient => vec![Arrow::client("RST").times(times)],
            Ends::ByServerReset => vec![rst()],
            Ends::Nothing | Ends::RequestTimer | Ends::RequestUnseen => Vec::new(),
        },
    }
}

/// The steps of a connection that was traced, in order of time.
pub(crate) fn of_connection(connection: &wire::Connection<'_>) -> Vec<Step> {
    let mut steps: Vec<_> = connection.stages.iter().map(of_stage).collect();
    if let Some(first) = connection.synack_retransmits_ns.first() {
        let times: Vec<_> = connection.synack_retransmits_ns.iter().map(|t| nanos(*t)).collect();
        steps.push(synacks_again(nanos(*first), &times));
    }
    steps.sort_by_key(|step| step.t_ns);
    // What follows from all of it, or from silence, has no time of its own.
    if let Some(id) = connection.outcome.filter(|id| steps.iter().all(|step| step.id != Some(*id)))
    {
        let (title, tone) = (id.label(Lang::En).to_owned(), id.tone());
        steps.push(Step {
            t_ns: None,
            arrows: Vec::new(),
            title,
            id: Some(id),
            tone,
            facts: Vec::new(),
        });
    }
    steps
}

/// The steps of a connection as the model has it.
pub(crate) fn of_prediction(prediction: &prediction::Prediction<'_>) -> Vec<Step> {
    let mut steps: Vec<_> = prediction.stages.iter().map(of_decision).collect();
    if let Some(first) = prediction.synack_retransmits_ns.first() {
        steps.push(synacks_again(*first, &prediction.synack_retransmits_ns));
    }
    steps.sort_by_key(|step| step.t_ns);
    steps
}

fn of_stage(stage: &wire::Stage<'_>) -> Step {
    let mut facts = Vec::new();
    let path = path(&stage.path);
    if !path.is_empty() {
        facts.push(("path", path));
    }
    let values = values::of_verdict(stage.id, &stage.values);
    if !values.is_empty() {
        facts.push(("values", values));
    }
    if stage.known == Known::Inferred {
        facts.push(("inferred", stage.why.as_deref().unwrap_or("yes").to_owned()));
    }
    let again: Vec<_> = stage.repeats_ns.iter().map(|t| nanos(*t)).collect();
    verdict(stage.id, nanos(stage.t_ns), &again, facts)
}

/// A decision of the model.
pub(crate) fn of_decision(stage: &prediction::Stage<'_>) -> Step {
    let facts = vec![
        ("function", stage.function.to_string()),
        ("condition", stage.expression.to_string()),
        ("values", stage.condition.clone()),
    ];
    verdict(stage.id, stage.t_ns, &stage.repeats_ns, facts)
}

fn verdict(
    id: VerdictId,
    t_ns: Nanos,
    again: &[Nanos],
    mut facts: Vec<(&'static str, String)>,
) -> Step {
    if !again.is_empty() {
        facts.push(("again", times(again)));
    }
    let title = id.label(Lang::En).to_owned();
    let arrows = arrows(id, again.len() + 1);
    Step { t_ns: Some(t_ns), arrows, title, id: Some(id), tone: id.tone(), facts }
}

fn synacks_again(first: Nanos, all: &[Nanos]) -> Step {
    Step {
        t_ns: Some(first),
        arrows: vec![Arrow::server("SYN-ACK").times(all.len())],
        title: "SYN-ACK sent again by the request's timer".to_owned(),
        id: None,
        tone: Tone::Plain,
        facts: vec![("at", times(all))],
    }
}

/// What packets show of a connection, and what they allow.
pub(crate) fn of_handshake(seen: &wire::Handshake<'_>) -> Vec<Step> {
    let wire = seen.wire;
    let step = |t_ns: Option<u64>, arrow: Arrow, title: &str, tone, again: &[u64]| Step {
        t_ns: t_ns.map(nanos),
        arrows: vec![arrow],
        title: title.to_owned(),
        id: None,
        tone,
        facts: match again {
            [] => Vec::new(),
            again => vec![("again", times(&again.iter().map(|t| nanos(*t)).collect::<Vec<_>>()))],
        },
    };
    let mut steps = Vec::new();
    if wire.syn > 0 {
        let arrow = Arrow::client("SYN").times(wire.syn);
        steps.push(step(
            Some(0),
            arrow,
            "SYN of the client",
            Tone::Plain,
            &seen.syn_retransmits_ns,
        ));
    }
    if wire.synack > 0 {
        let arrow = Arrow::server("SYN-ACK").times(wire.synack);
        let again = &seen.synack_retransmits_ns;
        steps.push(step(None, arrow, "SYN-ACK of the server", Tone::Plain, again));
    }
    if wire.ack > 0 {
        let arrow = Arrow::client("ACK").times(wire.ack);
        steps.push(step(None, arrow, "ACK of the client, data included", Tone::Plain, &[]));
    }
    for reset in seen.resets.iter().take(TIMES) {
        let (arrow, title, tone) = match &*reset.kind {
            "client" => (Arrow::client("RST"), "RST of the client", Tone::Warn),
            "server_refuses_syn" => (Arrow::server("RST"), "RST: nobody listens", Tone::Warn),
            "server_refuses_ack" => (Arrow::server("RST"), "RST in answer to the ACK", Tone::Bad),
            "server_refuses_data" => {
                (Arrow::server("RST"), "RST in answer to data: the server has no socket", Tone::Bad)
            }
            _ => (Arrow::server("RST"), "RST: the server closes a socket", Tone::Warn),
        };
        steps.push(step(Some(reset.t_ns), arrow, title, tone, &[]));
    }
    let labels = seen.verdicts.iter().map(|id| id.label(Lang::En));
    let labels: Vec<_> = labels.collect();
    let mut facts = vec![("captured", format!("packet {}, {}", seen.packet, seen.place.why))];
    if !labels.is_empty() {
        facts.push(("looks like", labels.join("; or ")));
    }
    if !seen.doubts.is_empty() {
        facts.push(("not told", seen.doubts.join(", ")));
    }
    let id = match seen.verdicts[..] {
        [only] => Some(only),
        _ => None,
    };
    let title = seen.seen.to_string();
    steps.push(Step { t_ns: None, arrows: Vec::new(), title, id, tone: Tone::Strong, facts });
    steps
}

fn path(functions: &Functions<'_>) -> String {
    match functions {
        Functions::Known(names) => names.join(" → "),
        Functions::Read(names) => names.join(" → "),
    }
}

fn times(all: &[Nanos]) -> String {
    let mut text: Vec<_> = all.iter().take(TIMES).map(|t| moment(*t)).collect();
    if all.len() > TIMES {
        text.push(format!("{} more", all.len() - TIMES));
    }
    text.join(", ")
}

/// A time of a connection as people read it.
pub(crate) fn moment(t_ns: Nanos) -> String {
    match u64::try_from(t_ns) {
        Ok(t_ns) => duration::since(t_ns, 0),
        Err(_) => format!("{} s", duration::seconds(t_ns)),
    }
}

pub(crate) fn nanos(t_ns: u64) -> Nanos {
    Nanos::try_from(t_ns).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_say_where_each_segment_went() {
        use VerdictId as V;
        let drawn = |id| {
            let arrows = arrows(id, 1);
            let words = arrows.iter().map(|arrow| {
                let (from, end) = (if arrow.by_client { '>' } else { '<' }, arrow.dropped);
                format!("{from}{}{}", arrow.name, if end { "x" } else { "" })
            });
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(drawn(V::SynQueued), ">SYN <SYN-ACK");
        assert_eq!(drawn(V::SynCookie), ">SYN <SYN-ACK, cookie");
        assert_eq!(drawn(V::SynDropSynQueueFull), ">SYNx");
        assert_eq!(drawn(V::AckAccepted), ">ACK");
        assert_eq!(drawn(V::AckDropOverflowCookie), ">ACKx");
        assert_eq!(drawn(V::AckResetOverflow), ">ACK <RST");
        assert_eq!(drawn(V::LaterResetByClient), ">RST");
        assert_eq!(drawn(V::LaterListenerClosed), "<RST");
        assert_eq!(drawn(V::LaterResetNoSocket), ">data <RST");
        assert_eq!(drawn(V::LaterPhantom), "");
    }

    #[test]
    fn times_before_the_burst_are_negative() {
        assert_eq!(moment(200_400_000), "+200 ms");
        assert_eq!(moment(-30_000_000), "-0.030 s");
    }
}
