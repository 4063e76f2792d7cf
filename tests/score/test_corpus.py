"""More than sixty submissions: good ones, each known fault alone, and pairs of faults. `check` names every fault, and finds none in a good one.

The faults are those of participants (the pains and the failure catalogue of the hackathon, 2026-02) and of cases from
the field. Each comes with the code of the finding that must name it and with words that must stand in it.
"""

import codecs
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from exaone_nb.anatomy.inspection import inspect_model, require_sound
from exaone_nb.anatomy.logical import expectations
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.sparse import W4A16_CONFIG, write_sparse
from exaone_nb.catalog import resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.score.submission.check import check
from exaone_nb.score.submission.pack import pack
from tests.score.submissions import CONFIG, W8A8, edit, make_model, quantized, write, write_weights

WEIGHTS, SETTINGS, TEMPLATE = "model.safetensors", "tokenizer_config.json", "chat_template.jinja"


@dataclass(frozen=True)
class Fault:
    """What is done to a good folder, and the finding that must name it. Faults that touch one file are no pair."""

    spoil: Callable[[Path], object]
    code: str
    words: str
    touches: str


def config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def marked(name):
    return lambda folder: (folder / name).write_bytes(codecs.BOM_UTF8 + (folder / name).read_bytes())


def encoded(name, encoding):
    def spoil(folder):
        text = (folder / name).read_text("utf-8")
        (folder / name).write_bytes(
            (text.rstrip() + (" 한국어" if name == TEMPLATE else "")).encode(encoding)
        )

    return spoil


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def renamed(change):
    """The tensors under other names."""

    def spoil(folder):
        content = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = {change(name): entry for name, entry in json.loads(content[8 : 8 + length]).items()}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return spoil


def stored(change):
    """The tensors with another content, for the same config."""

    def spoil(folder):
        document = json.loads((folder / "config.json").read_text())
        tensors = {name: item.tensor for name, item in expectations(document).items()}
        write_weights(folder / WEIGHTS, document, change(tensors))

    return spoil


def stale_index(folder):
    write(folder / "model.safetensors.index.json", {"weight_map": {"a": "model-00001-of-00002.safetensors"}})


def adapter(folder):
    write(folder / "adapter_config.json", {"base_model_name_or_path": "LGAI-EXAONE/EXAONE-4.0-1.2B"})


def bad_sums(folder):
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  config.json\n")


def settings(**changes):
    return lambda folder: edit(folder / SETTINGS, **changes)


def generation(**changes):
    return lambda folder: edit(folder / "generation_config.json", **changes)


W4A16 = W4A16_CONFIG | {"quantization_status": "compressed"}
W4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
ROPE = {"rope_type": "llama3", "factor": 16.0, "rope_theta": 1e6}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 2558901880\n" % (b"0" * 64)
HINT = W8A8["config_groups"]["group_0"]["weights"] | {"group_size_hint": 64}

FAULTS = {
    # settings that the judge's libraries refuse or read otherwise
    "rope under two names": Fault(config(rope_theta=10000.0, rope_scaling=None, rope_parameters=ROPE), "two names", "rope_theta is 10000.0", "config"),
    "stretched under one name": Fault(config(rope_scaling=None, rope_parameters=ROPE), "two names", "rope_scaling is null", "config"),
    "rope under the new name only": Fault(config(rope_theta="DELETE", rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "old libraries", "rope_theta", "config"),
    "two dtypes": Fault(config(dtype="float16"), "two names", "torch_dtype", "config"),
    "no architectures": Fault(config(architectures="DELETE"), "base model", "architectures", "config"),
    "layer_types too long": Fault(config(layer_types=["full_attention"] * 3), "layer_types", "3 entries for 2 layers", "config"),
    "a short context": Fault(config(max_position_embeddings=4096), "context", "4,096", "config"),
    "untied without a head": Fault(config(tie_word_embeddings=False), "tied head", "random", "config"),
    "another family": Fault(config(model_type="qwen3"), "base model", "qwen3", "config"),
    "code asked for": Fault(config(auto_map={"AutoModel": "x.X"}), "code", "auto_map", "config"),
    "a path": Fault(config(_name_or_path="/content/drive/MyDrive/exaone"), "absolute paths", "/content/drive", "config"),
    # quantization
    "a field nobody knows": Fault(config(quantization_config=quantized(weights=HINT)), "quantization", "group_size_hint", "config"),
    "no quant_method": Fault(config(quantization_config={k: v for k, v in W8A8.items() if k != "quant_method"}), "quantization", "quant_method", "config"),
    "another format": Fault(config(quantization_config=quantized(format="pack-quantized")), "quantization", "pack-quantized", "config"),
    "not compressed": Fault(config(quantization_config=quantized(quantization_status="frozen")), "quantization", "frozen", "config"),
    "the head quantized": Fault(config(quantization_config=quantized(ignore=[])), "head-by-class", "lm_head", "config"),
    "v left out": Fault(config(quantization_config=quantized(ignore=["lm_head", "re:.*v_proj$"])), "fused-split", "v_proj", "config"),
    "W4A8": Fault(config(quantization_config=quantized(weights=W4)), "kernels", "L4", "config"),
    "2:4": Fault(config(quantization_config=quantized(sparsity_config={"sparsity_structure": "2:4"})), "kernels", "L4", "config"),
    "cache scheme": Fault(config(quantization_config=quantized(kv_cache_scheme={"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True})), "kv-cache-ignored", "KV", "config"),
    "a pattern without effect": Fault(config(quantization_config=quantized(ignore=["lm_head", "model.layers.0"])), "parent-only", "model.layers.0", "config"),
    "nothing quantized": Fault(config(quantization_config="DELETE"), "quantization", "Nothing is quantized", "config"),
    # weights
    "a prefix": Fault(renamed("base_model.model.{}".format), "weights", "begin with base_model.model.", WEIGHTS),
    "the inner model": Fault(renamed(lambda name: name.removeprefix("model.")), "weights", "The names lack model. in front", WEIGHTS),
    "floats where codes belong": Fault(stored(lambda all: {n: StoredTensor(n, "BF16", t.shape) for n, t in all.items() if t.dtype == "I8"}), "weights", "is BF16, not I8", WEIGHTS),
    "the head twice": Fault(stored(lambda all: {"lm_head.weight": StoredTensor("lm_head.weight", "BF16", (1024, 256))}), "tied head", "twice", WEIGHTS),
    "cut short": Fault(lambda folder: os.truncate(folder / WEIGHTS, 9000), "weights", WEIGHTS, WEIGHTS),
    "a pointer": Fault(written(WEIGHTS, POINTER), "git-lfs", "2,558,901,880", WEIGHTS),
    "an index of others": Fault(stale_index, "weights", "Two sets of weights", "index"),
    "an adapter's rest": Fault(adapter, "adapter", "adapter_config.json", "adapter"),
    "a pickle": Fault(written("pytorch_model.bin", b"x"), "pickles", "pytorch_model.bin", "pickle"),
    # tokenizer and template
    "a mark in the settings": Fault(marked(SETTINGS), "byte order mark", SETTINGS, SETTINGS),
    "UTF-16 settings": Fault(encoded(SETTINGS, "utf-16"), "encoding", "UTF-16", SETTINGS),
    "a mark in the template": Fault(marked(TEMPLATE), "byte order mark", "every prompt", TEMPLATE),
    "a CP949 template": Fault(encoded(TEMPLATE, "cp949"), "encoding", "CP949", TEMPLATE),
    "a template that stops": Fault(written(TEMPLATE, b"{% if %}"), "chat template", "stops", TEMPLATE),
    "a template without the question": Fault(written(TEMPLATE, b"hello</think>\n\n"), "chat template", "leaves the question out", TEMPLATE),
    "two templates": Fault(settings(chat_template="{{ messages[0].content }}"), "chat template", "another chat template", SETTINGS),
    "an unknown end": Fault(settings(eos_token="<|nobody|>"), "tokenizer", "<|nobody|>", SETTINGS),
    "too many tokens": Fault(config(vocab_size=1000), "tokenizer", "1,000 rows", "config"),
    "no end of turn": Fault(generation(eos_token_id="DELETE"), "generation config", "no eos_token_id", "generation"),
    "another end": Fault(generation(eos_token_id=7), "generation config", "eos_token_id is 7", "generation"),
    "a sampling rule": Fault(generation(repetition_penalty=1.1), "generation config", "repetition_penalty", "generation"),
    # what lies beside
    "a token": Fault(written("README.md", b"hf_" + b"a" * 34), "secrets", "README.md", "README"),
    "stale checksums": Fault(bad_sums, "checksums", "config.json", "sums"),
    "training's rest": Fault(written("trainer_state.json", b"{}"), "leftovers", "trainer_state.json", "trainer"),
    "a nested folder": Fault(lambda f: shutil.copytree(f, f / "m") and (f / "config.json").unlink(), "structure", "m/", "config"),
}  # fmt: skip
NOT_THE_BASE = "Not the shape of EXAONE-4.0-1.2B"  # of a model of two layers


def good_w4a16(folder):
    document = CONFIG | {"quantization_config": W4A16}
    edit(folder / "config.json", **document)
    write_weights(folder / WEIGHTS, document)


def good_shards(folder):
    document = json.loads((folder / "config.json").read_text())
    (folder / WEIGHTS).unlink()
    made = write_sparse(
        folder.parent / f"{folder.name}-shards",
        predict_checkpoint(CONFIG, "W8A8", max_shard_size=700_000),
        document,
    )
    for path in made.iterdir():
        shutil.copy(path, folder)


def good_full_size(folder):
    """The 1.2B itself, its data one long hole: not even the base's shape is to be remarked on."""
    document = resolve("EXAONE-4.0-1.2B").config() | {"quantization_config": W4A16, "eos_token_id": 6}
    made = write_sparse(
        folder.parent / f"{folder.name}-full",
        predict_checkpoint(resolve("EXAONE-4.0-1.2B").config(), "W4A16"),
        document,
    )
    for path in made.iterdir():
        os.replace(path, folder / path.name)


def good_template_in_settings(folder):
    edit(folder / SETTINGS, chat_template=(folder / TEMPLATE).read_text("utf-8"))
    (folder / TEMPLATE).unlink()


GOOD: dict[str, Callable[[Path], object]] = {
    "W8A8": lambda folder: None,
    "W4A16": good_w4a16,
    "shards": good_shards,
    "full size": good_full_size,
    "template in the settings": good_template_in_settings,
    "with a licence and a card": lambda f: (written("LICENSE", b"x")(f), written("README.md", "모델".encode())(f)),
    "rope under both names, alike": config(rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "both dtypes, alike": config(dtype="bfloat16"),
}  # fmt: skip
PAIRS = 20


def pairs() -> list[tuple[str, str]]:
    """Pairs drawn from the faults, two that touch one file left out."""
    draw, found = random.Random(8), []
    while len(found) < PAIRS:
        one, other = draw.sample(sorted(FAULTS), 2)
        if FAULTS[one].touches != FAULTS[other].touches:
            found.append((one, other))
    return found


CORPUS = [(name,) for name in GOOD] + [(name,) for name in FAULTS] + pairs()


def test_there_are_at_least_sixty():
    assert len(CORPUS) == len(set(CORPUS)) >= 60


def handed_in(folder: Path) -> Path:
    """A zip as people make them, with nothing but the folder in it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as target:
        for file in sorted(folder.rglob("*")):
            target.write(file, f"model/{file.relative_to(folder)}")
    return path


def named(report, fault: Fault) -> bool:
    rows = [f for f in report.findings if f.code == fault.code and f.level != "ok"]
    return any(fault.words in f"{finding.text} {finding.remedy}" for finding in rows)


@pytest.mark.parametrize("names", CORPUS, ids=" + ".join)
def test_every_fault_is_named_and_none_in_a_good_one(names, tmp_path):
    folder = make_model(tmp_path / "m")
    faults = [FAULTS[name] for name in names if name in FAULTS]
    for name in names:
        FAULTS[name].spoil(folder) if name in FAULTS else GOOD[name](folder)
    report = check(handed_in(folder) if len(names) > 1 else folder, load=False)
    seen = [(f.level, f.code, f.text) for f in report.findings if f.level != "ok"]
    for name, fault in zip(names, faults, strict=False):
        assert named(report, fault), (name, seen)
    if not faults:
        wrong = [row for row in seen if NOT_THE_BASE not in row[2] or "full size" in names]
        assert not wrong
        assert report.passed
        packed = pack(folder, tmp_path / "submit.zip")
        assert check(packed.path, load=False).passed
    assert all(f.remedy for f in report.findings if f.level == "error")


def test_inspect_names_a_prefix_as_well(tmp_path):
    folder = make_model(tmp_path / "m")
    FAULTS["a prefix"].spoil(folder)
    with pytest.raises(WorkbookError, match=r"begin with base_model\.model\."):
        require_sound(inspect_model(folder))
