"""The judge's transformers 4.57.3 reads what is written here, from the start, as transformers 5 does.

One program runs in both environments. Whatever it loads has the same token ids and gives the same greedy answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import pytest

from exaone_nb import older_names
from exaone_nb.compress import quantize as maker
from exaone_nb.paths import NANO, ROOT
from exaone_nb.score.submission.check import check
from exaone_nb.score.submission.pack import pack
from tests.score.submissions import make_model
from tests.score.test_corpus import FAULTS

JUDGE = ROOT / ".venv-judge" / "bin" / "python"
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not JUDGE.exists(), reason="no environment like the judge's; make it: make env-judge"),
    pytest.mark.skipif(not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"),
]  # fmt: skip
ASK = """
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
found = {"version": transformers.__version__}
for folder in sys.argv[1:]:
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto").eval()
    rows = []
    for question in ("Who are you?", "Mina has 3 apples and buys 14 more. How many apples does she have?", "너는 누구야?"):
        for thinking in (False, True):
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], add_generation_prompt=True, enable_thinking=thinking, tokenize=False
            )
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
            made = model.generate(**inputs, max_new_tokens=40, do_sample=False)[0]
            rows.append({"inputs": sorted(inputs), "ids": made.tolist(), "text": tokenizer.decode(made, skip_special_tokens=True)})
    found[folder] = {"rows": rows, "dtype": str(model.dtype), "special": sorted(tokenizer.all_special_tokens)}
print("FOUND", json.dumps(found))
"""


def answers(python, folders):
    done = subprocess.run(
        [python, "-c", ASK, *map(str, folders)], capture_output=True, text=True, timeout=400,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0][6:])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """nano, two checkpoints as written, and nano as transformers 5 saves it, packed and unpacked again."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = tmp_path_factory.mktemp("judge")
    found = {"nano": NANO}
    for name in ("w8a8", "w4a16_rtn"):
        maker.quantize("nano", name, place / name, sanity=False)
        found[name] = place / name
    saved = place / "saved"
    AutoTokenizer.from_pretrained(NANO).save_pretrained(saved)
    AutoModelForCausalLM.from_pretrained(NANO).save_pretrained(saved)
    found["packed"] = place / "model"
    with zipfile.ZipFile(pack(saved, place / "submit.zip").path) as archive:
        archive.extractall(place)
    return found


def test_the_judges_transformers_answers_as_todays(folders):
    theirs, ours = answers(JUDGE, folders.values()), answers(sys.executable, folders.values())
    assert (theirs.pop("version"), ours.pop("version")) == ("4.57.3", "5.17.0")
    assert theirs == ours
    for name, folder in folders.items():
        found = theirs[str(folder)]
        assert found["dtype"] == "torch.bfloat16", name
        assert all(row["inputs"] == ["attention_mask", "input_ids"] for row in found["rows"])
        assert "nano" in found["rows"][0]["text"].lower()
    assert theirs[str(folders["packed"])] == theirs[str(NANO)]


def test_pack_finds_nothing_to_mend_in_what_is_written_here(folders, tmp_path):
    for name in ("nano", "w8a8", "w4a16_rtn"):
        assert older_names.changes(folders[name]) == []
        assert pack(folders[name], tmp_path / f"{name}.zip").changed == ()
        assert not [f for f in check(folders[name], load=False).findings if f.code == "old libraries"]


ASK_FILES = """
import json, sys
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from compressed_tensors.quantization import QuantizationConfig
found = {}
for folder in sys.argv[1:]:
    try:
        config = AutoConfig.from_pretrained(folder)
        GenerationConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": "a question"}], add_generation_prompt=True, tokenize=False)
        QuantizationConfig.model_validate(getattr(config, "quantization_config", {"config_groups": {}}))
        found[folder] = {"prompt": prompt, "theta": config.rope_theta, "scaling": config.rope_scaling}
    except Exception as error:
        found[folder] = {"error": f"{type(error).__name__}: {error}"}
print("FOUND", json.dumps(found))
"""


def test_what_check_refuses_in_files_the_judges_libraries_refuse_or_read_otherwise(tmp_path):
    """The rules of `texts`, `tokenizer` and `older_names`, asked of transformers 4.57.3 and compressed-tensors 0.13."""
    names = (
        "a mark in the settings", "UTF-16 settings", "a mark in the template", "a CP949 template", "a template that stops",
        "rope under two names", "a field nobody knows", "two templates", "a template without the question",
    )  # fmt: skip
    folders = {name: make_model(tmp_path / name) for name in ("good", *names)}
    for name in names:
        FAULTS[name].spoil(folders[name])
    program = [JUDGE, "-c", ASK_FILES, *map(str, folders.values())]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": ""}
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stderr[-2000:]
    found = {name: json.loads(lines[0][6:])[str(folder)] for name, folder in folders.items()}
    errors = {name: row["error"] for name, row in found.items() if "error" in row}
    assert errors.keys() == {names[0], names[1], names[3], names[4], names[6]}
    assert "BOM" in errors[names[0]] and "UnicodeDecodeError" in errors[names[1]] + errors[names[3]]
    assert "group_size_hint" in errors[names[6]]
    assert found["a mark in the template"]["prompt"] == "\ufeff" + found["good"]["prompt"]
    assert (found["rope under two names"]["theta"], found["rope under two names"]["scaling"]) == (
        10000.0,
        None,
    )
    assert found["two templates"]["prompt"] == found["good"]["prompt"]  # the file is read, not the settings
    assert "a question" not in found["a template without the question"]["prompt"]
