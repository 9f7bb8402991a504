//! The engine: one run of a scenario, event by event.

use super::{
    ack::{self, Segment},
    client::ClientSock,
    condition::{Condition, Decision},
    config::Limits,
    counters::Counters,
    features::SynackTimer,
    listener::{ListenSock, Request},
    path::{ClientState, Path, ResetOn, ServerState},
    queue::{Event, EventQueue},
    scenario::{Scenario, Sends},
    syn::{self, SynAnswer},
    time::Nanos,
    timers,
};
use crate::verdict::VerdictId;

/// Runs scenarios; keeps its memory between runs.
#[derive(Debug, Default)]
pub struct Simulator {
    queue: EventQueue,
    conns: Vec<Conn>,
    paths: Vec<Path>,
    accept_queue: std::collections::VecDeque<usize>,
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
}

#[derive(Debug)]
struct Conn {
    client: ClientSock,
    request: Option<Request>,
    /// Requests made for this client so far: tells their SYN-ACKs apart.
    requests: u32,
    overflowed: bool,
}

impl Simulator {
    /// Runs `scenario` to its end.
    pub fn run(&mut self, scenario: &Scenario) -> Outcome<'_> {
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
            now: Nanos::MIN,
        };
        run.play();
        let (counters, ack_backlog) = (run.listener.counters, run.listener.ack_backlog);
        Outcome { paths: &self.paths, counters, ack_backlog, limits }
    }

    fn reset(&mut self, scenario: &Scenario) {
        self.queue.reset(scenario.features.timer_wheel);
        self.conns.clear();
        self.accept_queue.clear();
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
            let client_sock = ClientSock::new(scenario.link.rtt());
            self.conns.push(Conn {
                client: client_sock,
                request: None,
                requests: 0,
                overflowed: false,
            });
            self.queue.at(client.connect, i, Event::Connect);
            if let Some(t) = client.gives_up {
                self.queue.at(t, i, Event::GiveUp);
            }
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
    accept_queue: &'a mut std::collections::VecDeque<usize>,
    now: Nanos,
}

impl Run<'_> {
    fn play(&mut self) {
        while let Some((t, i, event)) = self.queue.pop() {
            if t >= self.scenario.until {
                break;
            }
            self.now = t;
            self.handle(i, event);
        }
        self.now = self.scenario.until;
        self.conclude();
    }

    fn handle(&mut self, i: usize, event: Event) {
        match event {
            Event::Connect => self.send_syn(i),
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
            Event::Close => self.close(),
        }
    }

    // The client.

    fn send_syn(&mut self, i: usize) {
        let first = self.conns[i].client.syns == 0;
        let arrives = self.arrival(i, Sends::Syn, first, self.scenario.link.to_server);
        self.queue.at(arrives, i, Event::Syn);
        let client = &mut self.conns[i].client;
        client.state = ClientState::SynSent;
        client.syns += 1;
        self.paths[i].syns += 1;
        if client.syns <= self.scenario.sysctls.syn_retries {
            let timeout = timers::syn_timeout(&self.scenario.features, client.syns);
            client.timer = self.scenario.features.timer_wheel.expires(self.now, timeout);
            self.queue.timer(client.timer, i, Event::SynTimer);
        }
    }

    fn syn_timer(&mut self, i: usize) {
        let client = &self.conns[i].client;
        if client.state == ClientState::SynSent && client.timer == self.now {
            self.send_syn(i);
        }
    }

    fn synack_reaches_client(&mut self, i: usize, request: Option<u32>) {
        let client = &mut self.conns[i].client;
        match client.state {
            ClientState::SynSent => {
                client.state = ClientState::Established;
                client.synack = Some(request);
                let segment = Segment { payload: false, follows_isn: true };
                let t = self.arrival(i, Sends::ThirdAck, true, self.scenario.link.to_server);
                self.queue.at(t, i, Event::Segment(segment));
                let spec = &self.scenario.clients[i];
                if spec.payload > 0 {
                    let given = self.given(i, Sends::Data);
                    let natural = t + spec.app_delay;
                    let send = given.map_or(natural, |t| t - self.scenario.link.to_server);
                    self.queue.at(send.max(self.now), i, Event::Send);
                }
            }
            // A repeated SYN-ACK draws a challenge ACK with the client's next sequence number.
            ClientState::Established => {
                let segment = Segment { payload: false, follows_isn: !client.data_sent };
                let t = self.now + self.scenario.link.to_server;
                self.queue.at(t, i, Event::Segment(segment));
            }
            ClientState::Idle | ClientState::Reset | ClientState::Closed => {
                self.queue.at(self.now + self.scenario.link.to_server, i, Event::PeerRst);
            }
        }
    }

    fn send_data(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state != ClientState::Established {
            return;
        }
        client.data_sent = true;
        let timeout = timers::probe_timeout(&self.scenario.features, client.rtt);
        client.timer = self.scenario.features.timer_wheel.expires(self.now, timeout);
        self.queue.timer(client.timer, i, Event::DataTimer);
        let segment = Segment { payload: true, follows_isn: true };
        self.queue.at(self.now + self.scenario.link.to_server, i, Event::Segment(segment));
    }

    fn data_timer(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state != ClientState::Established
            || client.data_acked
            || client.timer != self.now
        {
            return;
        }
        client.data_retransmits += 1;
        self.paths[i].data_retransmits += 1;
        let timeout = timers::next_data_timeout(client.rtt, client.data_retransmits);
        client.timer = self.scenario.features.timer_wheel.expires(self.now, timeout);
        self.queue.timer(client.timer, i, Event::DataTimer);
        let segment = Segment { payload: true, follows_isn: true };
        self.queue.at(self.now + self.scenario.link.to_server, i, Event::Segment(segment));
    }

    fn rst_reaches_client(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state == ClientState::Established || client.state == ClientState::SynSent {
            client.state = ClientState::Reset;
        }
    }

    fn give_up(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state == ClientState::SynSent {
            client.state = ClientState::Closed;
        }
    }

    fn expires(&self, timeout: Nanos) -> Nanos {
        self.scenario.features.timer_wheel.expires(self.now, timeout)
    }

    /// When a first segment reaches the server: as given, or after `natural`.
    fn arrival(&self, i: usize, sends: Sends, first: bool, natural: Nanos) -> Nanos {
        let given = if first { self.given(i, sends) } else { None };
        given.unwrap_or(self.now + natural).max(self.now)
    }

    fn given(&self, i: usize, sends: Sends) -> Option<Nanos> {
        let mut arrivals = self.scenario.arrivals.iter();
        arrivals.find(|a| a.client == i && a.sends == sends).map(|a| a.t)
    }

    // The server.

    fn syn_arrives(&mut self, i: usize) {
        if self.paths[i].server == ServerState::Established {
            return;
        }
        if !self.listener.listening {
            self.reset_client(i, VerdictId::LaterResetNoSocket, Condition::Closed, ResetOn::Ack);
            return;
        }
        if let Some(mut request) = self.conns[i].request {
            // tcp_check_req(): a retransmitted SYN repeats the SYN-ACK and restarts its timer.
            request.expires =
                self.expires(timers::synack_timeout(request.num_timeout));
            self.conns[i].request = Some(request);
            self.arm_request(i, request);
            self.decide(i, VerdictId::SynQueued, Condition::RetransmittedSyn);
            self.paths[i].synack_retransmits.push(self.now);
            let number = self.conns[i].requests;
            self.send_synack(i, Some(number));
            return;
        }
        match syn::conn_request(&mut self.listener, self.now) {
            SynAnswer::Queued(request, condition) => {
                self.conns[i].request = Some(request);
                self.conns[i].requests += 1;
                self.paths[i].server = ServerState::SynRecv;
                self.arm_request(i, request);
                self.decide(i, VerdictId::SynQueued, condition);
                let number = self.conns[i].requests;
                self.send_synack(i, Some(number));
            }
            SynAnswer::Cookie(condition) => {
                self.decide(i, VerdictId::SynCookie, condition);
                self.send_synack(i, None);
            }
            SynAnswer::Dropped(id, condition) => self.decide(i, id, condition),
        }
    }

    fn send_synack(&mut self, i: usize, request: Option<u32>) {
        self.paths[i].synacks += 1;
        self.queue.at(self.now + self.scenario.link.to_client, i, Event::SynAck(request));
    }

    fn segment_arrives(&mut self, i: usize, segment: Segment) {
        if self.paths[i].server == ServerState::Established {
            if segment.payload {
                self.queue.at(self.now + self.scenario.link.to_client, i, Event::DataAcked);
            }
            return;
        }
        let conn = &mut self.conns[i];
        let synack = conn.client.synack.flatten();
        let answer = match &mut conn.request {
            Some(request) if synack == Some(conn.requests) => {
                ack::check_req(&mut self.listener, request, segment)
            }
            _ => {
                let cookie = conn.client.synack == Some(None) && segment.follows_isn;
                ack::cookie_check(&mut self.listener, cookie, self.now)
            }
        };
        let overflow = matches!(
            answer.id,
            VerdictId::AckDropOverflow | VerdictId::AckDropOverflowCookie
        );
        conn.overflowed |= overflow;
        let recovered = answer.child && conn.overflowed;
        self.decide(i, answer.id, answer.condition);
        if answer.child {
            self.remove_request(i);
            self.paths[i].server = ServerState::Established;
            self.accept_queue.push_back(i);
            if recovered {
                self.decide(i, VerdictId::LaterRecovered, answer.condition);
            }
            if segment.payload {
                self.queue.at(self.now + self.scenario.link.to_client, i, Event::DataAcked);
            }
        } else if answer.reset {
            if answer.id == VerdictId::AckResetOverflow {
                self.remove_request(i);
            }
            let on = if segment.payload { ResetOn::Data } else { ResetOn::Ack };
            self.paths[i].reset_on.get_or_insert(on);
            self.queue.at(self.now + self.scenario.link.to_client, i, Event::Rst);
        }
    }

    fn peer_rst_arrives(&mut self, i: usize) {
        if self.conns[i].request.is_some() {
            self.listener.counters.embryonic_rsts += 1;
            self.remove_request(i);
            self.decide(i, VerdictId::AckDropOther, Condition::PeerReset);
        }
    }

    fn remove_request(&mut self, i: usize) {
        if let Some(request) = self.conns[i].request.take() {
            self.listener.remove_request(&request);
            self.paths[i].server = ServerState::Nothing;
        }
    }

    fn reset_client(&mut self, i: usize, id: VerdictId, condition: Condition, on: ResetOn) {
        self.listener.counters.out_rsts += 1;
        self.paths[i].reset_on.get_or_insert(on);
        self.decide(i, id, condition);
        self.queue.at(self.now + self.scenario.link.to_client, i, Event::Rst);
    }

    // The SYN-ACK timers.

    fn arm_request(&mut self, i: usize, request: Request) {
        match self.scenario.features.synack_timer {
            SynackTimer::PerRequest => {
                self.queue.timer(request.expires, i, Event::RequestTimer);
            }
            SynackTimer::ListenerWheel => {
                if let Some(t) = self.listener.wheel.expires()
                    && self.listener.qlen == 1
                {
                    self.queue.timer(t, 0, Event::Prune);
                }
            }
        }
    }

    /// `reqsk_timer_handler()`.
    fn request_timer(&mut self, i: usize) {
        if let Some(request) = self.conns[i].request
            && request.expires == self.now
        {
            let allowed = self.retries_allowed();
            self.synack_timeout(i, request, allowed);
        }
    }

    /// `inet_csk_reqsk_queue_prune()`.
    fn prune(&mut self) {
        if self.listener.wheel.expires() != Some(self.now) {
            return;
        }
        let allowed = self.retries_allowed();
        let look = self.listener.wheel.turn();
        for i in 0..self.conns.len() {
            if let Some(request) = self.conns[i].request
                && request.expires <= self.now
                && self.listener.wheel.covers(look, request.bucket)
            {
                self.synack_timeout(i, request, allowed);
            }
        }
        if self.listener.qlen > 0 {
            self.listener.wheel.rearm(self.now);
            if let Some(t) = self.listener.wheel.expires() {
                self.queue.timer(t, 0, Event::Prune);
            }
        }
    }

    fn retries_allowed(&self) -> u8 {
        let sk = &self.listener;
        timers::retries_allowed(sk.sysctls.synack_retries, sk.crowded(), sk.qlen, sk.young)
    }

    /// `syn_ack_recalc()` and what follows: the request expires, is kept, or its SYN-ACK is sent
    /// again.
    fn synack_timeout(&mut self, i: usize, mut request: Request, allowed: u8) {
        let defer_accept = self.listener.limits.defer_accept;
        let num_timeout = request.num_timeout;
        let (expire, resend) = if defer_accept == 0 {
            (num_timeout >= allowed, true)
        } else {
            (
                num_timeout >= allowed && (!request.acked || num_timeout >= defer_accept),
                !request.acked || num_timeout >= defer_accept - 1,
            )
        };
        if expire {
            self.remove_request(i);
            self.decide(
                i,
                VerdictId::LaterRequestExpired,
                Condition::Expired { num_timeout, allowed },
            );
            return;
        }
        if num_timeout == 0 {
            self.listener.young -= 1;
        }
        request.num_timeout = (num_timeout + 1).min(127);
        let timeout = timers::synack_timeout(request.num_timeout);
        request.expires = self.expires(timeout);
        self.conns[i].request = Some(request);
        if self.scenario.features.synack_timer == SynackTimer::PerRequest {
            self.queue.timer(request.expires, i, Event::RequestTimer);
        }
        if resend {
            self.paths[i].synack_retransmits.push(self.now);
            let number = self.conns[i].requests;
            self.send_synack(i, Some(number));
        }
    }

    // The application and the end.

    fn accept(&mut self) {
        if let Some(i) = self.accept_queue.pop_front() {
            self.listener.ack_backlog -= 1;
            self.decide(i, VerdictId::LaterAcceptedByApp, Condition::Accepted);
        }
    }

    /// `inet_csk_listen_stop()`: unaccepted children are reset; requests die silently.
    fn close(&mut self) {
        self.listener.listening = false;
        while let Some(i) = self.accept_queue.pop_front() {
            self.listener.ack_backlog -= 1;
            self.paths[i].server = ServerState::Nothing;
            self.decide(i, VerdictId::LaterListenerClosed, Condition::Closed);
            self.queue.at(self.now + self.scenario.link.to_client, i, Event::Rst);
        }
        for i in 0..self.conns.len() {
            self.remove_request(i);
        }
    }

    fn conclude(&mut self) {
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            self.paths[i].client = conn.client.state;
            let answered = self.paths[i].synacks > 0;
            if let Some(request) = conn.request {
                let condition = Condition::StillQueued { num_timeout: request.num_timeout };
                self.decide(i, VerdictId::LaterPending, condition);
            } else if answered
                && conn.client.state == ClientState::Established
                && self.paths[i].server == ServerState::Nothing
                && self.listener.listening
            {
                self.decide(i, VerdictId::LaterPhantom, Condition::NothingKept);
            }
        }
    }

    fn decide(&mut self, i: usize, id: VerdictId, condition: Condition) {
        self.paths[i].decisions.push(Decision { id, t_ns: self.now, condition });
    }
}
