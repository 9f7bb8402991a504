//! Messages over a pipe: the length in four bytes, low byte first, then JSON.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

/// No message is longer: a length beyond it is nonsense.
pub(crate) const MAX: u32 = 64 << 20;

/// A message with its length before it.
pub(crate) fn pack(message: &impl Serialize) -> io::Result<Vec<u8>> {
    framed(&serde_json::to_vec(message)?)
}

/// A body with its length before it.
pub(crate) fn framed(body: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(body.len()).ok().filter(|len| *len <= MAX);
    let len = len.ok_or_else(|| io::Error::other("the message is too long"))?;
    Ok([&len.to_le_bytes(), body].concat())
}

/// Takes the body of the first message off these bytes; `None` while not all of it is there.
pub(crate) fn first_of(bytes: &mut Vec<u8>, limit: u32) -> io::Result<Option<Vec<u8>>> {
    let Some(head) = bytes.first_chunk() else { return Ok(None) };
    let end = 4 + announced(*head, limit)?;
    if bytes.len() < end {
        return Ok(None);
    }
    let body = bytes[4..end].to_vec();
    bytes.drain(..end);
    Ok(Some(body))
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
    fn messages_are_taken_one_after_the_other() {
        let mut bytes =
            [pack(&1_u32).unwrap(), framed(b"").unwrap(), pack(&23_u32).unwrap()].concat();
        let cut = bytes.split_off(bytes.len() - 1);
        let mut next = |more: &[u8]| {
            bytes.extend(more);
            first_of(&mut bytes, MAX).unwrap()
        };
        assert_eq!(next(b"").as_deref(), Some(&b"1"[..]));
        assert_eq!(next(b"").as_deref(), Some(&b""[..]));
        assert_eq!((next(b""), next(b"")), (None, None));
        assert_eq!(next(&cut).as_deref(), Some(&b"23"[..]));
        assert!(first_of(&mut vec![0xff; 9], MAX).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(announced([0xff; 4], MAX).is_err());
        assert!(announced(*b"\x06\0\0\0", 5).is_err());
        assert!(unpack::<Vec<u32>>(b"[1,").is_err());
    }
}
