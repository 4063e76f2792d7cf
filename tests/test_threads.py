"""The number of threads torch computes with."""

from __future__ import annotations

import torch

from exaone_nb.threads import set_torch_threads


def test_it_works_after_vllm_replaced_torchs_own(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # as vLLM's CPU worker does
    at_first = set_torch_threads(3)
    try:
        assert torch.get_num_threads() == 3
        assert set_torch_threads(2) == 3
    finally:
        assert set_torch_threads(at_first) == 2
    assert torch.get_num_threads() == at_first
