"""vLLM on the card: engine after engine in one process, each with the memory that was predicted and a named kernel."""

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.dummy import shape_folder
from exaone_nb.engines.environment import has_vllm
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.quantization.kernels import support

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not has_vllm(), reason="vLLM is not installed here: make install"),
]
SHAPE = "EXAONE-4.0-1.2B"
GIB = 2**30


def free_bytes() -> int:
    import torch

    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


@pytest.mark.parametrize("scheme", ["BF16", "W8A8", "FP8_DYNAMIC", "W4A16", "BF16"])
def test_an_engine_starts_answers_and_gives_everything_back(scheme, this_card, measured):
    config, expected = catalog.resolve(SHAPE).config(), support(scheme, this_card.machine)
    if expected.answer == "no":
        pytest.skip(f"vLLM has no kernel for {scheme} on this card: {expected.reason}")
    plan = plan_memory(config, scheme, this_card, context=2048, utilization=0.85)
    before = free_bytes()
    with (
        shape_folder(config, scheme, name=SHAPE) as folder,
        VllmEngine(folder, dummy_weights=True, kv_cache_memory_bytes=GIB) as engine,
    ):
        during = before - free_bytes()
        (answer,) = engine.generate([[5] * 64], Sampling(max_tokens=16, ignore_eos=True))
        kernel, start, dtype = engine.kernel, engine.start_seconds, engine.dtype
    after = free_bytes()
    predicted = plan.weights + GIB + plan.overhead
    measured(
        f"engine {scheme}", kernel=kernel, expected_kernel=expected.kernel, start_seconds=start, dtype=dtype,
        used_bytes=during, predicted_bytes=predicted, weights=plan.weights, free_before=before, free_after=after,
    )  # fmt: skip
    assert answer.output_tokens == 16 and kernel != "unknown"
    assert plan.weights + GIB < during < predicted + GIB
    assert before - after < GIB  # what CUDA keeps for this process
