//! Files made by hand, in both byte orders, as others write them and as nobody should.

use std::fmt::Write as _;

use crate::capture::file::{FileError, Reader};

/// The end mark of a list of options.
const END: &[u8] = &[0; 4];

/// Writes blocks in one byte order.
#[derive(Clone, Copy)]
struct Order {
    big_endian: bool,
}

const BOTH: [Order; 2] = [Order { big_endian: true }, Order { big_endian: false }];

impl Order {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u32(self, n: u32) -> [u8; 4] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u64(self, n: u64) -> [u8; 8] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn block(self, kind: u32, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let length = self.u32(u32::try_from(body.len()).unwrap() + 12);
        [&self.u32(kind)[..], &length, &body, &length].concat()
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = self.u16(value.len().try_into().unwrap());
        [&self.u16(code)[..], &length, &padded(value)].concat()
    }

    fn section(self, options: &[u8]) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        let order = self.u32(0x1a2b_3c4d);
        self.block(0x0a0d_0d0a, &[&order, &version, &self.u64(u64::MAX), options])
    }

    fn interface(self, snaplen: u32, options: &[u8]) -> Vec<u8> {
        self.block(1, &[&self.u16(101), &[0; 2], &self.u32(snaplen), options])
    }

    fn time(self, units: u64) -> [[u8; 4]; 2] {
        [units >> 32, units & 0xffff_ffff].map(|half| self.u32(half.try_into().unwrap()))
    }

    fn packet(self, interface: u32, units: u64, data: &[u8], options: &[u8]) -> Vec<u8> {
        let length = self.u32(data.len().try_into().unwrap());
        let head = [self.u32(interface), self.time(units)[0], self.time(units)[1], length, length];
        self.block(6, &[&head.concat(), &padded(data), options])
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What is read of a file: number, interface and its name, time, data, comment; at last what stopped it.
fn read(blocks: &[Vec<u8>]) -> String {
    let bytes = blocks.concat();
    let mut text = String::new();
    let mut reader = match Reader::new(&bytes[..]) {
        Ok(reader) => reader,
        Err(error) => return format!("{error}"),
    };
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                let interface = frame.interface as usize;
                let data = String::from_utf8_lossy(frame.data).into_owned();
                let comment = frame.comment.replace('\n', "/");
                write!(text, "{}:{}:{data}:{comment}", frame.number, frame.t_ns).unwrap();
                let name = reader.interfaces().get(interface).and_then(|i| i.name.clone());
                write!(text, "@{interface}{} ", name.unwrap_or_default()).unwrap();
            }
            Ok(None) => return text.trim_end().to_owned(),
            Err(FileError::Damaged { packets, why }) => return format!("{text}{packets} {why}"),
            Err(error) => return format!("{text}{error}"),
        }
    }
}

#[test]
fn a_list_of_options_may_end_with_its_block() {
    for o in BOTH {
        let name = o.option(2, b"eth0");
        let comment = o.option(1, b"seen");
        for end in [&[], END] {
            let told = read(&[
                o.section(&[&o.option(4, b"by hand"), end].concat()),
                o.interface(0, &[&name, end].concat()),
                o.packet(0, 7, b"abcde", &[&comment, end].concat()),
                // isb_osdrop
                o.block(5, &[&[0; 12], &o.option(7, &o.u64(0)), end]),
                o.packet(0, 8, b"f", &[]),
            ]);
            assert_eq!(told, "1:7000:abcde:seen@0eth0 2:8000:f:@0eth0");
        }
    }
}

#[test]
fn what_nobody_asks_for_refuses_no_file() {
    for o in BOTH {
        // A time zone of four bytes as in the format, one of two; a name and a comment that are no UTF-8.
        let options =
            [o.option(10, &[0; 4]), o.option(10, &[0; 2]), o.option(2, b"e\xff"), END.to_vec()];
        let comments =
            [o.option(1, b"caf\xe9"), o.option(1, b"two"), o.option(2988, b"x")].concat();
        let told = read(&[
            o.section(&[]),
            o.block(0x0bad, &[&vec![0; 20 << 20]]),
            // Hosts' names without their end.
            o.block(4, &[&o.option(1, &[10, 7, 0, 1, b'a', 0])]),
            o.interface(0, &options.concat()),
            o.packet(0, 7, b"a", &comments),
        ]);
        assert_eq!(told, "1:7000:a:caf\u{fffd}/two@0e\u{fffd}");
    }
}

#[test]
fn times_are_in_the_units_of_their_interface_from_its_offset_on() {
    for o in BOTH {
        let offset = |s: i64| o.option(14, &o.u64(s.cast_unsigned()));
        let told = read(&[
            o.section(&[]),
            o.interface(0, &o.option(9, &[9])),
            o.interface(0, &o.option(9, &[0x81])),
            o.interface(0, &offset(-3)),
            o.interface(0, &offset(2)),
            o.packet(0, (1 << 32) + 5, b"a", &[]),
            o.packet(1, 3, b"b", &[]),
            o.packet(2, 5_000_000, b"c", &[]),
            o.packet(2, 1_000_000, b"d", &[]),
            o.packet(3, 1, b"e", &[]),
        ]);
        let expected =
            "1:4294967301:a:@0 2:1500000000:b:@1 3:2000000000:c:@2 4:0:d:@2 5:2000001000:e:@3";
        assert_eq!(told, expected);
    }
}

#[test]
fn packets_of_the_older_blocks_are_read() {
    for o in BOTH {
        let lengths = [o.u32(3), o.u32(3)].concat();
        let obsolete = [&o.u16(0)[..], &o.u16(u16::MAX), &o.time((1 << 32) + 1).concat(), &lengths];
        let told = read(&[
            o.section(&[]),
            o.interface(4, &o.option(9, &[9])),
            o.block(2, &[&obsolete.concat(), b"abc\0"]),
            o.block(3, &[&o.u32(3), b"def\0"]),
            // Cut by the interface's snaplen.
            o.block(3, &[&o.u32(9), b"ghij"]),
        ]);
        assert_eq!(told, "1:4294967297:abc:@0 2:4294967297:def:@0 3:4294967297:ghij:@0");
    }
}

#[test]
fn a_section_has_its_own_byte_order_and_interfaces() {
    for (a, b) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let told = read(&[
            a.section(&[]),
            a.interface(0, &a.option(2, b"a")),
            a.packet(0, 1, b"x", &[]),
            b.section(&[]),
            b.interface(0, &b.option(2, b"b")),
            b.packet(0, 2, b"y", &[]),
        ]);
        assert_eq!(told, "1:1000:x:@0a 2:2000:y:@1b");
    }
}

#[test]
fn bytes_that_make_no_sense_end_it_and_are_named() {
    for o in BOTH {
        let begin = [o.section(&[]), o.interface(0, &[]), o.packet(0, 1, b"x", &[])];
        let after = |bytes: Vec<u8>| {
            let told = read(&[&begin[..], &[bytes]].concat());
            told.strip_prefix("1:1000:x:@0 ").expect(&told).to_owned()
        };
        let too_short = "1 a block too short for what it holds";
        assert_eq!(after(vec![0; 12]), "1 a block shorter than its own head");
        assert_eq!(after(vec![0; 7]), "it is cut off after 1 packets");
        assert_eq!(
            after(o.packet(0, 1, b"abc", &[])[..30].to_vec()),
            "it is cut off after 1 packets"
        );
        assert_eq!(after(o.packet(0, 1, b"", &[0xff; 4])), "1 an option longer than its block");
        assert_eq!(after(o.block(6, &[&[0; 16]])), too_short);
        assert_eq!(after(o.block(6, &[])), too_short);
        let mut differs = o.packet(0, 1, b"abc", &[]);
        let end = differs.len() - 4;
        differs[end..].copy_from_slice(&o.u32(40));
        assert_eq!(after(differs), "1 a block whose two lengths differ");
        let huge = [o.u32(6), o.u32(0x7fff_fffc), o.u32(0)].concat();
        assert_eq!(after(huge), "1 a block of more than 16 MiB");
        assert_eq!(
            read(&[o.block(0x0a0d_0d0a, &[&[0; 16]])]),
            "it is damaged after 0 packets: \
            a section without its byte order"
        );
    }
}
