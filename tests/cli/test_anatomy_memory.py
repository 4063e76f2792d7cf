"""The verbs memory, speed and note: JSON alone on stdout, a human view, errors with exit codes."""

from __future__ import annotations

import json
import re

import pytest

from exaone_nb.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_memory_json(capsys) -> None:
    code, out, err = run(
        capsys, "memory", "EXAONE-4.0-1.2B", "--scheme", "W4A16", "--context", "8192", "--json"
    )
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["weight_bytes"] == 971_176_736
    assert document["cache"]["bytes_per_request"] == 8192 * 61_440
    assert document["cache"]["times_less_than_multi_head"] == 4
    assert document["fits"] is True and document["would_fit"] == []
    assert all(part["estimate"] for part in document["overheads"])
    left = (
        document["budget_bytes"] - document["weight_bytes"] - sum(p["bytes"] for p in document["overheads"])
    )
    assert left == document["left_for_cache_bytes"]


def test_memory_options_reach_the_plan(capsys) -> None:
    def of(*options: str) -> dict:
        return json.loads(run(capsys, "memory", "EXAONE-4.0-32B", "--gpu", "H100-SXM", *options, "--json")[1])

    plain = of()
    assert of("--kv-dtype", "fp8")["cache"]["bytes_per_request"] * 2 == plain["cache"]["bytes_per_request"]
    assert of("--engine", "sglang")["cache"]["bytes_per_request"] == 32 * 2**30
    assert of("--batched-tokens", "2048")["cache"]["bytes_per_request"] < plain["cache"]["bytes_per_request"]
    assert of("--tensor-parallel", "2")["weight_bytes"] < 0.51 * plain["weight_bytes"]
    assert of("--utilization", "0.5")["budget_bytes"] < plain["budget_bytes"]
    assert of("--concurrency", "3")["cache"]["bytes_needed"] == 3 * plain["cache"]["bytes_per_request"]


def test_memory_human(capsys) -> None:
    code, out, _ = run(
        capsys, "memory", "EXAONE-4.0-32B", "--scheme", "W4A16", "--gpu", "L4", "--context", "32768"
    )
    assert code == 1
    for text in (
        "18.06",
        "Does not fit",
        "estimate",
        "Longest context",
        "What would fit: 1,824 tokens of context; 2 x L4",
        "5 times smaller",
    ):
        assert text in out


@pytest.mark.parametrize(
    ("model", "concurrency", "english", "korean"),
    [
        (
            "EXAONE-4.0-1.2B",
            1,
            "Longest context: 65,536 tokens. At 65,536",
            "가장 긴 컨텍스트: 65,536토큰. 65,536",
        ),
        (
            "EXAONE-4.0-1.2B",
            40,
            "7,312 tokens for 40 at once, 65,536 for one.",
            "40개면 7,312토큰, 하나면 65,536",
        ),
        (
            "EXAONE-4.0-1.2B",
            3_000_000,
            "65,536 tokens for one; 3000000 at once do not",
            "하나면 65,536토큰. 동시에",
        ),
        ("EXAONE-4.0-32B", 1, "No request fits, however short.", "아무리 짧은 요청도 들어가지 않습니다."),
    ],
)
def test_the_longest_context_is_said_once_and_never_as_zero(
    capsys, monkeypatch, model, concurrency, english, korean
) -> None:
    for language, wanted in (("en", english), ("ko", korean)):
        monkeypatch.setenv("EXAONE_NB_LANG", language)
        out = run(capsys, "memory", model, "--gpu", "L4", "--concurrency", str(concurrency))[1]
        assert wanted in out
        assert not re.search(r"\b0 (tokens|at once)|\b0(토큰|개)|for 1 at once", out)


@pytest.mark.parametrize(
    ("arguments", "code", "offered"),
    [
        (["EXAONE-4.0-1.2B", "--gpu", "L4"], 0, set()),
        (["EXAONE-4.0-32B", "--gpu", "L4", "--scheme", "W4A16"], 1, {"context", "tensor_parallel"}),
        (["EXAONE-4.0-32B", "--gpu", "L4", "--scheme", "W4A16", "--tensor-parallel", "4"], 1, {"tensor_parallel"}),
        (["EXAONE-4.0-1.2B", "--gpu", "T4", "--concurrency", "9", "--context", "65536"], 1, {"concurrency"}),
        (["EXAONE-4.0-1.2B", "--gpu", "V100-16GB", "--scheme", "W4A16"], 1, {"scheme"}),  # no kernel
    ],
)  # fmt: skip
def test_memory_is_a_preflight(capsys, arguments, code, offered) -> None:
    found, out, err = run(capsys, "memory", *arguments, "--json")
    document = json.loads(out)
    assert (found, document["fits"], err) == (code, not code, "")
    assert offered <= {offer["what"] for offer in document["would_fit"]}
    assert run(capsys, "memory", *arguments)[0] == code


def test_bytes_in_the_file_and_on_the_card_are_two_figures(capsys, tmp_path) -> None:
    """gpt-oss-120b under Marlin: 60.77 GiB in the files; a user's log says 65.97 GiB, workspaces included."""
    arguments = ["--gpu", "H100-SXM", "--utilization", "0.9", "--context", "131072"]
    code, out, _ = run(capsys, "memory", "gpt-oss-120b", *arguments, "--json")
    document = json.loads(out)
    assert code == 1 and not document["fits"]
    assert round(document["weight_bytes_in_file"] / 2**30, 2) == 60.77
    assert round(document["weight_bytes"] / 2**30, 1) == 65.9
    assert "weights in the file" in (shown := run(capsys, "memory", "gpt-oss-120b", *arguments)[1])
    assert "weights on the card" in shown and "pads" in shown
    # Published in float32, loaded in 16 bits.
    wide = json.loads(run(capsys, "memory", "EXAONE-3.5-2.4B-Instruct", "--json")[1])
    assert wide["weight_bytes_in_file"] == 2 * wide["weight_bytes"]


def test_speed_json_and_human(capsys) -> None:
    code, out, _ = run(capsys, "speed", "EXAONE-4.0-1.2B", "--scheme", "W4A16", "--gpu", "L4", "--json")
    document = json.loads(out)
    assert (
        code == 0 and document["runs"] and document["kernel"] == "Marlin" and document["compute"] == "16-bit"
    )
    assert document["decode"]["bound"] == "bandwidth" and document["prefill"]["bound"] == "compute"
    assert document["decode"]["weight_bytes_read"] == 971_176_736
    assert "not measured" in document["kind"]
    _, out, _ = run(capsys, "speed", "EXAONE-4.0-1.2B", "--scheme", "W4A16", "--gpu", "L4")
    assert re.search(r"W4A16 +290 +3\.45 +bandwidth", out) and "not measured" in out


def test_speed_gives_no_number_without_a_kernel(capsys) -> None:
    code, out, _ = run(capsys, "speed", "EXAONE-4.0-1.2B", "--scheme", "W4AFP8", "--gpu", "L4", "--json")
    document = json.loads(out)
    assert code == 0 and not document["runs"] and "9.0 alone" in document["reason"]
    assert document["decode"]["tokens_per_second"] is None and document["prefill"]["seconds"] is None
    assert "no number" in run(capsys, "speed", "EXAONE-4.0-1.2B", "--scheme", "W4AFP8", "--gpu", "L4")[1]


def test_note_to_stdout_to_a_file_and_as_json(capsys, tmp_path) -> None:
    _, text, _ = run(capsys, "note", "EXAONE-4.0-1.2B")
    assert text.startswith("# EXAONE-4.0-1.2B\n") and "## Licence" in text
    target = tmp_path / "notes" / "note.md"
    _, out, _ = run(capsys, "note", "EXAONE-4.0-1.2B", "--out", str(target))
    assert target.read_text(encoding="utf-8").strip() == text.strip() and "Wrote" in out
    document = json.loads(run(capsys, "note", "EXAONE-4.0-1.2B", "--json")[1])
    assert document["markdown"].strip() == text.strip() and document["file"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["memory", "nothing"], "No model 'nothing'"),
        (["memory", "EXAONE-4.0-1.2B", "--gpu", "A100"], "A100-40GB, A100-80GB"),
        (["memory", "EXAONE-4.0-1.2B", "--scheme", "W4A17"], "W4A16"),
        (["memory", "EXAONE-4.0-1.2B", "--context", "0"], "at least 1"),
        (["memory", "EXAONE-4.0-1.2B", "--context", "65540"], "context is 65,540"),
        (["speed", "EXAONE-4.0-1.2B", "--context", "65540"], "context is 65,540"),
        (["speed", "EXAONE-4.0-1.2B", "--prompt", "65540"], "prompt is 65,540"),
        (["memory", "EXAONE-4.0-1.2B", "--engine", "tgi"], "sglang"),
        (["memory", "EXAONE-4.0-1.2B", "--kv-dtype", "int3"], "fp8"),
        (["memory", "EXAONE-4.0-1.2B", "--utilization", "92"], "at most 1"),
        (["speed", "EXAONE-4.0-1.2B", "--batch", "0"], "at least 1"),
        (["note", "no-such-model"], "No model"),
        (["memory", "EXAONE-4.0-1.2B", "--context", "many"], "context"),
    ],
)
def test_wrong_calls_exit_2_and_say_what_was_expected(capsys, arguments: list[str], said: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("verb", ["memory", "speed"])
def test_a_card_of_two_forms_is_the_common_one_and_this_is_said(capsys, verb: str) -> None:
    code, out, _ = run(capsys, verb, "EXAONE-4.0-1.2B", "--gpu", "H100", "--json")
    document = json.loads(out)
    assert code == 0 and document["gpu"] == "H100-SXM"
    assert document["gpu_remark"] == "H100 is taken as H100-SXM; there is also H100-PCIe."
    assert document["gpu_remark"] in run(capsys, verb, "EXAONE-4.0-1.2B", "--gpu", "H100")[1]
    for name in ("H100-PCIe", "L4", "b200"):
        assert not json.loads(run(capsys, verb, "nano", "--gpu", name, "--json")[1])["gpu_remark"]


@pytest.mark.parametrize("verb", ["memory", "speed", "size", "inspect"])
def test_an_unknown_family_is_a_wrong_call(capsys, tmp_path, verb: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "starling"}')
    code, out, err = run(capsys, verb, str(tmp_path))
    if verb == "inspect":  # it needs no layout, but weights
        assert code == 1 and "no safetensors" in err
    else:
        assert (code, out) == (2, "") and "No layout for model_type 'starling'" in err


def test_a_bad_config_exits_1(capsys, tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "exaone4", "num_hidden_layers": "many"}')
    code, out, err = run(capsys, "memory", str(tmp_path))
    assert (code, out) == (1, "")
    assert "num_hidden_layers" in err


def test_a_family_without_a_layout_is_answered_with_a_note(capsys, tmp_path, monkeypatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path / "cache"))
    sizes = {"hidden_size": 256, "intermediate_size": 384, "vocab_size": 400, "max_position_embeddings": 64}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "stablelm", **sizes, **heads}))
    for verb in ("size", "memory", "speed"):
        more = () if verb == "size" else ("--gpu", "L4", "--context", "32")
        code, out, _ = run(capsys, verb, str(tmp_path), "--scheme", "W4A16", *more, "--json")
        assert code == 0 and "asked of transformers" in json.loads(out)["notes"][0], verb
        assert "asked of transformers" in run(capsys, verb, str(tmp_path), "--scheme", "W4A16", *more)[1], (
            verb
        )
    assert json.loads(run(capsys, "size", "nano", "--json")[1])["notes"] == []
