"""What the page shows of an answer, as text and addresses."""

from __future__ import annotations

from typing import Any

from batchot.search.projection_map import MapPoints
from batchot.search.records import Hit
from batchot.search.searcher import Answer
from batchot.serve.api import PREFIX

# Colours that every kind of colour vision tells apart, times shapes of the marks.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKS = ("circle", "rect", "triangle", "diamond", "pin", "arrow", "roundRect")


def card_of(hit: Hit, *, normalized: bool) -> dict[str, Any]:
    """Give what a card shows.

    Args:
        hit: a result
        normalized: embeddings are unit vectors, so that similarity has a scale

    Returns:
        Values and addresses.
    """
    address = f"{PREFIX}/shapes/{hit.id}"
    # the cosine of unit vectors is 1 - d^2 / 2
    score = f"{100 * (1 - hit.distance**2 / 2):.0f} % alike" if normalized else f"distance {hit.distance:.3f}"
    return {
        "id": hit.id,
        "name": hit.name,
        "class": hit.class_name,
        "distance": hit.distance,
        "score": score,
        "thumbnail": f"{address}/thumbnail",
        "preview": f"{address}/preview.glb",
        "download": f"/download/{hit.id}",
    }


def words_of(answer: Answer, similar_to: str | None = None) -> tuple[str, str, str]:
    """Give what stands above the results.

    Args:
        answer: of the index
        similar_to: name of the shape that was asked for

    Returns:
        A headline, a line of details and the kind: "", "unknown".
    """
    count = f"{answer.total:,} shapes" + (f", {1000 * sum(answer.seconds.values()):.0f} ms")
    if similar_to is not None:
        return f"More like {similar_to}", count, ""
    if not answer.hits:
        return "No shape passes the filters", "", "unknown"
    if answer.nothing_like_it:
        guess = f"The closest would be {answer.top_class}. " if answer.top_class else ""
        return "Nothing like this is in the index", f"{guess}{count}", "unknown"
    if answer.top_class is None:
        return "The nearest shapes", count, ""
    if answer.confidence is None:
        return answer.top_class, f"confidence is not calibrated; {count}", ""
    others = ", ".join(f"{name} {100 * p:.0f} %" for name, p in answer.ranking[1:4] if p >= 0.01)
    details = (f"or {others}; " if others else "") + count
    return f"{answer.top_class}, {100 * answer.confidence:.0f} % sure", details, ""


def map_options(points: MapPoints, *, dark: bool) -> dict[str, Any]:
    """Give the map of the embedding as echarts has it.

    Args:
        points: of the index
        dark: on dark ground

    Returns:
        Options, a series for each class.
    """
    classes = sorted(set(points.classes))
    ink = "#a3adb5" if dark else "#566069"
    data: dict[str, list[Any]] = {name: [] for name in classes}
    for id, xy, class_name, name in zip(points.ids, points.xy, points.classes, points.names, strict=True):
        data[class_name].append(
            {"value": [round(float(xy[0]), 4), round(float(xy[1]), 4)], "name": name, "id": id}
        )
    axis = {"show": False, "min": -1.05, "max": 1.05}
    return {
        "animation": False,
        "aria": {"enabled": True},
        "grid": {"left": 4, "right": 4, "top": 4, "bottom": 4},
        "xAxis": axis,
        "yAxis": axis,
        "tooltip": {"trigger": "item", "formatter": "{a}<br>{b}", "confine": True},
        "dataZoom": [{"type": "inside", "xAxisIndex": 0}, {"type": "inside", "yAxisIndex": 0}],
        "textStyle": {"color": ink},
        "series": [
            {
                "type": "scatter",
                "name": name or "no class",
                "symbol": _MARKS[k // len(_COLOURS) % len(_MARKS)],
                "symbolSize": 6,
                "itemStyle": {"color": _COLOURS[k % len(_COLOURS)], "opacity": 0.85},
                "data": data[name],
            }
            for k, name in enumerate(classes)
        ],
    }
