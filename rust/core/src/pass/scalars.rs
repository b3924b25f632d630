//! Strings and numbers, judged and built.

use super::{Judged, Limit, Pass};
use crate::build::Build;
use crate::number::{self, Lexeme};
use crate::program::{Enum, Numeric, Text};
use crate::text::{code_points, run_end, string_end, unescape};

impl<B: Build> Pass<'_, B> {
    /// The end of the string at the current position, its opening quote already read; leaves the position behind it.
    /// None for a string with escapes or faults: see [`Self::escaped`].
    #[inline]
    pub(super) fn plain_end(&mut self) -> Option<usize> {
        let end = run_end(self.text, self.at);
        if self.text.get(end) != Some(&b'"') || end - self.at > self.limits.string_bytes {
            return None;
        }
        self.at = end + 1;
        Some(end)
    }

    #[inline]
    pub(super) fn quote(&mut self) -> Judged<()> {
        if self.text.get(self.at) == Some(&b'"') {
            self.at += 1;
            Ok(())
        } else {
            Err(self.violation())
        }
    }

    #[inline]
    pub(super) fn text(&mut self, bounds: &Text) -> Judged<B::Value> {
        self.quote()?;
        let start = self.at;
        match self.plain_end() {
            Some(end) => self.bounded(&self.text[start..end], bounds),
            None => self.escaped(|pass, bytes| pass.bounded(bytes, bounds)),
        }
    }

    #[inline]
    pub(super) fn bounded(&mut self, bytes: &[u8], bounds: &Text) -> Judged<B::Value> {
        if bytes.len() > bounds.max_length && (self.ascii || code_points(bytes) > bounds.max_length) {
            return Err(self.violation());
        }
        if let Some(format) = bounds.format
            && !format.holds(bytes)
        {
            return Err(self.violation());
        }
        self.text_value(bytes)
    }

    #[inline]
    pub(super) fn choice(&mut self, choice: &Enum) -> Judged<B::Value> {
        self.quote()?;
        let guess = choice.guess(self.item);
        if let (true, Some((quoted, string))) = (choice.free, choice.expected.get(guess))
            && let Some(end) = quoted.follows(self.text, self.at)
        {
            self.at = end;
            return self.build_with(|build| build.shared(*string));
        }
        let start = self.at;
        match self.plain_end() {
            Some(end) => self.chosen(&self.text[start..end], choice),
            None => self.escaped(|pass, bytes| pass.chosen(bytes, choice)),
        }
    }

    #[inline]
    pub(super) fn chosen(&mut self, bytes: &[u8], choice: &Enum) -> Judged<B::Value> {
        let Some(index) = choice.table.find(bytes) else { return Err(self.violation()) };
        choice.learn(self.item, index);
        if bytes.len() > choice.text.max_length && code_points(bytes) > choice.text.max_length {
            return Err(self.violation());
        }
        if choice.text.format.is_some_and(|format| !format.holds(bytes)) {
            return Err(self.violation());
        }
        let string = choice.strings[index];
        self.build_with(|build| build.shared(string))
    }

    pub(super) fn free_text(&mut self) -> Judged<B::Value> {
        let start = self.at;
        match self.plain_end() {
            Some(end) => self.text_value(&self.text[start..end]),
            None => self.escaped(Self::text_value),
        }
    }

    #[inline]
    pub(super) fn text_value(&mut self, bytes: &[u8]) -> Judged<B::Value> {
        let ascii = self.ascii || bytes.is_ascii();
        self.build_with(|build| build.text(bytes, ascii))
    }

    /// Runs `then` on the string at the current position, unescaped. The text being ASCII says nothing about what its
    /// escapes stand for.
    #[cold]
    pub(super) fn escaped<T>(&mut self, then: impl FnOnce(&mut Self, &[u8]) -> Judged<T>) -> Judged<T> {
        let start = self.at;
        let (end, _) = string_end(self.text, start).map_err(|at| self.not_json(at))?;
        if end - start > self.limits.string_bytes {
            return Err(self.limit(Limit::String, start - 1));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        if let Err(at) = unescape(self.text, start, end, &mut scratch) {
            return Err(self.not_json(at));
        }
        self.at = end + 1;
        let ascii = std::mem::replace(&mut self.ascii, scratch.is_ascii());
        let result = then(self, &scratch);
        self.ascii = ascii;
        self.scratch = scratch;
        result
    }

    // Numbers

    #[inline]
    pub(super) fn lexeme(&mut self) -> Judged<Lexeme> {
        let start = self.at;
        match number::lexeme(self.text, start) {
            Some(lexeme) if lexeme.end() - start <= self.limits.number_chars => {
                self.at = lexeme.end();
                Ok(lexeme)
            }
            Some(_) => Err(self.limit(Limit::Number, start)),
            None => Err(self.not_json(start)),
        }
    }

    /// A number where one is due: anything else that begins here is of the wrong type.
    #[inline]
    pub(super) fn due_lexeme(&mut self) -> Judged<Lexeme> {
        match self.text.get(self.at) {
            Some(b'-' | b'0'..=b'9') => self.lexeme(),
            _ => Err(self.violation()),
        }
    }

    #[inline]
    pub(super) fn integer(&mut self, bounds: &Numeric) -> Judged<B::Value> {
        let start = self.at;
        let lexeme = self.due_lexeme()?;
        let whole = || bounds.whole && number::is_multiple(&self.text[start..lexeme.end()], 0);
        if !lexeme.is_integer() && !whole() {
            return Err(self.violation());
        }
        if !bounds.free {
            self.bounds(start, lexeme, bounds)?;
        }
        self.number_value(start, lexeme)
    }

    #[inline]
    pub(super) fn number(&mut self, bounds: &Numeric) -> Judged<B::Value> {
        let start = self.at;
        let lexeme = self.due_lexeme()?;
        if !bounds.free {
            self.bounds(start, lexeme, bounds)?;
        }
        self.number_value(start, lexeme)
    }

    #[inline]
    pub(super) fn bounds(&mut self, start: usize, lexeme: Lexeme, bounds: &Numeric) -> Judged<()> {
        let text = &self.text[start..lexeme.end()];
        if bounds.minimum.is_some() || bounds.maximum.is_some() {
            let Some(value) = lexeme.double(text) else { return Err(self.not_json(start)) };
            if bounds.minimum.is_some_and(|minimum| value < minimum)
                || bounds.maximum.is_some_and(|maximum| value > maximum)
            {
                return Err(self.violation());
            }
        }
        // An integer literal is a multiple of every power of ten up to one.
        if !lexeme.is_integer() && bounds.places.is_some_and(|places| !number::is_multiple(text, places)) {
            return Err(self.violation());
        }
        Ok(())
    }

    #[inline]
    pub(super) fn number_value(&mut self, start: usize, lexeme: Lexeme) -> Judged<B::Value> {
        let text = &self.text[start..lexeme.end()];
        if lexeme.is_integer() {
            return match lexeme.small_integer() {
                Some(value) => self.build_with(|build| build.integer(value)),
                None => self.build_with(|build| build.big_integer(text)),
            };
        }
        match lexeme.double(text) {
            Some(value) => self.build_with(|build| build.float(value)),
            None => Err(self.not_json(start)),
        }
    }
}
