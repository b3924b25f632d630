//! The tree of levels: a node for every beginning that some filter has.
//!
//! In: filters, level by level; steps along a topic. Out: nodes, and the first filter that hangs on each. Nodes lie in one
//! array and know each other by number, so that nothing recurses, not even the end of a tree.

use super::edges::Edges;
use super::rules::{Level, Parsed};
use super::segments::Segments;

/// No node, no route.
pub const NONE: u32 = u32::MAX;
/// The node before the first level.
pub const ROOT: u32 = 0;
/// The segment of a `+`.
const ANY: u32 = u32::MAX;
/// Marks the number of a route that is not the last at its place: the others are behind it. One that is alone is known to
/// be so without a look at it.
pub const MORE: u32 = 1 << 31;
/// Marks a node's number when a route hangs below it, at its `#`, and not at the node itself.
pub const BELOW: u32 = 1 << 31;

#[derive(Debug)]
struct Node {
    parent: u32,
    /// The level's text, or [`ANY`].
    segment: u32,
    /// The child that is a `+`.
    any: u32,
    /// How many literal children there are.
    children: u32,
    /// First of the routes whose filter ends here.
    exact: u32,
    /// First of the routes whose filter ends with a `#` below.
    below: u32,
}

impl Node {
    fn new(parent: u32, segment: u32) -> Self {
        Self { parent, segment, any: NONE, children: 0, exact: NONE, below: NONE }
    }

    fn is_bare(&self) -> bool {
        self.any == NONE && self.children == 0 && self.exact == NONE && self.below == NONE
    }
}

/// The tree.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    free: Vec<u32>,
    segments: Segments,
    /// Literal children, found by parent and text.
    edges: Edges,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(NONE, NONE)],
            free: Vec::new(),
            segments: Segments::default(),
            edges: Edges::default(),
        }
    }
}

impl Tree {
    #[inline]
    fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.nodes[number as usize]
    }

    /// The child of a node for a text that [`Segments::hash`] made `hash` of.
    #[inline]
    fn child(&self, parent: u32, hash: u64, text: &[u8]) -> u32 {
        let same = |child: u32| {
            let child = self.node(child);
            child.parent == parent && self.segments.is(child.segment, text)
        };
        self.edges.find(Edges::tag(parent, hash), same)
    }

    /// The place of a filter, made where it was missing: a node, with [`BELOW`] for one that ends with `#`.
    pub fn grow(&mut self, filter: &Parsed<'_>) -> u32 {
        let mut node = ROOT;
        for level in &filter.levels {
            node = match level {
                Level::Literal(text) => self.literal(node, text),
                Level::Escaped(text) => self.literal(node, text),
                Level::Any | Level::Capture(_) => self.any(node),
                Level::Rest => return node | BELOW,
            };
        }
        node
    }

    /// The place of a filter, where it is there.
    pub fn find(&self, filter: &Parsed<'_>) -> Option<u32> {
        let literal = |node, text: &str| self.child(node, self.segments.hash(text.as_bytes()), text.as_bytes());
        let mut node = ROOT;
        for level in &filter.levels {
            node = match level {
                Level::Literal(text) => literal(node, text),
                Level::Escaped(text) => literal(node, text),
                Level::Any | Level::Capture(_) => self.node(node).any,
                Level::Rest => return Some(node | BELOW),
            };
            if node == NONE {
                return None;
            }
        }
        Some(node)
    }

    fn any(&mut self, parent: u32) -> u32 {
        if self.node(parent).any == NONE {
            let child = self.make(Node::new(parent, ANY));
            self.node_mut(parent).any = child;
        }
        self.node(parent).any
    }

    fn literal(&mut self, parent: u32, text: &str) -> u32 {
        let hash = self.segments.hash(text.as_bytes());
        let found = self.child(parent, hash, text.as_bytes());
        if found != NONE {
            return found;
        }
        let segment = self.segments.take(text.as_bytes());
        let child = self.make(Node::new(parent, segment));
        self.node_mut(parent).children += 1;
        self.edges.insert(Edges::tag(parent, hash), child);
        child
    }

    fn make(&mut self, node: Node) -> u32 {
        if let Some(number) = self.free.pop() {
            *self.node_mut(number) = node;
            return number;
        }
        self.nodes.push(node);
        let number = u32::try_from(self.nodes.len() - 1).expect("memory ends before the numbers do");
        assert!(number < BELOW, "memory ends before the numbers do");
        number
    }

    /// The first route at a place, with [`MORE`] where there are others.
    pub fn first(&self, place: u32) -> u32 {
        let node = self.node(place & !BELOW);
        if place & BELOW == 0 { node.exact } else { node.below }
    }

    /// Makes a route the first at a place.
    pub fn set_first(&mut self, place: u32, route: u32) {
        let node = self.node_mut(place & !BELOW);
        *(if place & BELOW == 0 { &mut node.exact } else { &mut node.below }) = route;
    }

    /// Gives back the node of a place and those above it, as far as nothing hangs on them.
    pub fn prune(&mut self, place: u32) {
        let mut number = place & !BELOW;
        while number != ROOT && self.node(number).is_bare() {
            let Node { parent, segment, .. } = *self.node(number);
            if segment == ANY {
                self.node_mut(parent).any = NONE;
            } else {
                let hash = self.segments.hash(self.segments.text(segment).as_bytes());
                self.edges.remove(Edges::tag(parent, hash), number);
                self.segments.release(segment);
                self.node_mut(parent).children -= 1;
            }
            self.free.push(number);
            number = parent;
        }
    }

    /// From the nodes in `here` to their children that fit one level of a topic. `below` is told the routes that a `#`
    /// has at these nodes; `wild`: whether wildcards fit.
    #[inline]
    pub fn step(&self, here: &[u32], level: &[u8], wild: bool, next: &mut Vec<u32>, mut below: impl FnMut(u32)) {
        let mut hash = None;
        for number in here {
            let node = self.node(*number);
            if wild {
                if node.below != NONE {
                    below(node.below);
                }
                if node.any != NONE {
                    next.push(node.any);
                }
            }
            if node.children > 0 {
                let hash = *hash.get_or_insert_with(|| self.segments.hash(level));
                let child = self.child(*number, hash, level);
                if child != NONE {
                    next.push(child);
                }
            }
        }
    }

    /// First of the routes that end at a node; first of those that end with a `#` below it, which fits its parent too.
    #[inline]
    pub fn ends(&self, number: u32) -> (u32, u32) {
        let node = self.node(number);
        (node.exact, node.below)
    }

    /// The filter of a place.
    pub fn path(&self, place: u32) -> String {
        let mut levels = Vec::new();
        if place & BELOW != 0 {
            levels.push("#");
        }
        let mut number = place & !BELOW;
        while number != ROOT {
            let node = self.node(number);
            levels.push(if node.segment == ANY { "+" } else { self.segments.text(node.segment) });
            number = node.parent;
        }
        levels.reverse();
        levels.join("/")
    }

    /// Nodes in use, the root not counted.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len() - 1
    }

    /// Different level texts in use.
    pub fn texts(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.free.capacity() * size_of::<u32>()
            + self.edges.bytes()
            + self.segments.bytes()
    }
}
