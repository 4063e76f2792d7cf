"""nano as a GGUF checkpoint, which the tests of llama.cpp share."""

from __future__ import annotations

from pathlib import Path

import pytest

from exaone_nb.compress.gguf_checkpoint import gguf_checkpoint
from exaone_nb.paths import NANO


@pytest.fixture(scope="session")
def bf16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano's own weights in a GGUF file."""
    folder = tmp_path_factory.mktemp("gguf") / "BF16"
    gguf_checkpoint(NANO, "BF16", folder)
    return folder
