"""What is read together: pure functions over lengths in tokens."""

from collections.abc import Sequence

MAX_WINDOWS = 4
"""Stretches of one text that are read. A text that they do not cover is not judged: it waits for a person."""

OVERLAP = 32
"""Tokens that neighbouring stretches share, so that nothing is cut in two for both of them."""


def windows(length: int, room: int) -> list[range] | None:
    """Cut `length` tokens into stretches of at most `room`: from the first token to the last, evenly full.

    The last one ends with the text. None: more than `MAX_WINDOWS` would be needed.
    """
    if length <= room:
        return [range(length)]
    step = room - min(OVERLAP, room // 4)
    count = 1 + -(-(length - room) // step)
    if count > MAX_WINDOWS:
        return None
    return [range(at * step, at * step + room) for at in range(count - 1)] + [range(length - room, length)]


def next_batch(lengths: Sequence[int], tokens: int) -> list[int]:
    """Choose what to read next: the one that waits longest, and those nearest to it in length.

    `lengths` are in order of arrival. A batch costs its longest member times its size, for the others are
    padded to that; it grows, nearest length first, while this stays within `tokens`. A single member may cost
    more. Every call takes the oldest, so that none waits for ever behind shorter ones.
    """
    order = sorted(range(len(lengths)), key=lambda at: (lengths[at], at))
    low = high = order.index(0)
    while True:
        shorter = lengths[order[low]] - lengths[order[low - 1]] if low else None
        longer = lengths[order[high + 1]] - lengths[order[high]] if high + 1 < len(order) else None
        size = high - low + 2
        if longer is not None and lengths[order[high + 1]] * size > tokens:
            longer = None
        if shorter is not None and lengths[order[high]] * size > tokens:
            shorter = None
        if shorter is None and longer is None:
            return order[low : high + 1]
        if longer is None or (shorter is not None and shorter <= longer):
            low -= 1
        else:
            high += 1
