//! What an answer rests on, in words.

use super::{
    recorded::{Place, Recorded},
    replay::Surroundings,
};
use crate::text::duration::count;

/// What is assumed of what the recording does not hold, a sentence each, for one place.
pub fn assumptions(recorded: &Recorded, place: &Place, around: &Surroundings) -> Vec<String> {
    let mut all = Vec::new();
    let members = || place.members.iter();
    let accepts: usize = members().map(|member| member.accepts.likely_ns.len()).sum();
    let traced = members().all(|member| member.accepts.traced);
    if !traced {
        all.push(
            "accept() was not traced, for these hooks cannot: how many connections it took is known \
             by the queue's length at each segment, and when only between two segments"
                .to_owned(),
        );
    }
    if accepts > 0 {
        all.push(
            "the application does after each connection what it was seen to do, and where nothing \
             waited, what it usually did; a range reaches to what holds if it takes no more by any \
             time than it was seen to"
                .to_owned(),
        );
    }
    if accepts == 0 {
        all.push(
            "the application accepted nothing while this was recorded, so nothing says how fast it \
             would be: give a rate by --accept-rate"
                .to_owned(),
        );
    }
    if around.clients.data.is_none() {
        let seen = members().any(|m| m.clients.iter().any(|client| client.sent_data));
        let shown = seen || members().any(|m| m.clients.iter().any(|c| c.child_ns.is_none()));
        all.push(match (seen, shown) {
            (true, _) => {
                "clients send data as soon as they are connected, as some were seen to".into()
            }
            (false, true) => "clients wait for the server's data, as those that were refused did \
                              (--client-data yes: they send at once)"
                .into(),
            (false, false) => {
                "clients send data as soon as they are connected, as those of HTTP and \
                               TLS do (--client-data no: they wait for the server's)"
                    .to_owned()
            }
        });
    }
    if recorded.linear_syns.is_none() && around.clients.features.syn_linear_timeouts == 0 {
        all.push(
            "clients send a SYN again after 1, 3 and 7 s, for none was seen to (--client-kernel names \
             a kernel since 6.5 that does after 1, 2, 3, 4 s)"
                .to_owned(),
        );
    }
    if recorded.begun_before > 0 {
        let before = usize::try_from(recorded.begun_before).unwrap_or(usize::MAX);
        all.push(format!(
            "{} began before the recording and are left out",
            count(before, "client")
        ));
    }
    if recorded.gaps > 0 {
        let times = usize::try_from(recorded.gaps).unwrap_or(usize::MAX).saturating_add(1);
        all.push(format!(
            "the recording is of {}, and this is about the last one",
            count(times, "episode")
        ));
    }
    if recorded.lost > 0 {
        let lost = usize::try_from(recorded.lost).unwrap_or(usize::MAX);
        all.push(format!(
            "{} were lost while this was recorded, so clients may be missing",
            count(lost, "record")
        ));
    }
    if members().any(|member| member.limit_changed) {
        all.push("the backlog changed while this was recorded; its last value is taken".to_owned());
    }
    all
}
