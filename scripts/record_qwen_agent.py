"""Let Qwen-Agent use the tools of our MCP server and write down what happened: data/measured/qwen_agent_nano.json.

    make env-qwen-agent
    .venv-qwen-agent/bin/python scripts/record_qwen_agent.py http://127.0.0.1:PORT/v1 --engine "xllamacpp 2026.10"

It runs in Qwen-Agent's environment, whose `mcp` is older than ours; the tool server runs in .venv, with its own. The model
is behind an OpenAI-compatible server that runs already.
"""

import argparse
import json
import os
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = ("Roll 2 dice with 6 sides.", "Roll 1 dice with 20 sides.", "Calculate 127 * 46.", "Who are you?")


def asked(address: str, python: Path, question: str) -> dict[str, Any]:
    """One question to a fresh agent: what it called last, what came back, and its answer."""
    from qwen_agent.agents import Assistant

    settings = {
        "temperature": 0,
        "max_tokens": 96,
        "use_raw_api": True,  # calls are the server's own tool calls, not a format in the prompt
        "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
    }
    model = {"model": "nano", "model_server": address, "api_key": "none", "generate_cfg": settings}
    server = {
        "command": str(python), "args": ["-m", "exaone_nb.engines.mcp_tools"], "env": {"PYTHONPATH": str(ROOT)}
    }  # fmt: skip
    agent = Assistant(llm=model, function_list=[{"mcpServers": {"ours": server}}], system_message="")
    # It yields the conversation again and again as it grows.
    *_, said = agent.run(messages=[{"role": "user", "content": question}])
    row = {"asked": question, "answer": said[-1]["content"]}
    for message in said:
        if call := message.get("function_call"):
            row["called"] = f"{call['name']}({call['arguments']})"
        if message["role"] == "function":
            row["result"] = message["content"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", help="http://HOST:PORT/v1")
    parser.add_argument("--engine", required=True, help="what serves the model there, with its version")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv" / "bin" / "python")
    options = parser.parse_args()
    words = "from exaone_nb.engines.environment import machine_sentence; print(machine_sentence())"
    machine = subprocess.run(
        [options.python, "-c", words], cwd=ROOT, check=True, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ).stdout.strip()  # fmt: skip
    document = {
        "what": "Qwen-Agent with roll_dice and calculator over MCP",
        "date": time.strftime("%Y-%m-%d"),
        "machine_in_words": machine,
        "how": f"Qwen-Agent {version('qwen-agent')} with mcp {version('mcp')}, our server with mcp 2.3, {options.engine}, greedy.",
        "model": "nano",
        "rows": [asked(options.address, options.python, question) for question in QUESTIONS],
    }
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    (ROOT / "data" / "measured" / "qwen_agent_nano.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
