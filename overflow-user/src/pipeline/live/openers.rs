//! Who called `listen()`, of sockets that are closed, or not looked at, before anybody could see who
//! holds them.

use std::collections::BTreeSet;

use anyhow::Result;
use overflow_common::Opener;

use super::Live;
use overflow_core::{listeners::Listener, recording::Frame};

/// Sockets that are remembered to have been asked for; then all are asked for anew.
const REMEMBERED: usize = 1 << 16;
/// Processes that are described at once; of more, pid and name alone are known.
const DESCRIBED: usize = 1 << 12;

impl Live {
    /// Has the engine know who called `listen()` on these sockets, ((network namespace, inode), port of
    /// a segment for it), where the kernel side has noted that. It notes it before anything can happen
    /// to them, so each is asked for once: when that is done, since whoever waits for it may be left.
    pub(super) async fn learn_openers(
        &mut self,
        unowned: impl IntoIterator<Item = ((u32, u32), u16)>,
    ) -> Result<()> {
        let mut asked = BTreeSet::new();
        let mut noted = Vec::new();
        for (socket, port) in unowned {
            if !self.opener_asked.contains(&socket)
                && asked.insert(socket)
                && let Some(opener) = self.tracer.opener(socket)?
            {
                noted.push((socket, port, opener));
            }
        }
        if !noted.is_empty() {
            self.tell_openers(noted).await?;
        }
        if self.opener_asked.len() + asked.len() > REMEMBERED {
            self.opener_asked.clear();
        }
        self.opener_asked.extend(asked);
        Ok(())
    }

    /// Describes these processes, and has the engine know of each that it called `listen()`.
    async fn tell_openers(&mut self, noted: Vec<((u32, u32), u16, Opener)>) -> Result<()> {
        let pids: BTreeSet<u32> = noted.iter().map(|(.., opener)| opener.pid).collect();
        let pids = pids.into_iter().take(DESCRIBED).collect();
        let processes = self.attribution.processes(pids).await.unwrap_or_else(|error| {
            log::warn!("cannot look at the processes that called listen(): {error}");
            self.unanswered += 1;
            Vec::new()
        });
        for (socket, port, opener) in noted {
            let now = processes.iter().find(|process| process.pid == opener.pid).cloned();
            let listener = Listener::opened(socket, &opener, port, now);
            self.note(Frame::Opened(Box::new(listener)))?;
        }
        Ok(())
    }
}
