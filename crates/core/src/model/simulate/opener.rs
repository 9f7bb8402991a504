//! What the clients do.

use super::{
    super::{
        ack::Segment,
        client::SynAck,
        path::ClientState,
        queue::Event,
        scenario::{Scenario, Sends},
        time::Nanos,
        timers,
    },
    Run,
};

impl Run<'_> {
    /// A SYN leaves at this time.
    pub(super) fn send_syn(&mut self, i: usize, leaves: Nanos) {
        let arrives = self.arrival(i, Sends::Syn, leaves, leaves + self.to_server(i));
        self.queue.at(arrives, i, Event::Syn);
        let client = &mut self.conns[i].client;
        client.state = ClientState::SynSent;
        client.syns += 1;
        self.paths[i].syns += 1;
        // tcp_write_timeout(): linear timeouts do not count as retries (since ccce324dabfe, 6.5).
        let Scenario { features, sysctls, repeated_syns, .. } = self.scenario;
        let retries = sysctls.syn_retries.saturating_add(features.syn_linear_timeouts);
        if repeated_syns.is_none() && client.syns <= retries {
            let timeout = timers::syn_timeout(&self.scenario.features, client.syns);
            client.timer = self.scenario.features.timer_wheel.expires(self.now, timeout);
            self.queue.timer(client.timer, i, Event::SynTimer);
        }
    }

    pub(super) fn syn_timer(&mut self, i: usize) {
        let client = &self.conns[i].client;
        if client.state == ClientState::SynSent && client.timer == self.now {
            let leaves = self.leaves();
            self.send_syn(i, leaves);
        }
    }

    pub(super) fn synack_reaches_client(&mut self, i: usize, request: Option<u32>) {
        let to_server = self.to_server(i);
        let client = &mut self.conns[i].client;
        match client.state {
            ClientState::SynSent => {
                client.state = ClientState::Established;
                client.synack = Some(request.map_or(SynAck::Cookie, SynAck::Request));
                let ack = self.arrival(i, Sends::ThirdAck, self.now, self.now + to_server);
                let segment = Segment { payload: false, follows_isn: true };
                self.queue.at(ack, i, Event::Segment(segment));
                let spec = &self.scenario.clients[i];
                if spec.payload > 0 {
                    let data = self.arrival(i, Sends::Data, ack, ack + spec.app_delay);
                    self.queue.at((data - to_server).max(self.now), i, Event::Send);
                }
            }
            // A repeated SYN-ACK draws a challenge ACK with the client's next sequence number.
            ClientState::Established => {
                let segment = Segment { payload: false, follows_isn: !client.data_sent };
                self.queue.at(self.now + to_server, i, Event::Segment(segment));
            }
            ClientState::Idle | ClientState::Reset | ClientState::Closed => {
                self.queue.at(self.now + to_server, i, Event::PeerRst);
            }
        }
    }

    pub(super) fn send_data(&mut self, i: usize) {
        let conn = &mut self.conns[i];
        let client = &mut conn.client;
        // Known to have been sent, it overtook the RST that may reach the client just now.
        if client.state != ClientState::Established && !conn.data_seen {
            return;
        }
        client.data_sent = true;
        let timeout = timers::probe_timeout(&self.scenario.features, client.rtt);
        client.timer = self.scenario.features.timer_wheel.expires(self.now, timeout);
        self.queue.timer(client.timer, i, Event::DataTimer);
        let segment = Segment { payload: true, follows_isn: true };
        self.queue.at(self.now + self.to_server(i), i, Event::Segment(segment));
    }

    pub(super) fn data_timer(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state != ClientState::Established || client.data_acked || client.timer != self.now
        {
            return;
        }
        client.data_retransmits += 1;
        self.paths[i].data_retransmits += 1;
        let timeout = timers::next_data_timeout(client.rtt, client.data_retransmits);
        client.timer = self.scenario.features.timer_wheel.expires(self.now, timeout);
        self.queue.timer(client.timer, i, Event::DataTimer);
        let segment = Segment { payload: true, follows_isn: true };
        let leaves = self.leaves();
        self.queue.at(leaves + self.to_server(i), i, Event::Segment(segment));
    }

    pub(super) fn rst_reaches_client(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state == ClientState::Established || client.state == ClientState::SynSent {
            client.state = ClientState::Reset;
        }
    }

    pub(super) fn give_up(&mut self, i: usize) {
        let client = &mut self.conns[i].client;
        if client.state == ClientState::SynSent {
            client.state = ClientState::Closed;
        }
    }
}
