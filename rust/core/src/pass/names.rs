//! The names of members that no schema knows.

use std::collections::HashSet;

use crate::text::same;

/// A member's name: where it stands, or what its escapes stand for.
pub(super) enum Name {
    Plain(usize, usize),
    Unescaped(Box<[u8]>),
}

impl Name {
    pub(super) fn bytes<'n>(&'n self, text: &'n [u8]) -> &'n [u8] {
        match self {
            Self::Plain(start, end) => &text[*start..*end],
            Self::Unescaped(bytes) => bytes,
        }
    }
}

/// The names an open object has had so far: a short list, then a set.
#[derive(Default)]
pub(super) struct Names {
    few: Vec<Box<[u8]>>,
    many: HashSet<Box<[u8]>>,
}

impl Names {
    const FEW: usize = 16;

    /// Whether the name is new.
    pub(super) fn insert(&mut self, name: &[u8]) -> bool {
        if self.many.is_empty() {
            if self.few.iter().any(|known| same(known, name)) {
                return false;
            }
            if self.few.len() < Self::FEW {
                self.few.push(name.into());
                return true;
            }
            self.many = self.few.drain(..).collect();
        }
        self.many.insert(name.into())
    }
}
