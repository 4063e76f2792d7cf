"""`exaone-nb run` side by side with plain papermill + nbconvert on the same notebooks.

    python benchmarks/bench_run.py [--chapters 00-05] [--all-run nano]

Cold: an empty run folder, every chapter executed and rendered; the peer runs `papermill` and `jupyter nbconvert` for
each notebook, as their manuals show. Unchanged: the same command again (papermill keeps nothing, so its figure is its
cold time). `--all-run` names a run of all chapters whose unchanged re-run is timed too; where it does not exist or is
not up to date it is made first, which takes as long as a report. Bytes and remote requests of both reports are counted,
the requests in a headless Chromium when there is one. The last lines hold the figures against our limits.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from exaone_nb.paths import RUNS
from exaone_nb.workbook.chapters import discover, select
from exaone_nb.workbook.store import find_browser

# Ours over theirs, and seconds. The first is promised for chapters 00 to 05, the default.
LIMITS = {"cold_ratio": 0.6, "unchanged_seconds_all_chapters": 2.0}
CLI = [sys.executable, "-c", "from exaone_nb.cli import main; main()"]


def timed(*command: str) -> float:
    """Wall seconds of a command. Raises when it fails: a failed run is not a fast one."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def remote_requests(pages: list[Path]) -> int | None:
    """Requests to anywhere but the files themselves when the pages are opened; None without a browser or playwright."""
    path = find_browser()
    if not path or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    seen: set[str] = set()
    with sync_playwright() as playwright:
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        page = playwright.chromium.launch(executable_path=path, args=root).new_page()
        page.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else seen.add(r.url)
        )
        for html in pages:
            page.goto(html.absolute().as_uri(), wait_until="load")
            page.wait_for_timeout(500)
    return len(seen)


def size(pages: list[Path]) -> int:
    return sum(path.stat().st_size for path in pages)


def peer(chapters: list[Path], out: Path) -> tuple[float, list[Path]]:
    """papermill, then nbconvert, notebook by notebook."""
    total, pages = 0.0, []
    for path in chapters:
        executed = out / path.name
        total += timed(
            sys.executable, "-m", "papermill", str(path), str(executed), "-p", "RUN_DIR", str(out / "run")
        )
        total += timed(sys.executable, "-m", "nbconvert", "--to", "html", str(executed))
        pages.append(executed.with_suffix(".html"))
    return total, pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", default="00-05")
    parser.add_argument(
        "--all-run", default="nano", help="name or folder of a run of all chapters; empty: none"
    )
    arguments = parser.parse_args()
    chapters = [c.path for c in select(discover(), [arguments.chapters])]
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder, "ours")
        command = [*CLI, "run", arguments.chapters, "--out", str(ours)]
        cold = timed(*command)
        again = timed(*command)
        our_pages = sorted(ours.glob("html/*.html"))
        peer_seconds, peer_pages = peer(chapters, Path(folder))
        rows = {
            "chapters": arguments.chapters,
            "cold_seconds": {"exaone-nb run": round(cold, 1), "papermill + nbconvert": round(peer_seconds, 1)},
            "cold_ratio": round(cold / peer_seconds, 3),
            "unchanged_seconds": {"exaone-nb run": round(again, 2), "papermill + nbconvert": round(peer_seconds, 1)},
            "report_bytes": {"exaone-nb run": size(our_pages), "papermill + nbconvert": size(peer_pages)},
            "remote_requests": {
                "exaone-nb run": remote_requests(our_pages), "papermill + nbconvert": remote_requests(peer_pages),
            },
        }  # fmt: skip
    if arguments.all_run:
        run = Path(arguments.all_run) if "/" in arguments.all_run else RUNS / arguments.all_run
        timed(*CLI, "run", "--out", str(run))
        rows["unchanged_seconds_all_chapters"] = round(timed(*CLI, "run", "--out", str(run)), 2)
    for name, limit in LIMITS.items():
        if name in rows:
            rows.setdefault("limits", {})[name] = (
                f"{rows[name]} of {limit}: {'held' if rows[name] <= limit else 'MISSED'}"
            )
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
