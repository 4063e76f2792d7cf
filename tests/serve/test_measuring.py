"""Dummy shapes, failures, kernels, intervals and the roof: what needs no loaded model."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Answer
from exaone_nb.engines.choice import choose_engine
from exaone_nb.engines.dummy import quantization_config, shape_config, shape_folder
from exaone_nb.engines.failures import explain
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import DATA
from exaone_nb.quantization.config import preset_name, read_quantization
from exaone_nb.quantization.kernels import Support
from exaone_nb.results import RunFolder
from exaone_nb.serve import bandwidth, shapes, tables
from exaone_nb.serve.bandwidth import Roof, measure_roof, roof_of
from exaone_nb.serve.bench import Bench, BenchOptions, bench, pooled, questions
from exaone_nb.serve.checkpoints import record
from exaone_nb.serve.figures import speed_bars
from exaone_nb.serve.speed import Decode, PerToken, lengths, measure_decode, measure_per_token
from exaone_nb.statistics.estimate import over_repeats

# The module, which the function of the same name hides in its package.
benches = sys.modules[bench.__module__]


@pytest.mark.parametrize(
    "scheme", ["W4A16", "W4A16_ASYM", "W8A8", "W8A16", "FP8", "FP8_DYNAMIC", "NVFP4A16", "MXFP4"]
)
def test_a_shape_names_the_scheme_it_was_made_for(scheme):
    config = shape_config(catalog.resolve("EXAONE-4.0-1.2B").config(), scheme)
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    json.dumps(config)
    assert preset_name(read_quantization(config)) == scheme
    # A checkpoint's own config must say the same; the predictor reads it and must agree.
    assert (
        predict_checkpoint(config, scheme).data_bytes
        == predict_checkpoint(catalog.resolve("EXAONE-4.0-1.2B").config(), scheme).data_bytes
    )


def test_unquantized_and_mixed():
    assert quantization_config("BF16") is None
    assert preset_name(read_quantization({})) == "BF16"
    config = shape_config(catalog.resolve("nano").config(), "W4A16")
    groups = config["quantization_config"]["config_groups"]
    eight = quantization_config("W8A16")["config_groups"]["group_0"]
    groups["group_1"] = eight | {"targets": ["re:.*down_proj"]}
    assert preset_name(read_quantization(config)) == "mixed"
    with pytest.raises(UsageError, match="W5A99"):
        quantization_config("W5A99")


def test_fewer_layers_cut_the_list_of_layer_types_too():
    config = shape_config(catalog.resolve("EXAONE-4.0-32B").config(), layers=4)
    assert config["num_hidden_layers"] == 4 and len(config["layer_types"]) == 4
    with pytest.raises(UsageError, match=r"0 \(all\) to 64"):
        shape_config(catalog.resolve("EXAONE-4.0-32B").config(), layers=65)


@pytest.mark.parametrize("model", ["EXAONE-4.5-33B", "Mistral-Small-3.2-24B-Instruct-2506"])
def test_the_text_part_of_an_image_model_is_what_is_cut(model):
    config = shape_config(catalog.resolve(model).config(), layers=2)
    assert config["text_config"]["num_hidden_layers"] == 2 and "num_hidden_layers" not in config
    assert len(config["text_config"].get("layer_types", [0, 0])) == 2


def test_the_shape_folder_holds_a_config_only_and_goes_away():
    with shape_folder(catalog.resolve("nano").config(), "W8A8") as folder:
        assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert not folder.exists()


# Texts as vLLM 0.32 writes them.
FREE = (
    "Free memory on device cuda:0 (3.5/22.4 GiB) on startup is less than desired GPU memory utilization "
    "(0.85, 19.04 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
CACHE = (
    "To serve at least one request with the model's max seq len (65536), (3.75 GiB KV cache is needed, which is larger "
    "than the available KV cache memory (1.0 GiB). Based on the available memory, the estimated maximum model length "
    "is 17408. Try increasing `gpu_memory_utilization`"
)
NODE = (
    "Available memory on node 0 (10.0/23.5 GiB) on kv cache allocation is less than requested memory for kv "
    "(64.0 GiB). Decrease --kv-cache-memory-bytes"
)
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 22 GiB"


@pytest.mark.parametrize(
    ("text", "got", "remedy"),
    [
        (FREE, "3.5 of 22.4 GiB free", "gpu_memory_utilization=0.13"),
        (CACHE, "65,536 tokens needs 3.75 GiB", "max_model_len=17408"),
        (NODE, "10.0 of 23.5 GiB free", "kv_cache_gib=5"),
        (OOM, "2.00 GiB", "max_num_seqs"),
        ("No available memory for the cache blocks. Try", "nothing for the KV cache", "0.05"),
        (
            "ValueError: Failed to find a kernel that can implement the WNA16 layer",
            "no kernel",
            "another scheme",
        ),
        (
            "NotImplementedError: No W4A8 Int8 MoE backend supports the deployment configuration.",
            "no kernel on this device for the way m is quantized: No W4A8 Int8 MoE backend",
            "another scheme",
        ),
        ("Model architectures ['XForCausalLM'] are not supported for now.", "cannot load", "transformers"),
    ],
)
def test_start_failures_say_what_to_lower_and_by_how_much(text, got, remedy):
    found = explain(f"INFO something\nTraceback (most recent call last):\n{text}", "m")
    assert got in found.got and remedy in found.remedy


def test_unknown_failures_show_the_last_error_not_the_traceback():
    log = "\n".join(
        [
            "(EngineCore pid=1) ERROR  File x",
            "(EngineCore pid=1) KeyError: 'layers.9.weight'",
            "RuntimeError: Engine core initialization failed. See root cause above.",
        ]
    )
    assert "KeyError: 'layers.9.weight'" in explain(log, "m").got
    setting = "pydantic_core.ValidationError: 1 validation error for X\n  Value error, a backend must be named [type=value_error, input=1]\n    For further information visit https://errors.pydantic.dev/2.14/v/value_error"
    assert "a setting does not fit: a backend must be named" in explain(setting, "m").got
    remark = "INFO CUDA graph is not supported here yet\nKeyError: 'layers.9.weight'"
    assert "layers.9.weight" in explain(remark, "m").got and "CUDA graph" not in explain(remark, "m").got
    assert "gave no reason" in explain("", "m").got
    assert len(str(explain("ValueError: " + "x" * 5000, "m"))) < 700


def test_intervals():
    three = over_repeats([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.3027, s = 1, n = 3
    factor = math.exp(4.30265 / math.sqrt(3) / 2)
    assert three.interval == pytest.approx((2 / factor, 2 * factor), abs=1e-4) and three.n == 3
    assert over_repeats([1.0, 3.0]).low > 0  # a plain t interval of two such times reaches to -10
    assert over_repeats([1.0]).interval is None
    with pytest.raises(UsageError):
        over_repeats([])


def one_round(seconds: tuple[float, ...], rate: float | None) -> Bench:
    roof = rate and Pass("decode", "", Support("BF16", "yes"), 1, 8, memory_seconds=1 / rate)
    timed = PerToken(seconds, lengths([Answer("7", output_tokens=1, seconds=1.0)]), 1, 1)
    return Bench(
        "m", "BF16", "BF16", "real", "vllm", "bfloat16", "", seconds[0], (Decode(1, 8, 8, seconds, seconds, seconds),),
        (roof,), Roof(1e9, {"16-bit": 1e9}, "", ""), timed,
        {"repeats": len(seconds)}, 4,
    )  # fmt: skip


def test_rounds_are_the_units_of_their_interval():
    """Three tight repeats in each of two rounds that differ: the interval is that of two values, not of six."""
    rounds = [one_round((1.0, 1.01, 0.99), 4.0), one_round((1.4, 1.41, 1.39), 4.0)]
    whole = pooled(rounds)
    assert whole.per_token.values == pytest.approx((1.0, 1.4))
    assert whole.decodes[0].per_token.interval == pytest.approx(over_repeats([1.0, 1.4]).interval)
    assert whole.decodes[0].per_token.n == whole.decode_documents()[0]["repeats"] == 2
    assert whole.parameters == {"repeats": 3, "rounds": 2}
    assert pooled(rounds[:1]).decodes == rounds[0].decodes
    assert pooled([one_round((1.0, 1.1), None)] * 2).limits == (None,)


def test_checkpoints_are_measured_in_turns(tmp_path, monkeypatch):
    from exaone_nb.serve import checkpoints

    order: list[str] = []

    def fake(model, options, first=None):
        order.append(Path(model).name + ("+" if first else ""))
        return one_round((1.0, 1.1), 4.0)

    monkeypatch.setattr(checkpoints, "bench", fake)
    places = {name: tmp_path / name for name in ("baseline", "w8a8")}
    monkeypatch.setattr(checkpoints, "checkpoints", lambda run, model: places)
    run = RunFolder.at(tmp_path / "run")
    found = checkpoints.measure_checkpoints(run, "nano", BenchOptions(), rounds=3)
    assert order == ["baseline+", "w8a8+", "w8a8", "baseline", "baseline", "w8a8"]
    assert [c.recipe for c in found] == ["baseline", "w8a8"]
    assert {r["n"] for r in run.read_results("speed")} == {3}
    with pytest.raises(UsageError, match="rounds is 0"):
        checkpoints.measure_checkpoints(run, "nano", BenchOptions(), rounds=0)


def test_schemes_of_a_shape_are_measured_in_turns_too(monkeypatch):
    order: list[str] = []

    def fake(model, options):
        assert options.weights == "dummy"
        order.append(options.scheme)
        return replace(one_round((float(len(order)),), None), scheme=options.scheme)

    monkeypatch.setattr(shapes, "bench", fake)
    options = BenchOptions(weights="dummy")
    found = shapes.measure_shape("EXAONE-4.0-1.2B", ["BF16", "W8A8"], options, rounds=3)
    assert order == ["BF16", "W8A8", "W8A8", "BF16", "BF16", "W8A8"]
    assert [(one.scheme, one.decodes[0].per_token.n) for one in found] == [("BF16", 3), ("W8A8", 3)]
    assert found[0].decodes[0].per_token.value == pytest.approx((1 + 4 + 5) / 3)


def test_every_bandwidth_of_a_report_stands_in_one_table_with_its_way():
    roof = Roof(20e9, {}, "copying", "cpu")
    first = [{"value": 12e9, "n": 5, "measured_at": "2026-11-26T07:00:00+00:00"}]
    table = tables.bandwidth_table(roof, first, tables.recorded("speed_1.2B_cpu"))
    assert [row[1] for row in table.cells()] == [
        "20.0",
        "12.0",
        "31.7",
    ]  # the record's own sentence says 31.7
    assert "copying" in table.cells()[0][2] and "median of 5" in table.cells()[1][2]
    assert len(tables.bandwidth_table(roof, [], tables.recorded("speed_1.2B_cpu"))) == 2


def test_many_bars_stand_below_each_other_and_name_their_speed():
    rows = [
        {"batch": batch, "name": f"r{n}", "scheme": "W8A8", "runs_as": "W8A8", "tokens_per_second": rate}
        for batch, rate in ((1, 600.0), (8, 17_000.0))
        for n in range(6)
    ]
    figure = speed_bars(rows)
    one, eight = figure.axes
    figure.draw_without_rendering()
    assert figure.get_size_inches()[0] <= 7 and one.get_position().y0 > eight.get_position().y0
    assert "17,000" in [text.get_text() for text in eight.texts]
    assert len({axes.get_position().y0 for axes in speed_bars(rows[:2] + rows[6:8]).axes}) == 1


def test_an_interval_of_two_rounds_does_not_flatten_the_bars():
    rows = [
        {"batch": 8, "name": "a", "scheme": "", "runs_as": "", "tokens_per_second": 100.0, "repeats": 2}
        | {"tokens_per_second_interval": (0.1, high)}
        for high in (130.0, 95_159.0)
    ]
    short, long = (speed_bars([row]).axes[0].get_ylim()[1] for row in rows)
    assert 130 < short < 200 and 200 < long < 300


def test_the_roof_follows_bandwidth_and_bytes():
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    roof = Roof(bandwidth=20e9, operations={"16-bit": 1e15, "int8": 4e15}, how="given", device="cpu")
    bf16 = roof_of(config, "BF16", roof, context=1).tokens_per_second
    # 2,558,782,976 bytes of weights and one token's cache of 61,440 bytes at 20 GB/s.
    assert bf16 == pytest.approx(20e9 / (2_558_782_976 + 61_440), rel=1e-6)
    assert roof_of(config, "W4A16", roof, context=1).tokens_per_second > 2.5 * bf16
    assert roof_of(config, "W8A16", roof) is None  # no CPU kernel: no number


def test_the_roof_of_a_file_is_that_of_its_own_groups():
    """576 inputs are no groups of 128: the preset of this name could not be predicted for them."""
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64, "symmetric": True}
    groups = {"group_0": {"weights": weights, "targets": ["Linear"]}}
    written = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": groups}
    config = {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
        "quantization_config": written | {"ignore": ["lm_head"]},
    }  # fmt: skip
    roof = Roof(bandwidth=20e9, operations={"16-bit": 1e15}, how="given", device="cpu")
    linear = 30 * (576 * (576 + 2 * 192 + 576) + 3 * 576 * 1536)
    table, norms, cache = 49152 * 576 * 2, 61 * 576 * 2, 30 * 2 * 3 * 64 * 2
    moved = linear // 2 + 2 * linear // 64 + 210 * 16 + table + norms + cache
    found = roof_of(config, "W4A16", roof, context=1)
    assert found.tokens_per_second == pytest.approx(20e9 / moved, rel=1e-3)


def test_int8_has_its_own_arithmetic_and_what_was_not_measured_has_no_roof():
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    slow = Roof(bandwidth=1e15, operations={"16-bit": 1e11, "int8": 4e11}, how="given", device="cpu")
    bf16, int8 = (roof_of(config, scheme, slow, batch=64, context=1) for scheme in ("BF16", "W8A8"))
    assert bf16.bound == int8.bound == "compute"
    assert 1.5 < int8.tokens_per_second / bf16.tokens_per_second < 4  # the head stays in 16 bits
    assert roof_of(config, "W8A8", Roof(1e15, {"16-bit": 1e11}, "given", "cpu")) is None
    assert {"16-bit", "int8"} <= measure_roof().operations.keys()


@pytest.mark.parametrize(
    ("capability", "format"), [(7.5, "torch.float16"), (8.9, "torch.bfloat16"), (None, "torch.bfloat16")]
)
def test_the_16_bit_roof_is_measured_in_what_an_engine_computes_in(monkeypatch, capability, format):
    """A T4 imitates bfloat16: its roof would be too low, and more than all of it would be reached."""
    made = []
    monkeypatch.setattr(bandwidth, "capability", lambda: capability)
    monkeypatch.setattr(bandwidth, "_best", lambda call, device: made.append(str(call().dtype)) or 1.0)
    bandwidth._operations("meta")  # nothing is multiplied
    assert {name for name in made if "int" not in name} == {format}


class Timed:
    """Stands for an engine: every answer has `tokens` tokens, the first after 0.5 s, the others 0.1 s apart."""

    def __init__(self, tokens=None, limit=256):
        self.arguments, self.tokens, self.batches = {"max_model_len": limit}, tokens, []

    def prompt_tokens(self, messages, mode):
        return [1] * 10

    def generate(self, prompts, sampling):
        self.batches.append((len(prompts), sampling.max_tokens))
        made = self.tokens or sampling.max_tokens
        return [
            Answer("x", output_tokens=made, first_token_seconds=0.5, seconds=0.5 + 0.1 * (made - 1))
            for _ in prompts
        ]


def answers_of(*times):
    """Answers of 11 tokens, each from (queued, first token, last token) on the clock of the batch."""
    return [
        Answer("x", output_tokens=11, queued_seconds=q, first_token_seconds=f - q, seconds=e - q)
        for q, f, e in times
    ]


def test_reading_the_last_prompts_is_not_counted_as_writing():
    class InTwoSteps(Timed):
        def generate(self, prompts, sampling):
            # The second prompt is read while the first writes; from 2.0 s on both write, 0.1 s a step.
            return answers_of((0.0, 1.0, 2.9), (0.25, 2.0, 3.0))

    found = measure_decode(InTwoSteps(), batch=2, prompt_tokens=8, output_tokens=11, repeats=2)
    assert found.per_token.value == pytest.approx(0.1) and found.tokens_per_second.value == pytest.approx(20)
    assert found.first_token.value == pytest.approx(2.0)

    class OneAfterTheOther(Timed):
        def generate(self, prompts, sampling):
            return answers_of((0.0, 1.0, 2.0), (0.0, 2.1, 3.1))

    with pytest.raises(WorkbookError, match="never ran together"):
        measure_decode(OneAfterTheOther(), batch=2, prompt_tokens=8, output_tokens=11, repeats=2)


def test_prefill_and_decode_are_kept_apart():
    found = measure_decode(Timed(), batch=4, prompt_tokens=16, output_tokens=11, repeats=3)
    assert found.first_token.value == pytest.approx(0.5) and found.per_token.value == pytest.approx(0.1)
    assert found.tokens_per_second.value == pytest.approx(40) and found.per_token.n == 3


def test_measure_decode_refuses_what_would_not_be_measured():
    with pytest.raises(UsageError, match="at least 2"):
        measure_decode(Timed(), output_tokens=1)
    with pytest.raises(UsageError, match="max_model_len"):
        measure_decode(Timed(), prompt_tokens=300)
    with pytest.raises(UsageError, match="batch"):
        measure_decode(Timed(), batch=0)
    with pytest.raises(WorkbookError, match="ends ignored"):
        measure_decode(Timed(tokens=5), output_tokens=8)


def test_per_token_cuts_the_limit_to_the_room_and_counts_all_questions():
    engine = Timed(tokens=7)
    found = measure_per_token(engine, [[{"role": "user", "content": "x"}]] * 16, repeats=2)
    assert engine.batches == [(2, 246), (16, 246), (16, 246)]
    assert found.output_tokens == 16 * 7 and found.questions == 16 and found.lengths.n == 16
    assert found.longest_allowed == found.details()["longest_allowed"] == 246
    with pytest.raises(UsageError, match="max_gen_toks is 0"):
        measure_per_token(engine, [[{"role": "user", "content": "x"}]], max_gen_toks=0)


class Clocked(Timed):
    """Answers of which `tokens` end by themselves; the others run until they are cut. A token takes 0.01 s."""

    def generate(self, prompts, sampling):
        answers = super().generate(prompts, sampling)
        cut = self.tokens is None or self.tokens > sampling.max_tokens
        made = sampling.max_tokens if cut else self.tokens
        self.now += 0.01 * made
        return [replace(a, output_tokens=made, finish_reason="length" if cut else "stop") for a in answers]

    now = 0.0


@pytest.mark.parametrize(
    ("tokens", "budget", "caps", "allowed"),
    [
        (None, 0.0, [4000, 4000, 4000], 4000),  # no budget: to the end
        (None, 20.0, [32, 32, 256, 1000, 1000], 1000),  # 10 s a repeat are 1,000 tokens
        (None, 1.0, [32, 32, 50, 50], 50),  # 0.5 s are 50: what was looked at counts as a repeat
        (None, 0.4, [32, 32, 32], 32),  # never fewer than were looked at first
        (None, 1000.0, [32, 32, 256, 4000, 4000], 4000),  # the budget holds everything
        (20, 0.3, [32, 32, 4000], 4000),  # they end by themselves: the limit stays
        (96, 4.0, [32, 32, 200, 4000], 4000),  # ... and so do these, within what the budget holds
        (300, 20.0, [32, 32, 256, 1000, 1000], 1000),  # ... or after the looks
    ],
)
def test_answers_that_do_not_end_are_cut_to_the_budget_and_that_is_said(
    monkeypatch, tokens, budget, caps, allowed
):
    engine = Clocked(tokens, limit=5000)
    monkeypatch.setattr("exaone_nb.serve.speed.time.perf_counter", lambda: engine.now)
    asked = [[{"role": "user", "content": "x"}]] * 8
    found = measure_per_token(engine, asked, max_gen_toks=4000, repeats=2, budget_s=budget)
    assert [cap for _, cap in engine.batches] == caps and found.longest_allowed == allowed
    words = tables.budget_words({"baseline": found}, 4000)
    assert bool(words) == (allowed < 4000 and tokens is None)
    if words:
        assert f"8 of 8 answers did not end by themselves. They were cut at {allowed:,} tokens" in words


def test_a_checkpoint_that_the_engine_refuses_is_named_and_left_out(tmp_path, monkeypatch):
    from exaone_nb.serve import checkpoints

    run, asked = RunFolder.at(tmp_path / "run"), []
    places = {name: tmp_path / name for name in ("baseline", "w4a16", "w8a8")}
    monkeypatch.setattr(checkpoints, "checkpoints", lambda run, model: places)

    def refusing(place, options, first=None):
        name = Path(place).name
        asked.append((name, options.max_gen_toks, options.budget_s))
        if name == "w4a16":
            raise WorkbookError("No kernel for experts of 4 bits.")
        one = one_round((1.0, 1.1), 4.0)
        first = options.max_gen_toks > 512  # later rounds are cut there by what they are told
        timed = replace(one.per_token, longest_allowed=512, budget_s=options.budget_s if first else 0.0)
        return replace(one, per_token=timed)

    monkeypatch.setattr(checkpoints, "bench", refusing)
    said = []
    options = BenchOptions(budget_s=60.0)
    found = checkpoints.measure_checkpoints(run, "nano", options, rounds=2, compare=0, report=said.append)
    assert [one.recipe for one in found] == ["baseline", "w8a8"]
    assert said == ["w4a16 is left out: No kernel for experts of 4 bits."]
    assert [name for name, *_ in asked] == ["baseline", "w4a16", "w8a8", "w8a8", "baseline"]
    assert {budget for *_, budget in asked} == {10.0}
    assert [limit for _, limit, _ in asked] == [16384, *[512] * 4]  # all are cut where the first one was
    # ... and after all rounds it still shows, beside what was asked for.
    assert [one.found.per_token.budget_s for one in found] == [10.0, 0.0]
    assert {one.found.parameters["max_gen_toks"] for one in found} == {16384}


def test_the_room_is_what_the_longest_answer_needs_and_the_cache_holds(monkeypatch):
    monkeypatch.setattr(benches, "has_gpu", lambda: False)
    config = catalog.resolve(
        "EXAONE-4.0-1.2B"
    ).config()  # 61,440 bytes of cache a token, 65,536 tokens at most
    assert benches._room(config, 0, 17_000, 192, 4.0) == 17_000
    assert benches._room(config, 0, 17_000, 192, 0.5) == 2**29 // 61_440 // 16 * 16
    assert benches._room(config, 3000, 17_000, 192, 1.0) == 3000
    assert benches._room(config, 0, 90_000, 192, 64.0) == 65_536
    with pytest.raises(UsageError, match=r"what kv_cache_gib=0\.01 holds"):
        benches._room(config, 0, 17_000, 192, 0.01)
    with pytest.raises(UsageError, match="max_model_len"):
        benches._room(config, 100, 17_000, 192, 1.0)
    monkeypatch.setattr(benches, "has_gpu", lambda: True)
    assert benches._room(config, 0, 17_000, 192, 1.0) == 17_000


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batches": (1, 0)}, "batches is 0"), ({"batches": ()}, "batches is 0"), ({"prompt_tokens": 0}, "prompt_tokens"),
        ({"output_tokens": 1}, "output_tokens is 1"), ({"repeats": 0}, "repeats"), ({"max_questions": -1}, "max_questions"),
        ({"max_gen_toks": -5}, "max_gen_toks"), ({"budget_s": -1.0}, "budget_s is -1.0"), ({"budget_s": math.inf}, "budget_s is inf"), ({"max_model_len": -5}, "max_model_len"), ({"threads": -1}, "threads"),
        ({"kv_cache_gib": -1}, "kv_cache_gib"), ({"kv_cache_gib": math.nan}, "kv_cache_gib"), ({"mode": "think"}, "mode"), ({"dtype": "half"}, "dtype is 'half'"),
        ({"max_model_len": 200_000}, "max_model_len is 200,000"), ({"prompt_tokens": 60_000, "output_tokens": 10_000}, "the model's own limit"),
    ],
)  # fmt: skip
def test_numbers_are_refused_before_anything_is_loaded(monkeypatch, wrong, said):
    monkeypatch.setattr(benches, "open_engine", None)
    with pytest.raises(UsageError, match=said):
        bench("nano", BenchOptions(**wrong))


def test_a_scheme_without_a_kernel_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(benches, "open_engine", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(WorkbookError, match="cannot run FP8 on this device: the CPU build lacks"):
        bench("nano", BenchOptions(weights="dummy", scheme="FP8"))


def test_random_weights_are_recorded_apart_from_checkpoints(tmp_path):
    real = one_round((1.0, 1.1), 2.0)
    run = RunFolder.at(tmp_path)
    for found in (real, replace(real, weights="dummy"), replace(real, weights="dummy", scheme="W4A16")):
        record(run, found.label, found)
    assert {r["recipe"] for r in run.read_results("speed")} == {
        "baseline",
        "dummy m BF16 4 layers",
        "dummy m W4A16 4 layers",
    }
    details = run.read_results("speed")[0]["details"]
    assert details["layers"] == 4 and "torch" in details["versions"]


def test_arguments_that_contradict_each_other():
    with pytest.raises(UsageError, match="dummy weights"):
        BenchOptions(scheme="W4A16")
    with pytest.raises(UsageError, match="real or dummy"):
        BenchOptions(weights="some")
    with pytest.raises(UsageError, match="No engine"):
        choose_engine("magic")
    with pytest.raises(UsageError, match="address"):
        choose_engine("endpoint")
    assert choose_engine(address="http://x/v1").name == "endpoint"


def test_questions_from_a_bad_file(tmp_path):
    assert len(questions(5)) == 5 and questions(0) == []
    bad = tmp_path / "q.jsonl"
    bad.write_text('{"prompt": 1}\n', encoding="utf-8")
    with pytest.raises(WorkbookError, match="no questions"):
        questions(5, bad)


def test_recorded_measurements_say_when_and_where():
    for path in (DATA / "measured").glob("speed_*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["date"] and document["machine_in_words"] and document["rows"]
        for row in document["rows"]:
            assert row["tokens_per_second"] > 0 and row["kernel"]
