//! Where to listen: `[ADDR:]PORT`, on loopback unless an address is given.

use std::net::{Ipv4Addr, SocketAddr};

/// Reads `9464`, `:9464`, `localhost:9464`, `192.0.2.1:9464` or `[::]:9464`. Only an address opens
/// the port to others: elsewhere `:9464` means every address, which nobody should get by accident.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "expected a port, as in 9464, or an address with a port, as in 0.0.0.0:9464 or [::1]:9464"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_leaves_loopback() {
        let read = |text: &str| listen(text).map(|a| a.to_string());
        for loopback in ["9464", ":9464", "localhost:9464", "127.0.0.1:9464"] {
            assert_eq!(read(loopback).unwrap(), "127.0.0.1:9464");
        }
        for address in ["0.0.0.0:9464", "[::]:80", "192.0.2.1:1"] {
            assert_eq!(read(address).unwrap(), address);
        }
        for bad in ["", ":", "65536", "host:80", "::1:80:", "0.0.0.0", "http://127.0.0.1:80"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
