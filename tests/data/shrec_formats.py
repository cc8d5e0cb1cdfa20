"""SHREC'13 and SHREC'14 with two sketches instead of eighty a class, laid out as published."""

from __future__ import annotations

import zipfile
from pathlib import Path

from data.sketch_formats import draw, packed

CLASSES = ("airplane", "alarm_clock", "person_sitting")
OFF = b"OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
SKETCHES = {
    "train": {"airplane": ("1", "10"), "alarm_clock": ("81", "99"), "person_sitting": ("12001", "12007")},
    "test": {"airplane": ("14",), "alarm_clock": ("88",), "person_sitting": ("12044",)},
}
MODELS = {"airplane": (3, 17), "alarm_clock": (105,), "person_sitting": (1200, 7, 88)}


def cla(members: dict[str, tuple[str, ...]]) -> str:
    """A ``.cla`` file with the tabs, blank lines and line ends of the published ones."""
    total = sum(len(names) for names in members.values())
    blocks = [
        f"{name} 0 {len(names)}\r\n" + "".join(f"\t{n}\r\n" for n in names) for name, names in members.items()
    ]
    return f"PSB 1\r\n{len(members)} {total}\r\n\r\n" + "\r\n".join(blocks)


def sketch_files(part: str, nested: str = "") -> dict[str, bytes]:
    """Path and content of each sketch of a part; every one is another drawing."""
    return {
        f"{nested}{name}/{part}/{number}.png": packed(draw(size=(70 + int(number) % 37, 60), width=2), "png")
        for name, numbers in SKETCHES[part].items()
        for number in numbers
    }


def shrec13() -> dict[str, bytes]:
    """SHREC'13: training and testing sketches apart, folders doubled by unpacking, models ``m3.off``."""
    train, test = "SHREC13_SBR_TRAINING_SKETCHES/", "SHREC13_SBR_TESTING_SKETCHES/"
    files = {**sketch_files("train", train + train), **sketch_files("test", test)}
    files |= {f"SHREC13_SBR_TARGET_MODELS/models/m{k}.off": OFF for ks in MODELS.values() for k in ks}
    evaluation = "SHREC2013_Sketch_Evaluation/SHREC13_SBR"
    files[f"{evaluation}_Model.cla"] = cla({c: tuple(map(str, ks)) for c, ks in MODELS.items()}).encode()
    files[f"{evaluation}_Sketch_Train.cla"] = cla(SKETCHES["train"]).encode()
    files[f"{evaluation}_Sketch_Test.cla"] = cla(SKETCHES["test"]).encode()
    files["SHREC2013_Sketch_Evaluation/readme.txt"] = b"1. Classification files"
    return files


def shrec14() -> dict[str, bytes]:
    """SHREC'14: all sketches in one folder, models ``M000003.off``."""
    sketches = "SHREC14LSSTB_SKETCHES/SHREC14LSSTB_SKETCHES/"
    files = {**sketch_files("train", sketches), **sketch_files("test", sketches)}
    files |= {f"SHREC14LSSTB_TARGET_MODELS/M{k:06d}.off": OFF for ks in MODELS.values() for k in ks}
    evaluation = "SHREC14_Sketch_Evaluation_CVIU/SHREC14_SBR"
    files[f"{evaluation}_Model.cla"] = cla(
        {c: tuple(f"{k:06d}" for k in ks) for c, ks in MODELS.items()}
    ).encode()
    files[f"{evaluation}_Sketch_Train.cla"] = cla(SKETCHES["train"]).encode()
    files[f"{evaluation}_Sketch_Test.cla"] = cla(SKETCHES["test"]).encode()
    return files


def author_lists() -> dict[str, bytes]:
    """The authors' list files: a path of their machine and a label in each line."""

    def lines(part: str) -> str:
        return "".join(
            f"/data/someone/features/mat/{name}/{part}/{number}.mat {CLASSES.index(name)}\n"
            for name, numbers in SKETCHES[part].items()
            for number in numbers
        )

    shapes = "".join(
        f"/data/max/{name}/M{k:06d}.mat {CLASSES.index(name)}\n" for name, ks in MODELS.items() for k in ks
    )
    texts = {"sketchTrain.txt": lines("train"), "sketchTest.txt": lines("test"), "shape.txt": shapes}
    return {name: text.encode() for name, text in texts.items()}


def write(root: Path, files: dict[str, bytes]) -> Path:
    """The files in folders."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zipped(root: Path, files: dict[str, bytes]) -> Path:
    """The files in one archive for each folder at the top, as they are downloaded."""
    for top in sorted({name.split("/")[0] for name in files}):
        with zipfile.ZipFile(root / f"{top}.zip", "w") as archive:
            archive.mkdir(top)
            archive.writestr(f"__MACOSX/{top}/._airplane", b"\0")
            for name, content in files.items():
                if name.startswith(f"{top}/"):
                    archive.writestr(name, content)
    return root
