//! A socket that the runtime watches for readiness.

use socket2::Socket;
use tokio::io::unix::AsyncFd;

use crate::{LabError, error::During};

/// Hands `socket` to the current runtime's reactor.
pub(crate) fn watch(socket: Socket) -> Result<AsyncFd<Socket>, LabError> {
    // SAFETY: a Socket owns one open descriptor and always answers with that one; it is moved into
    // the AsyncFd, which gives out shared references only, so it stays open as long.
    let watched = unsafe { AsyncFd::register(socket) };
    watched.map_err(|e| e.into_parts().1).during("watching a socket")
}
