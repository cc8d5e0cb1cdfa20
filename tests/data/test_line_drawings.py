"""Line drawings are what the renderer draws, in the form that sketches are brought to."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from batchot.data import BalancedBatches, Normalization, Preparation, SketchAugmentation, TrainingBatches
from batchot.data.line_drawings import (
    DRAWING_STYLES,
    LineDrawings,
    drawing_settings,
    load_line_drawings,
    trace,
)
from batchot.data.samples import Splits
from batchot.data.sets.quickdraw import RECORDED, Hand, draw_strokes
from batchot.data.sets.shape_files import ShapeCollection
from batchot.data.sets.sketch_image import canonical
from batchot.errors import DataError
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.settings import render_source
from oracles.shape_sources import write_tetrahedra
from oracles.solids import cube, revolved

SIZE = 32
CLASSES = ("cone", "cup", "cube")
V, S = 12, len(DRAWING_STYLES)


def collect(sources: list[ShapeSource], n_train: int) -> ShapeCollection:
    train, test = tuple(sources[:n_train]), tuple(sources[n_train:])
    return ShapeCollection("tetrahedra", CLASSES, train, test, "meshes", Path("."))


def load(collection: ShapeCollection, folder: Path, **options: object) -> Splits[LineDrawings]:
    return load_line_drawings(
        collection, size=SIZE, folder=folder / "views", processes=1, progress=False, **options
    )


def test_samples_are_shapes_by_cameras_by_styles_on_disk_and_in_memory(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path, 5)
    collection = collect(sources, 3)
    held, read = load(collection, tmp_path), load(collection, tmp_path, memory_budget=0)
    assert held.train.pixels is not None and read.train.pixels is None
    assert held.train.in_memory() is held.train
    truth = np.stack([render_source(source, drawing_settings(SIZE)) for source in sources])
    chosen = torch.tensor([0, 1, S, V * S, 2 * V * S + 5 * S + 2, 3 * V * S - 1, 0])
    for drawings in (held.train, read.train, pickle.loads(pickle.dumps(read.train)), read.train.in_memory()):
        assert len(drawings) == 3 * V * S and drawings.sample_shape == (1, SIZE, SIZE)
        assert drawings.labels.tolist() == [0] * V * S + [1] * V * S + [2] * V * S
        batch = drawings.batch(chosen)
        assert batch.dtype == torch.uint8
        for index, drawing in zip(chosen.tolist(), batch, strict=True):
            shape, rest = divmod(index, V * S)
            assert np.array_equal(drawing[0].numpy(), truth[shape][divmod(rest, S)])
    assert held.train.names[2 * V * S + 5 * S + 2] == f"{sources[2].name} from 5, outline"
    assert len(held.test) == 2 * V * S
    assert np.array_equal(held.test.batch(torch.tensor([V * S]))[0, 0].numpy(), truth[4, 0, 0])
    assert read.train.batch(torch.zeros(0, dtype=torch.int64)).shape == (0, 1, SIZE, SIZE)


def test_subsets_and_other_labels_show_the_same_drawings(tmp_path: Path) -> None:
    for budget in (0, 1 << 30):
        drawings = load(collect(write_tetrahedra(tmp_path, 4), 4), tmp_path, memory_budget=budget).train
        part = drawings.subset(torch.tensor([100, 40, 100])).subset(torch.tensor([2, 1]))
        assert part.labels.tolist() == [2, 1] and part.classes == CLASSES
        assert part.names == (drawings.names[100], drawings.names[40])
        assert torch.equal(part.batch(torch.tensor([1])), drawings.batch(torch.tensor([40])))
        animals = replace(part, labels=torch.tensor([0, 0]), classes=("animal",))
        assert torch.equal(animals.batch(torch.tensor([0])), drawings.batch(torch.tensor([100])))
        assert animals.subset(torch.tensor([1])).classes == ("animal",)


def test_shapes_alone_train_and_there_may_be_none_to_test(tmp_path: Path) -> None:
    splits = load(collect(write_tetrahedra(tmp_path, 3), 3), tmp_path)
    assert splits.name == "tetrahedra drawn" and len(splits.test) == 0
    assert splits.test.batch(torch.zeros(0, dtype=torch.int64)).shape == (0, 1, SIZE, SIZE)
    prepare = Preparation(
        Normalization.from_pixels(splits.train.batch(torch.arange(20))),
        SketchAugmentation(flip=True, turn=8.0, shift=1.0, scale=0.08, elastic=0.5, thickness=0.3),
    )
    loader = TrainingBatches(splits.train, BalancedBatches(splits.train.labels, 12, 3), prepare, seed=0)
    x, y = next(iter(loader))
    assert x.shape == (12, 1, SIZE, SIZE) and sorted(y.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    assert float(x.std()) > 0.1


def test_shapes_that_cannot_be_drawn_are_left_out_and_counted(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path, 6)
    sources[4].path.write_text("OFF\n")
    said: list[str] = []
    train = load(collect(sources, 6), tmp_path, on_message=said.append).train
    assert len(train) == 5 * V * S
    assert train.labels.tolist() == [k for k in (0, 1, 2, 0, 2) for _ in range(V * S)]
    assert any("1 of 6 training" in text for text in said)
    sources[1].path.write_text("OFF\n")
    with pytest.raises(DataError, match="no training shape of cup"):
        load(collect(sources, 6), tmp_path)


def test_a_drawing_is_in_the_form_of_a_sketch_already(tmp_path: Path) -> None:
    """Where its ink is, is where ``canonical`` would put it, within a pixel."""
    drawings = load(collect(write_tetrahedra(tmp_path, 3), 3), tmp_path).train
    for drawing in drawings.batch(torch.arange(0, len(drawings), 5))[:, 0].numpy():
        again = canonical(drawing, SIZE)
        assert again is not None
        for axis in (0, 1):
            ends = [np.flatnonzero((picture < 128).any(axis))[[0, -1]] for picture in (drawing, again)]
            assert np.abs(ends[0] - ends[1]).max() <= 1


def test_each_style_draws_less_than_the_one_before() -> None:
    from batchot.shapes.render.render import render_views

    settings = drawing_settings(64)
    vase = revolved(np.array([0.3, 0.6, 0.2, 0.5]), np.array([-0.7, -0.2, 0.3, 0.7]), 40)
    for shape in (cube(0.5), vase):
        pixels = render_views(
            shape, settings.placed, size=64, channels=settings.channels, antialias=4, fit=settings.fit
        )
        ink = 255 - pixels.astype(int)
        assert (ink[:, 0] >= ink[:, 1]).all() and (ink[:, 1] >= ink[:, 2]).all()
        assert (ink[:, 0].sum((1, 2)) > ink[:, 2].sum((1, 2))).all()  # a bend is seen from everywhere
        assert (ink[:, 2].max((1, 2)) == 255).all()


def test_one_style_and_other_cameras(tmp_path: Path) -> None:
    collection = collect(write_tetrahedra(tmp_path, 3), 3)
    splits = load(collection, tmp_path, styles=("contours",), cameras="box-6")
    assert len(splits.train) == 3 * 6 and splits.train.names[7].endswith("from 1, contours")
    with pytest.raises(ValueError, match="orthographic"):
        load(collection, tmp_path, cameras="circle-12")
    with pytest.raises(ValueError, match="scribble"):
        load(collection, tmp_path, styles=("scribble",))


def test_numbers_that_differ_are_refused(tmp_path: Path) -> None:
    drawings = load(collect(write_tetrahedra(tmp_path, 3), 3), tmp_path).train
    with pytest.raises(DataError, match="108 drawings but 5 labels"):
        replace(drawings, labels=drawings.labels[:5])
    with pytest.raises(DataError, match="pixels must be"):
        replace(drawings, pixels=torch.zeros(4, 1, SIZE, SIZE, dtype=torch.uint8))


def picture(*lines: list[tuple[int, int]], width: int = 2, size: int = 64) -> torch.Tensor:
    paper = Image.new("L", (size, size), "white")
    for line in lines:
        ImageDraw.Draw(paper).line(line, fill="black", width=width)
    return torch.from_numpy(np.asarray(paper).copy())[None, None]


def strokes_of(image: torch.Tensor) -> list[np.ndarray]:
    points, strokes, firsts = trace(image)
    assert firsts.tolist() == [0, len(strokes) - 1]
    ends = itertools.pairwise(strokes.tolist())
    return [points[a:b].numpy() * image.shape[-1] for a, b in ends]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_straight_line_is_two_points(width: int) -> None:
    (stroke,) = strokes_of(picture([(10, 20), (50, 20)], width=width))
    assert len(stroke) == 2
    assert sorted(stroke[:, 0].round().tolist()) == pytest.approx([10, 50], abs=2)
    assert stroke[:, 1] == pytest.approx([20, 20], abs=1.5)


def test_at_a_crossing_one_goes_straight_on() -> None:
    strokes = strokes_of(picture([(10, 10), (50, 50)], [(10, 50), (50, 10)]))
    long = [stroke for stroke in strokes if np.ptp(stroke, axis=0).max() > 25]
    assert 1 <= len(long) <= 3
    assert np.ptp(long[0], axis=0).min() > 30  # from corner to corner


def test_a_closed_line_is_closed_and_the_longest_comes_first() -> None:
    box = [(10, 10), (50, 10), (50, 50), (10, 50), (10, 10)]
    first, second = strokes_of(picture(box, [(25, 30), (35, 30)]))
    assert np.abs(first[0] - first[-1]).max() <= 1.5
    assert 4 <= len(first) <= 14  # its corners, cut a little
    assert np.ptp(second, axis=0).max() < 14


def test_what_is_drawn_from_the_strokes_is_the_drawing() -> None:
    box = [(4, 4), (59, 4), (59, 59), (4, 59), (4, 4)]
    image = picture(box, [(4, 4), (59, 59)], width=1)
    again = draw_strokes(trace(image), torch.tensor([0]), RECORDED, None, torch.ones(1), 64)
    dark, wanted = again[0, 0] < 160, image[0, 0] < 160
    near = torch.nn.functional.max_pool2d(dark[None].float(), 5, 1, 2)[0] > 0
    assert float((near & wanted).sum() / wanted.sum()) > 0.97
    assert abs(int(dark.sum()) - int(wanted.sum())) < 0.35 * int(wanted.sum())


def test_blank_paper_and_dots_have_no_stroke_and_are_drawn_white() -> None:
    images = torch.cat([torch.full((1, 1, 64, 64), 255, dtype=torch.uint8), picture([(5, 5), (50, 9)])])
    images[0, 0, 30, 30] = 0
    points, strokes, firsts = trace(images)
    assert firsts.tolist() == [0, 0, 1]
    both, shares = torch.arange(2), torch.tensor([0.5, 0.5])
    drawn = draw_strokes((points, strokes, firsts), both, Hand.of(1.0), both, shares, 64)
    assert (drawn[0] == 255).all() and drawn[1].min() < 100


def test_a_full_sheet_of_ink_ends() -> None:
    assert len(trace(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))[2]) == 2
