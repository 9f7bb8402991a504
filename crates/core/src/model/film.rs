//! A run step by step: what reached whom, what was decided, and how long the queues were then.

use super::{condition::Decision, path::ServerState, queue::Event, time::Nanos};

/// One step of a run. A decision is always one; of what decides nothing only what reaches a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, nanoseconds since the burst began.
    pub t: Nanos,
    /// Index of the connection.
    pub client: usize,
    /// What happened.
    pub what: What,
    /// What the kernel decided.
    pub decision: Option<Decision>,
    /// How long the queues were once it was over.
    pub queues: Queues,
    /// What the server kept for the connection then.
    pub server: ServerState,
}

/// Lengths of both queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Requests in the SYN queue.
    pub syn: u32,
    /// Connections in the accept queue.
    pub accept: u32,
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A SYN reaches the server.
    Syn,
    /// A SYN-ACK reaches the client.
    SynAck,
    /// A SYN-ACK with a cookie reaches the client.
    Cookie,
    /// An ACK without data reaches the server.
    Ack,
    /// Data reaches the server.
    Data,
    /// An RST reaches the client.
    Rst,
    /// An RST of the client reaches the server.
    ClientRst,
    /// A SYN-ACK timer of the server runs out.
    Timer,
    /// The application calls `accept()`.
    Accept,
    /// The listener is closed.
    Close,
    /// The client's application or one of its timers acts.
    Client,
    /// Nobody looks any further.
    End,
}

impl What {
    /// A word for it, the same in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "synack",
            Self::Cookie => "cookie",
            Self::Ack => "ack",
            Self::Data => "data",
            Self::Rst => "rst",
            Self::ClientRst => "client_rst",
            Self::Timer => "timer",
            Self::Accept => "accept",
            Self::Close => "close",
            Self::Client => "client",
            Self::End => "end",
        }
    }

    /// Whether it reaches a client.
    const fn reaches_client(self) -> bool {
        matches!(self, Self::SynAck | Self::Cookie | Self::Rst)
    }
}

impl From<Event> for What {
    fn from(event: Event) -> Self {
        match event {
            Event::Syn => Self::Syn,
            Event::SynAck(Some(_)) => Self::SynAck,
            Event::SynAck(None) => Self::Cookie,
            Event::Segment(segment) if segment.payload => Self::Data,
            Event::Segment(_) => Self::Ack,
            Event::Rst => Self::Rst,
            Event::PeerRst => Self::ClientRst,
            Event::RequestTimer | Event::Prune => Self::Timer,
            Event::Accept | Event::Serve => Self::Accept,
            Event::Close => Self::Close,
            // No picture is drawn of a server with one processor, of which the last two are.
            Event::Connect
            | Event::SynTimer
            | Event::Send
            | Event::DataTimer
            | Event::DataAcked
            | Event::GiveUp
            | Event::Ingress
            | Event::SendInTurn => Self::Client,
        }
    }
}

/// The film of a run, as it is shot.
#[derive(Debug)]
pub(super) struct Film<'a> {
    steps: &'a mut Vec<Step>,
    now: What,
    begun: usize,
}

impl<'a> Film<'a> {
    pub(super) fn new(steps: &'a mut Vec<Step>) -> Self {
        Self { steps, now: What::End, begun: 0 }
    }

    /// Something begins to happen.
    pub(super) fn begin(&mut self, what: What) {
        self.now = what;
        self.begun = self.steps.len();
    }

    /// Something is decided.
    pub(super) fn decided(&mut self, client: usize, decision: Decision) {
        let (t, what) = (decision.t_ns, self.now);
        self.push(t, client, what, Some(decision));
    }

    /// It is over: how long the queues are, and what the server keeps for a connection.
    pub(super) fn end(
        &mut self,
        t: Nanos,
        client: usize,
        queues: Queues,
        server: impl Fn(usize) -> ServerState,
    ) {
        if self.begun == self.steps.len() && self.now.reaches_client() {
            self.push(t, client, self.now, None);
        }
        for step in &mut self.steps[self.begun..] {
            (step.queues, step.server) = (queues, server(step.client));
        }
    }

    fn push(&mut self, t: Nanos, client: usize, what: What, decision: Option<Decision>) {
        let (queues, server) = (Queues::default(), ServerState::Nothing);
        self.steps.push(Step { t, client, what, decision, queues, server });
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{features::Features, question::Question, simulate::Simulator},
        *,
    };
    use crate::verdict::VerdictId;

    fn film(question: &Question, features: Features) -> Vec<Step> {
        Simulator::default().film(&question.scenario(features)).1
    }

    #[test]
    fn every_decision_is_a_step_and_the_run_is_the_same() {
        let question = Question { payload: 5, clients: 9, ..Question::default() };
        for features in [Features::EL7, Features::V4_4, Features::V6_5] {
            let scenario = question.scenario(features);
            let mut simulator = Simulator::default();
            let paths = simulator.run(&scenario).paths.to_vec();
            let (outcome, steps) = simulator.film(&scenario);
            assert_eq!(outcome.paths, paths);
            for (client, path) in paths.iter().enumerate() {
                let of_client = steps.iter().filter(|s| s.client == client);
                let decisions: Vec<_> = of_client.filter_map(|s| s.decision).collect();
                assert_eq!(decisions, path.decisions);
            }
            assert!(steps.is_sorted_by_key(|s| s.t));
        }
    }

    #[test]
    fn queues_are_as_long_as_they_are_after_the_step() {
        let question = Question { abort_on_overflow: 1, ..Question::default() };
        let steps = film(&question, Features::EL7);
        let lengths: Vec<_> = steps
            .iter()
            .filter(|s| s.t < 300_000_000 && s.decision.is_some())
            .map(|s| (s.what, s.queues.syn, s.queues.accept))
            .collect();
        let syns = (1..=5).map(|n| (What::Syn, n, 0));
        let acks = [(4, 1), (3, 2), (2, 2), (1, 2), (0, 2)].map(|(s, a)| (What::Ack, s, a));
        assert_eq!(lengths, syns.chain(acks).collect::<Vec<_>>());
        let closed = steps.iter().rev().find(|s| s.what == What::Close).unwrap();
        assert_eq!(closed.decision.unwrap().id, VerdictId::LaterListenerClosed);
        assert_eq!(closed.queues, Queues::default());
        assert_eq!(closed.server, ServerState::Nothing);
    }

    #[test]
    fn what_the_server_keeps_adds_up_to_the_queues() {
        let question = Question {
            clients: 30,
            payload: 5,
            prefill: 2,
            backlog: 3,
            accept_every: 700_000_000,
            ..Question::default()
        };
        for features in [Features::EL7, Features::V4_4, Features::V6_5] {
            let mut kept = [ServerState::Nothing; 32];
            let mut taken = 0_usize;
            for step in film(&question, features) {
                kept[step.client] = step.server;
                taken += usize::from(step.what == What::Accept);
                // Of several connections in one event each has a step of its own.
                if step.what != What::Close && step.what != What::Timer {
                    let count = |state| kept.iter().filter(|k| **k == state).count();
                    assert_eq!(count(ServerState::SynRecv), step.queues.syn as usize, "{step:?}");
                    let accept = count(ServerState::Established) - taken;
                    assert_eq!(accept, step.queues.accept as usize, "{step:?}");
                }
            }
            assert!(taken > 3, "{taken} were taken");
        }
    }
}
