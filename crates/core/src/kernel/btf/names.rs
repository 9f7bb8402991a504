//! Types by their names.

/// Ids of the types that are asked for by name, by a hash of it. Names are compared in full after the
/// hash, so collisions cost time only. Nothing is sorted: of the time to attach, that took longer than
/// all that is asked.
#[derive(Clone)]
pub(super) struct Names {
    /// The first id with each hash, and the last one; 0 if there is none.
    ends: Vec<[u32; 2]>,
    /// By id, the next greater one with the same hash; 0 after the last.
    next: Vec<u32>,
}

impl Names {
    /// As many hashes as are told apart.
    const HASHES: usize = 1 << 16;

    pub(super) fn with_capacity(types: usize) -> Self {
        Self { ends: vec![[0; 2]; Self::HASHES], next: Vec::with_capacity(types) }
    }

    /// The next type, which is or is not to be found under `hash`.
    pub(super) fn push(&mut self, id: u32, hash: Option<u64>) {
        self.next.push(0);
        let Some(hash) = hash else { return };
        let [first, last] = &mut self.ends[Self::place(hash)];
        match self.next.get_mut(*last as usize) {
            Some(next) if *first != 0 => *next = id,
            _ => *first = id,
        }
        *last = id;
    }

    /// The ids whose names have this hash, in their order.
    pub(super) fn get(&self, hash: u64) -> impl Iterator<Item = u32> {
        let known = |id: u32| (id != 0).then_some(id);
        std::iter::successors(known(self.ends[Self::place(hash)][0]), move |&id| {
            known(self.next[id as usize])
        })
    }

    fn place(hash: u64) -> usize {
        // The upper bits: they are the ones that a multiplication mixes.
        let [first, second, ..] = hash.to_be_bytes();
        usize::from(u16::from_be_bytes([first, second]))
    }
}

/// Of a name's bytes, eight at a time, the last of them filled up with zeros.
pub(super) fn hash(name: &[u8]) -> u64 {
    let (words, rest) = name.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mixed(
        words.iter().fold(0, |h, word| mixed(h, u64::from_le_bytes(*word))),
        u64::from_le_bytes(last),
    )
}

fn mixed(hash: u64, word: u64) -> u64 {
    // The golden ratio's bits.
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// [`hash`] of the name at `at` of all names; `None` if it does not end in them.
pub(super) fn hash_at(names: &[u8], mut at: usize) -> Option<u64> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let mut hash = 0;
    while let Some(bytes) = names.get(at..)?.first_chunk::<8>() {
        let word = u64::from_le_bytes(*bytes);
        // The lowest bit of these is that of the first byte that is zero.
        let zeros = word.wrapping_sub(ONES) & !word & HIGH;
        if zeros != 0 {
            // All bits below that byte's.
            let before = (zeros & zeros.wrapping_neg()) >> 7;
            return Some(mixed(hash, word & (before - 1)));
        }
        hash = mixed(hash, word);
        at += 8;
    }
    let rest = names.get(at..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    let mut last = [0; 8];
    last[..end].copy_from_slice(&rest[..end]);
    Some(mixed(hash, u64::from_le_bytes(last)))
}
