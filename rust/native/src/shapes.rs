//! Dicts by template: objects of one kind arrive with the same keys in the same order again and again.
//!
//! The first dict of a shape (its properties in order of arrival) is built key by key; a copy of it then serves as
//! template. The next object of the kind begins as a dict with the template's keys and no values, and each value is put
//! into its entry as it comes: no hashing, no growing, a key table of the right size at once. A member that is not the
//! expected one sends the object back to the slow way. Each object keeps the first few shapes it meets, so a hostile peer
//! can use the slots up but not the memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::objects::Object;
use crate::template::Template;

/// Shapes an object keeps.
const KEPT: usize = 8;

/// The shapes of one object of a program.
#[derive(Default)]
pub struct Shapes {
    kept: [OnceLock<Template>; KEPT],
    /// Shape → the one that followed it last time; a hint.
    guesses: [AtomicU8; KEPT],
    last: AtomicU8,
}

impl Shapes {
    /// The template of the shape that comes next, as far as one can tell, and the shape it would follow.
    #[inline]
    pub fn expected(&self) -> (Option<&Template>, u8) {
        let last = self.last.load(Ordering::Relaxed);
        let guess = self.guesses[usize::from(last) % KEPT].load(Ordering::Relaxed);
        (self.kept[usize::from(guess) % KEPT].get(), last)
    }

    /// The guess after `last` was right.
    #[inline]
    pub fn confirm(&self, last: u8) {
        self.last.store(self.guesses[usize::from(last) % KEPT].load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The template of a shape that came after `last` without being expected.
    pub fn find(&self, order: &[u8], last: u8) -> Option<&Template> {
        let index = self.kept.iter().position(|slot| slot.get().is_some_and(|template| template.order() == order))?;
        self.learn(index as u8, last);
        self.kept[index].get()
    }

    fn learn(&self, found: u8, last: u8) {
        self.guesses[usize::from(last) % KEPT].store(found, Ordering::Relaxed);
        self.last.store(found, Ordering::Relaxed);
    }

    /// Remembers a shape by a dict that has it, if there is a slot left. `containers` says that it may hold dicts or lists.
    #[cold]
    pub fn offer(&self, order: &[u8], last: u8, dict: &Object, containers: bool) {
        for (index, slot) in self.kept.iter().enumerate() {
            if slot.get().is_none() {
                if let Some(template) = Template::new(order, dict, containers) {
                    // Another thread may have been quicker; its shape is as good.
                    let _ = slot.set(template);
                    self.learn(index as u8, last);
                }
                return;
            }
        }
    }
}
