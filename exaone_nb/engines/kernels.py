"""Which kernel ran, from vLLM's own log.

Bytes saved are not speed gained unless a kernel multiplies the packed weights directly. vLLM logs its choice once
per process; the log is captured while a model loads, with the "once" memory cleared so that the second model of a
notebook is logged as well.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# "Using MarlinLinearKernel for CompressedTensorsWNA16", "Selected CPUInt8ScaledMMLinearKernel for ..."
CHOICE = re.compile(r"\b(?:Using|Selected) (\w*Kernel\w*) for (\w[\w.-]*)")
ATTENTION = re.compile(r"Using (\w+) (?:attention )?backend|Using (Flash\w+|FLASH\w+|FLASHINFER|CPU_ATTN)\b")


@dataclass
class Log:
    """The lines vLLM logged while a model was loaded."""

    lines: list[str] = field(default_factory=list)

    def linear_kernels(self) -> list[str]:
        """Names of the kernels chosen for quantized layers, in order, each once. Empty: nothing was quantized."""
        return list(dict.fromkeys(match[1] for line in self.lines for match in CHOICE.finditer(line)))

    def kernel(self) -> str:
        """One name for a table: the kernels, or "16-bit matmul" when vLLM named none."""
        return ", ".join(self.linear_kernels()) or "16-bit matmul"

    def text(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def captured_log() -> Iterator[Log]:
    """Collect what the logger `vllm` says inside the block; messages logged "once" are said again."""
    import vllm.logger as source

    for name in ("_print_info_once", "_print_warning_once"):
        forget = getattr(getattr(source, name, None), "cache_clear", None)
        if forget is not None:
            forget()
    log = Log()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.lines.append(record.getMessage())

    logger, handler = logging.getLogger("vllm"), Keep(logging.INFO)
    level, spread = logger.level, logger.propagate
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield log
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = spread
