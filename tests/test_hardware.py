"""What the machine's speed was measured beside: the share of the cores that other programs took."""

import pytest

from exaone_nb.hardware import MachineSpeed, _seconds_worked, _share_of_others


@pytest.mark.parametrize(
    ("worked", "own", "share"),
    [(20, 20, 0.0), (20, 5, 0.75), (10, 5, 0.25), (4, 5, 0.0), (30, 0, 1.0)],
)
def test_what_others_took_is_what_was_worked_and_not_by_this_process(worked, own, share):
    assert _share_of_others((100.0, 50.0, 3.0), (120.0, 50.0 + worked, 3.0 + own)) == pytest.approx(share)


def test_two_looks_at_once_take_nothing():
    now = _seconds_worked()
    assert _share_of_others(now, now) == 0.0
    every, worked, own = now
    assert every >= worked > 0 and own > 0


def test_a_speed_that_was_kept_before_others_were_looked_at_is_still_read():
    assert MachineSpeed("here", "2026-11-26", 1.0, 1.0, 5, 1.0, 1.0).others == 0.0
