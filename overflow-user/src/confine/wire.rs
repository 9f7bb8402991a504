//! Messages over a pipe: the length in four bytes, low byte first, then JSON.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

/// No message is longer: a length beyond it is nonsense.
pub(crate) const MAX: u32 = 64 << 20;

/// A message with its length before it.
pub(crate) fn pack(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = u32::try_from(bytes.len() - 4).ok().filter(|len| *len <= MAX);
    let len = len.ok_or_else(|| io::Error::other("the message is too long"))?;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    Ok(bytes)
}

/// The length that these four bytes announce, if it is at most `limit`.
pub(crate) fn announced(head: [u8; 4], limit: u32) -> io::Result<usize> {
    let len = u32::from_le_bytes(head);
    if len <= limit {
        Ok(len as usize)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than any can be"))
    }
}

/// The next message from a pipe, if it is no longer than `limit`.
pub(crate) async fn receive<T: DeserializeOwned>(
    pipe: &mut (impl AsyncRead + Unpin),
    limit: u32,
) -> io::Result<T> {
    let mut head = [0; 4];
    pipe.read_exact(&mut head).await?;
    let mut body = vec![0; announced(head, limit)?];
    pipe.read_exact(&mut body).await?;
    unpack(&body)
}

/// The message in a body.
pub(crate) fn unpack<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let bytes = pack(&vec![1_u32, 2]).unwrap();
        let (head, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(announced(*head, 5).unwrap(), body.len());
        assert_eq!(unpack::<Vec<u32>>(body).unwrap(), [1, 2]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(announced([0xff; 4], MAX).is_err());
        assert!(announced(*b"\x06\0\0\0", 5).is_err());
        assert!(unpack::<Vec<u32>>(b"[1,").is_err());
    }
}
