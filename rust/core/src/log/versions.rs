//! Which version a station speaks.
//!
//! A frame that some versions take and others refuse is evidence for those that take it. While a station is new, all
//! versions judge its frames; once one of them has [`SETTLED`] such frames, it judges alone. Versions with as many frames
//! as the best one have not been told apart from it: they are asked where it refuses. A `BootNotification` that only another
//! version takes begins it all anew: the station has been updated.

use super::Use;
use crate::table::Table;
use crate::version::Version;

/// Versions a linter may have.
pub const VERSIONS: usize = 3;

/// Frames of evidence that settle a station's version.
const SETTLED: u32 = 4;

/// The names of a version's actions.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    /// Of CALLs.
    pub calls: Vec<Box<str>>,
    /// Of CALLRESULTs.
    pub results: Vec<Box<str>>,
    /// Of SENDs.
    pub sends: Vec<Box<str>>,
}

impl Actions {
    /// The names of one use.
    #[must_use]
    pub fn of(&self, usage: Use) -> &[Box<str>] {
        match usage {
            Use::Call => &self.calls,
            Use::Result => &self.results,
            Use::Send => &self.sends,
        }
    }
}

/// A version and its actions, ready to be looked up.
#[derive(Debug)]
pub(super) struct Book {
    pub version: Version,
    pub calls: Table,
    pub sends: Table,
    pub results: Vec<Box<str>>,
    /// CALL of this version → CALL of all versions.
    shared: Vec<u16>,
    /// CALL of all versions → CALLRESULT of this one.
    answers: Vec<Option<u16>>,
}

impl Book {
    pub fn new(version: Version, actions: &Actions, all: &Table) -> Self {
        let table = |names: &[Box<str>]| Table::new(names.iter().map(|name| &**name));
        let shared = |name: &str| all.find(name.as_bytes());
        let mut answers = vec![None; all.len()];
        for (index, name) in actions.results.iter().enumerate() {
            if let Some(call) = shared(name) {
                answers[call] = Some(index as u16);
            }
        }
        Self {
            version,
            calls: table(&actions.calls),
            sends: table(&actions.sends),
            results: actions.results.clone(),
            shared: actions.calls.iter().map(|name| shared(name).unwrap_or_default() as u16).collect(),
            answers,
        }
    }

    /// The action of all versions that is this version's.
    #[inline]
    pub fn shared(&self, call: usize) -> u16 {
        self.shared[call]
    }

    /// This version's CALLRESULT for a CALL of any version.
    #[inline]
    pub fn answer(&self, call: u16) -> Option<usize> {
        (*self.answers.get(usize::from(call))?).map(usize::from)
    }
}

/// The evidence for each version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scores([u32; VERSIONS]);

impl Scores {
    /// Whether the version of a station is known.
    #[inline]
    pub fn settled(self) -> bool {
        self.0.iter().any(|&score| score >= SETTLED)
    }

    /// The version with the most evidence, the first of equals; None without any.
    #[inline]
    pub fn best(self) -> Option<usize> {
        let most = self.0.into_iter().max().filter(|&most| most > 0)?;
        self.0.iter().position(|&score| score == most)
    }

    /// Takes in who took a frame; says whether that told any of them apart.
    pub fn add(&mut self, goods: &[bool]) -> bool {
        let told_apart = goods.contains(&true) && goods.contains(&false);
        if told_apart {
            self.give(goods);
        }
        told_apart
    }

    /// The same where the best one, which was sure, refused; `anew`: what was known is forgotten.
    pub fn overtake(&mut self, goods: &[bool], anew: bool) -> bool {
        let taken = goods.contains(&true);
        if taken {
            if anew {
                *self = Self::default();
            }
            self.give(goods);
        }
        taken
    }

    fn give(&mut self, goods: &[bool]) {
        for (score, &good) in self.0.iter_mut().zip(goods) {
            *score = score.saturating_add(u32::from(good));
        }
    }

    /// The versions that are as likely as the best one.
    pub fn rivals(self, best: usize, versions: usize) -> Vec<usize> {
        (0..versions).filter(|&version| version != best && self.0[version] == self.0[best]).collect()
    }
}
