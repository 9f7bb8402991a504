//! Recordings whose every frame has its right sum, whatever is in it: the sum keeps damage out, not
//! malice.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use overflow_common::RawEvent;
use overflow_core::{
    decode::Decoder,
    kernel::{Facts, Symbols},
    recording::{Frame, Header, Recorder, Recording},
};

/// A recording with these frames behind its header: each is a kind, two bytes of length, and as much
/// as there is. An `H` at the beginning is the header.
fn recording(mut bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    drop(Recorder::new(&mut file, &Header::default()).unwrap());
    let preamble = 16;
    if bytes.first() == Some(&b'H') {
        file.truncate(preamble);
    }
    while let [kind, low, high, rest @ ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, after) = rest.split_at(len);
        let mut frame = vec![*kind];
        frame.extend(u32::try_from(len).unwrap().to_le_bytes());
        frame.extend(payload);
        let sum = crc32fast::hash(&frame);
        file.extend(frame);
        file.extend(sum.to_le_bytes());
        bytes = after;
    }
    file
}

fuzz_target!(|bytes: &[u8]| {
    let file = recording(bytes);
    let Ok(mut recording) = Recording::read(Path::new("fuzz"), &*file) else { return };
    let header = recording.header();
    let facts = Facts {
        drop_reasons: header.drop_reasons.clone(),
        reset_reasons: header.reset_reasons.clone(),
        ..Facts::default()
    };
    let ranges = header.symbols.iter().map(|(from, to, name)| (*from, *to, name.as_str()));
    let mut decoder = Decoder::new(&facts, Symbols::from_ranges(ranges));
    let mut events: Vec<RawEvent> = Vec::new();
    loop {
        recording.next_events(&mut events);
        events.iter().for_each(|event| drop(decoder.decode(event)));
        match recording.next_frame() {
            Ok(Some(Frame::Event(event))) => drop(decoder.decode(&event)),
            Ok(Some(Frame::Inventory(found))) => {
                for listener in &found.listeners {
                    let _ = found.find(listener.netns, listener.local);
                    let _ = found.group(listener).count();
                    let _ = listener.owner.as_ref().map(|owner| owner.short(24));
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
});
