"""Draw which package imports which: ``python docs/draw_imports.py`` writes docs/imports.svg."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from test_layers import LAYERS, graph, modules  # noqa: E402

WIDTH, ROW, BOX = 980, 92, (104, 40)


def places() -> dict[str, tuple[float, float]]:
    """Left upper corner of each package's box; the lowest layer is the lowest row."""
    found = {}
    for k, layer in enumerate(reversed(LAYERS)):
        step = WIDTH / len(layer)
        for i, package in enumerate(layer):
            found[package] = (step * (i + 0.5) - BOX[0] / 2, 20 + ROW * k)
    return found


def svg() -> str:
    arrows = Counter(
        (name.partition(".")[0], target.partition(".")[0])
        for name, targets in graph().items()
        for target in targets
        if name.partition(".")[0] != target.partition(".")[0]
    )
    lines: Counter[str] = Counter()
    for name, path in modules().items():
        lines[name.partition(".")[0]] += path.read_text(encoding="utf-8").count("\n")
    at, (w, h) = places(), BOX
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(LAYERS) + 10}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for (a, b), n in sorted(arrows.items()):
        (x0, y0), (x1, y1) = at[a], at[b]
        down = y1 > y0
        colour = "#9ab" if down else "#c55"
        start, end = (y0 + h, y1) if down else (y0 + h / 2, y1 + h / 2)
        drawn.append(
            f'<line x1="{x0 + w / 2:.0f}" y1="{start:.0f}" x2="{x1 + w / 2:.0f}" y2="{end:.0f}" '
            f'stroke="{colour}" stroke-width="{min(0.5 + n / 12, 4):.1f}" opacity="0.6"/>'
        )
    for package, (x, y) in at.items():
        drawn += [
            f'<rect x="{x:.0f}" y="{y}" width="{w}" height="{h}" rx="6" fill="#eef3f8" stroke="#356"/>',
            f'<text x="{x + w / 2:.0f}" y="{y + 17}" fill="#123">{package}</text>',
            f'<text x="{x + w / 2:.0f}" y="{y + 33}" fill="#567" font-size="11">{lines[package]:,} lines</text>',
        ]
    return "\n".join([*drawn, "</svg>"]) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/imports.svg").write_text(svg(), encoding="utf-8")
