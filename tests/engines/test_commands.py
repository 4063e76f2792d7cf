"""Launch commands of other engines: each flag looked up somewhere, at some version, on some day."""

import re
import shlex

import pytest

from exaone_nb import catalog
from exaone_nb.engines.commands import Check, check_of, flags_of, launch_commands
from exaone_nb.engines.server import REASONING_PARSER, server_command
from exaone_nb.errors import WorkbookError
from exaone_nb.paths import NANO

COMMANDS = sorted(
    {
        entry["command"].format(model=record.hub_id or "data/nano", name=record.name, context=32768)
        for record in map(catalog.record, catalog.names())
        for entry in record.deployment.values()
        if isinstance(entry, dict) and entry.get("command")
    }
)


def problems(check: Check, command: str) -> list[str]:
    """The flags and values of a command that neither table has; empty for a command that is covered."""
    found = []
    for flag, value in flags_of(command, check.program).items():
        if flag not in check.flags and flag not in check.unverified:
            found.append(flag)
        elif check.flags.get(flag) and value not in check.flags[flag]:
            found.append(f"{flag} {value}")
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_every_command_was_looked_up_or_is_marked(command):
    assert problems(check_of(command), command) == []


@pytest.mark.parametrize("program", sorted(catalog.launchers()))
def test_every_check_names_version_source_and_date_and_is_used(program):
    check = Check(program, **catalog.launchers()[program])
    assert check.name and check.version and check.source and re.fullmatch(r"20\d\d-\d\d-\d\d", check.date)
    assert all(check.unverified.values()), "an unverified flag needs its reason"
    assert any(check_of(command).program == program for command in COMMANDS)


def test_the_main_models_table_has_all_five_engines():
    rows = launch_commands("EXAONE-4.0-1.2B")
    assert {row["engine"] for row in rows} == {"vllm", "sglang", "tensorrt_llm", "llama_cpp", "ollama"}
    for row in rows:
        assert row["source"] and re.search(r"\(20\d\d-\d\d-\d\d\)", row["checked"])
        assert "{" not in row["command"] + row["remark"]


def test_the_printed_command_does_not_step_into_the_parser_trap():
    (row,) = [row for row in launch_commands("EXAONE-4.0-1.2B") if row["engine"] == "vllm"]
    assert f"--reasoning-parser {REASONING_PARSER}" in row["command"]
    assert "deepseek_r1" in row["remark"] and "but for the reasoning parser" in row["source"]


def test_what_is_not_covered_is_named():
    check = Check(
        "serve it", "It", "1", "its --help", "2026-11-23", {"-a": [], "-b": ["x"]}, {"-c": "no page found"}
    )
    assert flags_of("serve it MODEL -a -b x -c 3", "serve it") == {"-a": "", "-b": "x", "-c": "3"}
    assert problems(check, "serve it MODEL -a -b x -c 3") == []
    assert problems(check, "serve it -d -b y") == ["-d", "-b y"]
    assert "NOT VERIFIED: -c (no page found)." in check.words("serve it -c")
    assert check.words("serve it -a") == "It 1: its --help (2026-11-23)."
    with pytest.raises(WorkbookError, match="checked against"):
        check_of("server it")


@pytest.mark.heavy
def test_vllm_itself_takes_its_commands():
    """The installed vLLM parses every command, and has every parser that one names."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    mine = [command for command in COMMANDS if "vllm" in check_of(command).program]
    assert len(mine) > 10
    parser.parse_args(server_command("model", 8000, eager=True)[3:])  # what the chapter on inference starts
    for command in mine:
        arguments = parser.parse_args(shlex.split(command)[len(check_of(command).program.split()) :])
        tools, reasoning = arguments.tool_call_parser, arguments.reasoning_parser
        assert not tools or tools in ToolParserManager.list_registered(), command
        assert not reasoning or reasoning in ReasoningParserManager.list_registered(), command


def test_a_model_without_think_tags_is_served_without_a_reasoning_parser(tmp_path):
    """vLLM's parsers raise for such a tokenizer (BaseThinkingReasoningParser), and then no server starts."""
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "<|im_start|>"}]}')
    assert "--reasoning-parser" not in server_command(tmp_path, 8000)
    assert "--reasoning-parser" in server_command(NANO, 8000)
    assert "--reasoning-parser" in server_command("org/name", 8000)
