//! Every different level of the filters, once, with a number.
//!
//! In: the texts of levels. Out: numbers, the same for the same bytes. A text that nobody uses any more is given back, and
//! its number with it.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// What fits is kept in place: one look into memory, no allocation.
const SHORT: usize = 22;

#[derive(Debug)]
enum Text {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Text {
    fn new(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT {
            return Self::Long(bytes.into());
        }
        let mut short = [0; SHORT];
        short[..bytes.len()].copy_from_slice(bytes);
        Self::Short(bytes.len() as u8, short)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, short) => &short[..usize::from(*length)],
            Self::Long(long) => long,
        }
    }
}

#[derive(Debug)]
struct Segment {
    text: Text,
    uses: u32,
}

/// The texts in use.
#[derive(Debug, Default)]
pub struct Segments {
    kept: Vec<Segment>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Segments {
    /// The hash of a text, in use or not; another one in every router, so that nobody can choose texts that collide.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    /// Whether the text of a number in use is this one.
    #[inline]
    pub fn is(&self, number: u32, bytes: &[u8]) -> bool {
        self.kept[number as usize].text.bytes() == bytes
    }

    /// The number of a text that is used once more from now on.
    pub fn take(&mut self, bytes: &[u8]) -> u32 {
        let found = self.numbers.find(self.hash(bytes), |number| self.is(*number, bytes)).copied();
        if let Some(number) = found {
            self.kept[number as usize].uses += 1;
            return number;
        }
        let segment = Segment { text: Text::new(bytes), uses: 1 };
        let number = if let Some(number) = self.free.pop() {
            self.kept[number as usize] = segment;
            number
        } else {
            self.kept.push(segment);
            u32::try_from(self.kept.len() - 1).expect("memory ends before the numbers do")
        };
        let (kept, hasher) = (&self.kept, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(kept[*number as usize].text.bytes());
        self.numbers.insert_unique(hasher.hash_one(bytes), number, hash);
        number
    }

    /// Gives one use of a number back.
    pub fn release(&mut self, number: u32) {
        let segment = &mut self.kept[number as usize];
        segment.uses -= 1;
        if segment.uses > 0 {
            return;
        }
        let text = std::mem::replace(&mut segment.text, Text::new(b""));
        if let Ok(entry) = self.numbers.find_entry(self.hasher.hash_one(text.bytes()), |other| *other == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    /// The text of a number in use.
    pub fn text(&self, number: u32) -> &str {
        std::str::from_utf8(self.kept[number as usize].text.bytes()).expect("levels of a text are text")
    }

    /// How many different texts there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        let long = |segment: &Segment| if let Text::Long(long) = &segment.text { long.len() } else { 0 };
        self.kept.capacity() * size_of::<Segment>()
            + self.kept.iter().map(long).sum::<usize>()
            + self.free.capacity() * 4
            + self.numbers.allocation_size()
    }
}
