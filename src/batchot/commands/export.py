"""``batchot export``: a trained network as ONNX and safetensors."""

from __future__ import annotations

from pathlib import Path

from batchot.commands.common import Parser, add, say


def export(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot export",
        description="Write a trained network, with all that is done to its samples, as ONNX and as safetensors, with a "
        "model card. The ONNX files are run and compared with the run before the folder is there. "
        "batchot index and search take the folder in the place of a run.",
    )
    add(parser, "run")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--format",
        dest="formats",
        nargs="+",
        choices=("onnx", "safetensors"),
        default=["onnx", "safetensors"],
        help="default: both",
    )
    add(
        parser, "--checkpoint", help="the last epoch (default), or that of the highest mean average precision"
    )
    parser.add_argument("--force", action="store_true", help="replace an older export in DIR")
    options = parser.parse_args(argv)

    from batchot.export import export_run

    formats = tuple(dict.fromkeys(options.formats))
    how = {"checkpoint": options.checkpoint, "force": options.force, "tell": say}
    done = export_run(options.run, options.out, formats=formats, **how)
    for name, size in done.files.items():
        print(f"{name}: {size:,} bytes")
    for name, difference in done.differences.items():
        print(f"{name}: embeddings of onnxruntime and of the run differ by at most {difference:.1e}")
    print(f"exported: {done.folder}")
    return 0
