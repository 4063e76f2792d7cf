"""What vLLM holds of the weights, and what it refuses to divide, held against vLLM's own functions."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.on_card import card_bytes, file_share, unsplittable
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.quantization import padding
from exaone_nb.quantization.kernels import split_problem
from exaone_nb.quantization.schemes import find_scheme

INT4_G64 = {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64}}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 1,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 1000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 64,
}


def test_marlin_pads_smollms_matrices() -> None:
    """576 = 9 x 64: q, k, v joined are 960 x 576 and become 1,024 x 576; o_proj becomes 576 x 640; the others fit."""
    assert padding.marlin_linear(960, 576, 64) == (1024, 576)
    assert padding.marlin_linear(576, 576, 64) == (576, 640)
    assert padding.marlin_linear(3072, 576, 64) == (3072, 576) and padding.marlin_linear(576, 1536) == (
        576,
        1536,
    )
    prediction = predict_checkpoint(LLAMA, INT4_G64)
    per_weight = 4 / 8 + 2 / 64
    vocabulary = 24 * 576 * 2  # 1,000 rows become 1,024
    added = card_bytes(LLAMA, prediction, "Marlin") - prediction.data_bytes - vocabulary
    # vLLM keeps the little weight_shape tensors as they are; here they grow with their matrix.
    assert added == pytest.approx(per_weight * (64 * 576 + 576 * 64), abs=8)
    assert card_bytes(LLAMA, prediction, "Machete") == prediction.data_bytes + vocabulary


def test_gpt_oss_takes_five_gib_more_than_its_files() -> None:
    config = catalog.resolve("gpt-oss-120b").config()
    from exaone_nb.anatomy.logical import predict_as_stored

    _, prediction = predict_as_stored(config)
    hidden, width, experts, layers = 3072, 2944, 128, 36
    fp4 = 17 / 32  # 4 bits, and 8 for 32 of them
    padded = layers * experts * (3 * hidden * width * fp4 + 2 * (2 * width + hidden))
    stored = layers * experts * (3 * 2880 * 2880 * fp4 + 2 * 3 * 2880)
    assert card_bytes(config, prediction, "Marlin") == prediction.data_bytes + round(padded - stored)
    # On each of two cards: 1,440 of the width, held as 1,536; the second bias whole on both, the file's share has half.
    halved = layers * experts * (3 * hidden * 1536 * fp4 + 2 * (2 * 1536 + hidden))
    rest = file_share(config, prediction, 2) - stored / 2
    assert card_bytes(config, prediction, "Marlin", 2) == pytest.approx(rest + halved, abs=layers)


def test_marlin_pads_the_width_of_experts_and_nothing_else_of_them() -> None:
    """96 wide becomes 128: 32 rows more in gate and up, 32 columns more in down, of each of 4 experts."""
    config = LLAMA | {"model_type": "qwen3_moe", "hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
                      "vocab_size": 1024, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96}  # fmt: skip
    groups = {"weights": INT4_G64["weights"] | {"group_size": 32}}
    prediction = predict_checkpoint(config, groups, ignore=("lm_head", r"re:.*mlp\.gate$"))
    added = card_bytes(config, prediction, "Marlin") - prediction.data_bytes
    # The little weight_shape tensors grow along, see above: a third of 16 bytes for each of the 12 matrices.
    assert added == pytest.approx(4 * 3 * 32 * 256 * (4 / 8 + 2 / 32), abs=12 * 16 / 3)


@pytest.mark.parametrize("parallel", [3, 9])
def test_what_does_not_divide_evenly_is_refused_unquantized_too(parallel: int) -> None:
    assert unsplittable(LLAMA, "BF16", 3).startswith(
        "model.embed_tokens: 1,024 outputs cannot be split over 3"
    )
    wide = LLAMA | {"vocab_size": 1152}
    assert bool(unsplittable(wide, "BF16", parallel)) is (parallel == 9)  # 1,536 / 9 is no whole number


@pytest.mark.parametrize(("group", "refused"), [(64, False), (128, True)])
def test_files_of_awq_are_divided_by_their_own_groups(group: int, refused: bool) -> None:
    """Of 1,728 inputs 9 cards get 192 each: three groups of 64, and one and a half of 128."""
    awq = {"quant_method": "awq", "bits": 4, "group_size": group}
    config = LLAMA | {"vocab_size": 1152, "intermediate_size": 1728, "quantization_config": awq}
    assert bool(unsplittable(config, "W4A16", 9)) is refused


def test_blocks_must_not_reach_over_joined_matrices() -> None:
    """k_proj's 192 rows are one and a half blocks of 128, and v_proj follows in the same matrix."""
    assert unsplittable(LLAMA, "FP8_BLOCK", 1).startswith("model.layers.0.self_attn.q_proj")
    assert unsplittable(catalog.resolve("EXAONE-4.0-1.2B").config(), "FP8_BLOCK", 1) == ""
    assert unsplittable(catalog.resolve("DeepSeek-R1").config(), "FP8_BLOCK", 8) == ""


def test_keys_and_values_are_copied_beyond_their_heads() -> None:
    prediction = predict_checkpoint(LLAMA)
    whole = prediction.data_bytes
    key_value = 2 * 192 * 576 * 2
    norms = prediction.by_component()["norm"]
    assert file_share(LLAMA, prediction, 9) == pytest.approx(
        (whole - norms - key_value) / 9 + key_value / 3 + norms, abs=2
    )


# From here on vLLM is asked.

SIZES = (64, 192, 576, 720, 960, 1000, 1440, 1536, 2048, 2880, 3072, 5760)


@pytest.mark.heavy
def test_padding_is_vllms() -> None:
    marlin = pytest.importorskip(
        "vllm.model_executor.layers.quantization.utils.marlin_utils", reason="no vLLM here"
    )
    from vllm.model_executor.layers.fused_moe.oracle import mxfp4
    from vllm.model_executor.layers.vocab_parallel_embedding import pad_vocab_size

    for rows, columns, group in product(SIZES, SIZES, (0, 32, 64, 128)):
        theirs = marlin.marlin_padded_nk(rows, columns, group or -1)
        assert padding.marlin_linear(rows, columns, group) == theirs, (rows, columns, group)
        assert padding.marlin_experts(rows, group) == marlin.marlin_moe_padded_intermediate(rows, group or -1)
    for hidden, width in product(SIZES, SIZES):
        for backend in (mxfp4.Mxfp4MoeBackend.MARLIN, *mxfp4.TRTLLM_BACKENDS):
            theirs = mxfp4.mxfp4_round_up_hidden_size_and_intermediate_size(backend, hidden, width)
            assert padding.mxfp4_experts(hidden, width) == theirs
    for size in (1, 64, 1000, 32_000, 50_257, 102_400, 201_088):
        assert padding.up(size, padding.VOCABULARY) == pad_vocab_size(size)


@pytest.mark.heavy
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 8])
def test_what_is_refused_is_vllms(parts: int, monkeypatch) -> None:
    """divide, verify_group_size_divides_partition and validate_fp8_block_shape, asked for one matrix at a time."""
    utils = pytest.importorskip("vllm.distributed.utils", reason="no vLLM here")
    from vllm import distributed
    from vllm.model_executor.layers.quantization.utils.fp8_utils import validate_fp8_block_shape

    monkeypatch.setattr(distributed, "get_tensor_model_parallel_world_size", lambda: parts)

    def refused(rows: int, columns: int, scheme: str, by_inputs: bool, joined: bool) -> bool:
        layer = SimpleNamespace(tp_size=parts)
        try:
            inputs = utils.divide(columns, parts) if by_inputs else columns
            outputs = rows if by_inputs else utils.divide(rows, parts)
            if scheme == "FP8_BLOCK":
                sizes = [outputs, 128] if joined else [outputs]
                whole = sum(sizes) * (1 if by_inputs else parts)
                validate_fp8_block_shape(layer, columns, whole, inputs, sizes, [128, 128])
            elif scheme == "W4A16":
                utils.verify_group_size_divides_partition(inputs, 128)
        except (ValueError, AssertionError):
            return True
        return False

    for rows, columns, scheme in product(
        (192, 1000, 1024, 1536, 27_392), (1024, 1536, 27_392), ("BF16", "W4A16", "FP8_BLOCK")
    ):
        for by_inputs, joined in ((False, False), (False, True), (True, False)):
            ours = split_problem("m", (rows, columns), find_scheme(scheme), parts, by_inputs, joined)
            assert bool(ours) is refused(rows, columns, scheme, by_inputs, joined), (
                rows,
                columns,
                scheme,
                by_inputs,
                joined,
            )


@pytest.mark.heavy
@pytest.mark.parametrize("parallel", [1, 3, 9])
def test_heads_of_keys_and_values_are_vllms(parallel: int) -> None:
    model = pytest.importorskip("vllm.config.model", reason="no vLLM here").ModelConfig
    mine = SimpleNamespace(use_mla=False, model_arch_config=SimpleNamespace(total_num_kv_heads=3))
    theirs = model.get_num_kv_heads(mine, SimpleNamespace(tensor_parallel_size=parallel))
    key_value = 2 * 192 * 576 * 2
    norms, whole = 3 * 576 * 2, predict_checkpoint(LLAMA).data_bytes
    rest = (whole - norms - key_value) / parallel + norms
    assert file_share(LLAMA, predict_checkpoint(LLAMA), parallel) == pytest.approx(
        rest + key_value * theirs / 3, abs=2
    )
