"""`check`: what is wrong with a submission, zip or folder, before the server says so without a reason.

From the harmless to the expensive: names and sizes in the zip, then files, config and tensors, then loading the model
as the server does, then a boot in vLLM. A step that needs an earlier one is left out when that one failed.
"""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.findings import Finding, fail, worst_first
from exaone_nb.lfs import LONGEST, REMEDY, pointer_words
from exaone_nb.messages import say
from exaone_nb.score.submission import archive
from exaone_nb.score.submission.files import check_files
from exaone_nb.score.submission.load import boot_in_vllm, load_offline
from exaone_nb.score.submission.model import check_model
from exaone_nb.score.submission.quantization import check_quantization
from exaone_nb.show.table import Table, columns

# What the report calls a level. `fail`: the server will refuse it, or it breaks a rule.
WORDS = {"error": "fail", "warning": "warn", "no-op": "note"}


@dataclass
class Report:
    """The findings about one submission."""

    submission: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing failed; warnings do not count."""
        return not any(finding.level == "error" for finding in self.findings)

    def add(self, found: Iterable[Finding]) -> None:
        self.findings += found

    def table(self) -> Table:
        """One row per finding: failures first, then warnings, then what was fine; otherwise in the order of checking."""
        rows = [
            {"level": WORDS.get(f.level, f.level), "check": f.code, "message": f.text, "remedy": f.remedy}
            for f in worst_first(self.findings)
        ]
        return Table(columns(("level", "check", "message", "remedy")), rows)

    def document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        rows = self.table().records()
        return {"submission": self.submission, "passed": self.passed, "findings": rows}


def check(
    submission: str | Path, *, load: bool = True, boot: bool = False, trust_remote_code: bool = False
) -> Report:
    """Check a submit.zip or a model folder. Raises UsageError when there is neither."""
    path = Path(submission)
    report = Report(path.name)
    if path.is_dir():
        folder = path
        if not (path / "config.json").is_file() and (path / archive.MODEL / "config.json").is_file():
            folder = path / archive.MODEL
        _check_folder(folder, report, load, boot, trust_remote_code)
        return report
    if not path.is_file():
        raise UsageError(
            say("There is no {path}.", path=str(path)), expected=say("a submit.zip or a model folder.")
        )
    if not zipfile.is_zipfile(path):
        with path.open("rb") as handle:
            words = pointer_words(path.name, handle.read(LONGEST))
        text = words or say("{name} is not a zip.", name=path.name)
        remedy = say("Make it with `exaone-nb pack FOLDER`; rar and 7z are refused.")
        report.add([fail("zip", text, REMEDY if words else remedy)])
        return report
    report.add(archive.check_archive(path))
    if not report.passed:
        return report
    try:
        with archive.unpacked(path) as folder:
            _check_folder(folder, report, load, boot, trust_remote_code)
    except WorkbookError as error:
        report.add([fail("zip", error.got, error.remedy or archive.AGAIN)])
    return report


def check_static(folder: Path) -> list[Finding]:
    """The checks that read files and headers only."""
    return [*check_files(folder), *check_model(folder), *check_quantization(folder)]


def _check_folder(folder: Path, report: Report, load: bool, boot: bool, trust_remote_code: bool) -> None:
    report.add(check_static(folder))
    if load and report.passed:
        report.add(load_offline(folder, trust_remote_code=trust_remote_code))
    if boot and report.passed:
        report.add(boot_in_vllm(folder, trust_remote_code=trust_remote_code))
