//! One frame: judged by the version its station speaks, counted, paired.
//!
//! The quick way takes good frames; all others are read in full, by every version that may be the station's.

use super::line::Origin;
use super::pairs::{Key, Pairs};
use super::tally::Station;
use super::{Linter, Schemas, Use, VERSIONS};
use crate::build::Nothing;
use crate::dom::{self, Dom, Naming};
use crate::explain::{Fields, explain};
use crate::frame::{self, Fault, Frame, Rules};
use crate::pass::Pass;
use crate::version::kind;
use crate::violation::Violation;

/// A frame in hand: where it came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub origin: Origin<'a>,
    pub line: u64,
}

/// A frame that has nothing wrong with it.
#[derive(Clone, Copy, Debug)]
struct Good {
    kind: u8,
    key: Key,
    /// The action of the CALL, or of the one that is answered.
    call: Option<u16>,
    payload: usize,
}

/// A frame read in full: what a version says to it.
#[derive(Debug)]
struct Verdict<'t> {
    frame: Result<Frame<'t>, Box<Fault>>,
    usage: Use,
    action: String,
    violations: Vec<Violation>,
}

impl Verdict<'_> {
    fn good(&self) -> bool {
        self.frame.is_ok() && self.violations.is_empty()
    }

    fn faults(&self) -> usize {
        if self.frame.is_ok() { self.violations.len() } else { usize::MAX }
    }

    fn is_boot(&self) -> bool {
        self.usage == Use::Call && self.frame.is_ok() && self.action == BOOT
    }
}

pub(super) const BOOT: &str = "BootNotification";

impl Linter {
    /// Takes a frame that has nothing wrong with it and says so; text behind the frame does not matter.
    #[inline]
    pub(super) fn quick<S: Schemas>(&mut self, text: &[u8], place: Place<'_>, schemas: &S) -> Result<bool, S::Error> {
        let ascii = text.is_ascii();
        if !ascii && std::str::from_utf8(text).is_err() {
            return Ok(false);
        }
        let Station { mut scores, maker } = self.tally.known(place.origin.station);
        if scores.settled() || self.books.len() == 1 {
            let version = self.tally.best(scores);
            let Some(good) = self.passes(version, text, ascii, place, schemas)? else { return Ok(false) };
            self.take(version, good, text, place, maker);
            return Ok(true);
        }
        // Where one version takes it, those that do not refuse it: nothing but their schemas is between them.
        let mut goods = [None; VERSIONS];
        for (version, good) in goods.iter_mut().enumerate().take(self.books.len()) {
            *good = self.passes(version, text, ascii, place, schemas)?;
        }
        let told_apart = scores.add(&goods.map(|good| good.is_some())[..self.books.len()]);
        let version = self.tally.best(scores);
        let Some(good) = goods[version] else { return Ok(false) };
        if told_apart {
            self.tally.keep(place.origin.station, scores);
        }
        self.take(version, good, text, place, maker);
        Ok(true)
    }

    /// Whether a version has nothing to say against a frame; None where it is to be read in full.
    #[inline]
    fn passes<S: Schemas>(
        &self,
        version: usize,
        text: &[u8],
        ascii: bool,
        place: Place<'_>,
        schemas: &S,
    ) -> Result<Option<Good>, S::Error> {
        let (limits, book) = (&self.settings.limits, &self.books[version]);
        let Some(head) = frame::head(text, book.version, limits, ascii) else { return Ok(None) };
        let key = Key::new(&self.pairs, place.origin, head.kind, &text[head.id.0..head.id.1]);
        let action = &text[head.action.0..head.action.1];
        let (usage, index, call) = match head.kind {
            kind::CALL_RESULT => {
                let call = self.pairs.find(key);
                (Use::Result, call.and_then(|call| book.answer(call)), call)
            }
            kind::SEND => match book.sends.find(action) {
                Some(index) => (Use::Send, Some(index), None),
                None => return Ok(None),
            },
            _ => match book.calls.find(action) {
                Some(index) => (Use::Call, Some(index), Some(book.shared(index))),
                None => return Ok(None),
            },
        };
        let program = index.map(|index| schemas.program(version, usage, index)).transpose()?;
        let first = text.get(head.payload);
        if first == Some(&b'n') || program.is_some() && first != Some(&b'{') {
            return Ok(None);
        }
        let mut pass = Pass::new(text, head.payload, ascii, 1, limits, Nothing);
        let good = match program {
            Some(program) => pass.judge(program),
            None => {
                pass = pass.unjudged();
                pass.any()
            }
        };
        pass.skip_space();
        if good.is_err() || text.get(pass.at) != Some(&b']') || pass.at + 1 > limits.frame_bytes {
            return Ok(None);
        }
        Ok(Some(Good { kind: head.kind, key, call, payload: head.payload }))
    }

    /// Counts a good frame.
    #[inline]
    fn take(&mut self, version: usize, good: Good, text: &[u8], place: Place<'_>, mut maker: Option<u32>) {
        self.meet(good.kind, good.key, good.call);
        if good.kind == kind::CALL && good.call == self.boot {
            let (payload, _) = dom::read(text, good.payload);
            self.tally.boot(version, place.origin.station, &payload);
            maker = self.tally.known(place.origin.station).maker;
        }
        self.tally.frame(version, good.kind, maker);
    }

    /// Remembers a call, or forgets the one that is answered.
    fn meet(&mut self, kind: u8, key: Key, call: Option<u16>) {
        match (kind, call) {
            (kind::CALL, Some(call)) => self.pairs.open(key, call),
            (kind::CALL_RESULT, None) => self.tally.counts.unpaired += 1,
            (kind::CALL_RESULT | kind::CALL_ERROR, _) => self.pairs.close(key),
            _ => {}
        }
    }

    /// What is wrong with a frame, in full.
    #[cold]
    pub(super) fn slow<S: Schemas>(&mut self, text: &[u8], place: Place<'_>, schemas: &S) -> Result<(), S::Error> {
        let station = place.origin.station;
        let (version, verdict) = self.judged(text, place, schemas)?;
        let found = match verdict.frame {
            Ok(found) => found,
            Err(fault) => {
                let maker = self.tally.known(station).maker;
                self.tally.fault(version, maker, place.line, &fault);
                return Ok(());
            }
        };
        let key = Key::new(&self.pairs, place.origin, found.kind, found.id.as_bytes());
        let call = match found.kind {
            kind::CALL => Some(self.calls.find(verdict.action.as_bytes()).map_or(Pairs::UNKNOWN, |index| index as u16)),
            _ => self.pairs.find(key),
        };
        self.meet(found.kind, key, call);
        if found.kind == kind::CALL && verdict.action == BOOT {
            self.tally.boot(version, station, &found.value);
        }
        let maker = self.tally.known(station).maker;
        self.tally.frame(version, found.kind, maker);
        let value = self.settings.values.then_some(&found.value);
        self.tally.violations(version, maker, place.line, (verdict.usage, &verdict.action), &verdict.violations, value);
        Ok(())
    }

    /// The verdict of the station's version, which this frame may change.
    fn judged<'t, S: Schemas>(
        &mut self,
        text: &'t [u8],
        place: Place<'_>,
        schemas: &S,
    ) -> Result<(usize, Verdict<'t>), S::Error> {
        let station = place.origin.station;
        let mut scores = self.tally.known(station).scores;
        let best = self.tally.best(scores);
        let first = self.verdict(best, text, place, schemas)?;
        if self.books.len() == 1 || scores.settled() && first.good() {
            return Ok((best, first));
        }
        let asked: Vec<usize> = if !scores.settled() || first.is_boot() {
            (0..self.books.len()).filter(|&version| version != best).collect()
        } else {
            scores.rivals(best, self.books.len())
        };
        let mut verdicts = [const { None }; VERSIONS];
        for version in asked {
            verdicts[version] = Some(self.verdict(version, text, place, schemas)?);
        }
        verdicts[best] = Some(first);
        let goods = verdicts.each_ref().map(|verdict| verdict.as_ref().is_some_and(Verdict::good));
        let goods = &goods[..self.books.len()];
        let told_apart = if scores.settled() {
            scores.overtake(goods, verdicts[best].as_ref().is_some_and(Verdict::is_boot))
        } else {
            scores.add(goods)
        };
        if told_apart {
            self.tally.keep(station, scores);
        }
        let version = if scores.best().is_none() {
            // Nobody takes it, and nothing is known of the station: the version it comes nearest to.
            let best = self.tally.best(scores);
            let near = |version: &usize| (verdicts[*version].as_ref().map(Verdict::faults), *version != best, *version);
            (0..self.books.len()).min_by_key(near).unwrap_or(best)
        } else {
            self.tally.best(scores)
        };
        let verdict = match verdicts[version].take() {
            Some(verdict) => verdict,
            None => self.verdict(version, text, place, schemas)?,
        };
        Ok((version, verdict))
    }

    /// What one version says to a frame.
    fn verdict<'t, S: Schemas>(
        &self,
        version: usize,
        text: &'t [u8],
        place: Place<'_>,
        schemas: &S,
    ) -> Result<Verdict<'t>, S::Error> {
        let (limits, book) = (&self.settings.limits, &self.books[version]);
        let rules = Rules { version: book.version, limits, answer_unknown_kind: false };
        let mut found = match frame::diagnose(text, rules) {
            Ok(found) => found,
            Err(fault) => {
                return Ok(Verdict {
                    frame: Err(fault),
                    usage: Use::Call,
                    action: String::new(),
                    violations: Vec::new(),
                });
            }
        };
        let action = found.action.take().unwrap_or_default();
        let (usage, index) = match found.kind {
            kind::CALL => (Use::Call, book.calls.find(action.as_bytes())),
            kind::SEND => (Use::Send, book.sends.find(action.as_bytes())),
            _ => {
                let key = Key::new(&self.pairs, place.origin, found.kind, found.id.as_bytes());
                let call = self.pairs.find(key).filter(|_| found.kind == kind::CALL_RESULT);
                (Use::Result, call.and_then(|call| book.answer(call)))
            }
        };
        if found.value == Dom::Null && found.code.is_none() {
            found.value = Dom::Object(Naming::Wire, Vec::new());
        }
        let violations = match index {
            Some(index) => {
                explain(schemas.program(version, usage, index)?, &Fields::new(), &found.value, limits.violations)
            }
            None if usage == Use::Result => Vec::new(),
            None => vec![Violation::unknown_action(book.version)],
        };
        let action = match index {
            Some(index) if usage == Use::Result => book.results[index].to_string(),
            _ => action,
        };
        Ok(Verdict { frame: Ok(found), usage, action, violations })
    }
}
