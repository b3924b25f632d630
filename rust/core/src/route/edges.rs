//! From a node and a text to the child, in one look into memory where most tables need two.
//!
//! In: tags, which are hashes of parent and text, and the children they belong to. Out: children. Slots lie in one array, a
//! child stands in the first free one from its tag's on, and a removal closes the gap: nothing is left to skip.

use super::tree::NONE;

/// Three quarters full is full.
const PARTS: usize = 4;

/// The table.
#[derive(Debug, Default)]
pub struct Edges {
    /// Tag and child, [`NONE`] for a free slot; a power of two of them, or none at all.
    slots: Vec<(u32, u32)>,
    length: usize,
}

impl Edges {
    /// The tag of a child: `hash` is that of its text.
    #[inline]
    pub fn tag(parent: u32, hash: u64) -> u32 {
        // An odd factor, so that the children of neighbours with the same text lie far apart.
        let mixed = hash ^ u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 32) as u32
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// The child with this tag that is the one looked for; [`NONE`] where there is none.
    #[inline]
    pub fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> u32 {
        if self.slots.is_empty() {
            return NONE;
        }
        let mut slot = tag as usize & (self.slots.len() - 1);
        loop {
            let (other, child) = self.slots[slot];
            if child == NONE || (other == tag && is_it(child)) {
                return child;
            }
            slot = self.after(slot);
        }
    }

    /// Adds a child that is not there.
    pub fn insert(&mut self, tag: u32, child: u32) {
        if (self.length + 1) * PARTS > self.slots.len() * (PARTS - 1) {
            let larger = vec![(0, NONE); (self.slots.len() * 2).max(8)];
            for (tag, child) in std::mem::replace(&mut self.slots, larger) {
                if child != NONE {
                    self.place(tag, child);
                }
            }
        }
        self.length += 1;
        self.place(tag, child);
    }

    fn place(&mut self, tag: u32, child: u32) {
        let mut slot = tag as usize & (self.slots.len() - 1);
        while self.slots[slot].1 != NONE {
            slot = self.after(slot);
        }
        self.slots[slot] = (tag, child);
    }

    /// Removes a child that is there.
    pub fn remove(&mut self, tag: u32, child: u32) {
        let mask = self.slots.len() - 1;
        let mut gap = tag as usize & mask;
        while self.slots[gap].1 != child {
            gap = self.after(gap);
        }
        self.length -= 1;
        let mut slot = self.after(gap);
        while self.slots[slot].1 != NONE {
            // Whoever would no longer be found behind the gap moves into it.
            let home = self.slots[slot].0 as usize & mask;
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(gap) & mask {
                self.slots[gap] = self.slots[slot];
                gap = slot;
            }
            slot = self.after(slot);
        }
        self.slots[gap].1 = NONE;
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(u32, u32)>()
    }
}
