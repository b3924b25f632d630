//! MQTT topics to the filters that match them.
//!
//! In: filters, each added under a number; topics. Out: the numbers of the filters that match, in the order in which they
//! were added, and what their captures hold. Refused, as [`TopicError`]: what is no filter, what is no topic.
//!
//! ```text
//! filter ─ rules::filter ─▶ levels ─▶ a node a level, wildcards beside the literal children
//! topic  ─ level by level ─▶ all nodes that still fit ─▶ their filters ─ sorted by age
//! ```
//!
//! A number stands for whatever its caller keeps in a `Vec` under it: numbers are small, and those of removed filters are
//! given out again. Nothing recurses; a topic may have 65,536 levels. Work grows with the nodes that fit, never with the
//! filters there are; a node is reached at most once.

mod edges;
pub mod rules;
mod segments;
mod tree;

pub use rules::{Level, Parsed, Reading, Settings, Share, TopicError};

use rules::MAX_BYTES;
use tree::{MORE, NONE, Tree};

/// One filter: where it hangs, how old it is, how it is spelt.
#[derive(Debug)]
struct Route {
    /// Its place in the order of addition; 0 for a number that is free.
    age: u64,
    place: u32,
    /// The next one at the same place, which is older; with [`MORE`] where that is not the last.
    next: u32,
    /// None where the path to the node is the filter as it was written.
    spelling: Option<Box<Spelling>>,
}

#[derive(Debug)]
struct Spelling {
    filter: Box<str>,
    /// Index of the topic's level, name.
    captures: Box<[(u32, Box<str>)]>,
}

/// What a match needs besides the router; kept from one match to the next, it allocates no more.
#[derive(Debug, Default)]
pub struct Hits {
    found: Vec<u32>,
    here: Vec<u32>,
    next: Vec<u32>,
}

impl Hits {
    /// The numbers found, oldest first.
    #[must_use]
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.found.iter().copied()
    }
}

/// Filters, and which of them match a topic.
#[derive(Debug, Default)]
pub struct Router {
    settings: Settings,
    /// Whether topics must keep more than the specification.
    strict: bool,
    tree: Tree,
    routes: Vec<Route>,
    free: Vec<u32>,
    age: u64,
    length: usize,
}

/// 1: `/`. 2: what no topic contains.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    class[b'/' as usize] = 1;
    class[b'+' as usize] = 2;
    class[b'#' as usize] = 2;
    class[0] = 2;
    class
};

impl Router {
    /// An empty router.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { strict: !settings.plain_topics(), settings, ..Self::default() }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many filters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a filter and returns its number. The same filter may be there any number of times.
    pub fn add(&mut self, filter: &[u8]) -> Result<u32, Box<TopicError>> {
        let parsed = rules::filter(filter, &self.settings)?;
        let spelling = parsed.respelled.then(|| Box::new(Spelling::new(filter, &parsed)));
        let place = self.tree.grow(&parsed);
        let number = self.free.pop().unwrap_or_else(|| {
            self.routes.push(Route { age: 0, place: 0, next: NONE, spelling: None });
            u32::try_from(self.routes.len() - 1).expect("memory ends before the numbers do")
        });
        assert!(number < MORE - 1, "memory ends before the numbers do");
        self.age += 1;
        self.length += 1;
        let next = self.tree.first(place);
        self.tree.set_first(place, if next == NONE { number } else { number | MORE });
        self.routes[number as usize] = Route { age: self.age, place, next, spelling };
        Ok(number)
    }

    /// Takes the filter with this number away, and all memory that only it needed. A number that is free is left free.
    pub fn remove(&mut self, number: u32) {
        let Some(route) = self.routes.get(number as usize).filter(|route| route.age > 0) else { return };
        let place = route.place;
        self.length -= 1;
        if self.length == 0 {
            self.clear();
            return;
        }
        let mut others = Vec::new();
        self.collect(self.tree.first(place), &mut others);
        others.retain(|other| *other != number);
        self.routes[number as usize] = Route { age: 0, place: 0, next: NONE, spelling: None };
        self.free.push(number);
        let mut link = NONE;
        for other in others.into_iter().rev() {
            self.routes[other as usize].next = link;
            link = if link == NONE { other } else { other | MORE };
        }
        self.tree.set_first(place, link);
        if link == NONE {
            self.tree.prune(place);
        }
    }

    /// Removes all filters and gives their memory back.
    pub fn clear(&mut self) {
        self.tree = Tree::default();
        self.routes = Vec::new();
        self.free = Vec::new();
        self.length = 0;
    }

    /// The numbers of the filters spelt exactly like this, oldest first.
    pub fn numbers(&self, filter: &[u8]) -> Result<Vec<u32>, Box<TopicError>> {
        let parsed = rules::filter(filter, &self.settings)?;
        let mut found = Vec::new();
        if let Some(place) = self.tree.find(&parsed) {
            self.collect(self.tree.first(place), &mut found);
        }
        found.retain(|number| match &self.routes[*number as usize].spelling {
            Some(spelling) => spelling.filter.as_bytes() == filter,
            None => !parsed.respelled,
        });
        // Each was hung before those that were there.
        found.reverse();
        Ok(found)
    }

    /// The numbers of all filters, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        let mut found: Vec<(u64, u32)> = Vec::with_capacity(self.length);
        found.extend(self.routes.iter().zip(0..).filter(|(route, _)| route.age > 0).map(|(route, at)| (route.age, at)));
        found.sort_unstable();
        found.into_iter().map(|(_, number)| number).collect()
    }

    /// When the filter with this number was added, as a count of additions; 0 for a number that is free.
    #[must_use]
    pub fn age(&self, number: u32) -> u64 {
        self.routes.get(number as usize).map_or(0, |route| route.age)
    }

    /// The filter with this number, as it was written.
    #[must_use]
    pub fn filter(&self, number: u32) -> String {
        let route = &self.routes[number as usize];
        match &route.spelling {
            Some(spelling) => spelling.filter.clone().into_string(),
            None => self.tree.path(route.place),
        }
    }

    /// What the captures of the filter with this number hold in a topic it matches, from left to right.
    pub fn captures<'a>(&'a self, number: u32, topic: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let captures = self.routes[number as usize].spelling.as_ref().map_or(&[][..], |spelling| &spelling.captures);
        let (mut levels, mut passed) = (topic.split('/'), 0);
        captures.iter().map(move |(index, name)| {
            let level = levels.nth((*index - passed) as usize).unwrap_or_default();
            passed = *index + 1;
            (&**name, level)
        })
    }

    /// Finds the filters that match a topic.
    pub fn find(&self, topic: &[u8], hits: &mut Hits) -> Result<(), Box<TopicError>> {
        hits.found.clear();
        if self.strict {
            rules::topic(topic, &self.settings)?;
        }
        if topic.is_empty() || topic.len() > MAX_BYTES || !self.walk(topic, hits) {
            hits.found.clear();
            rules::topic(topic, &self.settings)?;
        }
        Ok(())
    }

    /// One pass over the topic; false where it is none.
    fn walk(&self, topic: &[u8], hits: &mut Hits) -> bool {
        let Hits { found, here, next } = hits;
        here.clear();
        next.clear();
        here.push(tree::ROOT);
        // A filter that begins with a wildcard never matches a topic that begins with `$` (section 4.7.2).
        let mut wild = topic[0] != b'$';
        let (mut start, mut seen) = (0, 0);
        loop {
            let mut end = start;
            while end < topic.len() && CLASS[usize::from(topic[end])] == 0 {
                seen |= topic[end];
                end += 1;
            }
            if end < topic.len() && topic[end] != b'/' {
                return false;
            }
            self.tree.step(here, &topic[start..end], wild, next, |below| self.collect(below, found));
            std::mem::swap(here, next);
            next.clear();
            wild = true;
            if end == topic.len() {
                break;
            }
            start = end + 1;
        }
        if seen >= 0x80 && std::str::from_utf8(topic).is_err() {
            return false;
        }
        for node in here.iter() {
            let (exact, below) = self.tree.ends(*node);
            self.collect(exact, found);
            self.collect(below, found);
        }
        if found.len() > 1 {
            found.sort_unstable_by_key(|number| self.routes[*number as usize].age);
        }
        true
    }

    /// All routes at a place, from its first on; newest first.
    #[inline]
    fn collect(&self, first: u32, found: &mut Vec<u32>) {
        let mut link = first;
        while link != NONE {
            let number = link & !MORE;
            found.push(number);
            link = if link & MORE == 0 { NONE } else { self.routes[number as usize].next };
        }
    }

    /// What it holds: nodes of the tree, different level texts, bytes of memory.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        let spelt = |spelling: &Spelling| {
            let names: usize = spelling.captures.iter().map(|capture| size_of_val(capture) + capture.1.len()).sum();
            size_of::<Spelling>() + spelling.filter.len() + names
        };
        let spellings: usize = self.routes.iter().filter_map(|route| route.spelling.as_deref()).map(spelt).sum();
        let lists = self.routes.capacity() * size_of::<Route>() + self.free.capacity() * size_of::<u32>();
        (self.tree.len(), self.tree.texts(), self.tree.bytes() + lists + spellings)
    }
}

impl Spelling {
    fn new(filter: &[u8], parsed: &Parsed<'_>) -> Self {
        let named = |(level, index): (&Level<'_>, u32)| match level {
            Level::Capture(name) => Some((index, Box::from(*name))),
            _ => None,
        };
        let captures = parsed.levels.iter().zip(0..).filter_map(named).collect();
        Self { filter: String::from_utf8_lossy(filter).into(), captures }
    }
}

#[cfg(test)]
mod tests;
