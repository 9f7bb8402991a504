//! What the server does with segments, and the application with connections.

use super::{
    super::{
        ack::{self, Segment},
        client::SynAck,
        condition::Condition,
        path::ResetOn,
        queue::Event,
        syn::{self, SynAnswer},
        time::Nanos,
        timers,
    },
    Run,
};
use crate::verdict::VerdictId;

impl Run<'_> {
    pub(super) fn syn_arrives(&mut self, i: usize) {
        if self.conns[i].child {
            return;
        }
        if !self.listener.listening {
            self.listener.counters.out_rsts += 1;
            self.decide(i, VerdictId::LaterResetNoSocket, Condition::Closed);
            self.send_rst(i, ResetOn::Ack);
            return;
        }
        if let Some(mut request) = self.conns[i].request {
            // tcp_check_req(): a retransmitted SYN repeats the SYN-ACK and restarts its timer.
            request.expires = self.expires(timers::synack_timeout(request.num_timeout));
            self.conns[i].request = Some(request);
            self.arm_request(i, request);
            self.decide(i, VerdictId::SynQueued, Condition::RetransmittedSyn);
            self.paths[i].synack_retransmits.push(self.now);
            let number = self.conns[i].requests;
            self.send_synack(i, Some(number), self.now);
            return;
        }
        match syn::conn_request(&mut self.listener, self.now) {
            SynAnswer::Queued(request, condition) => {
                self.conns[i].request = Some(request);
                self.conns[i].requests += 1;
                self.arm_request(i, request);
                self.decide(i, VerdictId::SynQueued, condition);
                let number = self.conns[i].requests;
                self.send_synack(i, Some(number), self.now);
            }
            SynAnswer::Cookie(condition) => {
                self.decide(i, VerdictId::SynCookie, condition);
                self.send_synack(i, None, self.now);
            }
            SynAnswer::Dropped(id, condition) => self.decide(i, id, condition),
        }
    }

    /// A SYN-ACK leaves at this time.
    pub(super) fn send_synack(&mut self, i: usize, request: Option<u32>, leaves: Nanos) {
        self.paths[i].synacks += 1;
        self.queue.at(leaves + self.to_client(i), i, Event::SynAck(request));
    }

    pub(super) fn segment_arrives(&mut self, i: usize, segment: Segment) {
        if self.conns[i].child {
            if segment.payload {
                self.queue.at(self.now + self.to_client(i), i, Event::DataAcked);
            }
            return;
        }
        let conn = &mut self.conns[i];
        let synack = conn.client.synack;
        let answer = match &mut conn.request {
            Some(request) if synack == Some(SynAck::Request(conn.requests)) => {
                ack::check_req(&mut self.listener, request, segment)
            }
            _ => {
                let cookie = synack == Some(SynAck::Cookie) && segment.follows_isn;
                ack::cookie_check(&mut self.listener, cookie, self.now)
            }
        };
        conn.overflowed |= answer.id.is_overflow_drop();
        let recovered = answer.child && conn.overflowed;
        self.decide(i, answer.id, answer.condition);
        if answer.child {
            self.remove_request(i);
            self.conns[i].child = true;
            self.accept_queue.push_back(i);
            self.call_accept();
            if recovered {
                self.decide(i, VerdictId::LaterRecovered, answer.condition);
            }
            if segment.payload {
                self.queue.at(self.now + self.to_client(i), i, Event::DataAcked);
            }
        } else if answer.reset {
            if answer.id == VerdictId::AckResetOverflow {
                self.remove_request(i);
            }
            let on = if segment.payload { ResetOn::Data } else { ResetOn::Ack };
            self.send_rst(i, on);
        }
    }

    pub(super) fn peer_rst_arrives(&mut self, i: usize) {
        if self.conns[i].request.is_some() {
            self.listener.counters.embryonic_rsts += 1;
            self.remove_request(i);
            self.decide(i, VerdictId::LaterResetByClient, Condition::PeerReset);
        }
    }

    pub(super) fn remove_request(&mut self, i: usize) {
        if let Some(request) = self.conns[i].request.take() {
            self.listener.remove_request(&request);
        }
    }

    fn send_rst(&mut self, i: usize, on: ResetOn) {
        self.paths[i].reset_on.get_or_insert(on);
        self.queue.at(self.now + self.to_client(i), i, Event::Rst);
    }

    pub(super) fn accept(&mut self) {
        if let Some(i) = self.accept_queue.pop_front() {
            self.listener.ack_backlog -= 1;
            self.decide(i, VerdictId::LaterAcceptedByApp, Condition::Accepted);
        }
    }

    /// Something waits: the application will take it, unless it is about to take another one.
    fn call_accept(&mut self) {
        let Some(application) = &self.scenario.application else { return };
        if !self.worker.due
            && !self.accept_queue.is_empty()
            && let Some(t) = self.worker.next(application, self.now)
        {
            self.worker.due = true;
            self.queue.at(t, 0, Event::Serve);
        }
    }

    pub(super) fn serve(&mut self) {
        self.accept();
        self.worker.took(self.now);
        self.call_accept();
    }

    /// `inet_csk_listen_stop()`: unaccepted children are reset; requests die silently.
    pub(super) fn close(&mut self) {
        self.conclude();
        self.listener.listening = false;
        while let Some(i) = self.accept_queue.pop_front() {
            self.listener.ack_backlog -= 1;
            self.conns[i].child = false;
            self.decide(i, VerdictId::LaterListenerClosed, Condition::Closed);
            self.queue.at(self.now + self.to_client(i), i, Event::Rst);
        }
        for i in 0..self.conns.len() {
            self.remove_request(i);
        }
    }
}
