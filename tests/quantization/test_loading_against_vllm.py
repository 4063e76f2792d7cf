"""What vLLM stops at, asked of the functions that stop it: joined layers, the order of targets, the cache's scheme."""

from __future__ import annotations

from itertools import product

import pytest

from exaone_nb.quantization.effects import cache_finding
from exaone_nb.quantization.loading import JOINED, joined_name, obstacles
from exaone_nb.quantization.matching import CLASSES_OF_KIND, Assignment, Module
from exaone_nb.quantization.schemes import SCHEMES

pytestmark = pytest.mark.heavy

AT = "model.layers.0"
PARTS = [f"self_attn.{name}_proj" for name in "qkvo"] + [
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
]
MODULES = [Module(f"{AT}.{part}", "linear", (64, 64), 0, CLASSES_OF_KIND["linear"]) for part in PARTS]
MAPPING = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}


@pytest.mark.parametrize("model", ["exaone4.Exaone4", "llama.Llama", "qwen3.Qwen3", "gemma3.Gemma3"])
def test_what_is_joined(model: str) -> None:
    module, _, name = model.partition(".")
    models = pytest.importorskip(f"vllm.model_executor.models.{module}", reason="vLLM is not installed here")
    theirs = getattr(models, f"{name}ForCausalLM").packed_modules_mapping
    assert (
        theirs
        == MAPPING
        == {
            joined: [part for part, into in JOINED.items() if into == joined]
            for joined in dict.fromkeys(JOINED.values())
        }
    )


@pytest.mark.parametrize(
    "ignore",
    [(), (f"{AT}.self_attn.v_proj",), (r"re:.*\.v_proj$",), (r"re:.*\.self_attn\..*",), (r"re:.*gate_proj",),
     (r"re:.*(gate|up)_proj",), (f"{AT}.self_attn",), (r"re:.*qkv_proj",)],
)  # fmt: skip
def test_a_part_of_a_joined_layer_cannot_be_ignored_alone(ignore) -> None:
    utils = pytest.importorskip(
        "vllm.model_executor.layers.quantization.compressed_tensors.utils", reason="no vLLM here"
    )
    refused = False
    for layer in dict.fromkeys(joined_name(module.name) for module in MODULES):
        try:
            utils.should_ignore_layer(layer, ignore, MAPPING)
        except ValueError:
            refused = True
    made = Assignment(MODULES, [(SCHEMES["W4A16"], ("Linear",))], ignore, "exaone4")
    assert any(finding.code == "fused-split" for finding in obstacles(made)) is refused


@pytest.mark.parametrize("targets", [
    ((r"re:.*down_proj",), ("Linear",)), (("Linear",), (r"re:.*down_proj",)),
    ((r"re:.*self_attn.*",), (r"re:.*mlp.*",)), ((r"re:.*self_attn.*", r"re:.*mlp.*"), (r"re:.*o_proj",)),
    ((r"re:.*down_proj",), (r"re:.*proj",)), ((r"re:.*proj",), (r"re:.*down_proj",)),
    ((r"re:.*[^v]_proj",), (r"re:.*k_proj", r"re:.*q_proj", r"re:.*v_proj")), ((r"re:.*x_proj",), (r"re:.*",)),
])  # fmt: skip
def test_the_first_target_in_the_file_wins(targets) -> None:
    """A finished file may have its groups in any order, and groups that no module gets."""
    utils = pytest.importorskip(
        "vllm.model_executor.layers.quantization.compressed_tensors.utils", reason="no vLLM here"
    )

    class Linear:
        """As vLLM asks for it: by the name of the class."""

    groups = [(SCHEMES["W8A16"], targets[0]), (SCHEMES["W4A16"], targets[1])]
    made = Assignment(MODULES, groups, (), "exaone4")
    order = {target: scheme for scheme, names in groups for target in names}
    theirs = {}
    for module in MODULES:
        target = utils.find_matched_target(joined_name(module.name), Linear(), order, MAPPING)
        theirs[module.name] = target and order[target].weights
    agree = all(theirs[name] == (made.numbers_of(name) or (None,))[0] for name in made.assigned)
    assert any(f.code in ("file-order", "fused-split") for f in obstacles(made)) is not agree


def test_a_scheme_of_the_cache() -> None:
    tensors = pytest.importorskip(
        "vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors", reason="no vLLM here"
    )
    strategies = ("tensor", "attn_head", "channel", "token")
    for kind, bits, strategy, symmetric in product(("float", "int"), (4, 8), strategies, (True, False)):
        scheme = {"type": kind, "num_bits": bits, "strategy": strategy, "symmetric": symmetric}
        try:
            tensors.CompressedTensorsKVCacheMethod.validate_kv_cache_scheme(scheme)
            refused = False
        except NotImplementedError:
            refused = True
        assert (cache_finding(scheme).level == "error") is refused, scheme
