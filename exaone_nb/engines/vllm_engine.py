"""vLLM inside this process: the engine the chapters measure with.

Without worker processes a tiny model starts in a few seconds on a CPU; on a GPU the same code runs with other
parameters. One engine at a time: `close` gives the memory back before the next one is opened.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Answer, Sampling
from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.environment import capability, prepare_process, require_vllm
from exaone_nb.engines.failures import explain, messages_of
from exaone_nb.engines.options import check_sizes, vllm_arguments
from exaone_nb.engines.token_engine import TokenEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say

_open: list["VllmEngine"] = []


class VllmEngine(TokenEngine):
    """One loaded model; `kernels` is what its layers multiply with."""

    name = "vllm"

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int = 0,
        dummy_weights: bool = False,
        data_parallel_size: int = 1,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        """Load the model in `folder`. `options` are those of `vllm_arguments`; all others go to vllm.LLM.

        `dummy_weights` fills the tensors of config.json with small random numbers: no weights and no tokenizer
        are read. `tensor_parallel_size` GPUs share the model; copies of it (`data_parallel_size`) only the server holds.
        Raises WorkbookError with vLLM's reason when it cannot load and for more than one copy, UsageError for a dtype
        that the engine refuses and while another engine is open.
        """
        check_sizes(options.get("tensor_parallel_size", 1), data_parallel_size)
        if data_parallel_size > 1:
            got = say(
                "data_parallel_size is {data_parallel_size}, and vLLM inside one process holds one copy of a model.",
                data_parallel_size=data_parallel_size,
            )
            raise WorkbookError(
                got, remedy="Use the server for several copies: Server(folder, data_parallel_size=N)."
            )
        if _open:
            raise UsageError(
                "Another in-process engine is still open.",
                expected="one at a time, so that memory and timings are its own.",
                remedy="Close it first, or use `with open_engine(...) as engine:`.",
            )
        require_vllm()
        self.remarks = prepare_process(threads, log="shown" if verbose else "kept")
        self.folder = Path(folder)
        self.has_tokenizer = not dummy_weights
        self.arguments, self.dtype_reason = _arguments(self.folder, dummy_weights, verbose, options)
        self.dtype = self.arguments["dtype"]
        self._closed = "The engine is closed."
        self._llm: Any = None
        with vllm_adapter.quiet(verbose):
            vllm_adapter.llm_class()  # the import takes long, and is no part of start_seconds
        log: list[str] = []
        started = time.perf_counter()
        try:
            with vllm_adapter.quiet(verbose), vllm_adapter.captured_log() as log:
                self._llm = vllm_adapter.load(self.arguments)
                self.kernels = vllm_adapter.kernels_of(self._llm)
        except (KeyboardInterrupt, WorkbookError):
            vllm_adapter.release()
            raise
        except (Exception, SystemExit) as error:
            # In process the exception carries the reason; the log holds harmless "not supported" remarks too.
            reason = "\n".join(log) if isinstance(error, SystemExit) else messages_of(error)
            vllm_adapter.release()
            raise explain(reason, self.folder.name) from error
        self.start_seconds = time.perf_counter() - started
        _open.append(self)

    @property
    def kernel(self) -> str:
        """What the layers multiply with, as the engine reports it; "unknown" when it does not."""
        return self.kernels.label

    @property
    def int8_activations(self) -> bool:
        """Whether 4-bit weights meet activations in 8 bits."""
        return self.kernels.int8_activations

    def cache_report(self) -> dict[str, Any]:
        """The engine's own account of its KV cache: groups, pages (`num_blocks` of `block_size` tokens), capacity."""
        return vllm_adapter.cache_report(self._llm)

    def _complete(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Answer]:
        """Ctrl-C while it runs closes the engine."""
        llm = self._loaded()
        try:
            return vllm_adapter.complete(llm, prompts, sampling, words=self.has_tokenizer)
        except KeyboardInterrupt:
            # vLLM would finish the interrupted requests in the next call and return their answers first.
            self.close()
            self._closed = "The engine was interrupted, and closed with what was half done in it."
            raise

    def tokenizer(self) -> Any:
        """The model's tokenizer. Raises UsageError for dummy weights, which have none, and after `close`."""
        llm = self._loaded()
        if not self.has_tokenizer:
            raise UsageError("Dummy weights have no tokenizer.", expected="token ids: generate().")
        return llm.get_tokenizer()

    def _loaded(self) -> Any:
        if self._llm is None:
            raise UsageError(self._closed, remedy="Open it again.")
        return self._llm

    def close(self) -> None:
        """Give back the memory, also the GPU's. Closing twice is fine."""
        if self._llm is None:
            return
        vllm_adapter.end(self._llm)
        self._llm = None
        if self in _open:
            _open.remove(self)
        vllm_adapter.release()


def _arguments(
    folder: Path, dummy: bool, verbose: bool, options: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """What vllm.LLM is called with, and why its number format is what it is."""
    ours = ("dtype", "kv_cache_gib", "gpu_memory_utilization", "eager")
    config = catalog.read_config(folder / "config.json")
    shared, why = vllm_arguments(config, capability(), **{n: options[n] for n in ours if n in options})
    return {
        "model": str(folder),
        "max_model_len": 2048,
        "max_num_seqs": 256,
        "enable_prefix_caching": False,  # a repeated prompt must be read again, or prefill times are fiction
        "disable_log_stats": False,  # per-request times come with the answers
        "use_tqdm_on_load": verbose,
        "seed": 0,
        **shared,
        **({"load_format": "dummy", "skip_tokenizer_init": True} if dummy else {}),
        **{name: value for name, value in options.items() if name not in ours},
    }, why
