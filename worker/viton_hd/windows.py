"""The distinct label windows of a picture: what depends on a window alone is worked out once for each."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 5
"""Two 3×3 convolutions see 5×5 labels."""

_LARGEST = 2**62  # codes stay below it
_TABLE = 2**16  # codes below it are renumbered by a table, larger ones by sorting


def distinct(labels: Tensor, outside: int) -> tuple[Tensor, Tensor]:
    """Return the distinct 5×5 windows of the label maps, and which of them each pixel is the middle of.

    Exact: windows are told apart by their labels, not by a hash.

    Args:
        labels: int64 (b, h, w), each below `outside`.
        outside: the label of what lies beyond the picture.

    Returns:
        windows: int64 (n, 5, 5).
        index: int64 (b, h, w), below n.
    """
    _, height, _ = labels.shape
    margin = SIDE // 2
    padded = functional.pad(labels, (margin,) * 4, value=outside)
    digits = padded.unfold(2, SIDE, 1).unbind(3)
    rows, kinds = _renumbered(*_codes(digits, outside + 1))

    # Most windows hold one label. Those are found without sorting.
    in_row = _all_equal(digits)[:, margin : margin + height]
    uniform = in_row & _all_equal([rows[:, offset : offset + height] for offset in range(SIDE)])
    seen = torch.zeros(outside, dtype=torch.int64, device=labels.device)
    seen[labels[uniform]] = 1
    index = (seen.cumsum(0) - 1)[labels]
    held = seen.nonzero()[:, 0]

    item, y, x = mixed = (~uniform).nonzero(as_tuple=True)
    codes, _ = _codes([rows[item, y + offset, x] for offset in range(SIDE)], kinds)
    found, which = codes.unique(return_inverse=True)
    index[mixed] = len(held) + which
    # Any pixel that has a window can show it: the last one written stays.
    shown = which.new_empty(len(found))
    shown[which] = torch.arange(len(which), device=labels.device)
    item, y, x = (part[shown, None, None] for part in mixed)
    step = torch.arange(SIDE, device=labels.device)
    one_label = held[:, None, None].expand(-1, SIDE, SIDE)
    return torch.cat([one_label, padded[item, y + step[:, None], x + step]]), index


def parts(found: Tensor, bound: int) -> tuple[Tensor, Tensor]:
    """Return the distinct 3×3 windows within 5×5 ones, and which of them lie in each, row by row.

    Args:
        found: int64 (n, 5, 5), from `distinct`, each below `bound`.

    Returns:
        windows: int64 (k, 3, 3).
        index: int64 (n, 9), below k: the windows about the nine inner places.
    """
    small = found.unfold(1, 3, 1).unfold(2, 3, 1).flatten(1, 2)
    codes, _ = _codes(small.flatten(2).unbind(2), bound)
    kinds, which = codes.unique(return_inverse=True)
    shown = which.new_empty(len(kinds))
    shown[which.flatten()] = torch.arange(which.numel(), device=found.device)
    return small[shown // which.shape[1], shown % which.shape[1]], which


def _codes(digits: Sequence[Tensor], base: int) -> tuple[Tensor, int]:
    """Return numbers that are equal exactly where all digits (each below `base`) are, and their bound."""
    codes, bound = digits[0], base
    for digit in digits[1:]:
        if bound * base > _LARGEST:
            codes, bound = _renumbered(codes, bound)
        codes, bound = codes * base + digit, bound * base
    return codes, bound


def _renumbered(codes: Tensor, bound: int) -> tuple[Tensor, int]:
    """Return the codes, each below `bound`, renumbered 0, 1, … in their order, and how many there are."""
    if bound > _TABLE:
        found, codes = codes.unique(return_inverse=True)
        return codes, len(found)
    occurs = torch.zeros(bound, dtype=torch.int64, device=codes.device)
    occurs[codes.flatten()] = 1
    new = occurs.cumsum(0) - 1
    return new[codes], int(new[-1]) + 1


def _all_equal(maps: Sequence[Tensor]) -> Tensor:
    """Return where all the maps hold the same."""
    equal = maps[0] == maps[1]
    for other in maps[2:]:
        equal &= maps[0] == other
    return equal
