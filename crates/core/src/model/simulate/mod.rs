//! The engine: one run of a scenario, event by event.

mod opener;
mod processor;
mod server;
mod synack;

use std::collections::VecDeque;

use super::{
    application::Worker,
    client::ClientSock,
    condition::{Condition, Decision},
    config::Limits,
    counters::Counters,
    film::{Film, Queues, Step, What},
    listener::{ListenSock, Request},
    path::{ClientState, Path, ServerState},
    queue::{Event, EventQueue},
    scenario::{Scenario, Sends},
    time::Nanos,
};
use crate::verdict::VerdictId;
use processor::Work;

/// Runs scenarios; keeps its memory between runs.
#[derive(Debug, Default)]
pub struct Simulator {
    queue: EventQueue,
    conns: Vec<Conn>,
    paths: Vec<Path>,
    accept_queue: VecDeque<usize>,
    ingress: VecDeque<(usize, Event)>,
    worker: Worker,
}

/// What one run answered.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The connections, in the order of [`Scenario::clients`].
    pub paths: &'a [Path],
    /// The server's counters.
    pub counters: Counters,
    /// Accept queue length at the end, connections.
    pub ack_backlog: u32,
    /// The listener's limits.
    pub limits: Limits,
    /// The key of the SYN table's hash had a say in which SYN-ACKs were retransmitted when; whether
    /// it also decided what became of a connection, [`Simulator::depends_on_hash`] finds out.
    pub hash_mattered: bool,
}

/// Keys tried by [`Simulator::depends_on_hash`].
const KEYS: std::ops::RangeInclusive<u32> = 1..=6;

#[derive(Debug)]
struct Conn {
    client: ClientSock,
    request: Option<Request>,
    /// A child socket exists.
    child: bool,
    /// Arrival times that the scenario gives, of the first SYN, third ACK and data.
    given: [Option<Nanos>; 3],
    /// Its data is known to have been sent.
    data_seen: bool,
    /// Requests made for this client so far: tells their SYN-ACKs apart.
    requests: u32,
    overflowed: bool,
}

impl Conn {
    /// What the server keeps for it.
    fn server(&self) -> ServerState {
        match (self.child, self.request) {
            (true, _) => ServerState::Established,
            (false, Some(_)) => ServerState::SynRecv,
            (false, None) => ServerState::Nothing,
        }
    }
}

impl Simulator {
    /// Runs `scenario` to its end.
    pub fn run(&mut self, scenario: &Scenario) -> Outcome<'_> {
        self.shoot(scenario, None)
    }

    /// The same, and every step on the way, in order of time.
    pub fn film(&mut self, scenario: &Scenario) -> (Outcome<'_>, Vec<Step>) {
        let mut steps = Vec::new();
        let outcome = self.shoot(scenario, Some(Film::new(&mut steps)));
        (outcome, steps)
    }

    fn shoot(&mut self, scenario: &Scenario, film: Option<Film<'_>>) -> Outcome<'_> {
        let Scenario { features, sysctls, .. } = scenario;
        let limits = Limits::new(features, scenario.listener, sysctls);
        self.reset(scenario);
        let mut run = Run {
            scenario,
            listener: ListenSock::new(*features, *sysctls, limits, scenario.hash_rnd),
            queue: &mut self.queue,
            conns: &mut self.conns,
            paths: &mut self.paths,
            accept_queue: &mut self.accept_queue,
            ingress: &mut self.ingress,
            worker: &mut self.worker,
            now: Nanos::MIN,
            sent: (Nanos::MIN, 0),
            work: Work::new(),
            film,
        };
        run.play();
        let (counters, ack_backlog) = (run.listener.counters, run.listener.ack_backlog);
        let hash_mattered = run.listener.wheel.hash_mattered();
        Outcome { paths: &self.paths, counters, ack_backlog, limits, hash_mattered }
    }

    /// Whether another key of the SYN table's hash ([`Scenario::hash_rnd`]) makes another class of
    /// any connection: the kernel draws it at random, so the outcome cannot then be predicted.
    pub fn depends_on_hash(&mut self, scenario: &mut Scenario) -> bool {
        let key = scenario.hash_rnd;
        let outcome = self.run(scenario);
        let depends = outcome.hash_mattered && {
            let classes: Vec<_> = outcome.paths.iter().map(Path::class).collect();
            KEYS.into_iter().any(|key| {
                scenario.hash_rnd = key;
                !self.run(scenario).paths.iter().map(Path::class).eq(classes.iter().copied())
            })
        };
        scenario.hash_rnd = key;
        depends
    }

    fn reset(&mut self, scenario: &Scenario) {
        self.queue.reset(scenario.features.timer_wheel);
        self.conns.clear();
        self.accept_queue.clear();
        self.ingress.clear();
        self.worker.reset();
        self.paths.truncate(scenario.clients.len());
        for (path, client) in self.paths.iter_mut().zip(&scenario.clients) {
            let mut decisions = std::mem::take(&mut path.decisions);
            let mut synack_retransmits = std::mem::take(&mut path.synack_retransmits);
            decisions.clear();
            synack_retransmits.clear();
            *path = Path { decisions, synack_retransmits, ..Path::new(client.phase) };
        }
        for (i, client) in scenario.clients.iter().enumerate() {
            if i == self.paths.len() {
                self.paths.push(Path::new(client.phase));
            }
            self.conns.push(Conn {
                client: ClientSock::new(client.rtt.unwrap_or(scenario.link.rtt())),
                request: None,
                child: false,
                given: [None; 3],
                data_seen: false,
                requests: 0,
                overflowed: false,
            });
            self.queue.at(client.connect, i, Event::Connect);
            if let Some(t) = client.gives_up {
                self.queue.at(t, i, Event::GiveUp);
            }
        }
        for arrival in &scenario.arrivals {
            let conn = &mut self.conns[arrival.client];
            conn.given[arrival.sends as usize] = Some(arrival.t);
            conn.data_seen |= arrival.sends == Sends::Data;
        }
        for (t, i) in scenario.repeated_syns.iter().flatten() {
            self.queue.at(*t, *i, Event::Syn);
        }
        for t in &scenario.accepts {
            self.queue.at(*t, 0, Event::Accept);
        }
        if let Some(t) = scenario.closes {
            self.queue.at(t, 0, Event::Close);
        }
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    listener: ListenSock,
    queue: &'a mut EventQueue,
    conns: &'a mut Vec<Conn>,
    paths: &'a mut Vec<Path>,
    accept_queue: &'a mut VecDeque<usize>,
    /// Segments that wait for the processor.
    ingress: &'a mut VecDeque<(usize, Event)>,
    worker: &'a mut Worker,
    now: Nanos,
    /// When a timer sent something last, and how much later than that it left.
    sent: (Nanos, Nanos),
    /// The server's processor, where it has only one.
    work: Work,
    film: Option<Film<'a>>,
}

impl Run<'_> {
    fn play(&mut self) {
        while let Some((t, i, event)) = self.queue.pop() {
            if t > self.scenario.until {
                break;
            }
            self.now = t;
            self.begin(event.into());
            self.in_turn(i, event);
            self.end(i);
        }
        if self.listener.listening {
            self.now = self.scenario.until;
            self.begin(What::End);
            self.conclude();
            self.end(0);
        }
    }

    fn begin(&mut self, what: What) {
        if let Some(film) = &mut self.film {
            film.begin(what);
        }
    }

    fn end(&mut self, i: usize) {
        if let Some(film) = &mut self.film {
            let queues = Queues { syn: self.listener.qlen, accept: self.listener.ack_backlog };
            film.end(self.now, i, queues, |client| self.conns[client].server());
        }
    }

    fn handle(&mut self, i: usize, event: Event) {
        match event {
            Event::Connect => self.send_syn(i, self.now),
            Event::Syn => self.syn_arrives(i),
            Event::SynTimer => self.syn_timer(i),
            Event::SynAck(request) => self.synack_reaches_client(i, request),
            Event::Segment(segment) => self.segment_arrives(i, segment),
            Event::Send => self.send_data(i),
            Event::DataTimer => self.data_timer(i),
            Event::DataAcked => self.conns[i].client.data_acked = true,
            Event::Rst => self.rst_reaches_client(i),
            Event::PeerRst => self.peer_rst_arrives(i),
            Event::RequestTimer => self.request_timer(i),
            Event::Prune => self.prune(),
            Event::GiveUp => self.give_up(i),
            Event::Accept => self.accept(),
            Event::Serve => self.serve(),
            Event::Close => self.close(),
            // Taken by `in_turn`.
            Event::Ingress | Event::SendInTurn => {}
        }
    }

    fn expires(&self, timeout: Nanos) -> Nanos {
        self.scenario.features.timer_wheel.expires(self.now, timeout)
    }

    /// One-way delay from the server to this client: half of a round trip that is its own.
    fn to_client(&self, i: usize) -> Nanos {
        let rtt = self.scenario.clients[i].rtt;
        rtt.map_or(self.scenario.link.to_client, |rtt| rtt - rtt / 2)
    }

    /// One-way delay from this client to the server.
    fn to_server(&self, i: usize) -> Nanos {
        let rtt = self.scenario.clients[i].rtt;
        rtt.map_or(self.scenario.link.to_server, |rtt| rtt / 2)
    }

    /// When what a timer sends now leaves: after what others sent at this instant.
    fn leaves(&mut self) -> Nanos {
        let (at, behind) = self.sent;
        let behind = if at == self.now { behind + self.scenario.spacing } else { 0 };
        self.sent = (self.now, behind);
        self.now + behind
    }

    /// When a client's first segment of a kind reaches the server: as the scenario gives it if that
    /// is not before `earliest`, else at `natural`.
    fn arrival(&mut self, i: usize, sends: Sends, earliest: Nanos, natural: Nanos) -> Nanos {
        let given = self.conns[i].given[sends as usize].take();
        given.filter(|t| *t >= earliest).unwrap_or(natural)
    }

    /// What both sides believe, and what the server was still doing, when the observation ended or
    /// the listener was closed.
    fn conclude(&mut self) {
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            let path = &mut self.paths[i];
            path.client = conn.client.state;
            path.server = conn.server();
            if let Some(request) = conn.request {
                let condition = Condition::StillQueued {
                    num_timeout: request.num_timeout,
                    timer: self.scenario.features.synack_timer,
                };
                self.decide(i, VerdictId::LaterPending, condition);
            } else if !conn.child && conn.client.state == ClientState::Established {
                self.decide(i, VerdictId::LaterPhantom, Condition::NothingKept);
            }
        }
    }

    fn decide(&mut self, i: usize, id: VerdictId, condition: Condition) {
        let decision = Decision { id, t_ns: self.now, condition };
        self.paths[i].decisions.push(decision);
        if let Some(film) = &mut self.film {
            film.decided(i, decision);
        }
    }
}

#[cfg(test)]
mod tests;
