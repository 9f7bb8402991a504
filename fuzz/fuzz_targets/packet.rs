//! Captured packets.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(packet) = overflow_lab::fuzzing::packet(bytes) {
        assert!(packet.payload_len as usize <= bytes.len());
    }
});
