//! The linter of logs: bytes in, a report out.
//!
//! In: chunks of a log. Out: counts while it reads, and in the end a report of plain Python values. Refused: nothing but
//! what `load` raises.

use evcore_core::limits::Limits;
use evcore_core::log::{self, Actions, Counts, Settings, Use, VERSIONS};
use evcore_core::version::Version;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::errors;
use crate::program::Program;

/// Programs by use and action, compiled on first use.
struct Loader<'py> {
    py: Python<'py>,
    load: &'py Py<PyAny>,
    versions: &'py [Loaded],
}

/// A version's actions, and their programs as far as they were asked for.
struct Loaded {
    version: Version,
    actions: Actions,
    programs: [Vec<PyOnceLock<Py<Program>>>; 3],
}

impl Loaded {
    fn new(version: &str, programs: &Bound<'_, PyDict>) -> PyResult<Self> {
        let names = |kind: &str| match programs.get_item(kind)? {
            Some(names) => names.try_iter()?.map(|name| Ok(name?.extract::<String>()?.into_boxed_str())).collect(),
            None => PyResult::Ok(Vec::new()),
        };
        let actions = Actions { calls: names("call")?, results: names("result")?, sends: names("send")? };
        let programs = USES.map(|usage| actions.of(usage).iter().map(|_| PyOnceLock::new()).collect());
        Ok(Self { version: errors::version(version)?, actions, programs })
    }
}

const USES: [Use; 3] = [Use::Call, Use::Result, Use::Send];

/// The name of a use in Python.
fn kind(usage: Use) -> &'static str {
    match usage {
        Use::Call => "call",
        Use::Result => "result",
        Use::Send => "send",
    }
}

impl log::Schemas for Loader<'_> {
    type Error = PyErr;

    #[inline]
    fn program(&self, version: usize, usage: Use, action: usize) -> PyResult<&evcore_core::program::Program> {
        let loaded = &self.versions[version];
        let program = loaded.programs[usage as usize][action].get_or_try_init(self.py, || {
            let name = &*loaded.actions.of(usage)[action];
            let program = self.load.bind(self.py).call1((loaded.version.name(), kind(usage), name))?;
            PyResult::Ok(program.cast_into::<Program>()?.unbind())
        })?;
        Ok(&program.get().core)
    }
}

/// Findings, makers, versions.
type Report<'py> = (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>);

/// Reads one log; see `evcore._native.Linter` in the stub.
#[pyclass(module = "evcore._native")]
pub struct Linter {
    log: log::Linter,
    load: Py<PyAny>,
    versions: Vec<Loaded>,
    finished: bool,
}

#[pymethods]
impl Linter {
    #[new]
    #[pyo3(signature = (programs, load, *, limits, line_bytes, open_calls, findings, values))]
    fn new(
        programs: &Bound<'_, PyDict>,
        load: Py<PyAny>,
        limits: (usize, u32, usize, usize, usize, u32, usize),
        line_bytes: usize,
        open_calls: usize,
        findings: usize,
        values: bool,
    ) -> PyResult<Self> {
        let (frame_bytes, depth, id_chars, string_bytes, number_chars, items, violations) = limits;
        let depth = depth.min(errors::DEEPEST);
        let settings = Settings {
            limits: Limits { frame_bytes, depth, id_chars, string_bytes, number_chars, items, violations },
            line_bytes,
            open_calls,
            findings,
            values,
        };
        let mut versions = Vec::new();
        for (version, programs) in programs.iter() {
            versions.push(Loaded::new(version.cast::<PyString>()?.to_str()?, programs.cast::<PyDict>()?)?);
        }
        if !(1..=VERSIONS).contains(&versions.len()) {
            return Err(PyValueError::new_err(format!(
                "a linter has 1 to {VERSIONS} versions, not {}",
                versions.len()
            )));
        }
        let actions = versions.iter().map(|loaded| (loaded.version, loaded.actions.clone())).collect();
        Ok(Self { log: log::Linter::new(settings, actions), load, versions, finished: false })
    }

    /// Reads on.
    fn feed(&mut self, py: Python<'_>, chunk: &Bound<'_, PyBytes>) -> PyResult<()> {
        if self.finished {
            return Err(PyRuntimeError::new_err("the log has ended"));
        }
        self.log.feed(chunk.as_bytes(), &Loader { py, load: &self.load, versions: &self.versions })
    }

    /// The counts so far.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let Counts {
            bytes,
            lines,
            long_lines,
            frames,
            calls,
            results,
            errors,
            sends,
            unpaired,
            bad_frames,
            violating,
            violations,
            cut,
            further,
        } = *self.log.counts();
        let counts = PyDict::new(py);
        counts.set_item("bytes", bytes)?;
        counts.set_item("lines", lines)?;
        counts.set_item("long_lines", long_lines)?;
        counts.set_item("frames", frames)?;
        counts.set_item("calls", calls)?;
        counts.set_item("results", results)?;
        counts.set_item("errors", errors)?;
        counts.set_item("sends", sends)?;
        counts.set_item("unpaired", unpaired)?;
        counts.set_item("bad_frames", bad_frames)?;
        counts.set_item("violating", violating)?;
        counts.set_item("violations", violations)?;
        counts.set_item("cut", cut)?;
        counts.set_item("further", further)?;
        Ok(counts)
    }

    /// The log ends here: the findings, the makers, the versions.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Report<'py>> {
        if !self.finished {
            self.finished = true;
            self.log.finish(&Loader { py, load: &self.load, versions: &self.versions })?;
        }
        let findings = PyList::empty(py);
        for (finding, seen) in self.log.findings() {
            let usage = finding.usage.map_or("frame", kind);
            let (action, pointer, message) = (&*finding.action, &*finding.pointer, &*finding.message);
            let (code, value) = (finding.code, seen.value.as_deref());
            findings.append((
                self.versions[usize::from(finding.version)].version.name(),
                finding.maker,
                usage,
                action,
                pointer,
                finding.keyword,
                code,
                message,
                seen.count,
                seen.line,
                value,
            ))?;
        }
        let makers = PyList::empty(py);
        for maker in self.log.makers() {
            makers.append((maker.vendor, maker.model, maker.stations, maker.frames, maker.bad))?;
        }
        let spoken = PyList::empty(py);
        for (loaded, frames) in self.versions.iter().zip(self.log.spoken()) {
            spoken.append((loaded.version.name(), *frames))?;
        }
        Ok((findings, makers, spoken))
    }
}
