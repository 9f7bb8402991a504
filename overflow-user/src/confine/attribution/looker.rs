//! Looking at listeners, from the looking side: requests in, answers out, until the requests end.

use std::io::{self, Read, Write};

use overflow_host::{Looker, listeners::SynQueues};

use super::message::{self, END, MAX_REQUEST, Message, Request};
use crate::confine::wire;

/// Answers until the requests end, beginning with what `looker` knows.
pub(super) fn look(mut looker: Looker, requests: impl Read, answers: impl Write) -> io::Result<()> {
    answer(requests, answers, |request, out| match request {
        Request::Listeners(wanted, counted) => {
            let syn_queues = if counted { SynQueues::Counted } else { SynQueues::Left };
            match looker.listeners(&wanted, syn_queues) {
                Ok(found) => message::inventory(&found, |bytes| out.write_all(bytes)),
                Err(error) => failed(out, &error),
            }
        }
        Request::Counters(wanted, anew) => match looker.counters(&wanted, anew) {
            Ok(found) => out.write_all(&wire::pack(&Message::<()>::Counters(found))?),
            Err(error) => failed(out, &error),
        },
        Request::Processes(pids) => {
            out.write_all(&wire::pack(&Message::<()>::Processes(looker.processes(&pids)))?)
        }
        Request::Causes(sockets) => {
            let found =
                if sockets.is_empty() { looker.first_causes() } else { looker.causes(&sockets) };
            match found {
                Ok(found) => out.write_all(&wire::pack(&Message::<()>::Causes(found))?),
                Err(error) => failed(out, &error),
            }
        }
    })
}

fn failed(out: &mut dyn Write, why: &io::Error) -> io::Result<()> {
    out.write_all(&wire::pack(&Message::<()>::Failed(why.to_string()))?)
}

fn answer(
    mut requests: impl Read,
    mut answers: impl Write,
    mut look: impl FnMut(Request, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(body) = message::read(&mut requests, MAX_REQUEST)? {
        let written = look(wire::unpack(&body)?, &mut answers);
        let ended = written.and_then(|()| answers.write_all(&END)).and_then(|()| answers.flush());
        match ended {
            // Nobody waits for it any more.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            ended => ended?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use overflow_core::{audit::Readings, listeners::Inventory};

    use super::*;

    fn messages(mut bytes: &[u8]) -> Vec<Option<Message>> {
        let next = || message::read(&mut bytes, wire::MAX).unwrap();
        let message =
            |body: Vec<u8>| (!body.is_empty()).then(|| wire::unpack::<Message>(&body).unwrap());
        std::iter::from_fn(next).map(message).collect()
    }

    #[test]
    fn each_request_has_its_answer() {
        let wanted = |one: u32| BTreeSet::from([one]);
        let requests = [
            wire::pack(&Request::Listeners(wanted(3), false)).unwrap(),
            wire::pack(&Request::Counters(wanted(4), true)).unwrap(),
            wire::pack(&Request::Counters(wanted(4), false)).unwrap(),
        ];
        let mut answers = Vec::new();
        answer(&*requests.concat(), &mut answers, |request, out| match request {
            Request::Listeners(wanted, _) => {
                let mut inventory = Inventory::default();
                inventory.notes.extend(wanted.iter().map(u32::to_string));
                message::inventory(&inventory, |bytes| out.write_all(bytes))
            }
            Request::Counters(_, true) => failed(out, &io::Error::other("no procfs")),
            Request::Processes(_) | Request::Causes(_) => unreachable!(),
            Request::Counters(_, false) => {
                out.write_all(&wire::pack(&Message::<()>::Counters(Readings::default()))?)
            }
        })
        .unwrap();
        let answers = messages(&answers);
        let [Some(Message::Listeners(found)), None, failed, None, counters, None] = &*answers
        else {
            panic!("{answers:?}")
        };
        assert_eq!(found.notes, ["3"]);
        assert_eq!(*failed, Some(Message::Failed("no procfs".to_owned())));
        assert_eq!(*counters, Some(Message::Counters(Readings::default())));
    }

    #[test]
    fn a_request_that_is_none_ends_it() {
        for nonsense in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0{}", b"\x09\0\0\0[1"] {
            let mut answers = Vec::new();
            let look = |_, _: &mut dyn Write| panic!("no request");
            assert!(answer(nonsense, &mut answers, look).is_err() && answers.is_empty());
        }
        assert!(answer(&b"\x01"[..], Vec::new(), |_, _| panic!("no request")).is_ok());
    }
}
