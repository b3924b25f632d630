//! A fixed set of strings, looked up without allocating: one hash of three overlapping words, one comparison.

use crate::text::{same, word};

/// Maps the strings of a schema to their index. Built once, shared by all threads.
#[derive(Clone, Debug, Default)]
pub struct Table {
    factor: u64,
    shift: u32,
    /// Slot → entry + 1; 0 is empty.
    slots: Box<[u16]>,
    /// Entry → next entry of the same slot + 1.
    next: Box<[u16]>,
    entries: Box<[Box<[u8]>]>,
}

/// Strings of up to 2^16 - 2 entries fit a table; OCPP's largest enum has fewer than 100.
pub const CAPACITY: usize = u16::MAX as usize - 1;

impl Table {
    /// A table of distinct strings; the index of each is its position.
    ///
    /// # Panics
    /// When there are more than [`CAPACITY`].
    pub fn new<'a>(strings: impl IntoIterator<Item = &'a str>) -> Self {
        let entries: Box<[Box<[u8]>]> = strings.into_iter().map(|string| string.as_bytes().into()).collect();
        assert!(entries.len() <= CAPACITY, "a table holds at most {CAPACITY} strings");
        if entries.is_empty() {
            return Self::default();
        }
        let bits = (entries.len() * 2).next_power_of_two().trailing_zeros().max(1);
        let shift = 64 - bits;
        // A few odd factors are tried until no two strings share a slot; what is still shared is chained.
        let mut factor = 1;
        let mut fewest = usize::MAX;
        for seed in 0..64_u64 {
            let candidate = (0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * seed + 1)) | 1;
            let mut taken = vec![false; 1 << bits];
            let shared = entries
                .iter()
                .filter(|entry| std::mem::replace(&mut taken[slot(entry, candidate, shift)], true))
                .count();
            if shared < fewest {
                (factor, fewest) = (candidate, shared);
            }
            if fewest == 0 {
                break;
            }
        }
        let mut slots = vec![0_u16; 1 << bits];
        let mut next = vec![0_u16; entries.len()];
        for (index, entry) in entries.iter().enumerate().rev() {
            let head = &mut slots[slot(entry, factor, shift)];
            next[index] = std::mem::replace(head, index as u16 + 1);
        }
        Self { factor, shift, slots: slots.into(), next: next.into(), entries }
    }

    /// The index of `key`.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = *self.slots.get(slot(key, self.factor, self.shift))?;
        while at != 0 {
            let index = usize::from(at) - 1;
            if same(self.entries.get(index)?, key) {
                return Some(index);
            }
            at = *self.next.get(index)?;
        }
        None
    }

    /// How many strings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[inline]
fn slot(key: &[u8], factor: u64, shift: u32) -> usize {
    let length = key.len();
    let mixed = if length >= 8 {
        // First, last and middle eight bytes: names of one schema often differ in only one of the three.
        let first = word(key, 0).unwrap_or(0);
        let last = word(key, length - 8).unwrap_or(0);
        let middle = word(key, length / 2 - 4).unwrap_or(0);
        first ^ last.rotate_left(21) ^ middle.rotate_left(42)
    } else {
        key.iter().fold(0, |mixed, &byte| mixed << 8 | u64::from(byte))
    };
    ((mixed ^ (length as u64) << 56).wrapping_mul(factor) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_found_and_no_other() {
        let strings = [
            "",
            "a",
            "b",
            "Energy.Active.Import.Register",
            "Energy.Active.Export.Register",
            "unit",
            "value",
            "L1",
            "L2",
            "L1-N",
        ];
        let table = Table::new(strings);
        for (index, string) in strings.iter().enumerate() {
            assert_eq!(table.find(string.as_bytes()), Some(index));
        }
        for other in ["c", "values", "Energy.Active.Import.Registeq", "L3", "Unit"] {
            assert_eq!(table.find(other.as_bytes()), None);
        }
        assert_eq!(Table::new([]).find(b""), None);
    }
}
