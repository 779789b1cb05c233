"""The distinct label windows of a picture: what depends on a window alone is computed once for each."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 5
"""Side of a window, pixels: two 3×3 convolutions in a row read 5×5 labels."""

_MAX_CODE = 2**62
"""Codes stay below this, within int64."""

_MAX_TABLE_SIZE = 2**16
"""Codes below this are renumbered by a table, which is fast but takes memory; larger ones by sorting."""


def distinct_windows(labels: Tensor, outside: int) -> tuple[Tensor, Tensor]:
    """Return the distinct 5×5 windows of the label maps, and the window around each pixel.

    The result is exact: windows are compared by their labels, not by a hash.

    Args:
        labels: int64 (b, h, w), each below `outside`.
        outside: the label of pixels beyond the picture.

    Returns:
        windows: int64 (n, 5, 5).
        index: int64 (b, h, w), below n.
    """
    _, height, _ = labels.shape
    margin = SIDE // 2
    padded = functional.pad(labels, (margin,) * 4, value=outside)
    digits = padded.unfold(2, SIDE, 1).unbind(3)
    row_codes, row_code_bound = _renumbered(*_codes(digits, outside + 1))

    # Most windows contain a single label. They are found without sorting.
    is_uniform_row = _all_equal(digits)[:, margin : margin + height]
    is_uniform = is_uniform_row & _all_equal(
        [row_codes[:, offset : offset + height] for offset in range(SIDE)]
    )
    occurs = torch.zeros(outside, dtype=torch.int64, device=labels.device)
    occurs[labels[is_uniform]] = 1
    index = (occurs.cumsum(0) - 1)[labels]
    uniform_labels = occurs.nonzero()[:, 0]

    item, y, x = mixed_pixels = (~is_uniform).nonzero(as_tuple=True)
    window_codes, _ = _codes([row_codes[item, y + offset, x] for offset in range(SIDE)], row_code_bound)
    distinct, window_index = _unique(window_codes)
    index[mixed_pixels] = len(uniform_labels) + window_index
    # Any pixel with the window serves as its example: the last write wins.
    example = _example_positions(window_index, len(distinct))
    item, y, x = (coordinate[example, None, None] for coordinate in mixed_pixels)
    offsets = torch.arange(SIDE, device=labels.device)
    mixed_windows = padded[item, y + offsets[:, None], x + offsets]
    uniform_windows = uniform_labels[:, None, None].expand(-1, SIDE, SIDE)
    return torch.cat([uniform_windows, mixed_windows]), index


def inner_windows(large: Tensor, bound: int) -> tuple[Tensor, Tensor]:
    """Return the distinct 3×3 windows inside 5×5 windows, and the nine 3×3 windows of each, row by row.

    Args:
        large: int64 (n, 5, 5), from `distinct_windows`, each label below `bound`.
        bound: one more than the largest label.

    Returns:
        windows: int64 (k, 3, 3).
        index: int64 (n, 9), below k: the windows around the nine inner pixels.
    """
    small = large.unfold(1, 3, 1).unfold(2, 3, 1).flatten(1, 2)
    codes, _ = _codes(small.flatten(2).unbind(2), bound)
    distinct, index = _unique(codes)
    example = _example_positions(index.flatten(), len(distinct))
    return small[example // index.shape[1], example % index.shape[1]], index


def _codes(digits: Sequence[Tensor], base: int) -> tuple[Tensor, int]:
    """Return codes that are equal exactly where all digits are equal, and a bound of the codes.

    Args:
        digits: int64 tensors of one shape, each value below `base`.
        base: bound of the digits.
    """
    codes, bound = digits[0], base
    for digit in digits[1:]:
        if bound * base > _MAX_CODE:
            codes, bound = _renumbered(codes, bound)
        codes, bound = codes * base + digit, bound * base
    return codes, bound


def _renumbered(codes: Tensor, bound: int) -> tuple[Tensor, int]:
    """Return the codes, each below `bound`, renumbered 0, 1, … in ascending order, and their number."""
    if bound > _MAX_TABLE_SIZE:
        distinct, index = _unique(codes)
        return index, len(distinct)
    occurs = torch.zeros(bound, dtype=torch.int64, device=codes.device)
    occurs[codes.flatten()] = 1
    number_of_code = occurs.cumsum(0) - 1
    return number_of_code[codes], int(number_of_code[-1]) + 1


def _unique(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct codes in ascending order, and the position of each code among them."""
    distinct, index = codes.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    return distinct, index


def _example_positions(index: Tensor, count: int) -> Tensor:
    """Return for each number below `count` a position of `index`, (n,), that has this number."""
    positions = index.new_empty(count)
    positions[index] = torch.arange(len(index), device=index.device)
    return positions


def _all_equal(maps: Sequence[Tensor]) -> Tensor:
    """Return where all the maps are equal."""
    equal = maps[0] == maps[1]
    for other in maps[2:]:
        equal &= maps[0] == other
    return equal
