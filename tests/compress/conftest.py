"""Small things that the compress tests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exaone_nb import catalog
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.plan import Plan, plan_for


@pytest.fixture(scope="session")
def config() -> dict:
    """The config of EXAONE-4.0-1.2B."""
    return catalog.resolve("EXAONE-4.0-1.2B").config()


@pytest.fixture
def plan_of(config):
    """A function: recipe document -> Plan on the 1.2B config, `method: rtn, scheme: W4A16` unless said otherwise."""

    def make(on: dict | None = None, **document) -> Plan:
        base = {} if {"scheme", "groups"} & set(document) else {"scheme": "W4A16"}
        return plan_for(
            on or config, recipes.parse({"ignore": ["lm_head"]} | base | document), "EXAONE-4.0-1.2B"
        )

    return make


@pytest.fixture
def texts(tmp_path: Path):
    """A function that writes a JSONL file of conversations and returns its path."""

    def write(count: int = 8, name: str = "text.jsonl", words: int = 30) -> Path:
        path = tmp_path / name
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"What is {i} plus {i}? " + "please " * words},
                    {"role": "assistant", "content": f"#### {2 * i}"},
                ]
            }
            for i in range(count)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
