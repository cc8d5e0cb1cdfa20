"""Standard parts as STEP files in class folders: ten families of thirty, sizes varied, to build an index of.

They are made by bd_warehouse and build123d, which bring OpenCASCADE along and want a virtual environment of their own:

    python3 -m venv /tmp/parts && /tmp/parts/bin/pip install bd_warehouse==0.4.0 build123d==0.13.0
    /tmp/parts/bin/python benchmarks/standard_parts.py FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from pathlib import Path

from bd_warehouse.bearing import SingleRowDeepGrooveBallBearing
from bd_warehouse.fastener import CounterSunkScrew, HexHeadScrew, HexNut, PlainWasher
from bd_warehouse.flange import SlipOnFlange, WeldNeckFlange
from bd_warehouse.gear import SpurGear
from bd_warehouse.retaining_ring import ExternalSnapRing, InternalSnapRing
from bd_warehouse.sprocket import Sprocket
from build123d import Axis, Box, Cylinder, Pos, Rot, Shape, export_step, fillet

Made = tuple[str, Callable[[], Shape]]  # name of the file, and what makes the part


def hex_screws() -> Iterator[Made]:
    for size, length in product(
        ("M4-0.7", "M5-0.8", "M6-1", "M8-1.25", "M10-1.5", "M12-1.75"), (20, 30, 40, 50, 70)
    ):
        yield f"iso4017 {size} x {length}", lambda s=size, n=length: HexHeadScrew(s, n, "iso4017")


def countersunk_screws() -> Iterator[Made]:
    for size, length in product(
        ("M3-0.5", "M4-0.7", "M5-0.8", "M6-1", "M8-1.25", "M10-1.5"), (20, 25, 35, 50, 60)
    ):
        yield f"iso10642 {size} x {length}", lambda s=size, n=length: CounterSunkScrew(s, n, "iso10642")


def hex_nuts() -> Iterator[Made]:
    for kind in ("iso4032", "iso4033", "iso4035"):
        for size in sorted(HexNut.sizes(kind)):
            yield f"{kind} {size}", lambda k=kind, s=size: HexNut(s, k)


def washers() -> Iterator[Made]:
    for kind in ("iso7089", "iso7093", "iso7094"):
        for size in sorted(PlainWasher.sizes(kind)):
            yield f"{kind} {size}", lambda k=kind, s=size: PlainWasher(s, k)


def ball_bearings() -> Iterator[Made]:
    for size in sorted(SingleRowDeepGrooveBallBearing.sizes("SKT")):
        yield f"skt {size}", lambda s=size: SingleRowDeepGrooveBallBearing(s)


def spur_gears() -> Iterator[Made]:
    for module, teeth, thickness in product((1, 1.5, 2), (16, 20, 24, 32, 40), (5, 12)):
        name = f"module {module} {teeth} teeth {thickness} thick"
        yield name, lambda m=module, n=teeth, t=thickness: SpurGear(m, n, 20, t)


def sprockets() -> Iterator[Made]:
    for teeth, bore, thickness in product((12, 16, 20, 25, 32), (12, 20), (2.1, 4, 6)):
        name = f"{teeth} teeth bore {bore} {thickness} thick"
        yield name, lambda n=teeth, b=bore, t=thickness: Sprocket(n, thickness=t, bore_diameter=b)


def flanges() -> Iterator[Made]:
    sizes = ("1", "1 1/2", "2", "3", "4", "6", "8", "10")
    for kind, rating, size in product((WeldNeckFlange, SlipOnFlange), (150, 300), sizes):
        name = f"{kind.__name__} nps {size.replace('/', '-')} class {rating}"
        yield name, lambda k=kind, r=rating, s=size: k(s, r, "Raised")


def snap_rings() -> Iterator[Made]:
    for kind in (ExternalSnapRing, InternalSnapRing):
        for size in list(kind.sizes())[:60:4]:
            yield f"{kind.__name__} {size} mm", lambda k=kind, s=size: k(s)


def brackets() -> Iterator[Made]:
    for width, leg, thickness in product((20, 30, 40, 60, 80), (30, 50, 80), (3, 6)):
        name = f"angle {width} wide {leg} legs {thickness} thick"
        yield name, lambda w=width, n=leg, t=thickness: bracket(w, n, t)


def bracket(width: float, leg: float, thickness: float) -> Shape:
    """Two legs at a right angle with two holes each, rounded within."""
    foot = Pos(leg / 2, 0, thickness / 2) * Box(leg, width, thickness)
    wall = Pos(thickness / 2, 0, leg / 2) * Box(thickness, width, leg)
    angle = foot + wall
    inner = angle.edges().filter_by(Axis.Y).sort_by_distance((thickness, 0, thickness))[0]
    angle = fillet(inner, thickness)
    hole = Cylinder(width / 10, 4 * thickness)
    for side in (-width / 4, width / 4):
        angle -= Pos(leg * 0.65, side, 0) * hole
        angle -= Pos(0, side, leg * 0.65) * Rot(0, 90, 0) * hole
    return angle


FAMILIES: dict[str, Callable[[], Iterable[Made]]] = {
    "hex_screw": hex_screws,
    "countersunk_screw": countersunk_screws,
    "hex_nut": hex_nuts,
    "washer": washers,
    "ball_bearing": ball_bearings,
    "spur_gear": spur_gears,
    "sprocket": sprockets,
    "flange": flanges,
    "snap_ring": snap_rings,
    "bracket": brackets,
}


def write_parts(folder: Path, each: int = 30) -> None:
    """Write FOLDER/FAMILY/NAME.step; parts that are there are not made again."""
    for family, parts in FAMILIES.items():
        start, count = time.monotonic(), 0
        for name, make in islice(parts(), each):
            path = folder / family / f"{name}.step"
            count += 1
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                export_step(make(), path)
        print(f"{family}: {count} parts, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=30, help="parts a family (30)")
    options = parser.parse_args()
    write_parts(options.folder, options.each)
