//! What the two processes say to each other: a request is one message, an answer some, and an empty one
//! ends it.
//!
//! An answer is in parts because its length is up to whoever listens on this host.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
};

use overflow_core::{audit::Readings, cause::Evidence, listeners::Inventory, owner::Process};
use overflow_host::causes::Socket;
use serde::{Deserialize, Serialize};

use crate::confine::wire;

/// A request is at most so long, bytes: the asking process may be compromised.
pub(super) const MAX_REQUEST: u32 = 64 << 10;

/// A part of an inventory is rarely longer, bytes.
pub(super) const PART: usize = 1 << 20;

/// The message that ends an answer.
pub(super) const END: [u8; 4] = [0; 4];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// All listeners, with the lengths of their SYN queues if the second says so; these namespaces are looked
    /// for harder.
    Listeners(BTreeSet<u32>, bool),
    /// The counters of all namespaces that were found before, and of these; of all that there are
    /// if the second says so.
    Counters(BTreeSet<u32>, bool),
    /// What these processes are.
    Processes(BTreeSet<u32>),
    /// What holds up these listeners: the inode numbers of their network namespaces and sockets. If
    /// none is named, those that are full now, and who accepts from the others is remembered.
    Causes(Vec<Socket>),
}

/// A message of an answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message<I = Inventory> {
    /// A part of the listeners.
    Listeners(I),
    /// The counters.
    Counters(Readings),
    /// The processes that are there; those that are gone are left out.
    Processes(Vec<Process>),
    /// What the holders of listeners do; those that have gone are missing.
    Causes(Vec<Evidence>),
    /// There is no answer, for this reason.
    Failed(String),
}

/// Hands over the messages of an inventory.
pub(super) fn inventory(
    found: &Inventory,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    found.parts(PART, |part| {
        // As `Message::Listeners` is written.
        let body = [&br#"{"Listeners":"#[..], &part, b"}"].concat();
        write(&wire::framed(&body)?)
    })
}

/// The next message from a pipe, its head left out; `None` where the pipe ends before one.
pub(super) fn read(pipe: &mut impl Read, limit: u32) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    match pipe.read_exact(&mut head) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut body = vec![0; wire::announced(head, limit)?];
    pipe.read_exact(&mut body)?;
    Ok(Some(body))
}

/// Answers with why there is no answer.
pub(super) fn fail(pipe: &mut impl Write, why: String) -> io::Result<()> {
    pipe.write_all(&wire::pack(&Message::<()>::Failed(why))?)?;
    pipe.write_all(&END)?;
    pipe.flush()
}
