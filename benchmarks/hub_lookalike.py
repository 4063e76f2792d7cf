"""A web server on this machine that answers like the hub for one repository, and counts what it sends.

Enough of the hub for hf-mem, huggingface_hub, accelerate and our reader: the tree and info pages of the API, HEAD, and GET with
Range. Headers are counted with the body, as they travel too.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0" * 40


class Lookalike:
    """Serves `folder` as the repository `name`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.requests = self.sent = 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.site = self
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Start counting again."""
        self.requests = self.sent = 0

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body_wanted=False)

    def do_GET(self) -> None:
        self._answer(body_wanted=True)

    def _answer(self, body_wanted: bool) -> None:
        site: Lookalike = self.server.site
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/{site.name}"):
            return self._send(200, self._listing(path), {"Content-Type": "application/json"}, body_wanted)
        found = re.fullmatch(rf"/{re.escape(site.name)}/resolve/[^/]+/([\w.-]+)", path)
        file = site.folder / found[1] if found else None
        if file is None or not file.is_file():
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body_wanted)
        size = file.stat().st_size
        extra = {
            "ETag": f'"{hashlib.sha1(file.name.encode()).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        begin, end = (int(asked[1]), min(int(asked[2] or size), size - 1)) if asked else (0, size - 1)
        if asked:
            extra["Content-Range"] = f"bytes {begin}-{end}/{size}"
        if not body_wanted:
            return self._send(200, b"", {**extra, "Content-Length": str(size)}, False)
        with file.open("rb") as handle:
            handle.seek(begin)
            body = handle.read(min(end - begin + 1, 64 << 20))
        return self._send(206 if asked else 200, body, extra, True)

    def _listing(self, path: str) -> bytes:
        site: Lookalike = self.server.site
        files = sorted(site.folder.iterdir())
        if "/tree/" in path:
            rows = [{"type": "file", "oid": COMMIT, "size": f.stat().st_size, "path": f.name} for f in files]
            return json.dumps(rows).encode()
        page = {
            "id": site.name,
            "modelId": site.name,
            "sha": COMMIT,
            "tags": [],
            "library_name": "transformers",
            "transformersInfo": {"auto_model": "AutoModelForCausalLM"},
            "config": json.loads((site.folder / "config.json").read_text()),
            "siblings": [{"rfilename": f.name} for f in files],
            "private": False,
            "downloads": 0,
        }
        return json.dumps(page).encode()

    def _send(self, code: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        headers = {"Content-Length": str(len(body)), **headers}
        head = sum(len(name) + len(value) + 4 for name, value in headers.items()) + 120
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        self.wfile.flush()
        site: Lookalike = self.server.site
        with site.lock:
            site.requests += 1
            site.sent += head + (len(body) if with_body else 0)
