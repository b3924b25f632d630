//! Frames in log files: found, judged, counted.
//!
//! In: the bytes of a log in chunks of any size. Out: counts, findings (equal ones once, with their number and the line of the
//! first), vendors. Refused: nothing; lines and frames beyond their limits are findings, and whatever is remembered
//! (calls without answer, stations, vendors, kinds of findings) has a bound. Good frames cost no allocation.
//!
//! ```text
//! chunk ─ line ─▶ frame text, origin ─ quick: head + pass ─▶ counts, pairs
//!                                  └─ slow: diagnose + explain ─▶ tally
//! ```

mod line;
mod pairs;
mod tally;

use crate::build::Nothing;
use crate::dom::{self, Dom, Naming};
use crate::explain::{Fields, explain};
use crate::frame::{self, Rules};
use crate::limits::Limits;
use crate::pass::Pass;
use crate::program::Program;
use crate::table::Table;
use crate::text::unescape;
use crate::version::{Version, kind};
use crate::violation::Violation;

use self::line::{Balance, Found, Origin};
use self::pairs::{Key, Pairs};
use self::tally::Tally;

pub use self::tally::{Counts, Finding, Maker, Seen};

/// What a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// The payload of a CALL.
    Call,
    /// The payload of a CALLRESULT.
    Result,
    /// The payload of a SEND.
    Send,
}

/// Where programs come from: compiled on first use.
pub trait Schemas {
    /// Why there is none.
    type Error;
    /// The program of an action, by its index in the list the linter was made with.
    fn program(&self, usage: Use, action: usize) -> Result<&Program, Self::Error>;
}

/// What decides besides the log.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The version.
    pub version: Version,
    /// The limits of a frame.
    pub limits: Limits,
    /// Bytes of a line; longer ones are not read.
    pub line_bytes: usize,
    /// Calls without answer that are remembered.
    pub open_calls: usize,
    /// Different findings that are kept.
    pub findings: usize,
    /// Findings show the first offending value.
    pub values: bool,
}

/// The names of one use's actions.
#[derive(Debug)]
struct Actions {
    table: Table,
    names: Vec<Box<str>>,
}

impl Actions {
    fn new(names: Vec<Box<str>>) -> Self {
        Self { table: Table::new(names.iter().map(|name| &**name)), names }
    }
}

/// A frame whose JSON goes on in the next line.
#[derive(Debug)]
struct Held {
    text: Vec<u8>,
    balance: Balance,
    line: u64,
    station: Vec<u8>,
    direction: line::Direction,
}

/// A frame in hand: where it came from.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    origin: Origin<'a>,
    line: u64,
}

/// Reads one log. A frame and its answer meet by message id, station and direction.
#[derive(Debug)]
pub struct Linter {
    settings: Settings,
    calls: Actions,
    results: Actions,
    sends: Actions,
    /// Action of a CALL → action of its CALLRESULT.
    answers: Vec<Option<u16>>,
    pending: Vec<u8>,
    /// The current line is too long already.
    skipping: bool,
    held: Option<Held>,
    scratch: [Vec<u8>; 2],
    line: u64,
    pairs: Pairs,
    tally: Tally,
}

impl Linter {
    /// A linter; the lists are the actions of CALLs, CALLRESULTs and SENDs.
    #[must_use]
    pub fn new(settings: Settings, calls: Vec<Box<str>>, results: Vec<Box<str>>, sends: Vec<Box<str>>) -> Self {
        let (calls, results) = (Actions::new(calls), Actions::new(results));
        let answers =
            calls.names.iter().map(|name| results.table.find(name.as_bytes()).map(|index| index as u16)).collect();
        Self {
            settings,
            calls,
            results,
            sends: Actions::new(sends),
            answers,
            pending: Vec::new(),
            skipping: false,
            held: None,
            scratch: Default::default(),
            line: 0,
            pairs: Pairs::new(settings.open_calls),
            tally: Tally::new(settings.version, settings.findings),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.tally.counts
    }

    /// The findings so far, in no order.
    pub fn findings(&self) -> impl Iterator<Item = (&Finding, &Seen)> {
        self.tally.findings()
    }

    /// The vendors and models named so far, in order of appearance.
    #[must_use]
    pub fn makers(&self) -> Vec<Maker> {
        self.tally.makers()
    }

    /// Reads on. Lines and frames may be torn anywhere between chunks.
    ///
    /// # Errors
    /// What [`Schemas`] refuses.
    pub fn feed<S: Schemas>(&mut self, chunk: &[u8], schemas: &S) -> Result<(), S::Error> {
        self.tally.counts.bytes += chunk.len() as u64;
        let mut rest = chunk;
        while let Some(end) = line::find_byte(rest, b'\n') {
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.pending.is_empty() && !self.skipping {
                self.line(part, schemas)?;
                continue;
            }
            self.keep(part);
            self.pending_line(schemas)?;
        }
        self.keep(rest);
        Ok(())
    }

    /// The log ends here: what it ended in is judged.
    ///
    /// # Errors
    /// What [`Schemas`] refuses.
    pub fn finish<S: Schemas>(&mut self, schemas: &S) -> Result<(), S::Error> {
        if !self.pending.is_empty() || self.skipping {
            self.pending_line(schemas)?;
        }
        self.release(schemas)
    }

    /// Keeps a part of a line until the rest of it comes.
    fn keep(&mut self, part: &[u8]) {
        if self.skipping || self.pending.len() + part.len() > self.settings.line_bytes {
            self.skipping = true;
            self.pending.clear();
        } else {
            self.pending.extend_from_slice(part);
        }
    }

    fn pending_line<S: Schemas>(&mut self, schemas: &S) -> Result<(), S::Error> {
        if std::mem::take(&mut self.skipping) {
            self.line += 1;
            return self.long_line(schemas);
        }
        let mut line = std::mem::take(&mut self.pending);
        let done = self.line(&line, schemas);
        line.clear();
        self.pending = line;
        done
    }

    fn long_line<S: Schemas>(&mut self, schemas: &S) -> Result<(), S::Error> {
        self.release(schemas)?;
        self.tally.counts.lines += 1;
        self.tally.long_line(self.line, self.settings.line_bytes);
        Ok(())
    }

    #[inline]
    fn line<S: Schemas>(&mut self, line: &[u8], schemas: &S) -> Result<(), S::Error> {
        self.line += 1;
        if line.len() > self.settings.line_bytes {
            return self.long_line(schemas);
        }
        self.tally.counts.lines += 1;
        let found = line::find(line);
        if self.held.is_some() {
            match found {
                None => return self.goes_on(line, schemas),
                Some(_) => self.release(schemas)?,
            }
        }
        match found {
            None => Ok(()),
            Some(Found { start, level: 0 }) => self.plain(line, start, schemas),
            Some(Found { start, level }) => self.escaped(line, start, level, schemas),
        }
    }

    /// A frame as it is on the wire.
    #[inline]
    fn plain<S: Schemas>(&mut self, line: &[u8], start: usize, schemas: &S) -> Result<(), S::Error> {
        let text = &line[start..];
        let origin = line::origin(line, start, || Balance::default().end(text).map(|end| start + end));
        let place = Place { origin, line: self.line };
        if self.quick(text, place, schemas)? {
            return Ok(());
        }
        let mut balance = Balance::default();
        match balance.end(text) {
            Some(end) => self.slow(&text[..end], place, schemas),
            None if balance.may_go_on() && text.len() <= self.settings.limits.frame_bytes => {
                self.held = Some(Held {
                    text: text.to_vec(),
                    balance,
                    line: self.line,
                    station: origin.station.to_vec(),
                    direction: origin.direction,
                });
                Ok(())
            }
            None => self.slow(text, place, schemas),
        }
    }

    /// A line without a frame after one whose frame was not at its end.
    fn goes_on<S: Schemas>(&mut self, line: &[u8], schemas: &S) -> Result<(), S::Error> {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.text.push(b'\n');
        let before = held.text.len();
        held.text.extend_from_slice(line);
        match held.balance.end(line) {
            Some(end) => {
                held.text.truncate(before + end);
                self.release(schemas)
            }
            None if held.balance.may_go_on() && held.text.len() <= self.settings.limits.frame_bytes => Ok(()),
            None => self.release(schemas),
        }
    }

    /// Judges the frame that was held back, as far as it came.
    fn release<S: Schemas>(&mut self, schemas: &S) -> Result<(), S::Error> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let origin = Origin { station: &held.station, direction: held.direction };
        let place = Place { origin, line: held.line };
        if self.quick(&held.text, place, schemas)? { Ok(()) } else { self.slow(&held.text, place, schemas) }
    }

    /// A frame inside a JSON string, or inside one inside another.
    fn escaped<S: Schemas>(&mut self, line: &[u8], start: usize, level: u8, schemas: &S) -> Result<(), S::Error> {
        let [mut text, mut spare] = std::mem::take(&mut self.scratch);
        text.clear();
        // The first fault is where the string ends: at its closing quote, when all is well.
        let end = unescape(line, start, line.len(), &mut text).err().unwrap_or(line.len());
        for _ in 1..level {
            spare.clear();
            let _ = unescape(&text, 0, text.len(), &mut spare);
            std::mem::swap(&mut text, &mut spare);
        }
        let place = Place { origin: line::origin(line, start, || Some(end)), line: self.line };
        let done = match self.quick(&text, place, schemas) {
            Ok(false) => match Balance::default().end(&text) {
                Some(end) => self.slow(&text[..end], place, schemas),
                None if line::says_cut(&line[end..]) => {
                    self.tally.counts.cut += 1;
                    Ok(())
                }
                None => self.slow(&text, place, schemas),
            },
            other => other.map(|_| ()),
        };
        self.scratch = [text, spare];
        done
    }

    /// Takes a frame that has nothing wrong with it and says so; text behind the frame does not matter.
    #[inline]
    fn quick<S: Schemas>(&mut self, text: &[u8], place: Place<'_>, schemas: &S) -> Result<bool, S::Error> {
        let limits = &self.settings.limits;
        let ascii = text.is_ascii();
        if !ascii && std::str::from_utf8(text).is_err() {
            return Ok(false);
        }
        let Some(head) = frame::head(text, self.settings.version, limits, ascii) else { return Ok(false) };
        let key = Key::new(&self.pairs, place.origin, head.kind, &text[head.id.0..head.id.1]);
        let action = &text[head.action.0..head.action.1];
        let (usage, index, call) = match head.kind {
            kind::CALL_RESULT => {
                let call = self.pairs.find(key);
                (Use::Result, call.and_then(|call| self.answer(call)), call)
            }
            kind::SEND => match self.sends.table.find(action) {
                Some(index) => (Use::Send, Some(index), None),
                None => return Ok(false),
            },
            _ => match self.calls.table.find(action) {
                Some(index) => (Use::Call, Some(index), Some(index as u16)),
                None => return Ok(false),
            },
        };
        let program = index.map(|index| schemas.program(usage, index)).transpose()?;
        let first = text.get(head.payload);
        if first == Some(&b'n') || program.is_some() && first != Some(&b'{') {
            return Ok(false);
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
            return Ok(false);
        }
        self.meet(head.kind, key, call);
        if call.is_some_and(|call| head.kind == kind::CALL && self.is_boot(call)) {
            let (payload, _) = dom::read(text, head.payload);
            self.tally.boot(place.origin.station, &payload);
        }
        self.tally.frame(head.kind, place.origin.station);
        Ok(true)
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

    /// The CALLRESULT's action of a CALL's; None where this version does not know it.
    #[inline]
    fn answer(&self, call: u16) -> Option<usize> {
        (*self.answers.get(usize::from(call))?).map(usize::from)
    }

    fn is_boot(&self, call: u16) -> bool {
        &*self.calls.names[usize::from(call)] == "BootNotification"
    }

    /// What is wrong with a frame, in full.
    #[cold]
    fn slow<S: Schemas>(&mut self, text: &[u8], place: Place<'_>, schemas: &S) -> Result<(), S::Error> {
        let limits = self.settings.limits;
        let rules = Rules { version: self.settings.version, limits: &limits, answer_unknown_kind: false };
        let station = place.origin.station;
        let found = match frame::diagnose(text, rules) {
            Ok(found) => found,
            Err(fault) => {
                self.tally.fault(station, place.line, &fault);
                return Ok(());
            }
        };
        let key = Key::new(&self.pairs, place.origin, found.kind, found.id.as_bytes());
        let name = found.action.as_deref().unwrap_or_default();
        let (usage, known, call) = match found.kind {
            kind::CALL => {
                let index = self.calls.table.find(name.as_bytes());
                (Use::Call, index, Some(index.map_or(Pairs::UNKNOWN, |index| index as u16)))
            }
            kind::SEND => (Use::Send, self.sends.table.find(name.as_bytes()), None),
            kind::CALL_RESULT => {
                let call = self.pairs.find(key);
                (Use::Result, call.and_then(|call| self.answer(call)), call)
            }
            _ => (Use::Result, None, None),
        };
        self.meet(found.kind, key, call);
        if found.kind == kind::CALL && name == "BootNotification" {
            self.tally.boot(station, &found.value);
        }
        self.tally.frame(found.kind, station);
        let value = match found.value {
            Dom::Null => Dom::Object(Naming::Wire, Vec::new()),
            value => value,
        };
        let violations = match (known, found.kind) {
            (_, kind::CALL_ERROR | kind::CALL_RESULT_ERROR) | (None, kind::CALL_RESULT) => return Ok(()),
            (None, _) => vec![Violation::unknown_action(self.settings.version)],
            (Some(index), _) => {
                let program = schemas.program(usage, index)?;
                explain(program, &Fields::new(), &value, limits.violations)
            }
        };
        let action = match (usage, known) {
            (Use::Result, Some(index)) => &*self.results.names[index],
            _ => name,
        };
        let shown = self.settings.values.then_some(&value);
        self.tally.violations(station, place.line, usage, action, &violations, shown);
        Ok(())
    }
}
