"""What the HTTP API says, as its description has it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from batchot.search.records import Hit, Sort, in_order
from batchot.search.searcher import Answer, IndexAbout


class Shape(BaseModel):
    """A shape of the index."""

    id: str = Field(description="24 hexadecimal digits", examples=["6267d31daa6f90d895c9c121"])
    name: str = Field(description="path in the folder that was indexed", examples=["chair/chair_0001.off"])
    folder: str
    class_name: str | None = Field(
        serialization_alias="class", description="null where it is not known", examples=["chair"]
    )
    kind: Literal["mesh", "cloud"]
    faces: int
    vertices: int
    size: list[float] = Field(
        min_length=3,
        max_length=3,
        description="extents along x, y and z (up), in mm where the unit is known, else in the units of the file",
    )
    area: float | None = Field(
        default=None, description="of the surface; null for clouds, and where not measured"
    )
    volume: float | None = Field(default=None, description="enclosed; null where the surface is not closed")
    unit: Literal["mm"] | None = Field(
        default=None, description="of the sizes; null where the file does not say"
    )
    distance: float | None = Field(
        default=None, description="Euclidean, between the embeddings of query and shape"
    )
    likeness: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="calibrated probability that it is of the query's class; null without calibration",
    )
    same_file: bool = Field(default=False, description="it was read from the very file that was asked for")
    nearly_same: bool = Field(
        default=False, description="it is all but the query: very near, and of the same proportions"
    )

    @classmethod
    def of(cls, hit: Hit, *, with_distance: bool = True) -> Shape:
        """Make it from a result."""
        changed = {
            "class_name": hit.class_name or None,
            "unit": hit.unit or None,
            "distance": hit.distance if with_distance else None,
        }
        return cls(**(vars(hit) | changed))


class ClassProbability(BaseModel):
    """A class and how probable it is."""

    class_name: str = Field(serialization_alias="class")
    probability: float = Field(ge=0, le=1)


class SearchAnswer(BaseModel):
    """The nearest shapes, and which class they speak for."""

    hits: list[Shape] = Field(description="nearest first, or as sort says")
    total: int = Field(description="shapes that pass the filters")
    query: Literal["shape", "drawing", "photo", "name"] = Field(
        description="as what the query was taken; name where only names and filters were asked for"
    )
    top_class: str | None
    confidence: float | None = Field(
        description="calibrated probability of top_class; null without calibration"
    )
    ranking: list[ClassProbability] = Field(
        description="most probable first; what is left to 1 is for other classes"
    )
    nothing_like_it: bool = Field(description="the query is unlike all that the index holds")
    seconds: dict[str, float]
    same_files: list[str] = Field(description="names of the shapes that were read from the very file")
    note: str = Field(description="what makes the answer doubtful; empty where nothing does")
    query_id: str | None = Field(
        default=None,
        description="by which the same may be looked up again, see /queries; null for shapes of the index",
    )

    @classmethod
    def of(cls, answer: Answer, query_id: str | None = None, sort: Sort = "distance") -> SearchAnswer:
        """Make it from an answer."""
        hits = [Shape.of(hit, with_distance=answer.query != "name") for hit in in_order(answer.hits, sort)]
        ranking = [ClassProbability(class_name=name, probability=p) for name, p in answer.ranking]
        return cls(**(vars(answer) | {"hits": hits, "ranking": ranking, "query_id": query_id}))


class Info(BaseModel):
    """What the index holds."""

    name: str
    shapes: int
    classes: int
    dimensions: int
    takes_drawings: bool
    takes_photos: bool
    built: str
    approximate: bool
    recall: float | None = Field(description="measured recall@10; null where search is exact")
    version: str
    fingerprint: str = Field(description="of the network")
    spread: float | None = Field(description="median distance of two shapes of the index")
    upload_bytes: int = Field(description="that a file may have")

    @classmethod
    def of(cls, about: IndexAbout, upload_bytes: int) -> Info:
        """Make it from a description."""
        from batchot import __version__

        changed = {
            "shapes": about.count,
            "classes": len([name for name in about.classes if name]),
            "version": __version__,
            "upload_bytes": upload_bytes,
        }
        return cls(**(vars(about) | changed))


class MapPoint(BaseModel):
    """A shape on the map of the embedding."""

    id: str
    x: float
    y: float
    class_name: str | None = Field(serialization_alias="class")
    name: str


class Health(BaseModel):
    """How the server is."""

    status: Literal["ok", "failing"]
    live: bool = Field(description="it runs")
    ready: bool = Field(description="it can answer: the index can be read, and so can files")


class ErrorText(BaseModel):
    """What went wrong."""

    code: str = Field(examples=["format"])
    message: str = Field(examples=["a.zip is a zip archive; unpack it"])


class Failure(BaseModel):
    """An answer that is none."""

    error: ErrorText
