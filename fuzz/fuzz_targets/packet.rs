//! Captured packets, from their IP header on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overflow_core::capture::headers::tcp_segment;

fuzz_target!(|bytes: &[u8]| {
    if let Some(headers) = tcp_segment(0, bytes, bytes.len()) {
        // What the IP header says, or else how much there is.
        assert!(headers.packet.payload_len as usize <= bytes.len().max(0xffff));
    }
});
