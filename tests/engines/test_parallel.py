"""Sizes of tensor and data parallel: they reach vLLM from the chapters' parameters, and nothing below 1 does."""

import contextlib
import types
from dataclasses import replace
from types import SimpleNamespace

import pytest

from exaone_nb.engines import server, vllm_adapter, vllm_engine
from exaone_nb.engines.options import MEMORY_SHARE, Sizes, copies_note
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.score import backends
from exaone_nb.score.settings import Settings
from exaone_nb.serve.bandwidth import Roof
from exaone_nb.workbook.chapters import discover, has_tag


@pytest.fixture
def vllm_arguments(monkeypatch):
    """What vllm.LLM would be called with; vLLM itself is not loaded."""
    seen = []
    monkeypatch.setattr(vllm_engine, "require_vllm", lambda: None)
    monkeypatch.setattr(vllm_engine, "prepare_process", lambda *_, **__: [])
    monkeypatch.setattr(vllm_adapter, "llm_class", lambda: None)
    monkeypatch.setattr(
        vllm_adapter, "load", lambda arguments: seen.append(arguments) or types.SimpleNamespace()
    )
    monkeypatch.setattr(vllm_adapter, "kernels_of", lambda llm: vllm_adapter.Kernels(()))
    monkeypatch.setattr(vllm_adapter, "release", lambda: None)
    monkeypatch.setattr(vllm_adapter, "captured_log", lambda: contextlib.nullcontext([]))
    return seen


def cell(number, word):
    """Source of the code cell of a chapter that holds `word`."""
    (chosen,) = [c for c in discover() if c.number == number]
    cells = [c for c in chosen.document["cells"] if c["cell_type"] == "code" and not has_tag(c, "parameters")]
    return next(c["source"] for c in cells if word in c["source"])


def test_the_engine_in_process_shares_a_model_and_holds_one_copy(vllm_arguments, tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    vllm_engine.VllmEngine(tmp_path, tensor_parallel_size=2).close()
    assert vllm_arguments[0]["tensor_parallel_size"] == 2
    with pytest.raises(WorkbookError, match="one copy") as caught:
        vllm_engine.VllmEngine(tmp_path, data_parallel_size=2)
    assert "server" in caught.value.remedy and len(vllm_arguments) == 1


def test_the_server_is_told_both():
    command = server.server_command("model", 8000, tensor_parallel_size=2, data_parallel_size=3)
    assert command[command.index("--tensor-parallel-size") + 1] == "2"
    assert command[command.index("--data-parallel-size") + 1] == "3"


def test_the_chapters_that_serve_hand_their_parameters_on(monkeypatch):
    started = {}
    names = {
        "catalog": types.SimpleNamespace(weights_folder=lambda model: model),
        "Server": lambda folder, **options: started.update(options),
        **{"MODEL": "nano", "DTYPE": "float32", "TENSOR_PARALLEL_SIZE": 2, "DATA_PARALLEL_SIZE": 3},
        **{
            "GPU_MEMORY_UTILIZATION": 0.5,
            "with_server": True,
            "sizes": Sizes(1, 160, 2048),
            "has_gpu": lambda: False,
        },
    }
    exec(cell("08", "Server("), names)
    assert (started["tensor_parallel_size"], started["data_parallel_size"]) == (2, 3)
    for chapter in ("08", "09"):
        assert '"tensor_parallel_size": TENSOR_PARALLEL_SIZE' in cell(chapter, "gpu_options = ")
    assert started["dtype"] == "float32" and started["gpu_memory_utilization"] == 0.5
    assert "engine=gpu_options" in cell("09", "measure_checkpoints(run")
    assert "engine=gpu_options" in cell("09", 'weights="dummy"')
    assert "**engine_options" in cell("08", "open_engine(MODEL")


def test_several_copies_need_the_server():
    assert copies_note(2, 1, False) == ""
    assert "3 copies" in copies_note(1, 3, True)
    with pytest.raises(UsageError, match="SERVER is off"):
        copies_note(1, 3, False)


def test_scoring_hands_both_to_lm_eval(monkeypatch, tmp_path):
    seen = {}
    made = SimpleNamespace(model=None)
    monkeypatch.setattr(
        backends.lm_eval_adapter, "vllm_class", lambda: lambda **arguments: seen.update(arguments) or made
    )
    monkeypatch.setattr(backends, "_require_gpus", lambda settings: None)
    names = dict.fromkeys(("LIMIT", "MAX_MODEL_LEN"), 8) | {
        **{
            "BACKEND": "vllm",
            "DTYPE": "auto",
            "THINKING": False,
            "TENSOR_PARALLEL_SIZE": 2,
            "DATA_PARALLEL_SIZE": 3,
            "GPU_MEMORY_UTILIZATION": 0.5,
        }
    }
    source = cell("10", "settings = Settings(")
    exec(
        source[source.index("settings = ") : source.index("base_folder = ")],
        names | {"Settings": Settings, "questions": SimpleNamespace(preset=""), "replace": replace},
        names,
    )
    monkeypatch.setattr(backends, "capability", lambda: 7.5)
    (tmp_path / "config.json").write_text('{"model_type": "exaone4", "dtype": "bfloat16"}', encoding="utf-8")
    with backends.opened(tmp_path, names["settings"]):
        pass
    # A T4 has no bfloat16. By default scoring takes the same share of its memory as measuring does.
    assert (seen["dtype"], seen["gpu_memory_utilization"]) == ("float16", 0.5)
    assert Settings().gpu_memory_utilization == MEMORY_SHARE == 0.85
    assert (seen["tensor_parallel_size"], seen["data_parallel_size"]) == (2, 3)


def test_copies_for_scoring_that_no_gpu_can_hold_are_refused_at_once(monkeypatch):
    """lm-eval would wait for ever for GPUs that Ray does not have."""
    pytest.importorskip("ray", reason="Ray is optional: make install-ray")
    import torch

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(backends.lm_eval_adapter, "vllm_class", lambda: pytest.fail("the engine was started"))
    with (
        pytest.raises(WorkbookError, match="need 4 GPUs; this machine has 1"),
        backends.opened("model", Settings(tensor_parallel_size=2, data_parallel_size=2)),
    ):
        pass


@pytest.mark.parametrize("sizes", [{"tensor_parallel_size": 0}, {"data_parallel_size": -1}])
def test_sizes_below_one_are_refused_everywhere(sizes, tmp_path):
    for call in (
        lambda: vllm_engine.VllmEngine(tmp_path, **sizes),
        lambda: server.server_command("model", 8000, **sizes),
        lambda: Settings(**sizes),
        lambda: copies_note(**({"tensor_parallel_size": 1, "data_parallel_size": 1} | sizes), server=True),
    ):
        with pytest.raises(UsageError, match=next(iter(sizes))):
            call()


def test_other_backends_refuse_to_divide_a_model():
    with pytest.raises(UsageError, match="hf"):
        Settings(backend="hf", tensor_parallel_size=2)


def test_the_number_of_copies_is_no_other_way_of_asking():
    one, two = Settings(), Settings(data_parallel_size=2)
    assert one.fingerprint() == two.fingerprint() != Settings(tensor_parallel_size=2).fingerprint()


def test_the_roof_of_shared_gpus_is_their_sum():
    card = Roof(3e11, {"16-bit": 1e14}, "copying", "cuda")
    assert card.of(1) is card
    assert card.of(2).bandwidth == 6e11 and "2 GPUs" in card.of(2).how
    assert Roof(3e10, {"16-bit": 1e12}, "copying", "cpu").of(2).bandwidth == 3e10
