"""Checkpoints behind http and the hub: what is fetched, what is refused, what is tried again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from exaone_nb.anatomy.inspection import inspect_model
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import FIRST_READ, read_headers
from exaone_nb.anatomy.sparse import write_sparse
from exaone_nb.catalog import _config_files, read_config
from exaone_nb.errors import WorkbookError


@pytest.fixture
def site(tmp_path, serve, tiny):
    write_sparse(tmp_path / "shards", predict_checkpoint(tiny, max_shard_size=700_000), tiny)
    write_sparse(tmp_path / "one", predict_checkpoint(tiny), tiny)
    return serve(tmp_path)


def test_remote_is_read_like_local(site):
    for name in ("shards", "one"):
        remote, local = read_headers(f"{site.address}/{name}"), read_headers(site.root / name)
        assert remote.files == local.files and remote.config == local.config and not remote.problems
        assert remote.wire_bytes > 0
    assert inspect_model(f"{site.address}/shards").sound


def test_addresses_of_files_name_their_folder(site):
    one = read_headers(f"{site.address}/one/model.safetensors")
    assert one.files == read_headers(site.root / "one").files
    index = read_headers(f"{site.address}/shards/model.safetensors.index.json")
    assert index.files == read_headers(site.root / "shards").files


def test_32b_in_fourteen_shards_takes_one_request_each_and_little_data(tmp_path, serve):
    config = read_config(_config_files()["EXAONE-4.0-32B"])
    plan = predict_checkpoint(config, max_shard_size=5_000_000_000)
    site = serve(write_sparse(tmp_path / "m", plan, config).parent)
    checkpoint = read_headers(f"{site.address}/m")
    assert len(checkpoint.files) == len(plan.shards) >= 13
    assert checkpoint.file_bytes == plan.file_bytes
    assert checkpoint.requests == len(site.seen) == len(checkpoint.files) + 2  # index and config
    assert checkpoint.wire_bytes == site.sent


def test_long_header_takes_a_second_request(tmp_path, serve, tiny):
    config = {**tiny, "num_hidden_layers": 80, "layer_types": ["full_attention"] * 80}
    plan = predict_checkpoint(config)
    assert plan.shards[0].header_bytes > FIRST_READ
    site = serve(write_sparse(tmp_path / "m", plan, config).parent)
    assert read_headers(f"{site.address}/m/model.safetensors").file_bytes == plan.file_bytes
    ranges = [asked for path, asked, _ in site.seen if path.endswith(".safetensors")]
    assert ranges == [f"bytes=0-{FIRST_READ - 1}", f"bytes={FIRST_READ}-{7 + plan.shards[0].header_bytes}"]


def test_momentary_failures_are_tried_again(site):
    site.failures = 2
    assert read_headers(f"{site.address}/one").files
    site.cuts = 2
    assert read_headers(f"{site.address}/one").files


def test_lasting_failures_are_reported(site):
    site.failures = 99
    with pytest.raises(WorkbookError, match="after 3 tries: the server answered 503"):
        read_headers(f"{site.address}/one")


def test_connection_cut_in_the_header_every_time(site):
    site.cuts = 99
    with pytest.raises(WorkbookError, match="after 3 tries"):
        read_headers(f"{site.address}/one/model.safetensors")


def test_server_without_range_is_refused_and_the_body_left_unread(tmp_path, serve, tiny):
    config = {**tiny, "vocab_size": 2_000_000}  # a 1 GB file
    site = serve(write_sparse(tmp_path / "m", predict_checkpoint(config), config).parent)
    site.ignore_range = True
    with pytest.raises(WorkbookError, match="ignores Range requests"):
        read_headers(f"{site.address}/m/model.safetensors")


def test_answer_with_another_range_is_refused(site):
    site.wrong_range = True
    with pytest.raises(WorkbookError, match="answered with the range 'bytes 7-"):
        read_headers(f"{site.address}/one/model.safetensors")


@pytest.mark.parametrize("name", ["one", "one/model.safetensors"])
def test_web_page_instead_of_a_file(site, name):
    site.html_instead = True
    with pytest.raises(WorkbookError, match="is a web page"):
        read_headers(f"{site.address}/{name}")


@pytest.mark.parametrize(
    "status, message", [(401, "refuses"), (403, "refuses"), (404, "has no"), (410, "has no")]
)
def test_refusals_say_what_to_do(site, status, message):
    site.status = status
    with pytest.raises(WorkbookError, match=message) as caught:
        read_headers(f"{site.address}/one/model.safetensors")
    assert caught.value.remedy


def test_empty_file_and_pickle_and_query(site):
    (site.root / "empty.safetensors").write_bytes(b"")
    with pytest.raises(WorkbookError, match="is empty"):
        read_headers(f"{site.address}/empty.safetensors")
    with pytest.raises(WorkbookError, match="is a pickle"):
        read_headers(f"{site.address}/pytorch_model.bin")
    assert not any(path.endswith(".bin") for path, _, _ in site.seen)
    with pytest.raises(WorkbookError, match="plain address"):
        read_headers(f"{site.address}/one?token=abc")


def test_nobody_listening():
    with pytest.raises(WorkbookError, match="after 3 tries"):
        read_headers("http://127.0.0.1:9/model.safetensors")


def test_hub_endpoint_revision_and_token_are_honoured(tmp_path, serve, tiny):
    folder = tmp_path / "SOMEONE" / "TINY" / "resolve" / "v1"
    write_sparse(folder, predict_checkpoint(tiny), tiny)
    site = serve(tmp_path)
    command = [
        sys.executable,
        "-c",
        "from exaone_nb.cli import main; main()",
        "inspect",
        "SOMEONE/TINY",
        "--revision",
        "v1",
        "--json",
    ]
    environment = {**os.environ, "HF_ENDPOINT": site.address, "HF_TOKEN": "hf_not_a_real_token"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["file_bytes"] == read_headers(folder).file_bytes
    assert document["requests"] == len(site.seen) == 3
    assert all(path.startswith("/SOMEONE/TINY/resolve/v1/") for path, _, _ in site.seen)
    assert {token for _, _, token in site.seen} == {"Bearer hf_not_a_real_token"}
    assert "hf_not_a_real_token" not in done.stdout + done.stderr


def test_token_is_not_sent_to_other_addresses(site, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_real_token")
    read_headers(f"{site.address}/one")
    assert {token for _, _, token in site.seen} == {None}
