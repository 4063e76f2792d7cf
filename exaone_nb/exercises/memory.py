"""Exercises of the chapter on parameters and memory: bits per weight, cache, fit, and the roof."""

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say

GIB = 2**30


def bits_per_weight(num_bits: int, group_size: int) -> float:
    """Bits per weight of a group scheme, its 16-bit scales included."""
    return num_bits + 16 / group_size


def kv_bytes_per_token(
    num_hidden_layers: int, num_key_value_heads: int, head_dim: int, bytes_per_number: int
) -> int:
    """Bytes that one token leaves in the cache, when every layer keeps it."""
    return 2 * num_hidden_layers * num_key_value_heads * head_dim * bytes_per_number


def longest_context(card_gib: float, share: float, weight_bytes: int, token_bytes: int) -> int:
    """Whole tokens of cache that fit beside the weights in `share` of a card of so many GiB."""
    return int((card_gib * GIB * share - weight_bytes) // token_bytes)


def tokens_per_second_at_best(weight_bytes: int, bandwidth_gb_per_second: float) -> float:
    """The roof for one request: every weight is read once per token, at so many GB (10^9 bytes) a second."""
    return bandwidth_gb_per_second * 1e9 / weight_bytes


EXERCISES = (
    Exercise(
        bits_per_weight,
        [(4, 128), (4, 32), (8, 64)],
        [
            (lambda bits, group: float(bits), say("the scales are in the file too.")),
            (lambda bits, group: bits + 32 / group, say("a scale is stored in 16 bits here, not in 32.")),
            (lambda bits, group: bits + 16.0,
             say("one scale serves a whole group: its bits are shared by group_size weights.")),
            (lambda bits, group: bits + 2 / group,
             say("that counts the scale in bytes and the weights in bits.")),
        ],
    ),
    Exercise(
        kv_bytes_per_token,
        [(30, 8, 64, 2), (64, 8, 128, 1)],
        [
            (lambda layers, heads, dim, size: layers * heads * dim * size,
             say("keys *and* values are kept: that is one of the two.")),
            (lambda layers, heads, dim, size: 2 * layers * heads * dim,
             say("you counted numbers, not bytes.")),
            (lambda layers, heads, dim, size: 2 * heads * dim * size,
             say("that is one layer; every layer has a cache of its own.")),
        ],
    ),
    Exercise(
        longest_context,
        [(22.0, 0.85, 2_558_821_288, 61_440), (15.0, 0.5, 971_261_368, 61_440)],
        [
            (lambda gib, share, weights, token: int((gib * 1e9 * share - weights) // token),
             say("GB for GiB: a GiB is 2^30 bytes, 7 % more than 10^9.")),
            (lambda gib, share, weights, token: int((gib * GIB - weights) // token),
             say("the engine takes only its share of the card.")),
            (lambda gib, share, weights, token: int((gib * GIB - weights) * share // token),
             say("the share is of the card; the weights are taken from it afterwards.")),
            (lambda gib, share, weights, token: int(gib * GIB * share // token),
             say("the weights lie on the card too.")),
        ],
    ),
    Exercise(
        tokens_per_second_at_best,
        [(2_558_821_288, 300.0), (971_261_368, 320.0)],
        [
            (lambda weights, bandwidth: bandwidth * GIB / weights,
             say("bandwidth is given in GB, which are 10^9 bytes, not in GiB.")),
            (lambda weights, bandwidth: weights / (bandwidth * 1e9),
             say("that is seconds per token; the roof asks for tokens per second.")),
            (lambda weights, bandwidth: bandwidth / weights,
             say("bytes and GB do not divide: bring both to bytes.")),
        ],
    ),
)  # fmt: skip
