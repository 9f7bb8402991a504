//! What goes over the pipes between the tracing process and the one that exports.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest request, bytes; no collector takes more.
const MAX_BODY: u32 = 64 << 20;

/// Kinds of telemetry, each with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Numbers of listeners.
    Metrics,
    /// Abnormal handshakes.
    Logs,
}

/// A request as the collector will get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it holds.
    pub signal: Signal,
    /// How much would be lost with it: log records, or 1 for all metrics of one export.
    pub items: u32,
    /// The protobuf message.
    pub body: Vec<u8>,
}

/// What became of the requests of one signal since the beginning, in items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryCounts {
    /// The collector has them.
    pub delivered: u64,
    /// The collector did not want them.
    pub refused: u64,
    /// There was no room for them while the collector was away.
    pub dropped: u64,
}

/// What the process that exports reports, whenever something has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Of metrics.
    pub metrics: DeliveryCounts,
    /// Of logs.
    pub logs: DeliveryCounts,
    /// Why nothing is delivered now, as a sentence.
    pub trouble: Option<String>,
}

impl Signal {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Metrics, Self::Logs];
}

impl Report {
    /// What became of one signal's.
    pub(crate) fn of(&mut self, signal: Signal) -> &mut DeliveryCounts {
        match signal {
            Signal::Metrics => &mut self.metrics,
            Signal::Logs => &mut self.logs,
        }
    }
}

impl Request {
    /// What precedes the body on the pipe: signal, items and length.
    pub(super) fn head(&self) -> io::Result<[u8; 9]> {
        let len = u32::try_from(self.body.len()).ok().filter(|len| *len <= MAX_BODY);
        let len = len.ok_or_else(|| io::Error::other("the request is too long"))?;
        let mut head = [0; 9];
        head[0] = u8::from(self.signal == Signal::Logs);
        head[1..5].copy_from_slice(&self.items.to_le_bytes());
        head[5..].copy_from_slice(&len.to_le_bytes());
        Ok(head)
    }

    /// Reads one; `None` at the end.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "what was sent is no request");
        let mut signal = [0];
        if from.read(&mut signal).await? == 0 {
            return Ok(None);
        }
        let signal = match signal {
            [0] => Signal::Metrics,
            [1] => Signal::Logs,
            _ => return Err(nonsense()),
        };
        let items = from.read_u32_le().await?;
        let len = from.read_u32_le().await?;
        if len > MAX_BODY {
            return Err(nonsense());
        }
        let mut body = vec![0; len as usize];
        from.read_exact(&mut body).await?;
        Ok(Some(Self { signal, items, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> io::Result<Option<Request>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Request::read(&mut bytes))
    }

    #[test]
    fn what_is_written_is_read() {
        let request = Request { signal: Signal::Logs, items: 3, body: vec![7; 300] };
        let bytes = [&request.head().unwrap()[..], &request.body].concat();
        assert_eq!(read(&bytes).unwrap(), Some(request));
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in
            [&b"\x02\0\0\0\0\0\0\0\0"[..], b"\0\0\0\0\0\xff\xff\xff\xff", b"\0\0\0\0\0\x01\0\0\0"]
        {
            assert!(read(nonsense).is_err());
        }
    }
}
