//! A hand-made blob with what makes kernels hard: nesting, anonymous members, bitfields.

use super::*;

#[derive(Default)]
struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    fn name(&mut self, s: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if s.is_empty() {
            return 0;
        }
        let at = word(self.strings.len());
        self.strings.extend(s.as_bytes());
        self.strings.push(0);
        at
    }

    fn ty(&mut self, name: &str, kind: u8, kflag: bool, size: u32, words: &[u32], vlen: u32) {
        let name = self.name(name);
        let info = u32::from(kflag) << 31 | u32::from(kind) << 24 | vlen;
        for word in [name, info, size].iter().chain(words) {
            self.types.extend(word.to_le_bytes());
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0x9f, 0xeb, 1, 0];
        let (t, s) = (word(self.types.len()), word(self.strings.len()));
        for word in [24, 0, t, t, s] {
            out.extend(u32::to_le_bytes(word));
        }
        out.extend(&self.types);
        out.extend(&self.strings);
        out
    }
}

fn word(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// A bitfield member's offset: width in the upper byte, then the bit offset.
const fn bitfield(width: u32, bit: u32) -> u32 {
    (width << 24) | bit
}

fn sample() -> Blob {
    let mut b = Blob::default();
    b.ty("u32", kind::INT, false, 4, &[32], 0); // 1
    b.ty("u8", kind::INT, false, 1, &[8], 0); // 2
    let (port, flags, timeout) = (b.name("port"), b.name("flags"), b.name("num_timeout"));
    // 3: anonymous struct { u32 port; }
    b.ty("", kind::STRUCT, false, 4, &[port, 1, 0], 1);
    // 4: struct inner { <anonymous 3>; u8 flags:1 at bit 33; u8 num_timeout:7 at bit 41 }
    b.ty(
        "inner",
        kind::STRUCT,
        true,
        8,
        &[0, 3, 0, flags, 2, bitfield(1, 33), timeout, 2, bitfield(7, 41)],
        3,
    );
    let common = b.name("common");
    // 5: struct outer { u32 (8 bytes); inner common at 8 }
    b.ty("outer", kind::STRUCT, false, 16, &[common, 4, 64], 1);
    b.ty("", kind::PTR, false, 4, &[], 0); // 6: struct inner *
    // 7: proto (u32, struct inner *, enum why), nameless as a tracepoint's
    b.ty("", kind::FUNC_PROTO, false, 1, &[0, 1, 0, 6, 0, 12], 3);
    b.ty("", kind::PTR, false, 7, &[], 0); // 8
    b.ty("btf_trace_t", kind::TYPEDEF, false, 8, &[], 0); // 9
    b.ty("f", kind::FUNC, false, 7, &[], 0); // 10
    let (one, two) = (b.name("TCP_ONE"), b.name("TCP_TWO"));
    b.ty("", kind::ENUM, false, 4, &[one, 1, two, 2], 2); // 11
    b.ty("why", kind::ENUM, false, 4, &[one, 1], 1); // 12
    b
}

#[test]
fn finds_nested_anonymous_and_bitfield_members() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    assert_eq!(btf.field("inner", "port").unwrap(), Some(Field::whole(0, 4)));
    assert_eq!(btf.field("outer", "common.port").unwrap(), Some(Field::whole(8, 4)));
    assert_eq!(btf.field("outer", "common.flags").unwrap(), Some(Field::bits(12, 1, 1, 1)));
    assert_eq!(btf.field("outer", "common.num_timeout").unwrap(), Some(Field::bits(13, 1, 1, 7)));
    assert_eq!(btf.field("outer", "common").unwrap(), Some(Field::whole(8, 8)));
    assert_eq!(btf.field("outer", "common.absent").unwrap(), None);
    assert_eq!(btf.field("absent", "port").unwrap(), None);
}

#[test]
fn finds_slots_and_enumerators() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    assert_eq!(btf.slot("f", "return").unwrap(), Slot(3));
    assert_eq!(btf.slot("f", "struct inner *").unwrap(), Slot(1));
    assert_eq!(btf.slot("btf_trace_t", "struct inner *").unwrap(), Slot(0));
    assert_eq!(btf.slot("btf_trace_t", "enum why").unwrap(), Slot(1));
    assert_eq!(btf.slot("btf_trace_t", "struct sock *").unwrap(), Slot::MISSING);
    assert_eq!(btf.slot("absent", "return").unwrap(), Slot::MISSING);
    assert_eq!(btf.anonymous_enumerator("TCP_TWO").unwrap(), Some(2));
    assert!(btf.function("f").is_some() && btf.function("g").is_none());
}

#[test]
fn names_of_every_length_are_found_wherever_they_lie() {
    let names: Vec<String> = (1..=40).map(|length| "abcdefgh".repeat(5)[..length].into()).collect();
    for padding in 0..9 {
        let mut b = Blob::default();
        b.ty(&"x".repeat(padding), kind::INT, false, 4, &[32], 0);
        for name in &names {
            b.ty(name, kind::FUNC, false, 1, &[], 0);
        }
        let btf = Btf::parse(b.bytes()).unwrap();
        for (id, name) in (2..).zip(&names) {
            assert_eq!(btf.function(name), Some(id), "{name}");
        }
        assert_eq!(btf.function(&"x".repeat(padding)), None);
        assert_eq!(btf.function(""), None);
    }
}

#[test]
fn of_types_with_one_name_the_first_is_found() {
    let mut b = sample();
    b.ty("f", kind::FUNC, false, 7, &[], 0);
    assert_eq!(Btf::parse(b.bytes()).unwrap().function("f"), Some(10));
}

#[test]
fn structures_that_disagree_are_refused() {
    let mut b = sample();
    let port = b.name("port");
    b.ty("inner", kind::STRUCT, false, 8, &[port, 1, 32], 1);
    let btf = Btf::parse(b.bytes()).unwrap();
    assert!(matches!(btf.field("inner", "port"), Err(BtfError::Ambiguous { count: 2, .. })));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let good = sample().bytes();
    for length in 0..good.len() {
        let _ = Btf::parse(good[..length].to_vec());
    }
    // Every single byte set to every extreme: parse and ask everything.
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            if let Ok(btf) = Btf::parse(bad) {
                let _ = btf.field("outer", "common.num_timeout");
                let _ = btf.slot("f", "return");
                let _ = btf.slot("btf_trace_t", "enum why");
                let _ = btf.anonymous_enumerator("TCP_TWO");
                let _ = btf.enumerators("inner");
            }
        }
    }
    assert_eq!(Btf::parse(vec![0xeb, 0x9f, 0, 1, 0, 0, 0, 24]).err(), Some(BtfError::ByteOrder));
}
