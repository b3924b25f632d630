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

mod judge;
mod line;
mod pairs;
mod tally;
mod versions;

use crate::limits::Limits;
use crate::program::Program;
use crate::table::Table;
use crate::text::unescape;
use crate::version::Version;

use self::judge::{BOOT, Place};
use self::line::{Balance, Found, Origin};
use self::pairs::Pairs;
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
}
