"""Planted secrets must not survive; ordinary text must."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote_plus

import pytest

from exaone_nb.workbook.scrub import REMOVED, Scrubber

SECRET = "s3cr3t/value+with=signs"
HUB = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWx"


@pytest.fixture
def scrubber(tmp_path):
    home = tmp_path / "home" / "hyunjin"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("token-saved-on-disk-123\n")
    environment = {
        "MY_API_KEY": SECRET,
        "USER": "hyunjin",
        "HOSTNAME": "lab-17.example",
        "PATH": "/usr/bin",
        "N_KEY": "12345678",
    }
    return Scrubber(environment, home=home, root="/srv/checkout/exaone")


@pytest.mark.parametrize(
    "text",
    [
        f"key={SECRET}", f"token {HUB}.", "saved: token-saved-on-disk-123", "https://me:hunter2secret@hub.example/x",
        "Authorization: Bearer abcdefghijklmnop", "s3cr3t%2Fvalue%2Bwith%3Dsigns", "AKIA" + "ABCDEFGHIJKLMNOP",
        "sk-" + "a" * 40, "ghp_" + "b" * 36,
    ],
)  # fmt: skip
def test_secrets_are_removed(scrubber, text):
    clean = scrubber.text(text)
    assert REMOVED in clean
    for part in (
        SECRET,
        HUB,
        "saved-on-disk",
        "hunter2",
        "abcdefghijklmnop",
        "s3cr3t",
        "AKIAABC",
        "aaaa",
        "bbbb",
    ):
        assert part not in clean


def test_paths_and_names(scrubber, tmp_path):
    home = tmp_path / "home" / "hyunjin"
    assert scrubber.text(f"{home}/models/x") == "~/models/x"
    assert scrubber.text("/srv/checkout/exaone/data/nano") == "<workbook>/data/nano"
    assert scrubber.text("/home/somebody/.cache") == "~/.cache" and scrubber.text("/Users/kim/x") == "~/x"
    assert scrubber.text("ran on lab-17.example by hyunjin") == "ran on <name> by <name>"


def test_ordinary_text_stays(scrubber):
    text = "12345678 tokens; the key [batch, heads, query, key]; /srv/checkout/exaone2; https://example.org/a; hyunjinlee"
    assert scrubber.text(text) == text


def test_documents_and_drawings(scrubber):
    drawing = base64.b64encode(f"<svg><!-- {SECRET} --></svg>".encode()).decode()
    clean = scrubber.document(
        {"a": [f'<img src="data:image/svg+xml;base64,{drawing}">'], SECRET: 1, "n": 1.5}
    )
    assert REMOVED in clean and clean["n"] == 1.5
    encoded = clean["a"][0].split("base64,")[1].rstrip('">')
    assert SECRET not in base64.b64decode(encoded).decode() and REMOVED in base64.b64decode(encoded).decode()


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASS", "DBPASS", "DB_PASS_FILE_CONTENT", "GPG_PASSPHRASE", "MYSQL_PWD", "PGPASSWORD", "MY_CREDENTIALS",
        "REGISTRY_AUTH", "SESSION_COOKIE", "FLASK_SESSION", "SESSION_ID", "HF_TOKEN", "API_TOKENS", "db_pass", "SLACK_WEBHOOK_URL",
    ],
)  # fmt: skip
def test_names_that_say_secret(name, tmp_path):
    scrubber = Scrubber({name: "hunter22secret"}, home=tmp_path, root="/srv/x")
    assert scrubber.text("it is hunter22secret!") == f"it is {REMOVED}!"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PWD", "/gone/away"), ("OLDPWD", "/gone/away"), ("TOKENIZER", "EXAONE-4.0-1.2B"), ("COMPASS", "northwest"),
        ("BYPASS", "northwest"), ("XDG_SESSION_TYPE", "wayland"), ("DESKTOP_SESSION", "wayland"), ("GDMSESSION", "wayland"),
        ("DB_PASS", "short"), ("REGISTRY_AUTH", "Enabled"), ("AUTH_USER", "ubuntu"), ("N_PASS", "1234567"), ("KEYBOARD", "korean-106"),
    ],
)  # fmt: skip
def test_ordinary_values_stay(name, value, tmp_path):
    assert Scrubber({name: value}, home=tmp_path, root="/srv/x").text(f"it is {value}!") == f"it is {value}!"


def test_every_spelling_of_a_secret_is_removed(tmp_path):
    from markupsafe import escape

    secret = "p&ss<w>rd\"1 '\\비밀"
    scrubber = Scrubber({"MY_SECRET": secret}, home=tmp_path, root="/srv/x")
    spellings = [
        secret, html.escape(secret), html.escape(secret, quote=False), str(escape(secret)), json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1], html.escape(json.dumps(secret)[1:-1]), html.escape(repr(secret)[1:-1]),
        str(escape(repr(secret)[1:-1])), quote_plus(secret),
    ]  # fmt: skip
    for spelling in spellings:
        assert scrubber.text(f"[{spelling}]") == f"[{REMOVED}]", spelling
