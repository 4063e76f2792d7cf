"""Converting to GGUF: nano in every type is what llama.cpp wrote, and whatever cannot be converted leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from exaone_nb.anatomy.gguf.types import FILE_TYPES
from exaone_nb.cli import main
from exaone_nb.converter.gguf_file import convert, plan_folder
from exaone_nb.converter.gguf_tensors import rope_factor_values
from exaone_nb.converter.gguf_vocabulary import cut_name
from exaone_nb.errors import DiskFull, UsageError, WorkbookError
from exaone_nb.paths import NANO

# nano as llama.cpp wrote it on 2026-11-26: bytes and SHA-256 of F16, BF16 and Q8_0 by its converter (b10359, with the
# cut `smollm`), of the others by llama_model_quantize (v0.4.0) from the BF16 file. test_gguf_reference.py makes them anew.
NANO_FILES = {
    "BF16": (6_863_584, "1920cc6da571a8537a015baa5a86ea3d49787709db540726c9243ba8f5ffb5e4"),
    "F16": (6_863_584, "f8b1c4d2b40a43c5b3e0b8d477194be54077b640393f9b526ae39364d31aa879"),
    "Q8_0": (3_668_704, "3f28e02f1449a2fe33e2ddd0a0e8c3204242dee38795bef5e5bfef55b8cfd5c9"),
    "Q6_K": (2_843_360, "3629d2a92d732800466b916d57cb1ac7ca6e36a3ed4914fbae138e4527d6208c"),
    "Q5_K_M": (2_486_496, "1876bac4c6408df309b7fb738c614c268b4c9a315e2e9e708c38ea89351631ff"),
    "Q4_K_M": (2_150_624, "57e5e2ed842b143aaa9f899b6ef5926b62c87985d89f9b334e09003cfdaa0ed1"),
    "Q4_0": (2_032_352, "aef39ea8b2346b078af06d3682f9ae55addba3d4f4352041cf59b3ff4ea6f7e2"),
    "IQ4_XS": (1_934_048, "b469afd2f05f3e7b524f3dc65be957df39f48a4f0105e0bc07bd88c7bf98cc39"),
    "Q3_K_M": (1_779_424, "24a42500d5293f43a9064dec7ff9e94e34cd4dddeb42630a9f448193f2d7fe86"),
    "Q2_K": (1_414_880, "1f4b3110b9fa14e04c72c34f1209506193803e485d9829bc03e59ff0196208c7"),
}
pytest.importorskip("libgguf", reason="pip install libgguf: llama.cpp's quantization as a library")


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_nano_is_llama_cpps_file_to_the_last_byte(kind: str, tmp_path: Path):
    out = tmp_path / "nano.gguf"
    document = convert("nano", kind, out)
    size, digest = NANO_FILES[kind]
    assert document["predicted_bytes"] == document["written_bytes"] == out.stat().st_size == size
    assert hashlib.sha256(out.read_bytes()).hexdigest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["nano.gguf"]


def test_size_says_before_what_convert_writes(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["size", "nano", "--gguf", "all", "--json"])
    found = json.loads(capsys.readouterr().out)["types"]
    assert {kind: entry["file_bytes"] for kind, entry in found.items()} == {
        kind: size for kind, (size, _) in NANO_FILES.items()
    }


def test_what_is_known_without_a_vocabulary_is_said(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["size", "EXAONE-3.5-32B-Instruct", "--gguf", "Q4_K_M"])
    out = capsys.readouterr().out
    assert "19,339," in out and "19.3" in out and "The vocabulary is not here" in out
    assert "LGAI-EXAONE/EXAONE-3.5-32B-Instruct-GGUF" in out


def test_gguf_and_schemes_do_not_mix(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["size", "nano", "--gguf", "Q4_K_M", "--scheme", "W4A16"])
    assert "beside an option for schemes" in capsys.readouterr().err


def test_three_figures_and_a_modelfile(tmp_path, capsys):
    out = tmp_path / "n.gguf"
    with pytest.raises(SystemExit, match="0"):
        main(["convert", "nano", "--gguf", "Q8_0", "--out", str(out), "--modelfile", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["predicted_bytes"] == document["written_bytes"] == 3_668_704
    text = (tmp_path / "n.Modelfile").read_text(encoding="utf-8")
    assert text.splitlines()[1] == "FROM ./n.gguf" and "not run" in text
    assert 'PARAMETER stop "[|endofturn|]"' in text and "num_ctx 8192" in text


@pytest.mark.parametrize("system", ["", "Be brief."])
@pytest.mark.parametrize("question", ["17 + 25?", "  \ud55c\uad6d\uc758 \uc218\ub3c4\ub294?\n"])
def test_ollamas_template_makes_the_prompt_of_the_models_own(system: str, question: str):
    from transformers import AutoTokenizer

    from exaone_nb.compress.modelfile import ollama_template, rendered

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    messages = [{"role": "system", "content": system}] if system else []
    wanted = tokenizer.apply_chat_template(
        [*messages, {"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    assert rendered(ollama_template(tokenizer), system, question) == wanted


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ m.role }}{{ m.content | replace('2', 'two') }}\n{% endfor %}",
        '{% for m in messages %}"""{{ m.role }}{{ m.content }}\n{% endfor %}',
    ],
)
def test_a_template_that_changes_the_text_gets_no_modelfile(template: str):
    from transformers import AutoTokenizer

    from exaone_nb.compress.modelfile import ollama_template

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = template
    with pytest.raises(WorkbookError, match="more than put text around"):
        ollama_template(tokenizer)


def test_queries_turned_by_neighbours_are_the_same_as_turned_by_halves():
    """What the order of rows is for: llama.cpp turns (0, 1), (2, 3) ... where transformers turns (0, d/2), (1, d/2 + 1) ..."""
    import torch
    from transformers.models.llama.modeling_llama import rotate_half

    from exaone_nb.converter.gguf_tensors import _rotated

    heads, size, hidden = 4, 16, 24
    config = {
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_key_value_heads": 2,
        "hidden_size": hidden,
    }
    config["head_dim"] = size
    weights = torch.randn(heads * size, hidden, generator=torch.Generator().manual_seed(0))
    state = torch.randn(hidden, generator=torch.Generator().manual_seed(1))
    angle = 0.3 * torch.arange(1, size // 2 + 1)
    query = (weights @ state).reshape(heads, size)
    halves = query * torch.cat([angle, angle]).cos() + rotate_half(query) * torch.cat([angle, angle]).sin()

    pairs = (_rotated(weights, "blk.0.attn_q.weight", config) @ state).reshape(heads, size // 2, 2)
    turned = torch.stack(
        [
            pairs[..., 0] * angle.cos() - pairs[..., 1] * angle.sin(),
            pairs[..., 0] * angle.sin() + pairs[..., 1] * angle.cos(),
        ],
        dim=1,
    )  # [heads, 2, size / 2]
    torch.testing.assert_close(turned.reshape(heads, size), halves)
    assert _rotated(weights, "blk.0.attn_v.weight", config) is weights


def test_rope_factors_are_those_that_transformers_divides_by():
    import torch
    from transformers import AutoConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = AutoConfig.from_pretrained(NANO)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 1.0 / (1e6 ** (torch.arange(0, 64, 2, dtype=torch.float32) / 64))
    factors = torch.from_numpy(rope_factor_values(json.loads((NANO / "config.json").read_text())))
    torch.testing.assert_close(plain / factors, scaled)
    assert factors[0] == 1 and factors[-1] == 16


# --- what cannot be converted -------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of nano that a test may break."""
    folder = tmp_path / "model"
    shutil.copytree(NANO, folder)
    return folder


def change(file: Path, **values) -> None:
    document = json.loads(file.read_text(encoding="utf-8")) | values
    file.write_text(json.dumps({key: value for key, value in document.items() if value != "drop"}))


def weights(folder: Path, change) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")


def not_finite(tensors) -> None:
    tensors["model.layers.3.mlp.up_proj.weight"][5, 7] = float("nan")


def too_large(tensors) -> None:
    tensors["model.layers.3.mlp.up_proj.weight"][5, 7] = 70_000.0


def more_rows(tensors) -> None:
    table = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = table.new_zeros(1030, table.shape[1])


def extra(tensors) -> None:
    tensors["model.layers.0.mlp.up_proj.weight_scale"] = tensors["model.norm.weight"].clone()


def bytes_too(tensors) -> None:
    import torch

    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.float8_e4m3fn)


def no_table(tensors) -> None:
    del tensors["model.embed_tokens.weight"]


def fewer_words(folder: Path) -> None:
    def cut(tensors) -> None:
        tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:900]

    weights(folder, cut)
    change(folder / "config.json", vocab_size=900)


CUT = {"pre_tokenizer": {"type": "Whitespace"}}
BROKEN = {
    "not a number": (lambda f: weights(f, not_finite), "infinite or no number"),
    "too large for F16": (lambda f: weights(f, too_large), "holds 70,144, which F16 cannot hold"),
    "more rows than tokens": (
        lambda f: weights(f, more_rows),
        "1,030 rows, the config a vocabulary of 1,024",
    ),
    "a tensor too many": (lambda f: weights(f, extra), "has no place in a GGUF file"),
    "a tensor of bytes": (lambda f: weights(f, bytes_too), "holds F8_E4M3"),
    "no embedding": (lambda f: weights(f, no_table), "has no embedding"),
    "quantized": (lambda f: change(f / "config.json", quantization_config={"x": 1}), "is quantized already"),
    "another family": (lambda f: change(f / "config.json", model_type="gemma2"), "not known here"),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
    "tokenizer cut off": (lambda f: (f / "tokenizer.json").write_text("{"), "is not what it should be"),
    "tokenizer of another kind": (
        lambda f: change(f / "tokenizer.json", model={"type": "Unigram"}),
        "no byte-level BPE",
    ),
    "tokenizer of SentencePiece": (
        lambda f: change(f / "tokenizer.json", decoder={"type": "ByteFallback"}),
        "no byte-level BPE",
    ),
    "unknown cut": (lambda f: change(f / "tokenizer.json", **CUT), "has no name here"),
    "ids beyond the vocabulary": (fewer_words, "has the id 1,023, the config a vocabulary of 900"),
    "model card that is no YAML": (lambda f: (f / "README.md").write_text("---\na: [\n---\n"), "model card"),
    "header cut": (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), "header"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_converted_leaves_nothing_behind(name: str, model: Path, tmp_path: Path, capsys):
    breaking, said = BROKEN[name]
    breaking(model)
    out = tmp_path / "out" / "x.gguf"
    out.parent.mkdir()
    with pytest.raises(SystemExit, match="1"):
        main(["convert", str(model), "--gguf", "F16", "--out", str(out)])
    err = capsys.readouterr().err
    assert said in err and err.startswith("error: ") and "Traceback" not in err
    assert list(out.parent.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "nano", "--gguf", "Q8_0", "--out", str(tmp_path / "file" / "x.gguf")])
    err = capsys.readouterr().err
    assert "cannot be written" in err and "Traceback" not in err


def test_a_modelfile_that_cannot_be_made_stops_before_the_weights_are_read(
    model: Path, tmp_path: Path, capsys
):
    (model / "chat_template.jinja").write_text("{{ messages[0].content | upper }}")
    with pytest.raises(SystemExit, match="1"):
        main(["convert", str(model), "--gguf", "Q8_0", "--out", str(tmp_path / "x.gguf"), "--modelfile"])
    assert "more than put text around" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (model / "tokenizer.json").unlink()
    with pytest.raises(SystemExit, match="1"):
        main(["convert", str(model), "--gguf", "Q8_0", "--out", str(tmp_path / "x.gguf"), "--modelfile"])
    assert "There is no tokenizer.json" in capsys.readouterr().err


def test_a_modelfile_that_exists_is_kept_unless_forced(tmp_path: Path, capsys):
    (tmp_path / "x.Modelfile").write_text("mine")
    words = ["convert", "nano", "--gguf", "Q8_0", "--out", str(tmp_path / "x.gguf"), "--modelfile"]
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "x.Modelfile exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.Modelfile"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--force"])
    assert "FROM" in (tmp_path / "x.Modelfile").read_text()


@pytest.mark.parametrize("file", ["x.bin", "x", "."])
def test_out_is_a_gguf_file(file: str, tmp_path: Path):
    with pytest.raises(UsageError, match="--out is"):
        convert("nano", "Q8_0", tmp_path / file)


def test_a_file_that_exists_is_kept_unless_forced(tmp_path: Path):
    out = tmp_path / "x.gguf"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        convert("nano", "Q8_0", out)
    assert out.read_text() == "mine"
    assert convert("nano", "Q8_0", out, force=True)["written_bytes"] == 3_668_704


def test_an_interrupt_leaves_the_old_file_and_no_part(tmp_path: Path):
    out = tmp_path / "x.gguf"
    out.write_text("mine")

    def interrupt(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert("nano", "Q8_0", out, force=True, progress=interrupt)
    assert out.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["x.gguf"]


def test_a_full_disk_is_found_before_anything_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 1 << 30, 1000))
    with pytest.raises(DiskFull, match="3,668,704 bytes needed"):
        convert("nano", "Q8_0", tmp_path / "x.gguf")
    assert list(tmp_path.iterdir()) == []


def test_without_libgguf_the_types_of_llama_quantize_say_what_to_install(tmp_path: Path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "libgguf", None)
    with pytest.raises(WorkbookError, match=r"needs the package libgguf.*\n.*\n.*pip install libgguf"):
        convert("nano", "Q4_K_M", tmp_path / "x.gguf")
    assert convert("nano", "Q8_0", tmp_path / "x.gguf")["written_bytes"] == 3_668_704


def test_exaone_3_gets_the_epsilon_that_llama_cpp_asks_for():
    """Its configs call it layer_norm_epsilon, and llama.cpp does not load a file without the RMS key."""
    from gguf import GGUFWriter

    from exaone_nb.catalog import resolve
    from exaone_nb.converter.gguf_keys import _model

    writer = GGUFWriter(None, "exaone")
    _model(writer, resolve("EXAONE-3.5-2.4B-Instruct").config(), "exaone")
    keys = writer.kv_data[0]
    assert keys["exaone.attention.layer_norm_rms_epsilon"].value == 1e-5
    assert keys["exaone.block_count"].value == 30


LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("steps", "architecture", "name"),
    [
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "exaone4", "smollm"),
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "exaone", "exaone"),
        ([{"type": "ByteLevel", "use_regex": True}], "exaone4", "exaone4"),
        ([{"type": "ByteLevel"}], "llama", "gpt-2"),
        # As in the published tokenizer.json of Llama 3.1 and Qwen3; llama.cpp's hash of both gives the same names.
        (
            [split(LETTERS + r"\p{N}{1,3}" + REST), {"type": "ByteLevel", "use_regex": False}],
            "llama",
            "llama-bpe",
        ),
        ([split(LETTERS + r"\p{N}" + REST), {"type": "ByteLevel", "use_regex": False}], "qwen3", "qwen2"),
    ],
)
def test_the_cut_is_called_what_llama_cpp_calls_it(steps, architecture, name):
    tokenizer = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    assert cut_name(tokenizer, architecture, NANO) == name


def test_a_byte_level_tokenizer_with_byte_fallback_is_one(model: Path):
    """As SmolLM2's: the switch is on and never needed, because every byte is a token."""
    file = model / "tokenizer.json"
    change(file, model=json.loads(file.read_text(encoding="utf-8"))["model"] | {"byte_fallback": True})
    assert plan_folder(model, ["Q8_0"])[0].file_bytes


def test_planning_loads_no_weights(monkeypatch):
    import safetensors

    monkeypatch.setattr(safetensors, "safe_open", None)
    assert plan_folder(NANO, ["Q4_K_M"])[0].file_bytes == 2_150_624
