//! The linter of logs: bytes in, a report out.
//!
//! In: chunks of a log. Out: counts while it reads, and in the end a report of plain Python values. Refused: nothing but
//! what `load` raises.

use evcore_core::limits::Limits;
use evcore_core::log::{self, Counts, Settings, Use};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors;
use crate::program::Program;

/// Programs by use and action, compiled on first use.
struct Loader<'py> {
    py: Python<'py>,
    load: &'py Py<PyAny>,
    uses: &'py [Loaded; 3],
}

/// The actions of one use, and their programs as far as they were asked for.
struct Loaded {
    kind: &'static str,
    names: Vec<Box<str>>,
    programs: Vec<PyOnceLock<Py<Program>>>,
}

impl Loaded {
    fn new(kind: &'static str, programs: &Bound<'_, PyDict>) -> PyResult<Self> {
        let names: Vec<String> = match programs.get_item(kind)? {
            Some(names) => names.try_iter()?.map(|name| name?.extract()).collect::<PyResult<_>>()?,
            None => Vec::new(),
        };
        let names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        Ok(Self { kind, programs: names.iter().map(|_| PyOnceLock::new()).collect(), names })
    }
}

impl log::Schemas for Loader<'_> {
    type Error = PyErr;

    #[inline]
    fn program(&self, usage: Use, action: usize) -> PyResult<&evcore_core::program::Program> {
        let loaded = &self.uses[usage as usize];
        let program = loaded.programs[action].get_or_try_init(self.py, || {
            let program = self.load.bind(self.py).call1((loaded.kind, &*loaded.names[action]))?;
            PyResult::Ok(program.cast_into::<Program>()?.unbind())
        })?;
        Ok(&program.get().core)
    }
}

/// Reads one log; see `evcore._native.Linter` in the stub.
#[pyclass(module = "evcore._native")]
pub struct Linter {
    log: log::Linter,
    load: Py<PyAny>,
    uses: [Loaded; 3],
    finished: bool,
}

#[pymethods]
impl Linter {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the seam to evcore/check, called once a log")]
    #[pyo3(signature = (version, programs, load, *, limits, line_bytes, open_calls, findings, values))]
    fn new(
        version: &str,
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
            version: errors::version(version)?,
            limits: Limits { frame_bytes, depth, id_chars, string_bytes, number_chars, items, violations },
            line_bytes,
            open_calls,
            findings,
            values,
        };
        let uses = [Loaded::new("call", programs)?, Loaded::new("result", programs)?, Loaded::new("send", programs)?];
        let [calls, results, sends] = uses.each_ref().map(|loaded| loaded.names.clone());
        Ok(Self { log: log::Linter::new(settings, calls, results, sends), load, uses, finished: false })
    }

    /// Reads on.
    fn feed(&mut self, py: Python<'_>, chunk: &Bound<'_, PyBytes>) -> PyResult<()> {
        if self.finished {
            return Err(PyRuntimeError::new_err("the log has ended"));
        }
        self.log.feed(chunk.as_bytes(), &Loader { py, load: &self.load, uses: &self.uses })
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

    /// The log ends here: the findings and the makers.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        if !self.finished {
            self.finished = true;
            self.log.finish(&Loader { py, load: &self.load, uses: &self.uses })?;
        }
        let findings = PyList::empty(py);
        for (finding, seen) in self.log.findings() {
            let usage = finding.usage.map_or("frame", |usage| self.uses[usage as usize].kind);
            let (action, pointer, message) = (&*finding.action, &*finding.pointer, &*finding.message);
            let (code, value) = (finding.code, seen.value.as_deref());
            findings.append((
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
        Ok((findings, makers))
    }
}
