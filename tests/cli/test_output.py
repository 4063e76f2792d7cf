"""How wide the human view is where there is no terminal."""

from __future__ import annotations

import pytest

from exaone_nb.cli.output import LOG_COLUMNS, console, emit


@pytest.mark.parametrize(("columns", "width"), [(None, LOG_COLUMNS), ("60", 60)])
def test_a_log_gets_whole_lines_unless_a_width_is_asked_for(monkeypatch, capsys, columns, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert console().width == console(stderr=True).width == width
    emit(False, {}, lambda out: out.print("x" * 100))
    assert len(capsys.readouterr().out.split()[0]) == min(100, width)
