"""What only a card can show: `make test-gpu` on a machine with an NVIDIA GPU; elsewhere all of it is skipped.

What was measured is written to runs/gpu/measured.json, or into the folder that EXAONE_NB_GPU_OUT names, as it becomes
known: a run that is cut short keeps what it has.
"""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from exaone_nb import catalog
from exaone_nb.files import write_json
from exaone_nb.gpus import Gpu
from exaone_nb.hardware import this_gpu
from exaone_nb.paths import NANO, RUNS

SHAPE = "EXAONE-4.0-1.2B"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def pytest_collection_modifyitems(items):
    """Without a card nothing here is started, and torch is not loaded to find that out."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if here and this_gpu() is None:
        for item in here:
            item.add_marker(
                pytest.mark.skip(reason="needs an NVIDIA GPU; run `make test-gpu` where there is one")
            )


@pytest.fixture(scope="session")
def card():
    """The card's name. Fails where nvidia-smi lists one that torch cannot use: `exaone-nb doctor` says why."""
    import torch

    assert torch.cuda.is_available(), "torch cannot use the GPU that nvidia-smi lists: see `exaone-nb doctor`"
    return torch.cuda.get_device_name()


@pytest.fixture(scope="session")
def this_card(card):
    """The card as `memory` takes it; its rates count for nothing there."""
    found = this_gpu()
    return Gpu(found.name, "", found.compute_capability, found.memory_bytes, 1.0, {}, "nvidia-smi")


@pytest.fixture(scope="session")
def measured(card):
    """A function that keeps one measurement by name, with the card and the date beside it."""
    import torch

    path = Path(os.environ.get("EXAONE_NB_GPU_OUT") or RUNS / "gpu") / f"measured_{os.getpid()}.json"
    about = {"card": card, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__}
    found = {"about": about | {"driver": this_gpu().driver, "cuda": torch.version.cuda}}

    def keep(name: str, **values: object) -> None:
        found[name] = values
        write_json(path, found)
        print(name, json.dumps(values, default=str))

    return keep


@pytest.fixture(scope="session")
def real_shape(card, tmp_path_factory):
    """EXAONE-4.0-1.2B, all layers, with random weights in bfloat16, and nano's tokenizer beside it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    nano = catalog.read_config(NANO / "config.json")
    config = catalog.resolve(SHAPE).config()
    config |= {name: nano[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(config.pop("model_type"), **config), dtype=torch.bfloat16
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:  # all alike they would be reported as stored several times
                parameter.add_(torch.empty_like(parameter).uniform_(-0.3, 0.3))
    folder = tmp_path_factory.mktemp("model") / SHAPE
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(NANO / name, folder / name)
    del model
    torch.cuda.empty_cache()
    return folder


def seconds_of(work, repeats: int = 5) -> float:
    """The median of `repeats` after a warm-up, the card's work included."""
    import statistics

    import torch

    def once() -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - started

    once()
    return statistics.median(once() for _ in range(repeats))


@pytest.fixture(scope="session")
def timer(card):
    return seconds_of
