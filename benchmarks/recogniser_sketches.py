"""Link the sketches that a recogniser may see before SHREC'13 is run: none of its test sketches.

    python benchmarks/recogniser_sketches.py TU_BERLIN SHREC13 OUT [--first 40] [--quickdraw FOLDER]

OUT/tuberlin gets the classes of TU-Berlin that SHREC'13 does not ask for, whole, and of each class that it asks for the
first training sketches, so that the last ones are left to choose settings on. OUT/quickdraw gets the classes of
Quick, Draw! that SHREC'13 does not ask for. With ``--first 0`` nothing of the classes that it asks for is seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from batchot.data.batches.paired import class_key
from batchot.training.recipes import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tuberlin", type=Path, help="folder of class folders")
    parser.add_argument("shrec13", type=Path, help="folder with SHREC13_SBR_TRAINING_SKETCHES")
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=40, help="training sketches of each class of SHREC'13")
    parser.add_argument("--quickdraw", type=Path, help="folder of CLASS.ndjson")
    args = parser.parse_args()
    asked = {
        folder.name: sorted((folder / "train").glob("*.png"), key=lambda file: int(file.stem))[: args.first]
        for folder in (args.shrec13 / "SHREC13_SBR_TRAINING_SKETCHES").iterdir()
    }
    others = {
        folder.name: sorted(folder.glob("*.png"))
        for folder in args.tuberlin.iterdir()
        if folder.name not in asked
    }
    for name, files in sorted((asked | others).items()):
        if not files:
            continue
        place = args.out / "tuberlin" / name
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            (place / file.name).symlink_to(file.resolve())
    total = sum(map(len, (asked | others).values()))
    print(f"{total:,} sketches of {len(asked)} + {len(others)} classes in {args.out / 'tuberlin'}")
    if args.quickdraw is not None:
        words = load_recipe("shrec13").towers["sketch"].data.rename["quickdraw"]
        seen = {class_key(name) for name in asked}
        place = args.out / "quickdraw"
        place.mkdir(parents=True, exist_ok=True)
        for file in sorted(args.quickdraw.glob("*.ndjson")):
            if class_key(words.get(file.stem, file.stem)) not in seen:
                (place / file.name).symlink_to(file.resolve())
        print(f"{len(list(place.iterdir()))} classes of Quick, Draw! in {place}")


if __name__ == "__main__":
    main()
