"""``batchot audit``: do views tell the class of a shape by anything but the shape?"""

from __future__ import annotations

import sys
from pathlib import Path

from batchot.commands.common import (
    FAILURE,
    VIEWS,
    Parser,
    UsageError,
    add,
    fail,
    say,
    view_settings_of,
)


def audit(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot audit",
        description="Look for leaks of the class in views: a classifier on the pixels in which no shape can be, "
        "and on the cameras, must be at chance; one shape under several names must give one picture. "
        "Exit status 1 says that there is a leak.",
    )
    parser.add_argument(
        "path", type=Path, metavar="FOLDER", help="class folders of shapes, or, with --images, of pictures"
    )
    parser.add_argument(
        "--images", action="store_true", help="FOLDER holds pictures that something else rendered"
    )
    parser.add_argument(
        "--camera-table",
        type=Path,
        help="CSV file: a shape or picture, then numbers of its camera (--images)",
    )
    parser.add_argument("--max-shapes", type=int, default=1000, help="look at no more than these (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of all choices (0)")
    add(parser, *VIEWS)
    options = parser.parse_args(argv)
    if options.camera_table is not None and not options.images:
        raise UsageError("--camera-table belongs to --images; the cameras of our own views are known")

    from batchot.audit.audit import leak_audit
    from batchot.audit.images import audit_images
    from batchot.data.sets.shape_folder import collection_of
    from batchot.shapes.views.render_all import render_collection
    from batchot.training.inputs import view_folder

    bar = sys.stderr.isatty()
    try:
        if options.images:
            how = {"max_shapes": options.max_shapes, "seed": options.seed, "progress": bar}
            found = audit_images(options.path, cameras=options.camera_table, **how)
        else:
            collection = collection_of(options.path, options.up)
            sources = (*collection.train, *collection.test)
            cache = render_collection(
                sources, view_settings_of(options), view_folder(), progress=bar, on_message=say
            )
            found = leak_audit(sources, cache, max_shapes=options.max_shapes, seed=options.seed, progress=bar)
    except ValueError as error:
        return fail(str(error), FAILURE)
    print("\n".join(found.lines()))
    return 1 if found.leak else 0
