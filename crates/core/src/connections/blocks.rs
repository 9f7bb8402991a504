//! Memory in blocks of one size, so that what is remembered is bounded to the byte and nothing is
//! lost between pieces of different sizes. A block is named by its number.

use std::{iter, mem};

/// A block's number; fits into three bytes.
pub type Id = u32;

/// No block.
pub(super) const NONE: Id = 0x00ff_ffff;

/// Bytes of a block: the head and two events of a half-open connection over IPv4.
pub(crate) const BLOCK: usize = 46;

/// Bytes of the head of what begins in a block, for this module's callers to use.
pub(super) const HEAD: usize = 12;

/// After the head, how long the text is: 12 bits, and 4 bits for the callers.
const LENGTH: usize = HEAD;
const TEXT: usize = HEAD + 2;
const LENGTH_BITS: u16 = 0x0fff;

/// Where the number of the next block is, if the text does not end in this one.
const NEXT: usize = BLOCK - 3;

/// Blocks are asked of the system so many at a time: 736 KiB.
const AT_A_TIME: usize = 1 << 14;

type Block = [u8; BLOCK];

/// The blocks.
pub(super) struct Blocks {
    pieces: Vec<Box<[Block]>>,
    /// Blocks from here on were never used.
    fresh: Id,
    /// The first block that was given back; it names the next.
    free: Id,
    used: usize,
    most: usize,
}

impl Blocks {
    /// No text is longer, in bytes.
    pub(super) const LONGEST: usize = LENGTH_BITS as usize;

    /// At most so many blocks, less than [`NONE`].
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(NONE as usize);
        Self { pieces: Vec::new(), fresh: 0, free: NONE, used: 0, most }
    }

    /// How many blocks there still are.
    pub(super) fn left(&self) -> usize {
        self.most - self.used
    }

    /// How many blocks a text of `length` bytes fills.
    pub(super) const fn needed(length: usize) -> usize {
        match length.checked_sub(BLOCK - TEXT) {
            None | Some(0) => 1,
            // All but the last lose three bytes to the next one's number.
            Some(_) => 2 + (length - (NEXT - TEXT)).saturating_sub(BLOCK).div_ceil(NEXT),
        }
    }

    /// A block with an empty text. There must be one left.
    pub(super) fn take(&mut self) -> Id {
        assert!(self.used < self.most, "a block is taken only while one is left");
        self.used += 1;
        let id = if self.free == NONE {
            let id = self.fresh;
            if id as usize == self.pieces.len() * AT_A_TIME {
                self.pieces.push(vec![[0; BLOCK]; AT_A_TIME].into_boxed_slice());
            }
            self.fresh += 1;
            id
        } else {
            let id = self.free;
            self.free = number(self.block(id), 0);
            id
        };
        *self.block_mut(id) = [0; BLOCK];
        id
    }

    /// Gives back a block with the rest of its text.
    pub(super) fn give(&mut self, id: Id) {
        let rest: Vec<Id> = self.chain(id).skip(1).collect();
        for id in rest.into_iter().chain([id]) {
            self.give_one(id);
        }
    }

    /// The head.
    pub(super) fn head(&self, id: Id) -> &[u8] {
        &self.block(id)[..HEAD]
    }

    /// The head, to be changed.
    pub(crate) fn head_mut(&mut self, id: Id) -> &mut [u8] {
        &mut self.block_mut(id)[..HEAD]
    }

    /// Four bits that are kept with the head.
    pub(super) fn flags(&self, id: Id) -> u8 {
        (self.length_word(id) >> 12).to_le_bytes()[0]
    }

    /// Sets them.
    pub(crate) fn set_flags(&mut self, id: Id, flags: u8) {
        let word = u16::from(flags & 0xf) << 12 | self.length_word(id) & LENGTH_BITS;
        self.set_length_word(id, word);
    }

    /// The text, put together in `buffer` if it is in several blocks.
    pub(super) fn text<'a>(&'a self, id: Id, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let length = self.length(id);
        let first = &self.block(id)[TEXT..];
        if length <= first.len() {
            return &first[..length];
        }
        buffer.clear();
        buffer.extend_from_slice(&self.block(id)[TEXT..NEXT]);
        for id in self.chain(id).skip(1) {
            let left = length - buffer.len();
            let here = if left > BLOCK { NEXT } else { left };
            buffer.extend_from_slice(&self.block(id)[..here]);
        }
        buffer
    }

    /// The text's beginning, as much of it as is in the first block, or more bytes than it has.
    pub(super) fn beginning(&self, id: Id) -> &[u8] {
        &self.block(id)[TEXT..]
    }

    /// Puts more at the end of the text. There must be as many blocks left as [`Self::set_text`]
    /// needs for all of it.
    pub(crate) fn push_text(&mut self, id: Id, more: &[u8], buffer: &mut Vec<u8>) {
        let length = self.length(id);
        if length + more.len() <= BLOCK - TEXT {
            let at = TEXT + length;
            self.block_mut(id)[at..at + more.len()].copy_from_slice(more);
            self.set_length(id, length + more.len());
            return;
        }
        let mut all = mem::take(buffer);
        if length <= BLOCK - TEXT {
            all.clear();
            all.extend_from_slice(&self.block(id)[TEXT..TEXT + length]);
        } else {
            self.text(id, &mut all);
        }
        all.extend_from_slice(more);
        self.set_text(id, &all);
        *buffer = all;
    }

    /// Replaces the text. There must be [`Self::needed`] blocks, those counted that it has now.
    pub(crate) fn set_text(&mut self, id: Id, text: &[u8]) {
        let mut blocks: Vec<Id> = Vec::new();
        if self.length(id) > BLOCK - TEXT {
            blocks.extend(self.chain(id).skip(1));
        }
        self.set_length(id, text.len());
        if text.len() <= BLOCK - TEXT {
            self.block_mut(id)[TEXT..TEXT + text.len()].copy_from_slice(text);
            for id in blocks {
                self.give_one(id);
            }
            return;
        }
        let (here, mut text) = text.split_at(NEXT - TEXT);
        self.block_mut(id)[TEXT..NEXT].copy_from_slice(here);
        let mut at = id;
        let mut had = blocks.into_iter();
        while !text.is_empty() {
            let next = had.next().unwrap_or_else(|| self.take());
            set_number(self.block_mut(at), NEXT, next);
            let (here, rest) = text.split_at(if text.len() > BLOCK { NEXT } else { text.len() });
            self.block_mut(next)[..here.len()].copy_from_slice(here);
            (at, text) = (next, rest);
        }
        for id in had {
            self.give_one(id);
        }
    }

    /// The blocks of a text in order.
    fn chain(&self, id: Id) -> impl Iterator<Item = Id> {
        let count = Self::needed(self.length(id));
        iter::successors(Some(id), |id| Some(number(self.block(*id), NEXT))).take(count)
    }

    fn length(&self, id: Id) -> usize {
        usize::from(self.length_word(id) & LENGTH_BITS)
    }

    fn set_length(&mut self, id: Id, length: usize) {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        assert!(length <= LENGTH_BITS, "a text is at most {LENGTH_BITS} bytes long");
        let flags = self.length_word(id) & !LENGTH_BITS;
        self.set_length_word(id, flags | length);
    }

    fn length_word(&self, id: Id) -> u16 {
        let block = self.block(id);
        u16::from_le_bytes([block[LENGTH], block[LENGTH + 1]])
    }

    fn set_length_word(&mut self, id: Id, word: u16) {
        self.block_mut(id)[LENGTH..TEXT].copy_from_slice(&word.to_le_bytes());
    }

    fn give_one(&mut self, id: Id) {
        let free = self.free;
        set_number(self.block_mut(id), 0, free);
        self.free = id;
        self.used -= 1;
    }

    fn block(&self, id: Id) -> &Block {
        &self.pieces[id as usize / AT_A_TIME][id as usize % AT_A_TIME]
    }

    fn block_mut(&mut self, id: Id) -> &mut Block {
        &mut self.pieces[id as usize / AT_A_TIME][id as usize % AT_A_TIME]
    }
}

/// The number in the three bytes from `at` on.
pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0])
}

/// Puts a number there.
pub(crate) fn set_number(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 3].copy_from_slice(&number.to_le_bytes()[..3]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_come_back_and_leave_nothing() {
        let mut blocks = Blocks::new(200);
        let mut buffer = Vec::new();
        let other = blocks.take();
        blocks.set_text(other, b"other");
        let id = blocks.take();
        blocks.set_flags(id, 0b1010);
        blocks.head_mut(id).fill(7);
        for length in (0..2000).chain((0..2000).rev()).chain([Blocks::LONGEST, 33, 0]) {
            let text: Vec<u8> = (0..=250).cycle().take(length).collect();
            blocks.set_text(id, &text);
            assert_eq!(blocks.text(id, &mut buffer), text);
            assert_eq!(200 - blocks.left(), 1 + Blocks::needed(length), "{length}");
            assert_eq!((blocks.flags(id), blocks.head(id)), (0b1010, &[7; HEAD][..]));
        }
        let mut whole = Vec::new();
        for length in (0..40).chain(0..40) {
            whole.resize(whole.len() + length, 7);
            blocks.push_text(id, &vec![7; length], &mut buffer);
            assert_eq!(blocks.text(id, &mut buffer), whole);
        }
        blocks.give(id);
        assert_eq!((blocks.left(), blocks.text(other, &mut buffer)), (199, &b"other"[..]));
    }
}
