"""Randomness drawn during training: a function of (run, stream, step) and of nothing else.

There is no state to keep, checkpoint or restore, and a run draws the same numbers in whatever pack and lane it sits.
Philox4x32-10 of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"), in int64 arithmetic so that the
same code runs under vmap, on the CPU and on a GPU. Held to the published known answers in a test.
"""

import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Four 32-bit words (as int64 tensors) of the block with this counter; the inputs broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _multiply(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 64-bit product. int64 wraps and its shift keeps the sign, hence the mask."""
    product = x * factor
    return (product >> 32) & _MASK, product & _MASK


def split_key(key: int) -> tuple[int, int]:
    """The two 32-bit words of a 64-bit key, the low one first."""
    return key & _MASK, key >> 32


def words(key_2: Tensor, step: Tensor, tag: int, count: int, first_block: int = 0) -> Tensor:
    """(..., count) 32-bit words for this key, step and tag. Word i is the same for every `count`: padding is harmless.

    Args:
        key_2: (..., 2) the run's key, two int64 of 32 bits each.
        step: (...) int64 below 2**32.
        tag: which draw of the step (layer and place).
        first_block: leave out so many words times four.
    """
    # Zero, which inductor can't know: a range is an index of 32 bits to it on a GPU, which the multipliers exceed, and
    # Triton refuses.
    zero = step[..., None] >> 32
    block = zero + torch.arange(first_block, first_block + (count + 3) // 4, device=key_2.device)
    blocks = philox4x32((block, zero + step[..., None], zero + tag, zero), (key_2[..., 0, None], key_2[..., 1, None]))
    return torch.stack(blocks, dim=-1).flatten(-2)[..., :count]


def keep_mask(key_2: Tensor, step: Tensor, tag: int, count: int, drop: Tensor) -> Tensor:
    """Which of `count` units stay when each is dropped with probability `drop`."""
    return words(key_2, step, tag, count) >= (drop.double() * 2.0**32).long()


def normal(key_2: Tensor, step: Tensor, tag: int, count: int, start: int = 0) -> Tensor:
    """(..., count) float64 numbers from N(0, 1), those from `start` on: a vector may be drawn in parts. Leading axes as
    in `words`.

    Box and Muller 1958, on 32 random bits each; the largest are 6.66. In float64, so that what is rounded to float32 is
    the same whichever way a library's kernel rounds a cosine.
    """
    before = start % 4
    n_words = -(-(before + count) // 4) * 4
    shares = torch.unflatten(words(key_2, step, tag, n_words, start // 4).double(), -1, (-1, 2)) / 2.0**32
    radius, angle = (-2 * (shares[..., 0] + 2.0**-32).log()).sqrt(), 2 * math.pi * shares[..., 1]
    pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    return pairs.flatten(-2)[..., before : before + count]


def permutation(key_2: Tensor, epoch: Tensor, valid_D: Tensor, tag: int) -> Tensor:
    """A uniform order of the valid entries of a padded list, the padding behind them. Leading axes as in `words`.

    Sorting by 63 random bits: two keys tie with probability below 1e-9 for 10^5 entries, and then stay in order.
    """
    draws = torch.unflatten(words(key_2, epoch, tag, 2 * valid_D.shape[-1]), -1, (-1, 2))
    keys = ((draws[..., 0] & 0x7FFFFFFF) << 32) | draws[..., 1]
    return torch.where(valid_D, keys, torch.iinfo(torch.int64).max).argsort(stable=True)
