"""All that the report of a cross-modal run is made from: queries of one modality, a gallery of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from batchot.losses import BatchOTSettings
from batchot.reporting.material import check_items

if TYPE_CHECKING:
    from batchot.training.callbacks import Row


@dataclass(frozen=True, eq=False)
class Items:
    """Items of one modality as its network sees them, and a small picture of each."""

    embeddings: Tensor  # (n, d)
    labels: Tensor  # (n,) int64
    thumbnails: Tensor  # (n, c, h, w) uint8
    names: tuple[str, ...] | None = None  # such as "guitar/10231"; None: they are numbered

    def __post_init__(self) -> None:
        check_items(self.embeddings, self.labels, self.thumbnails, {"names": self.names})

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, item: int) -> str:
        """Give the name of an item, or its number where items have no names."""
        return f"#{item}" if self.names is None else self.names[item]


@dataclass(frozen=True, eq=False)
class CrossModalMaterial:
    """The queries and the gallery of a cross-modal run, and its history."""

    title: str  # heading of the page
    about: str  # a sentence on what was done
    config: str  # text of the settings
    rows: tuple[Row, ...]  # of history.csv, an epoch each; may be empty
    classes: tuple[str, ...]  # name of each label, of both modalities
    query: Items  # what is looked for, such as sketches
    gallery: Items  # where it is looked for, such as shapes; its classes that no query has are distractors
    query_name: str = "sketch"  # what one query is called
    gallery_name: str = "shape"  # what one item of the gallery is called
    normalized: bool = True  # embeddings are compared by their directions, as the loss does
    # settings of the transport loss; None where another loss trained the networks
    loss: BatchOTSettings | None = None

    def __post_init__(self) -> None:
        for name, items in ((self.query_name, self.query), (self.gallery_name, self.gallery)):
            low, high = int(items.labels.min()), int(items.labels.max())
            if not 0 <= low <= high < len(self.classes):
                raise ValueError(
                    f"{name} labels run from {low} to {high}, but there are {len(self.classes)} classes"
                )
        if self.query.embeddings.shape[1] != self.gallery.embeddings.shape[1]:
            raise ValueError(
                f"the {self.query_name} embeddings are {self.query.embeddings.shape[1]} wide and those of the "
                f"{self.gallery_name} {self.gallery.embeddings.shape[1]}; both networks must embed into one space"
            )

    @property
    def queries(self) -> str:
        """What several queries are called."""
        return plural(self.query_name)

    @property
    def targets(self) -> str:
        """What several items of the gallery are called."""
        return plural(self.gallery_name)

    @property
    def distractors(self) -> tuple[str, ...]:
        """Classes of the gallery that no query has."""
        return self._only(self.gallery, self.query)

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes of queries that the gallery lacks."""
        return self._only(self.query, self.gallery)

    def _only(self, items: Items, others: Items) -> tuple[str, ...]:
        present, elsewhere = items.labels.unique().tolist(), set(others.labels.tolist())
        return tuple(self.classes[label] for label in present if label not in elsewhere)


@dataclass(frozen=True, eq=False)
class Side:
    """The items of one modality with the names of their classes, for `batchot.reporting.style.Thumbnails`."""

    items: Items
    classes: tuple[str, ...]

    @property
    def thumbnails(self) -> Tensor:
        """uint8, (n, c, h, w)."""
        return self.items.thumbnails

    def name(self, item: int) -> str:
        """Give the name of an item."""
        return self.items.name(item)

    def class_of(self, item: int) -> str:
        """Give the name of the class of an item."""
        return self.classes[int(self.items.labels[item])]


def plural(noun: str) -> str:
    """Give the plural of an English noun."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else noun + "s"
