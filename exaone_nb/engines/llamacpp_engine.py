"""llama.cpp as an engine: GGUF files, and models in 16 bits, which it gets as a GGUF file made for the purpose.

The prompt is rendered by the tokenizer of the model's folder, as for every other engine; llama.cpp gets its token ids.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.gguf.header import read_gguf
from exaone_nb.anatomy.gguf.inspection import type_of
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.reader import Folder
from exaone_nb.conversation.answers import Answer, Sampling
from exaone_nb.conversation.prompt import open_tokenizer
from exaone_nb.converter.gguf_file import convert
from exaone_nb.engines.environment import require_llamacpp
from exaone_nb.engines.llamacpp_adapter import LlamaServer
from exaone_nb.engines.options import CACHE_GIB, GIB, threads_for
from exaone_nb.engines.token_engine import TokenEngine
from exaone_nb.errors import UsageError
from exaone_nb.fields import named_dtype
from exaone_nb.messages import say

# llama.cpp gives each sequence a multiple of this many tokens, and takes at most so many sequences.
STEP, MOST_SLOTS = 256, 256


class LlamacppEngine(TokenEngine):
    """One GGUF file in llama.cpp's server. `dtype` is the type of the file, as Q4_K_M; several may be open at once."""

    name = "llama.cpp"

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int = 0,
        max_model_len: int = 2048,
        max_num_seqs: int = 64,
        max_num_batched_tokens: int = 2048,
        kv_cache_gib: float = CACHE_GIB,
        **_: Any,
    ) -> None:
        """Load the GGUF file in `folder`, or its 16-bit weights as such a file; options of other engines are ignored.

        As many requests run at once as `kv_cache_gib` holds caches for, at most `max_num_seqs`. Raises WorkbookError for
        a broken file, one that llama.cpp does not know, and quantized safetensors.
        """
        require_llamacpp()
        self.folder = Path(folder)
        config = catalog.read_config(self.folder / "config.json")
        self.arguments = {"max_model_len": max_model_len, "enforce_eager": False}
        self._server: LlamaServer | None = None
        self._files = ExitStack()  # holds the folder of a file made for the purpose, until `close`
        self._tokenizer = open_tokenizer(self.folder)
        with ExitStack() as stack:
            file = catalog.gguf_in(self.folder)
            if file is None:
                kind = "F16" if named_dtype(config) == "float16" else "BF16"
                file = (
                    Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exaone-nb-"))) / "model.gguf"
                )
                convert(self.folder, kind, file)
                self.remarks = [
                    say("llama.cpp reads the model as a GGUF file of type {kind}, made just now.", kind=kind)
                ]
            read = read_gguf(Folder(file), file.name)  # whose refusals are sentences
            self.dtype, self.dtype_reason = type_of(read), say("as the GGUF file is stored")
            length = max_model_len + -max_model_len % STEP
            one = kv_cache(config, max_model_len=length).bytes_per_request
            started = time.perf_counter()
            self._server = LlamaServer(
                file,
                slots=max(1, min(max_num_seqs, MOST_SLOTS, int(kv_cache_gib * GIB) // max(one, 1))),
                context=length,
                threads=threads_for(config, threads),
                batch=max_num_batched_tokens,
            )
            self.start_seconds = time.perf_counter() - started
            self._files = stack.pop_all()
        self.kernel = self._server.kernel

    @property
    def server(self) -> LlamaServer:
        """The running server. Raises UsageError after `close`."""
        if self._server is None:
            raise UsageError("The engine is closed.", remedy="Open it again.")
        return self._server

    def tokenizer(self) -> Any:
        return self._tokenizer

    def _complete(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Answer]:
        return self.server.complete(prompts, sampling, self._tokenizer)

    def close(self) -> None:
        """End the server. Closing twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._files.close()
