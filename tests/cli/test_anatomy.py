"""The verbs inspect and size: JSON alone on stdout, a human view, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer

from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.sparse import write_sparse
from exaone_nb.catalog import resolve
from exaone_nb.cli import WINGS, command_line, main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


SMALL = "EXAONE-4.0-1.2B"


def test_size_json(capsys) -> None:
    code, out, err = run(capsys, "size", SMALL, "--scheme", "W4A16", "--scheme", "BF16", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert {name: row["file_bytes"] for name, row in document["schemes"].items()} == {
        "W4A16": 971_261_368,
        "BF16": 2_558_821_288,
    }


def test_size_options_reach_the_prediction(capsys) -> None:
    def of(*options: str) -> int:
        out = run(capsys, "size", SMALL, "--scheme", "W4A16", *options, "--json")[1]
        return json.loads(out)["schemes"]["W4A16"]["file_bytes"]

    assert of("--untied-head") == 1_390_692_528
    assert of("--ignore", "lm_head", "--ignore", "re:.*mlp.*") > of()
    assert of("--targets", "re:.*mlp.*") > of()
    assert of("--kv-cache", "fp8") > of()
    assert of("--max-shard-size", "500000000") == 971_261_264  # two headers, but shorter offsets


def test_size_of_all_presets_for_people(capsys) -> None:
    code, out, _ = run(capsys, "size", SMALL)
    assert code == 0
    for text in ("W4A16", "971,261,368", "MXFP4", "987,948,288", "43.2%"):
        assert text in out


def test_size_usage_errors(capsys) -> None:
    code, out, err = run(capsys, "size", SMALL, "--scheme", "W4A15")
    assert (code, out) == (2, "") and "Did you mean" in err
    assert run(capsys, "size", "EXAONE-4.0-1.2C")[0] == 2


def test_inspect_of_a_catalog_model_needs_no_weights(capsys) -> None:
    code, out, _ = run(capsys, "inspect", "EXAONE-4.0-32B", "--json")
    document = json.loads(out)
    assert code == 0 and document["from"] == "config"
    assert document["total"]["logical"] == 32_003_216_384
    assert len(document["tensors"]) == document["total"]["tensors"] == 707


def test_inspect_of_a_file_for_people(capsys, tmp_path) -> None:
    config = resolve("nano").config()
    write_sparse(tmp_path / "m", predict_checkpoint(config, untied_head=True), config)
    code, out, _ = run(capsys, "inspect", str(tmp_path / "m"), "--tensors")
    assert code == 0
    for text in ("stored twice: lm_head.weight", "(lengths)", "model.layers.0.self_attn.q_norm.weight"):
        assert text in out


def test_inspect_exits_with_one_when_file_and_config_disagree(capsys, tmp_path) -> None:
    config = resolve("nano").config()
    wider = {**config, "intermediate_size": config["intermediate_size"] * 2}
    write_sparse(tmp_path / "m", predict_checkpoint(wider), config)
    code, out, err = run(capsys, "inspect", str(tmp_path / "m"))
    assert code == 1 and "shapes differ" in err
    assert "Left (file)" in out and "Right (config)" in out
    code, out, err = run(capsys, "inspect", str(tmp_path / "m"), "--json")
    assert code == 1 and json.loads(out)["mismatches"]


def test_names_with_markup_are_shown_as_text(capsys, tmp_path) -> None:
    """A tensor's name comes from a stranger: it must not colour or swallow the terminal's text."""
    from exaone_nb.anatomy.safetensors_layout import header_json
    from exaone_nb.quantization.stored import StoredTensor

    header = header_json([StoredTensor("[red]evil[/red]", "U8", (0,))])
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    code, out, _ = run(capsys, "inspect", str(tmp_path / "x.safetensors"), "--tensors")
    assert code == 0 and "[red]evil[/red]" in out


def test_every_wing_has_the_verbs_that_the_table_says() -> None:
    for wing, verbs in WINGS.items():
        for verb in verbs:
            commands = typer.main.get_command(command_line(verb)).commands
            assert tuple(commands) == verbs, f"{verb} loads {wing} and nothing else"
    everything = [verb for verbs in WINGS.values() for verb in verbs]
    for other in ("", "--help", "inspekt"):
        assert list(typer.main.get_command(command_line(other)).commands) == everything


def test_a_mistyped_verb_is_corrected(capsys) -> None:
    code, _, err = run(capsys, "inspekt", SMALL)
    assert code == 2 and "Did you mean 'inspect'" in err


def test_inspect_loads_its_own_wing_only() -> None:
    """What makes it start in a fraction of a second: no other wing, and rich only where a person reads."""
    program = (
        "import sys\n"
        "from exaone_nb.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )

    def loaded(*arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return set(done.stderr.split())

    modules = loaded("inspect", SMALL, "--json")
    assert "exaone_nb.anatomy.inspection" in modules
    foreign = (
        "rich.console",
        "rich.table",
        "numpy",
        "torch",
        "yaml",
        "httpx",
        "huggingface_hub",
        "matplotlib",
    )
    assert not modules.intersection(foreign)
    wings = {name for name in modules if name.startswith("exaone_nb.cli.")}
    assert wings == {f"exaone_nb.cli.{name}" for name in ("anatomy", "output", "typer_words")}
    read_by_people = loaded("inspect", SMALL)
    assert "rich.table" in read_by_people
    # A checkpoint without a quantization has no versions to compare, and none has a memory to plan.
    assert not read_by_people.intersection(("exaone_nb.show.memory", "packaging.specifiers"))
