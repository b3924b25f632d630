//! Calls that wait for their answer: the last so many of them, in constant time and memory.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::line::{Direction, Origin};
use crate::version::kind;

/// A call's station, direction and message id, hashed with keys of this process: nobody can aim at a collision, and a
/// chance one (2⁻⁶⁴ a pair) judges one answer by another call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(u64);

impl Key {
    /// The key of a call, or of the call that an answer belongs to: it went the other way.
    #[inline]
    pub fn new(pairs: &Pairs, origin: Origin<'_>, kind: u8, id: &[u8]) -> Self {
        let direction = match (kind, origin.direction) {
            (_, Direction::Unknown) => 0_u8,
            (kind::CALL, Direction::In) => 1,
            (kind::CALL, Direction::Out) => 2,
            (_, Direction::In) => 2,
            (_, Direction::Out) => 1,
        };
        let mut hasher = pairs.random.build_hasher();
        hasher.write_u32(origin.station.len() as u32 * 4 + u32::from(direction));
        hasher.write(origin.station);
        hasher.write(id);
        Self(hasher.finish())
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// The open calls.
#[derive(Debug)]
pub(super) struct Pairs {
    random: RandomState,
    most: usize,
    /// Key → action and turn.
    open: HashMap<u64, (u16, u64), BuildHasherDefault<AsItIs>>,
    /// Keys by turn; those answered or asked again since are passed over.
    turns: VecDeque<(u64, u64)>,
    turn: u64,
}

impl Pairs {
    /// The action of a call whose action the version does not have.
    pub const UNKNOWN: u16 = u16::MAX;

    pub fn new(most: usize) -> Self {
        Self { random: RandomState::new(), most, open: HashMap::default(), turns: VecDeque::new(), turn: 0 }
    }

    /// The action of the call with this key.
    #[inline]
    pub fn find(&self, key: Key) -> Option<u16> {
        self.open.get(&key.0).map(|&(action, _)| action)
    }

    /// Remembers a call, and forgets the oldest one where there are too many.
    #[inline]
    pub fn open(&mut self, key: Key, action: u16) {
        self.turn += 1;
        self.open.insert(key.0, (action, self.turn));
        self.turns.push_back((key.0, self.turn));
        while self.open.len() > self.most {
            let Some((oldest, turn)) = self.turns.pop_front() else { break };
            if self.open.get(&oldest).is_some_and(|&(_, latest)| latest == turn) {
                self.open.remove(&oldest);
            }
        }
        if self.turns.len() > 2 * self.most + 64 {
            let open = &self.open;
            self.turns.retain(|(key, turn)| open.get(key).is_some_and(|(_, latest)| latest == turn));
        }
    }

    /// Forgets a call.
    #[inline]
    pub fn close(&mut self, key: Key) {
        self.open.remove(&key.0);
    }
}
