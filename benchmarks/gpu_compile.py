"""Compile every GPU kernel of the loss ahead of time and print what it needs; no GPU is used.

    python benchmarks/gpu_compile.py                    # all kernels, sm_80 and sm_90
    python benchmarks/gpu_compile.py --capability 90 --only small

Registers a thread, bytes spilled to local memory (stack), shared memory a program, size of the code.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.pop("TRITON_INTERPRET", None)  # read when kernels are defined
warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION")

TYPES = {"float32": "*fp32", "bfloat16": "*bf16", "float16": "*fp16"}


class Case(NamedTuple):
    """A kernel with the types of its arguments and its compile-time values."""

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    warps: int
    stages: int = 3


def cases() -> Iterator[Case]:
    """The variants that `batchot.losses.backends.triton` launches for common sizes."""
    from batchot.losses.backends.triton import gradient, iterate, passes, persistent, prepare, small
    from batchot.losses.backends.triton.problem import Tiles

    for dtype in ("float32", "bfloat16"):
        yield case(
            f"prepare {dtype}", prepare.prepare_kernel, dtype, {"NORMALIZE": True, "BM": 16, "BD": 32}, 4
        )
    precision = {"PRECISION": "tf32x3"}
    for n, itself in ((64, True), (128, True), (128, False)):
        flags = {**small.shape(n, n), "ITSELF": itself}
        yield case(f"small {n}{'' if itself else ', two batches'}", small.small_kernel, constants=flags)
    for n in (512, 4096):
        tiles = Tiles.for_size(n)
        flags = {"ITSELF": True, "NORMALIZE": True, "UNIFORM": False, "NEED_GRAD": True, **precision}
        for d in (128, 512):
            name = f"gradient, n = {n}, d = {d}"
            yield case(name, gradient.gradient_kernel, constants={**tiles.of_gradient(d), **flags})
        flags = {**tiles.of_product(128), **precision, "ITSELF": True}
        yield case(f"kernel matrix, n = {n}", passes.kernel_matrix_kernel, constants=flags)
    wide = {"BM": 16, "BN": 256, "BLOCK": 1024}
    for itself in (True, False):
        flags = {**wide, "ITSELF": itself, "num_warps": 16}
        name = f"persistent{'' if itself else ', two batches'}"
        yield case(name, persistent.persistent_kernel, constants=flags)
    modes = {"symmetric": iterate.SYMMETRIC, "rows": iterate.ROWS, "columns": iterate.COLUMNS}
    for name, mode in modes.items():
        flags = {**wide, "MODE": mode.value, "num_warps": 8}
        turned = name == "columns"
        if turned:
            flags.update(BM=256, BN=16)
        ones = {"row_stride" if turned else "column_stride"}
        yield case(f"stored pass, {name}", passes.stored_pass_kernel, constants=flags, ones=ones)
        flags = {**Tiles().of_product(128), **precision, "MODE": mode.value, "BLOCK": 1024}
        yield case(f"tiled pass, {name}", passes.tiled_pass_kernel, constants=flags)


FLOATS = {"margin", "pos_margin", "gamma", "lam", "tolerance", "mass"}
POINTERS = {
    "lx_ptr": "*i64",
    "ly_ptr": "*i64",
    "vectors_ptr": "*fp64",
    "state_ptr": "*i32",
    "loss_ptr": "*fp64",
}


def case(
    name: str, kernel: Any, dtype: str = "float32", constants: dict[str, Any] | None = None, warps: int = 0,
    ones: set[str] | None = None,
) -> Case:  # fmt: skip
    constants = {**(constants or {}), **{argument: 1 for argument in ones or ()}}
    warps = constants.pop("num_warps", warps)
    stages = constants.pop("num_stages", 3)

    def kind(argument: str) -> str:
        if argument in constants:
            return "constexpr"
        if argument == "raw_ptr":
            return TYPES[dtype]
        if argument.endswith("_ptr"):
            return POINTERS.get(argument, "*fp32")
        return "fp32" if argument in FLOATS else "i32"

    return Case(name, kernel, {a: kind(a) for a in kernel.arg_names}, constants, warps, stages)


def compile_case(case: Case, capability: int) -> dict[str, int]:
    """Registers, spilled bytes, shared memory and code size of a kernel compiled for that capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    # As at a launch: the compiler is told of pointers and sizes that are multiples of 16.
    aligned = {
        (k,): [["tt.divisibility", 16]]
        for k, (name, kind) in enumerate(case.signature.items())
        if kind[0] == "*" or (kind == "i32" and name != "is_last")
    }
    source = ASTSource(fn=case.kernel, signature=case.signature, constexprs=case.constants, attrs=aligned)
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": case.warps, "num_stages": case.stages},
    )
    cubin = compiled.asm["cubin"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        told = subprocess.run(
            [cuobjdump(), "-res-usage", str(file)], check=True, capture_output=True, text=True
        ).stdout
    registers, stack = (int(re.findall(rf"{word}:(\d+)", told)[-1]) for word in ("REG", "STACK"))
    return {"registers": registers, "stack": stack, "shared": compiled.metadata.shared, "code": len(cubin)}


def cuobjdump() -> str:
    """The program of that name which comes with Triton."""
    found = importlib.util.find_spec("triton")
    file = (
        Path(found.origin or "").parent / "backends" / "nvidia" / "bin" / "cuobjdump" if found else Path("-")
    )
    if not file.is_file():
        sys.exit(f"cuobjdump is not at {file}; it comes with Triton for Linux x86_64 (pip install triton).")
    return str(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capability", type=int, nargs="+", default=[80, 90])
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the kernels' names")
    options = parser.parse_args()
    cuobjdump()
    print(
        f"{'kernel':<36} {'sm':>3} {'warps':>5} {'registers':>9} {'stack':>6} {'shared':>7} {'code':>7} {'seconds':>8}"
    )
    for each in cases():
        if not any(part in each.name for part in options.only):
            continue
        for capability in options.capability:
            start = time.perf_counter()
            used = compile_case(each, capability)
            print(
                f"{each.name:<36} {capability:>3} {each.warps:>5} {used['registers']:>9} {used['stack']:>6} "
                f"{used['shared']:>7} {used['code']:>7} {time.perf_counter() - start:>8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
