"""GGUF sizes before a file exists: names, the rule of types, and bytes, against llama.cpp's own figures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exaone_nb import catalog, published
from exaone_nb.anatomy.gguf.names import GGUF_FAMILIES, gguf_family, gguf_name
from exaone_nb.anatomy.gguf.rule import GgufShape, file_type, tensor_types
from exaone_nb.anatomy.gguf.size import plan_gguf
from exaone_nb.anatomy.gguf.types import CONVERTER_TYPES, FILE_TYPES
from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.errors import UsageError, WorkbookError

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
}
CATALOG = {
    "exaone4": "EXAONE-4.0-1.2B",
    "exaone": "EXAONE-3.5-7.8B-Instruct",
    "qwen3": "Qwen3-8B",
}


def config_of(family: str) -> dict:
    return catalog.resolve(CATALOG[family]).config() if family in CATALOG else LLAMA


@pytest.mark.parametrize("family", GGUF_FAMILIES)
def test_names_are_those_of_the_gguf_package(family: str):
    gguf = pytest.importorskip("gguf")
    config = config_of(family)
    names = [spec.name for spec in expected_tensors(config)] + ["lm_head.weight"]
    architecture = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[
        gguf_family(config).architecture
    ]
    table = gguf.get_tensor_name_map(architecture, 64)
    assert {name: gguf_name(name, gguf_family(config)) for name in names} == {
        name: table.get_name(name, try_suffixes=(".weight", ".bias")) for name in names
    }


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.experts.0.up_proj.weight", "model.norm.weight_scale", "x"]
)
def test_a_tensor_without_a_place_is_refused(name: str):
    with pytest.raises(WorkbookError, match="no place in a GGUF file of llama"):
        gguf_name(name, GGUF_FAMILIES["llama"])


def test_other_families_and_types_are_refused():
    with pytest.raises(WorkbookError, match="model_type 'gemma3_text' are not known here"):
        plan_gguf(catalog.resolve("gemma-3-1b-it").config(), "Q4_K_M")
    with pytest.raises(UsageError, match=r"No GGUF type 'Q4_K_X'.*\n.*\n.*Did you mean Q4_K_M"):
        file_type("Q4_K_X")
    assert file_type("q4_k_m") == "Q4_K_M"


# Made with llama.cpp: F16, BF16 and Q8_0 by its converter (b10359), the others by llama_model_quantize (v0.4.0) from the
# BF16 file, on nano. Number of tensors by type in the one that mixes most, and the data that follows from all of them.
NANO_DATA = {
    "BF16": 6_827_136,
    "F16": 6_827_136,
    "Q8_0": 3_632_256,
    "Q6_K": 2_806_912,
    "Q5_K_M": 2_450_048,
    "Q4_K_M": 2_114_176,
    "Q4_0": 1_995_904,
    "IQ4_XS": 1_897_600,
    "Q3_K_M": 1_742_976,
    "Q2_K": 1_378_432,
}


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_nano_has_the_bytes_that_llama_cpp_wrote(kind: str):
    plan = plan_gguf(catalog.resolve("nano").config(), kind)
    assert plan.data_bytes == NANO_DATA[kind] and plan.file_bytes is None
    assert plan.weights == 3_410_688


def test_nano_in_q4_k_m_has_the_types_that_llama_cpp_gave():
    plan = plan_gguf(catalog.resolve("nano").config(), "Q4_K_M")
    more = {tensor.name for tensor in plan.tensors if tensor.type.name == "Q6_K"}
    assert more == {
        "token_embd.weight",
        *(f"blk.{layer}.{part}.weight" for layer in (2, 3) for part in ("attn_v", "ffn_down")),
    }
    assert plan.types() == {"Q4_K": 24, "F32": 18, "Q6_K": 5}


PUBLISHED = [row for row in published.sizes() if row["kind"] == "gguf"]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['model']} {row['scheme']}")
def test_published_files_weigh_what_is_predicted(row: dict):
    """Three digits are published; the vocabulary of these models takes 1 to 7 MB that a config does not settle."""
    config = catalog.resolve(row["model"]).config()
    plan = plan_gguf(config, row["scheme"], untied_head=row["head_twice"] == "yes")
    known, stated = plan.listed_bytes + plan.data_bytes, int(row["value"])
    half_a_digit = 10 ** (len(row["value"]) - 3) / 2
    assert known + 1e6 < stated + half_a_digit and stated - half_a_digit < known + 7e6


def test_a_head_stored_twice_gets_the_six_bits_and_the_embedding_the_files_own_type():
    config = catalog.resolve("EXAONE-3.5-2.4B-Instruct").config()
    once, twice = (
        {tensor.name: tensor.type.name for tensor in plan_gguf(config, "Q4_K_M", untied_head=untied).tensors}
        for untied in (False, True)
    )
    assert once["token_embd.weight"] == "Q6_K" and "output.weight" not in once
    assert twice["token_embd.weight"] == "Q4_K" and twice["output.weight"] == "Q6_K"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (256, ["Q6_K", "Q5_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K"]),
        (320, ["Q8_0", "Q5_1", "Q5_0", "Q4_0", "IQ4_NL", "Q4_0", "Q4_0"]),
        (80, ["F16"] * 7),
    ],
)
def test_rows_that_do_not_divide_fall_back(row: int, found: list[str]):
    """The table of tensor_type_fallback in llama.cpp's src/llama-quant.cpp."""
    kinds = [kind for kind in FILE_TYPES if kind not in CONVERTER_TYPES]
    shapes = {"blk.1.attn_q.weight": (8, row)}
    model = GgufShape(layers=8, group=1)
    assert [tensor_types(shapes, kind, model)["blk.1.attn_q.weight"] for kind in kinds] == found
    assert tensor_types(shapes, "Q8_0", model)["blk.1.attn_q.weight"] == ("F16" if row == 80 else "Q8_0")


def test_the_values_of_a_70b_get_more_bits():
    """In llama.cpp's words: eight heads share them, so that they are small and decide much."""
    llama = {"model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64}
    for key_value, found in ((8, "Q5_K"), (64, "Q4_K")):
        model = GgufShape.of(llama | {"num_key_value_heads": key_value})
        shapes = {f"blk.{layer}.attn_v.weight": (1024, 8192) for layer in range(80)}
        assert tensor_types(shapes, "Q4_K_M", model)["blk.11.attn_v.weight"] == found


# The schemas that llama.cpp's own test of the rule holds (tests/snapshots), b10359: name, family, shape.
SNAPSHOTS = {
    "qwen3-0.6b": "Qwen3-0.6B",
    "qwen3-14b": "Qwen3-14B",
    "meta-llama-3.1-70b-instruct": {
        "model_type": "llama",
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_rule_is_that_of_llama_cpps_own_test(name: str):
    """Every matrix in every type: llama.cpp keeps for a model which ones do not get the file's own type."""
    source = os.environ.get("LLAMA_CPP_CONVERTER")
    if not source:
        pytest.skip(
            "set LLAMA_CPP_CONVERTER to a folder of llama.cpp, see tests/converter/test_gguf_reference.py"
        )
    model = SNAPSHOTS[name]
    config = catalog.resolve(model).config() if isinstance(model, str) else model
    text = (Path(source) / "tests" / "snapshots" / f"{name}.schema").read_text()
    shapes = {tensor.name: tensor.shape for tensor in plan_gguf(config, "BF16", untied_head=True).tensors}
    sections = {
        kind: (default, dict(line.split() for line in lines.splitlines()))
        for kind, default, lines in re.findall(r"^\[(\w+)\] (\w+)\n((?:\S.*\n)*)", text, re.M)
    }
    assert len(sections) > 20
    for kind in FILE_TYPES:
        default, others = sections[kind]
        types = tensor_types(shapes, kind, GgufShape.of(config))
        matrices = {name: found for name, found in types.items() if len(shapes[name]) > 1}
        wanted = {name: others.get(name, default).upper() for name in matrices}
        assert {name: found.upper() for name, found in matrices.items()} == wanted, kind


def test_sizes_and_headers_need_no_library():
    """A light installation inspects and predicts: no numpy, no gguf package."""
    code = (
        "import sys; from exaone_nb import catalog; from exaone_nb.anatomy.gguf import inspection, size; "
        "size.plan_gguf(catalog.resolve('EXAONE-4.0-1.2B').config(), 'Q4_K_M'); "
        "print([m for m in ('numpy', 'gguf', 'torch', 'transformers', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
