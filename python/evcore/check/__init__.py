"""The lint of frames in log files, behind `evcore check`.

In: files, standard input. Out: a `Report`: what was read, what is wrong with it, by action, place, keyword and maker.
Refused, as `Unreadable` with one sentence: what cannot be opened or is not text. docs/check.md has the rules.

    source -> lint (guesses the version) -> report -> JSON, or tables on a screen
"""

from evcore.check.lint import Options, lint
from evcore.check.report import Finding, Log, Maker, Report
from evcore.check.source import Source, Unreadable

__all__ = ["Finding", "Log", "Maker", "Options", "Report", "Source", "Unreadable", "lint"]
