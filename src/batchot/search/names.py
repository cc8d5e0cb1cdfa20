"""Shapes by their names.

LanceDB's full-text index was tried (0.40) and left aside: its words are whole ones, so that M8 does not find
M8x30 and D0037 not D00374; it cannot be the filter of a search by embeddings; and an index built before would
not have it. A condition on the names needs no index, holds at once for what is added and removed, and costs 9
ms over 10,000 shapes and 34 ms over 300,000, where the search by embeddings takes 32 and 817.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from batchot.search.records import Filters, words_of

if TYPE_CHECKING:
    from batchot.search.store import ShapeStore


def by_relevance(names: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """Order shapes whose names hold words: those of which more are whole words of the name come first."""
    wanted = set(words)

    def key(id: str) -> tuple[int, list[tuple[int, str]]]:
        name = names[id].lower()
        parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
        return -len(wanted.intersection(words_of(name))), parts

    return sorted(names, key=key)


def no_such_name(words: Sequence[str], store: ShapeStore) -> str:
    """Say which word no name holds, and which one may be meant; "" where each is held by some."""
    for word in words:
        if store.count(Filters(text=word)):
            continue
        there = {other for name in (*store.names().values(), *store.classes()) for other in words_of(name)}
        closest = get_close_matches(word, sorted(there), 1)
        return f"no name and no class holds {word!r}" + (f"; did you mean {closest[0]!r}?" if closest else "")
    return ""
