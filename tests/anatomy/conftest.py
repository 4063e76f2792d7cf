"""A tiny config, and a small web server that serves a folder with Range requests and misbehaves in chosen ways."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Site:
    """What the server does. `seen` records (path, Range header, Authorization header) of every request."""

    root: Path
    address: str = ""
    ignore_range: bool = False
    html_instead: bool = False
    status: int = 0  # answer everything with this
    failures: int = 0  # answer so many requests with 503 first
    cuts: int = 0  # break so many connections in the middle of the body first
    wrong_range: bool = False
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site: Site = self.server.site
        site.seen.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        path = site.root / self.path.split("?")[0].lstrip("/")
        if site.failures:
            site.failures -= 1
            return self._send(503, b"later")
        if site.status:
            return self._send(site.status, b"no")
        if site.html_instead:
            return self._send(200, b"<!DOCTYPE html><p>Sign in</p>", {"Content-Type": "text/html"})
        if not path.is_file():
            return self._send(404, b"none")
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        size = path.stat().st_size
        with path.open("rb") as handle:
            if not asked or site.ignore_range:
                return self._send(200, handle.read(1 << 20), length=size)
            begin, end = int(asked[1]), min(int(asked[2]), size - 1)
            if begin >= size:
                return self._send(416, b"")
            handle.seek(begin)
            body = handle.read(end - begin + 1)
        shift = 7 if site.wrong_range else 0
        self._send(206, body, {"Content-Range": f"bytes {begin + shift}-{end + shift}/{size}"})

    def _send(self, code: int, body: bytes, headers: dict | None = None, length: int | None = None) -> None:
        site: Site = self.server.site
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        if site.cuts and len(body) > 1:
            site.cuts -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True
        site.sent += len(body)
        if length and length != len(body):
            self.close_connection = True


@pytest.fixture
def tiny() -> dict:
    """The config of a small model of full attention; 11 tensors a layer."""
    return {
        "model_type": "exaone4",
        "hidden_size": 256,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 1000,
        "tie_word_embeddings": True,
        "layer_types": ["full_attention"] * 3,
    }


@pytest.fixture
def serve(monkeypatch):
    """serve(folder) -> Site with its address. Retries wait for almost nothing."""
    from exaone_nb.anatomy import remote

    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.001)
    servers = []

    def start(root: Path) -> Site:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        server.site = Site(root, f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server.site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
