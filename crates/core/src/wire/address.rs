//! Addresses in lines: as `Display` has them, without what it does for widths and alignment, which costs
//! more than all the rest of a short line.

use std::net::{SocketAddr, SocketAddrV4};

use serde::{Serialize, Serializer};

/// The longest: `255.255.255.255:65535`.
const LONGEST: usize = 21;

/// An address, for `serialize_with`.
pub(super) fn serialize<S: Serializer>(address: &SocketAddr, s: S) -> Result<S::Ok, S::Error> {
    match address {
        SocketAddr::V4(address) => {
            let mut text = [0; LONGEST];
            s.serialize_str(v4(*address, &mut text))
        }
        SocketAddr::V6(_) => address.serialize(s),
    }
}

/// One that may be `null`.
#[expect(clippy::ref_option, reason = "the signature serde calls")]
pub(super) fn serialize_option<S: Serializer>(
    address: &Option<SocketAddr>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serialize(address, s),
        None => s.serialize_none(),
    }
}

fn v4(address: SocketAddrV4, text: &mut [u8; LONGEST]) -> &str {
    let mut len = 0;
    for (octet, mark) in address.ip().octets().into_iter().zip(*b"...:") {
        let [digits @ .., count] = OCTETS[usize::from(octet)];
        // The mark takes the place of what is none of its digits.
        text[len..len + 3].copy_from_slice(&digits);
        len += usize::from(count);
        text[len] = mark;
        len += 1;
    }
    let mut port = itoa::Buffer::new();
    let port = port.format(address.port());
    text[len..len + port.len()].copy_from_slice(port.as_bytes());
    len += port.len();
    // Digits, points and a colon.
    std::str::from_utf8(&text[..len]).unwrap_or_default()
}

/// Up to three digits of each octet, and how many they are.
const OCTETS: [[u8; 4]; 256] = {
    let mut all = [[0; 4]; 256];
    let mut octet = 0_u8;
    loop {
        let [hundreds, tens, ones] =
            [octet / 100 + b'0', octet / 10 % 10 + b'0', octet % 10 + b'0'];
        all[octet as usize] = match octet {
            0..10 => [ones, 0, 0, 1],
            10..100 => [tens, ones, 0, 2],
            100.. => [hundreds, tens, ones, 3],
        };
        if octet == u8::MAX {
            break all;
        }
        octet += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_display_has_it() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let octets = [(); 4].map(|()| rng.u8(..) >> rng.u8(..8));
            let address = SocketAddr::from((octets, rng.u16(..) >> rng.u8(..16)));
            let json = serialize(&address, serde_json::value::Serializer).unwrap();
            assert_eq!(json, address.to_string());
        }
        let longest: SocketAddr = "255.255.255.255:65535".parse().unwrap();
        let six: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        for address in [longest, six] {
            let json = serialize_option(&Some(address), serde_json::value::Serializer).unwrap();
            assert_eq!(json, address.to_string());
        }
        assert!(serialize_option(&None, serde_json::value::Serializer).unwrap().is_null());
    }
}
