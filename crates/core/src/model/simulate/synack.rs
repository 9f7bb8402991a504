//! The server's SYN-ACK timers.

use super::{
    super::{condition::Condition, features::SynackTimer, listener::Request, queue::Event, timers},
    Run,
};
use crate::verdict::VerdictId;

impl Run<'_> {
    pub(super) fn arm_request(&mut self, i: usize, request: Request) {
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
    pub(super) fn request_timer(&mut self, i: usize) {
        if let Some(request) = self.conns[i].request
            && request.expires == self.now
        {
            let allowed = self.retries_allowed();
            self.synack_timeout(i, request, allowed);
        }
    }

    /// `inet_csk_reqsk_queue_prune()`.
    pub(super) fn prune(&mut self) {
        if self.listener.wheel.expires() != Some(self.now) {
            return;
        }
        let allowed = self.retries_allowed();
        let look = self.listener.wheel.turn();
        for i in 0..self.conns.len() {
            if let Some(request) = self.conns[i].request
                && request.expires <= self.now
            {
                if self.listener.wheel.covers(look, request.bucket) {
                    self.synack_timeout(i, request, allowed);
                } else {
                    self.listener.wheel.missed();
                }
            }
        }
        if self.listener.qlen > 0 {
            self.listener.wheel.rearm(self.now);
            if let Some(t) = self.listener.wheel.expires() {
                self.queue.timer(t, 0, Event::Prune);
            }
        }
    }

    pub(super) fn retries_allowed(&self) -> u8 {
        let sk = &self.listener;
        timers::retries_allowed(sk.sysctls.synack_retries, sk.crowded(), sk.qlen, sk.young)
    }

    /// `syn_ack_recalc()` and what follows: the request expires, is kept, or its SYN-ACK is sent
    /// again.
    pub(super) fn synack_timeout(&mut self, i: usize, mut request: Request, allowed: u8) {
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
            let timer = self.scenario.features.synack_timer;
            let condition = Condition::Expired { num_timeout, allowed, timer };
            self.decide(i, VerdictId::LaterRequestExpired, condition);
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
            let leaves = self.leaves();
            self.send_synack(i, Some(number), leaves);
        }
    }
}
