"""Hostile STEP, IGES, 3MF and DAE files through the sandbox: bombs, entities, other files, cut off, bytes changed.

``python benchmarks/hostile_cad.py --count 2000`` says how many were refused for what reason and how many were read (a
change that left the file sound). It fails if the sandbox does not go on, a file of the disk shows up, or a reason is
missing. ``--resume FILE`` keeps there what became of each file, a line of JSON each, and the same command goes on after
an interruption.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from batchot.search.records import QueryRefused
from batchot.search.sandbox import Limits, Sandbox
from batchot.towers.spec import Inputs
from oracles import cad_files as files

SOUND = {
    "a.step": files.step([(0, 0, 0), (10, 0, 0)]),
    "a.igs": files.iges(),
    "a.3mf": files.threemf(),
    "a.dae": files.dae(),
}


def hostile(
    count: int, seed: int, secret: Path, ways: Sequence[int] = range(6)
) -> Iterator[tuple[str, bytes]]:
    """Names and contents, the four formats and the ways to harm in turn.

    >>> names = [name for name, _ in hostile(8, 0, Path("secret.stp"))]
    >>> names[:4]
    ['a.step', 'a.igs', 'a.3mf', 'a.dae']
    """
    generator = np.random.default_rng(seed)
    for k in range(count):
        name = list(SOUND)[k % 4]
        yield name, _harmed(name, SOUND[name], ways[(k // 4) % len(ways)], generator, secret)


def _harmed(name: str, content: bytes, way: int, generator: np.random.Generator, secret: Path) -> bytes:
    n = int(generator.integers(1, len(content)))
    if way == 0:
        return content[:n]
    if way == 1:  # some bytes are others
        changed = np.frombuffer(content, np.uint8).copy()
        changed[generator.integers(0, len(changed), 1 + n % 12)] = generator.integers(0, 256, 1 + n % 12)
        return changed.tobytes()
    if way == 2:  # a piece twice, or moved
        m = int(generator.integers(1, len(content)))
        return content[: max(n, m)] + content[min(n, m) :]
    if way == 3:  # huge numbers where there were small ones
        digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
        at = digits[n % len(digits)]
        return (
            content[:at]
            + str(generator.choice(["99999999999", "-1", "1e308", "4294967297", "nan"])).encode()
            + content[at:]
        )
    if way == 4:
        return _other_files(name, n, secret)
    return _bomb(name, n)


def _other_files(name: str, n: int, secret: Path) -> bytes:
    path = (str(secret), f"file://{secret}", "../" * (n % 9) + "etc/passwd")[n % 3]
    if name == "a.step":
        line = f"#9001=DOCUMENT_FILE('{path}','',$,$,'',$);\n"
        return files.step([(0, 0, 0), (9, 0, 0)], extra=line).replace(b"FACETED_BREP(", b"NOTHING_AT_ALL(")
    if name == "a.3mf":
        part = f'<object id="2"><components><component p:path="{path}" objectid="1"/></components></object>'
        return files.threemf(part, '<item objectid="2"/>')
    if name == "a.dae":
        entity = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "{path}">]>'.encode()
        return (
            entity + files.dae()
            if n % 2
            else files.dae(nodes=f'<node id="a"><instance_geometry url="{path}#g"/></node>')
        )
    return files.iges().replace(b"box", path[:3].encode())


def _bomb(name: str, n: int) -> bytes:
    deep = 20 + n % 200
    if name == "a.step":  # an assembly within an assembly, or brackets without end
        return files.step().replace(b"FACETED_BREP('',", b"FACETED_BREP('',%b" % (b"(" * 100 * deep))
    if name == "a.3mf":
        if n % 2:
            return files.threemf(**{f"3D/{k}.model": bytes(1 << 24) for k in range(1 + n % 8)})
        objects = "".join(
            f'<object id="{k}"><components>'
            + f'<component objectid="{k - 1}"/>' * 2
            + "</components></object>"
            for k in range(2, deep)
        )
        return files.threemf(files.threemf_mesh(1) + objects, f'<item objectid="{deep - 1}"/>')
    if name == "a.dae":
        if n % 2:
            names = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 9}">' for k in range(1, deep))
            return f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "b">{names}]>'.encode() + files.dae()
        nodes = "".join(
            f'<node id="n{k}"><instance_node url="#n{k - 1}"/><instance_node url="#n{k - 1}"/></node>'
            for k in range(1, deep)
        )
        return files.dae(nodes=f"<node id='n0'/>{nodes}")
    return files.iges() * (1 + n % 50)


def run(
    count: int,
    seed: int = 0,
    processes: int = 2,
    time_limit: float = 10.0,
    ways: Sequence[int] = range(6),
    resume: Path | None = None,
) -> dict[str, Counter[str]]:
    """Read them all.

    Args:
        count: of files
        seed: of what is changed
        processes: that read
        time_limit: for one, in seconds
        ways: to harm, of ``_harmed``
        resume: file of what became of each, which is not read again; None keeps nothing

    Returns:
        For each format how many were read, and how many refused for what reason.
    """
    inputs = Inputs.from_json({"shape": {"points": 64}, "drawing": None})
    found: dict[str, Counter[str]] = {name: Counter() for name in SOUND}
    limits = Limits(time=time_limit, memory=512 << 20, bytes=4 << 20, faces=100_000)
    made_by = [seed, *ways]
    done = 0
    for line in resume.read_text().splitlines() if resume is not None and resume.exists() else ():
        name, what, made = json.loads(line)
        if made != made_by:
            raise SystemExit(f"{resume} is of another seed; give another file")
        found[name][what] += 1
        done += 1
    with (
        tempfile.TemporaryDirectory() as folder,
        nullcontext() if resume is None else resume.open("a", buffering=1) as lines,
        Sandbox(inputs, processes=processes, limits=limits) as sandbox,
    ):
        secret = Path(folder) / "secret.stp"
        secret.write_bytes(files.step([(0, 0, 0), (12345, 0, 0)]))
        bar = tqdm(hostile(count, seed, secret, ways), total=count, unit="file", mininterval=5)
        for k, (name, content) in enumerate(bar):
            if k < done:
                continue
            try:
                prepared = sandbox.prepare_bytes(content, name)
            except QueryRefused as error:
                assert len(str(error)) > 15, name
                died = "brings its reader down" in str(error)
                what = "killed its process" if died else error.reason
            else:
                assert np.isfinite(prepared.sample).all() and all(np.isfinite(prepared.size))
                assert abs(max(prepared.size) - 12346) > 1, f"{name} brought along a file of the disk"
                what = "read"
            found[name][what] += 1
            if lines is not None:
                print(json.dumps([name, what, made_by]), file=lines)
        assert sandbox.prepare_bytes(files.step(), "a.step").faces == 12  # it goes on
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="go on with what is in FILE, and keep it there"
    )
    options = parser.parse_args()
    start = time.monotonic()
    for name, counts in run(options.count, options.seed, resume=options.resume).items():
        print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    print(f"{options.count} files, {time.monotonic() - start:.0f} s")
