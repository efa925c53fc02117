"""The counter-based randomness of training: known answers, and independence of padding, lanes and neighbours."""

import pytest
import torch
from torch.func import vmap

from trainers.models.draws import Draws
from trainers.philox import keep_mask, permutation, philox4x32, split_key, words

# kat_vectors of Random123, "philox4x32 10": counter, key, expected words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words_of(text: str) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(int(word, 16)) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_published_known_answers(counter: str, key: str, expected: str) -> None:
    found = philox4x32(_words_of(counter), _words_of(key))  # type: ignore[arg-type]
    assert [f"{int(word):08x}" for word in found] == expected.split()


def _key(seed: int = 1) -> torch.Tensor:
    return torch.tensor(split_key(0x0123456789ABCDEF * seed % 2**64))


def test_words_of_a_block_are_in_order_and_start_at_counter_zero() -> None:
    expected = philox4x32(_words_of("1 7 3 0"), (_key()[0], _key()[1]))
    assert words(_key(), torch.tensor(7), 3, 8)[4:].tolist() == [int(word) for word in expected]


def test_a_word_does_not_depend_on_how_many_are_drawn() -> None:
    long = words(_key(), torch.tensor(5), 2, 103)
    for count in (1, 2, 3, 4, 5, 50):
        assert torch.equal(words(_key(), torch.tensor(5), 2, count), long[:count])


def test_words_differ_by_key_step_and_tag() -> None:
    draws = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 2**31, 0), (1, 0, 1_000_000)]
    found = torch.stack([words(_key(seed), torch.tensor(step), tag, 64) for seed, step, tag in draws])
    assert found.unique().numel() == found.numel()


def test_many_lanes_draw_what_each_draws_alone() -> None:
    keys_L2, steps_L = torch.stack([_key(seed) for seed in (1, 2, 3)]), torch.tensor([0, 5, 9])
    for together in (words(keys_L2, steps_L, 4, 10), vmap(lambda key, step: words(key, step, 4, 10))(keys_L2, steps_L)):
        for lane in range(3):
            assert torch.equal(together[lane], words(keys_L2[lane], steps_L[lane], 4, 10))


@pytest.mark.parametrize("drop", [0.0, 0.1, 0.5, 0.9])
def test_units_are_kept_at_the_stated_rate(drop: float) -> None:
    count = 200_000
    rate = keep_mask(_key(), torch.tensor(3), 0, count, torch.tensor(drop)).double().mean().item()
    assert abs(rate - (1 - drop)) <= 5 * (drop * (1 - drop) / count) ** 0.5


def test_dropout_keeps_the_mean_and_a_unit_fares_the_same_before_padding() -> None:
    draws = Draws(_key(), torch.tensor(1), torch.tensor(0.25))
    padded = draws.dropout(torch.ones(300, 3, 40), tag=1)
    assert torch.equal(draws.dropout(torch.ones(100, 3, 40), tag=1), padded[:100])
    assert sorted(padded.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert padded.mean().item() == pytest.approx(1, abs=0.02)


def test_permutation_holds_the_valid_first_and_the_padding_last() -> None:
    valid = torch.arange(12) < 7
    order = permutation(_key(), torch.tensor(0), valid, 9)
    assert sorted(order[:7].tolist()) == list(range(7))
    assert order[7:].tolist() == list(range(7, 12))


def test_permutation_does_not_depend_on_the_padding() -> None:
    alone = permutation(_key(), torch.tensor(4), torch.ones(7, dtype=torch.bool), 9)
    assert torch.equal(permutation(_key(), torch.tensor(4), torch.arange(30) < 7, 9)[:7], alone)


def test_permutations_are_uniform() -> None:
    """Each of 5 entries in each of 5 places over 2000 epochs: chi-squared with 16 degrees of freedom, 99.99 % at 45."""
    epochs = torch.arange(2000)
    orders = permutation(_key().expand(2000, 2), epochs, torch.ones(2000, 5, dtype=torch.bool), 9)
    counts = torch.stack([(orders == entry).sum(0) for entry in range(5)]).double()
    assert counts.sum().item() == 10_000
    assert ((counts - 400) ** 2 / 400).sum().item() < 45
