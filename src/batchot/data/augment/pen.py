"""Strokes of a pen on white paper, drawn as they were recorded or as another hand would have drawn them."""

from __future__ import annotations

import numpy as np
from numba import njit

WIDTH = 0.009
"""Width of a pen, of the side of the picture: what the strokes of people's sketches, brought to one form, have."""
LEAST_WIDTH = 1.0
"""Pixels: a thinner stroke would be pale."""
DOT = 1.5
"""Pixels from its middle at which the ink of a dot ends, at least: a smaller one could fall between pixels."""
NODES = 0.12
"""How far apart along a stroke the hand changes its mind, in sides of the drawing."""
# What a hand varies, by place in the vector that `draw` takes; see `batchot.data.sets.quickdraw.Hand`.
SPREAD, TREMOR, MOVE, TURN, GROW, STRAIGHTEN, OMIT, JOIN = range(8)


@njit(cache=True, nogil=True)
def uniform(state):  # type: ignore[no-untyped-def]
    """Uniform in [0, 1) (splitmix64); ``state`` is one uint64."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) / 9007199254740992.0


@njit(cache=True, nogil=True)
def _normal(state):  # type: ignore[no-untyped-def]
    """Standard normal, by Box and Muller."""
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(state)))
    return radius * np.cos(2.0 * np.pi * uniform(state))


@njit(cache=True, nogil=True)
def simplify(points, tolerance, keep):  # type: ignore[no-untyped-def]
    """Mark the points of a stroke that it needs to stay within ``tolerance`` of itself (Ramer, Douglas, Peucker)."""
    n = len(points)
    keep[:] = False
    if n == 0:
        return
    keep[0] = keep[n - 1] = True
    stack = np.empty((n, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, n - 1
    depth = 1 if n > 2 else 0
    while depth:
        depth -= 1
        a, b = stack[depth, 0], stack[depth, 1]
        farthest, at = tolerance, -1
        for k in range(a + 1, b):
            distance = _distance(
                points[k, 0], points[k, 1], points[a, 0], points[a, 1], points[b, 0], points[b, 1]
            )
            if distance > farthest:
                farthest, at = distance, k
        if at < 0:
            continue
        keep[at] = True
        if at - a > 1:
            stack[depth, 0], stack[depth, 1] = a, at
            depth += 1
        if b - at > 1:
            stack[depth, 0], stack[depth, 1] = at, b
            depth += 1


@njit(cache=True, nogil=True, inline="always")
def _distance(x, y, ax, ay, bx, by):  # type: ignore[no-untyped-def]
    """Distance of a point from the line between two others."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    t = 0.0
    if length > 0.0:
        t = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / length))
    return np.sqrt((x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2)


@njit(cache=True, nogil=True)
def _length(points):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(1, len(points)):
        total += np.sqrt((points[k, 0] - points[k - 1, 0]) ** 2 + (points[k, 1] - points[k - 1, 1]) ** 2)
    return total


@njit(cache=True, nogil=True)
def _cut(points, starts, share):  # type: ignore[no-untyped-def]
    """Keep the first ``share`` of the ink; the stroke in which it ends is cut off there. At least one point."""
    n = len(starts) - 1
    total = 0.0
    for s in range(n):
        total += _length(points[starts[s] : starts[s + 1]])
    left = share * total
    out = np.empty_like(points)
    ends = np.empty(n + 1, np.int64)
    ends[0] = 0
    used, strokes = 0, 0
    for s in range(n):
        first, last = starts[s], starts[s + 1]
        out[used] = points[first]
        used += 1
        done = False
        for k in range(first + 1, last):
            step = np.sqrt((points[k, 0] - points[k - 1, 0]) ** 2 + (points[k, 1] - points[k - 1, 1]) ** 2)
            if step > left:
                t = left / step
                out[used, 0] = points[k - 1, 0] + t * (points[k, 0] - points[k - 1, 0])
                out[used, 1] = points[k - 1, 1] + t * (points[k, 1] - points[k - 1, 1])
                used += 1
                done = True
                break
            left -= step
            out[used] = points[k]
            used += 1
        strokes += 1
        ends[strokes] = used
        if done or left <= 1e-9 * total:
            break
    return out[:used], ends[: strokes + 1]


@njit(cache=True, nogil=True)
def _redraw(points, starts, habits, state):  # type: ignore[no-untyped-def]
    """The strokes as another hand would draw them; see `batchot.data.sets.quickdraw.Hand` for ``habits``."""
    n = len(starts) - 1
    lengths = np.empty(n)
    for s in range(n):
        lengths[s] = _length(points[starts[s] : starts[s + 1]])
    total, longest = lengths.sum(), np.argmax(lengths)
    out = np.empty_like(points)
    ends = np.empty(n + 1, np.int64)
    ends[0] = 0
    used, strokes = 0, 0
    # Some people leave out a lot, some nothing; some join what others lift the pen for.
    omit, join = habits[OMIT] * 2.0 * uniform(state), habits[JOIN] * 2.0 * uniform(state)
    tolerance = habits[STRAIGHTEN] * uniform(state) ** 2
    tremor, move = habits[TREMOR] * uniform(state), habits[MOVE] * uniform(state)
    keep = np.empty(len(points), np.bool_)
    for s in range(n):
        first, last = starts[s], starts[s + 1]
        # Long strokes carry the drawing and are left out less: half as often at a tenth of all ink.
        weight = omit / (1.0 + 10.0 * lengths[s] / max(total, 1e-9))
        if uniform(state) < weight and s != longest:
            continue
        stroke = points[first:last]
        kept = keep[: last - first]
        simplify(stroke, tolerance, kept)
        cx, cy = stroke[:, 0].mean(), stroke[:, 1].mean()
        angle, grow = habits[TURN] * _normal(state), np.exp(habits[GROW] * _normal(state))
        cos, sin = np.cos(angle) * grow, np.sin(angle) * grow
        sx, sy = move * _normal(state), move * _normal(state)
        # A tremor that is interpolated along the stroke, so that it does not depend on how densely it was recorded.
        ax, ay, bx, by = _normal(state), _normal(state), _normal(state), _normal(state)
        along, node = 0.0, 0.0
        begin = used
        for k in range(last - first):
            if k:
                along += np.sqrt(
                    (stroke[k, 0] - stroke[k - 1, 0]) ** 2 + (stroke[k, 1] - stroke[k - 1, 1]) ** 2
                )
            while along > node + NODES:
                node += NODES
                ax, ay, bx, by = bx, by, _normal(state), _normal(state)
            if not kept[k]:
                continue
            t = (along - node) / NODES
            x, y = stroke[k, 0] - cx, stroke[k, 1] - cy
            out[used, 0] = cx + cos * x - sin * y + sx + tremor * ((1.0 - t) * ax + t * bx)
            out[used, 1] = cy + sin * x + cos * y + sy + tremor * ((1.0 - t) * ay + t * by)
            used += 1
        near = strokes > 0 and (
            (out[begin, 0] - out[begin - 1, 0]) ** 2 + (out[begin, 1] - out[begin - 1, 1]) ** 2 < 0.15**2
        )
        if near and uniform(state) < join:
            ends[strokes] = used  # the pen was not lifted
        else:
            strokes += 1
            ends[strokes] = used
    return out[:used], ends[: strokes + 1]


@njit(cache=True, nogil=True)
def _ink(points, starts, width, spread, state, ink):  # type: ignore[no-untyped-def]
    """Draw strokes, their points in pixels, on ``ink`` (size, size) float32: how much of each pixel is covered."""
    size = ink.shape[0]
    for s in range(len(starts) - 1):
        half = 0.5 * max(LEAST_WIDTH, width * np.exp(spread * _normal(state)) if spread > 0 else width)
        reach = half + 0.5
        first, last = starts[s], starts[s + 1]
        for k in range(first, max(last - 1, first + 1)):
            ax, ay = points[k, 0], points[k, 1]
            bx, by = (points[k + 1, 0], points[k + 1, 1]) if k + 1 < last else (ax, ay)
            if last - first == 1:
                reach = max(reach, DOT)
            dx, dy = bx - ax, by - ay
            top, bottom = (ay, by) if ay < by else (by, ay)
            for row in range(max(0, int(np.ceil(top - reach))), min(size - 1, int(bottom + reach)) + 1):
                left, right = (ax, bx) if ax < bx else (bx, ax)
                if abs(dy) > 1e-6:  # only where the line is within reach of the row
                    t0, t1 = (row - reach - ay) / dy, (row + reach - ay) / dy
                    if t0 > t1:
                        t0, t1 = t1, t0
                    t0, t1 = max(0.0, t0), min(1.0, t1)
                    x0, x1 = ax + t0 * dx, ax + t1 * dx
                    left, right = (x0, x1) if x0 < x1 else (x1, x0)
                for column in range(
                    max(0, int(np.ceil(left - reach))), min(size - 1, int(right + reach)) + 1
                ):
                    covered = reach - _distance(column, row, ax, ay, bx, by)
                    if covered > ink[row, column]:
                        ink[row, column] = min(1.0, covered)


@njit(cache=True, nogil=True)
def draw(points, strokes, firsts, which, seeds, shares, habits, width, margin, pixels):  # type: ignore[no-untyped-def]
    """Draw some drawings, each in the middle of its picture and as large as the margin allows."""
    size = pixels.shape[1]
    changes = habits.max() > 0
    state = np.zeros(1, np.uint64)
    ink = np.empty((size, size), np.float32)
    for b in range(len(which)):
        state[0] = seeds[b]
        first, last = firsts[which[b]], firsts[which[b] + 1]
        begin, end = strokes[first], strokes[last]
        lines = points[begin:end].astype(np.float64)
        starts = strokes[first : last + 1] - begin
        if shares[b] < 1.0 and len(lines):
            lines, starts = _cut(lines, starts, shares[b])
        pen = max(LEAST_WIDTH, width)
        if changes and len(lines):
            lines, starts = _redraw(lines, starts, habits, state)
            pen = max(LEAST_WIDTH, width * np.exp(habits[SPREAD] * (2.0 * uniform(state) - 1.0)))
        ink[:] = 0.0
        if len(lines):
            low_x, high_x = lines[:, 0].min(), lines[:, 0].max()
            low_y, high_y = lines[:, 1].min(), lines[:, 1].max()
            room = max(1.0, size * (1.0 - 2.0 * margin) - pen)
            scale = room / max(high_x - low_x, high_y - low_y, 1e-6)
            middle = 0.5 * (size - 1)
            for k in range(len(lines)):
                lines[k, 0] = middle + scale * (lines[k, 0] - 0.5 * (low_x + high_x))
                lines[k, 1] = middle + scale * (lines[k, 1] - 0.5 * (low_y + high_y))
            _ink(lines, starts, pen, 0.15 if changes and habits[SPREAD] > 0 else 0.0, state, ink)
        for i in range(size):
            for j in range(size):
                pixels[b, i, j] = np.uint8(255.0 * (1.0 - ink[i, j]) + 0.5)
