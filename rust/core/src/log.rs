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
//!
//! A log does not say which version its stations speak, and a server's log holds stations of all. So each station is
//! judged by the version that has taken most of those of its frames that not all versions take ([`versions`]).

mod line;
mod pairs;
mod tally;
mod versions;

use crate::build::Nothing;
use crate::dom::{self, Dom, Naming};
use crate::explain::{Fields, explain};
use crate::frame::{self, Fault, Frame, Rules};
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
use self::versions::Book;

pub use self::tally::{Counts, Finding, Maker, Seen};
pub use self::versions::{Actions, VERSIONS};

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
    /// The program of an action, by the indices of the version and the action in the lists the linter was made with.
    fn program(&self, version: usize, usage: Use, action: usize) -> Result<&Program, Self::Error>;
}

/// What decides besides the log.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
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

const BOOT: &str = "BootNotification";

/// Reads one log. A frame and its answer meet by message id, station and direction.
#[derive(Debug)]
pub struct Linter {
    settings: Settings,
    books: Vec<Book>,
    /// The actions of all versions' CALLs, and `BootNotification` among them.
    calls: Table,
    boot: Option<u16>,
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
    /// A linter for stations of any of these versions, at most [`VERSIONS`]; of equals the first one is preferred.
    #[must_use]
    pub fn new(settings: Settings, versions: Vec<(Version, Actions)>) -> Self {
        let mut names: Vec<&str> =
            versions.iter().flat_map(|(_, actions)| actions.calls.iter().map(|it| &**it)).collect();
        names.sort_unstable();
        names.dedup();
        let calls = Table::new(names);
        let books: Vec<Book> = versions
            .into_iter()
            .take(VERSIONS)
            .map(|(version, actions)| Book::new(version, &actions, &calls))
            .collect();
        Self {
            settings,
            boot: calls.find(BOOT.as_bytes()).map(|index| index as u16),
            pending: Vec::new(),
            skipping: false,
            held: None,
            scratch: Default::default(),
            line: 0,
            pairs: Pairs::new(settings.open_calls),
            tally: Tally::new(books.iter().map(|book| book.version).collect(), settings.findings),
            books,
            calls,
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

    /// Frames that were judged by each version, in the order they were given.
    #[must_use]
    pub fn spoken(&self) -> &[u64] {
        &self.tally.spoken
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
        let ascii = text.is_ascii();
        if !ascii && std::str::from_utf8(text).is_err() {
            return Ok(false);
        }
        let mut scores = self.tally.scores(place.origin.station);
        if scores.settled() || self.books.len() == 1 {
            let version = self.tally.best(scores);
            let Some(good) = self.passes(version, text, ascii, place, schemas)? else { return Ok(false) };
            self.take(version, good, text, place);
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
        self.take(version, good, text, place);
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
    fn take(&mut self, version: usize, good: Good, text: &[u8], place: Place<'_>) {
        self.meet(good.kind, good.key, good.call);
        if good.kind == kind::CALL && good.call == self.boot {
            let (payload, _) = dom::read(text, good.payload);
            self.tally.boot(version, place.origin.station, &payload);
        }
        self.tally.frame(version, good.kind, place.origin.station);
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
    fn slow<S: Schemas>(&mut self, text: &[u8], place: Place<'_>, schemas: &S) -> Result<(), S::Error> {
        let station = place.origin.station;
        let (version, verdict) = self.judged(text, place, schemas)?;
        let found = match verdict.frame {
            Ok(found) => found,
            Err(fault) => {
                self.tally.fault(version, station, place.line, &fault);
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
        self.tally.frame(version, found.kind, station);
        let value = self.settings.values.then_some(&found.value);
        self.tally.violations(
            version,
            station,
            place.line,
            (verdict.usage, &verdict.action),
            &verdict.violations,
            value,
        );
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
        let mut scores = self.tally.scores(station);
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
