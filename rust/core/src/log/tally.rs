//! Counting: frames, findings by what they are, the makers of the stations.

use std::collections::HashMap;

use super::Use;
use super::versions::Scores;
use crate::dom::{Dom, Name};
use crate::frame::Fault;
use crate::version::{Version, kind};
use crate::violation::Violation;
use crate::write::write_string;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
    /// Lines that were too long to be read.
    pub long_lines: u64,
    /// Frames, good or bad; those cut by their log are not among them.
    pub frames: u64,
    /// CALLs.
    pub calls: u64,
    /// CALLRESULTs.
    pub results: u64,
    /// CALLERRORs and CALLRESULTERRORs.
    pub errors: u64,
    /// SENDs.
    pub sends: u64,
    /// CALLRESULTs whose CALL is not known: only their frame was judged.
    pub unpaired: u64,
    /// Texts that are no frame of the version.
    pub bad_frames: u64,
    /// Frames whose payload has violations.
    pub violating: u64,
    /// Violations.
    pub violations: u64,
    /// Frames that their log says it cut.
    pub cut: u64,
    /// Findings that were counted, but not kept: there were too many different ones.
    pub further: u64,
}

/// One kind of finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Index of the version that was broken.
    pub version: u8,
    /// Index into the makers; None where no `BootNotification` named one.
    pub maker: Option<u32>,
    /// What the payload was for; None for what is no frame.
    pub usage: Option<Use>,
    /// The action, cut to a sensible length.
    pub action: Box<str>,
    /// JSON Pointer, array indices as `*`, cut to a sensible length.
    pub pointer: Box<str>,
    /// The violation's keyword, or why it is no frame.
    pub keyword: &'static str,
    /// The error code in the version's spelling.
    pub code: &'static str,
    /// The sentence.
    pub message: Box<str>,
}

/// How often, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// The line of the first one; the first line is 1.
    pub line: u64,
    /// The value that broke the rule there, as JSON, where it is asked for and is no container.
    pub value: Option<String>,
}

/// Vendor and model as `BootNotifications` name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maker {
    /// `chargePointVendor`, `vendorName`
    pub vendor: String,
    /// `chargePointModel`, `model`
    pub model: String,
    /// Stations whose last `BootNotification` named them.
    pub stations: u64,
    /// Frames to and from these stations.
    pub frames: u64,
    /// Those among them that are bad or have violations.
    pub bad: u64,
}

/// Characters of an action, a pointer, a vendor's or model's name, a value that are kept.
const ACTION_CHARS: usize = 64;
const POINTER_CHARS: usize = 200;
const MAKER_CHARS: usize = 50;
const VALUE_CHARS: usize = 80;
/// Stations and makers that are remembered.
const STATIONS: usize = 100_000;
const MAKERS: usize = 1_000;

/// What is remembered of a station.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Station {
    /// Evidence of its version.
    pub scores: Scores,
    /// Index into the makers.
    pub maker: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Tally {
    pub counts: Counts,
    versions: Vec<Version>,
    most: usize,
    findings: HashMap<Finding, Seen>,
    stations: HashMap<Box<[u8]>, Station>,
    makers: Vec<Maker>,
    /// Evidence of all stations.
    scores: Scores,
    /// Frames by version.
    pub spoken: Vec<u64>,
}

impl Tally {
    pub fn new(versions: Vec<Version>, most: usize) -> Self {
        Self {
            counts: Counts::default(),
            most,
            findings: HashMap::new(),
            stations: HashMap::new(),
            makers: Vec::new(),
            scores: Scores::default(),
            spoken: vec![0; versions.len()],
            versions,
        }
    }

    pub fn findings(&self) -> impl Iterator<Item = (&Finding, &Seen)> {
        self.findings.iter()
    }

    pub fn makers(&self) -> Vec<Maker> {
        let mut makers = self.makers.clone();
        for maker in self.stations.values().filter_map(|station| station.maker) {
            makers[maker as usize].stations += 1;
        }
        makers
    }

    /// What is known of a station.
    #[inline]
    pub fn known(&self, station: &[u8]) -> Station {
        self.stations.get(station).copied().unwrap_or_default()
    }

    /// The version a station is judged by: without evidence of its own, as the others.
    #[inline]
    pub fn best(&self, scores: Scores) -> usize {
        scores.best().or_else(|| self.scores.best()).unwrap_or(0)
    }

    /// Keeps the evidence of a station's version after it has changed.
    #[cold]
    pub fn keep(&mut self, station: &[u8], scores: Scores) {
        if let Some(best) = scores.best() {
            let mut won = [false; super::VERSIONS];
            won[best] = true;
            self.scores.add(&won);
        }
        if let Some(station) = self.station(station) {
            station.scores = scores;
        }
    }

    /// A station to be changed; None where there are too many.
    fn station(&mut self, station: &[u8]) -> Option<&mut Station> {
        if self.stations.len() >= STATIONS && !self.stations.contains_key(station) {
            return None;
        }
        Some(self.stations.entry(station.into()).or_default())
    }

    /// A frame that is one.
    #[inline]
    pub fn frame(&mut self, version: usize, kind: u8, maker: Option<u32>) {
        self.counts.frames += 1;
        self.spoken[version] += 1;
        *match kind {
            kind::CALL => &mut self.counts.calls,
            kind::CALL_RESULT => &mut self.counts.results,
            kind::SEND => &mut self.counts.sends,
            _ => &mut self.counts.errors,
        } += 1;
        if let Some(maker) = maker {
            self.makers[maker as usize].frames += 1;
        }
    }

    /// A `BootNotification` says who made the station.
    #[cold]
    pub fn boot(&mut self, version: usize, station: &[u8], payload: &Dom) {
        let text = |value: Option<&Dom>| match value {
            Some(Dom::Text(text)) => cut(text, MAKER_CHARS),
            _ => String::new(),
        };
        let (vendor, model) = if self.versions[version] == Version::V16 {
            (member(payload, "chargePointVendor"), member(payload, "chargePointModel"))
        } else {
            let station = member(payload, "chargingStation");
            (station.and_then(|it| member(it, "vendorName")), station.and_then(|it| member(it, "model")))
        };
        let (vendor, model) = (text(vendor), text(model));
        if vendor.is_empty() && model.is_empty() {
            return;
        }
        let known = self.makers.iter().position(|maker| maker.vendor == vendor && maker.model == model);
        let maker = match known {
            Some(maker) => maker,
            None if self.makers.len() < MAKERS => {
                self.makers.push(Maker { vendor, model, ..Maker::default() });
                self.makers.len() - 1
            }
            None => return,
        };
        if let Some(station) = self.station(station) {
            station.maker = Some(maker as u32);
        }
    }

    /// A line that was not read.
    pub fn long_line(&mut self, line: u64, most: usize) {
        self.counts.long_lines += 1;
        let message = format!("line is longer than {most} bytes");
        let version = self.best(Scores::default());
        let code = self.versions[version].spell(crate::version::Code::Framework);
        self.unframed(version, None, line, "limit", code, &message);
    }

    /// Text that is no frame.
    pub fn fault(&mut self, version: usize, maker: Option<u32>, line: u64, fault: &Fault) {
        self.counts.frames += 1;
        self.spoken[version] += 1;
        self.counts.bad_frames += 1;
        if let Some(maker) = maker {
            self.makers[maker as usize].frames += 1;
            self.makers[maker as usize].bad += 1;
        }
        // Where in the frame it was noticed differs from frame to frame.
        let sentence = match fault.offset {
            Some(_) => fault.sentence.rsplit_once(" at byte ").map_or(&*fault.sentence, |(sentence, _)| sentence),
            None => &*fault.sentence,
        };
        self.unframed(version, maker, line, fault.reason.name(), fault.code, sentence);
    }

    fn unframed(
        &mut self,
        version: usize,
        maker: Option<u32>,
        line: u64,
        keyword: &'static str,
        code: &'static str,
        message: &str,
    ) {
        let message = message.into();
        let (action, pointer) = (Box::default(), Box::default());
        let version = version as u8;
        self.add(Finding { version, maker, usage: None, action, pointer, keyword, code, message }, line, || None);
    }

    /// The violations of one frame; `shown` is the payload where values are shown.
    pub fn violations(
        &mut self,
        version: usize,
        maker: Option<u32>,
        line: u64,
        (usage, action): (Use, &str),
        violations: &[Violation],
        shown: Option<&Dom>,
    ) {
        if violations.is_empty() {
            return;
        }
        self.counts.violating += 1;
        self.counts.violations += violations.len() as u64;
        if let Some(maker) = maker {
            self.makers[maker as usize].bad += 1;
        }
        for violation in violations {
            let finding = Finding {
                version: version as u8,
                maker,
                usage: Some(usage),
                action: cut(action, ACTION_CHARS).into(),
                pointer: cut(&pattern(&violation.pointer), POINTER_CHARS).into(),
                keyword: violation.keyword.name(),
                code: violation.code(self.versions[version]),
                message: violation.message.as_str().into(),
            };
            self.add(finding, line, || scalar(find(shown?, &violation.pointer)?));
        }
    }

    fn add(&mut self, finding: Finding, line: u64, value: impl FnOnce() -> Option<String>) {
        if let Some(seen) = self.findings.get_mut(&finding) {
            seen.count += 1;
        } else if self.findings.len() < self.most {
            self.findings.insert(finding, Seen { count: 1, line, value: value() });
        } else {
            self.counts.further += 1;
        }
    }
}

/// A pointer with its array indices folded.
fn pattern(pointer: &str) -> String {
    let fold = |step| if is_index(step) { "*" } else { step };
    pointer.split('/').map(fold).collect::<Vec<_>>().join("/")
}

fn is_index(step: &str) -> bool {
    !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit())
}

/// At most so many characters, and a mark where some are missing.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn member<'d>(value: &'d Dom<'d>, wanted: &str) -> Option<&'d Dom<'d>> {
    let Dom::Object(_, members) = value else { return None };
    members.iter().find_map(|(name, value)| match name {
        Name::Text(name) if &**name == wanted => Some(value),
        _ => None,
    })
}

/// The value a pointer leads to; of a name given twice the first one.
fn find<'d>(value: &'d Dom<'d>, pointer: &str) -> Option<&'d Dom<'d>> {
    pointer.split('/').skip(1).try_fold(value, |value, step| match value {
        Dom::Array(items) => items.get(step.parse::<usize>().ok()?),
        value => member(value, &step.replace("~1", "/").replace("~0", "~")),
    })
}

fn scalar(value: &Dom) -> Option<String> {
    let text = match value {
        Dom::Null => "null".to_owned(),
        Dom::Boolean(value) => value.to_string(),
        Dom::Number(text) if &**text == "-0" => "0".to_owned(),
        Dom::Number(text) => text.to_string(),
        Dom::Text(text) => {
            let mut out = Vec::new();
            write_string(&mut out, text);
            String::from_utf8_lossy(&out).into_owned()
        }
        _ => return None,
    };
    Some(cut(&text, VALUE_CHARS))
}
