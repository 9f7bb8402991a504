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
    let mut put = |byte: u8| {
        text[len] = byte;
        len += 1;
    };
    for (octet, mark) in address.ip().octets().into_iter().zip(*b"...:") {
        digits(octet.into(), &mut put);
        put(mark);
    }
    digits(address.port(), &mut put);
    // Digits, points and a colon.
    std::str::from_utf8(&text[..len]).unwrap_or_default()
}

/// Digit by digit: quicker than copying so few.
fn digits(number: u16, put: &mut impl FnMut(u8)) {
    let mut begun = false;
    for unit in [10_000, 1000, 100, 10, 1] {
        begun |= number >= unit || unit == 1;
        if begun {
            put(b'0' + (number / unit % 10).to_le_bytes()[0]);
        }
    }
}

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
