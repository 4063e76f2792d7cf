"""The number format with its reason, and memory by what is asked for; tests/engines/test_contract.py asks vLLM itself."""

import pytest

from exaone_nb.engines import environment, options
from exaone_nb.engines.dummy import quantization_config
from exaone_nb.engines.options import choose_dtype, vllm_arguments
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.hardware import Machine

EXAONE, GEMMA = ({"model_type": name, "torch_dtype": "bfloat16"} for name in ("exaone4", "gemma3"))


@pytest.mark.parametrize(
    ("config", "capability", "dtype", "reason"),
    [
        (EXAONE, None, "bfloat16", "as the checkpoint is stored"),
        (EXAONE, 8.9, "bfloat16", "as the checkpoint is stored"),
        (EXAONE, 7.5, "float16", "compute capability 7.5 has no bfloat16"),  # a T4
        (GEMMA, 7.5, "float32", "vLLM refuses float16 for gemma3"),
        ({"text_config": {"dtype": "float16"}}, 8.9, "float16", "as the checkpoint is stored"),
        ({"dtype": "float32"}, None, "bfloat16", "16 bits are enough"),
        ({}, None, "bfloat16", "does not say"),
    ],
)
def test_the_format_comes_with_its_reason(config, capability, dtype, reason):
    found, why = choose_dtype(config, capability)
    assert found == dtype and reason in why


@pytest.mark.parametrize(
    ("config", "capability", "asked", "expected"),
    [(EXAONE, 7.5, "bfloat16", "float16 or float32"), (GEMMA, 7.5, "float16", "auto, or float32"), (EXAONE, None, "half", "auto")],
)  # fmt: skip
def test_a_format_that_cannot_be_is_refused_with_those_that_can(config, capability, asked, expected):
    with pytest.raises(UsageError) as caught:
        choose_dtype(config, capability, asked)
    assert expected in caught.value.expected
    assert choose_dtype(EXAONE, 7.5, "float32") == ("float32", "asked for")


def test_a_checkpoint_that_the_card_cannot_serve_is_refused_before_the_engine_starts(monkeypatch):
    """Blackwell has no INT8 kernel (vLLM 0.32), and a default recipe is W8A8: known before a minute is spent on it."""
    stored = {"quantization_config": quantization_config("W8A8")}
    ada, blackwell = Machine("an L4", 8.9), Machine("a B200", 10.0)
    monkeypatch.setattr(options, "this_machine", lambda: ada)
    assert vllm_arguments(EXAONE | stored, 8.9)[0]["dtype"] == "bfloat16"
    monkeypatch.setattr(options, "this_machine", lambda: blackwell)
    with pytest.raises(WorkbookError, match="cannot run W8A8 on this device") as caught:
        vllm_arguments(EXAONE | stored, 10.0)
    assert "10.0" in caught.value.got and caught.value.remedy
    assert vllm_arguments(EXAONE, 10.0)[0]["dtype"] == "bfloat16"  # unquantized runs everywhere
    unknown = {"quantization_config": {"quant_method": "somebody's own"}}
    assert vllm_arguments(EXAONE | unknown, 10.0)[0]  # nobody knows: the engine may try


def test_the_cache_is_asked_for_in_bytes_on_a_cpu_and_as_a_share_of_a_gpu():
    arguments, _ = vllm_arguments(EXAONE, None, kv_cache_gib=0.5)
    assert arguments == {"dtype": "bfloat16", "enforce_eager": True, "kv_cache_memory_bytes": 2**29}
    arguments, _ = vllm_arguments(EXAONE, 7.5, eager=True)
    assert arguments == {"dtype": "float16", "enforce_eager": True, "gpu_memory_utilization": 0.85}


def test_no_engine_is_led_by_the_variable_that_wins_over_the_call(monkeypatch):
    """vLLM's CPU platform takes VLLM_CPU_KVCACHE_SPACE instead of kv_cache_memory_bytes (platforms/cpu.py)."""
    given = {environment.CACHE_VARIABLE: "40", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    monkeypatch.setattr(environment.os, "environ", given)
    server, child = (
        environment.environment_of_child(server=True),
        environment.environment_of_child(offline=True),
    )
    assert environment.CACHE_VARIABLE not in server and environment.CACHE_VARIABLE not in child
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in server and child["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert (
        child["HF_HUB_OFFLINE"] == "1" and server["OMP_WAIT_POLICY"] == child["OMP_WAIT_POLICY"] == "PASSIVE"
    )
    assert any(environment.CACHE_VARIABLE in remark for remark in environment.prepare_process())
    assert environment.CACHE_VARIABLE not in given
