"""Read a shape from a file or bytes of any format."""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from batchot.errors import ShapeError, ShapeWarning
from batchot.shapes.formats.cad import DEFAULT_CAD, CadSettings, read_cad
from batchot.shapes.formats.gltf import read_gltf
from batchot.shapes.formats.obj import read_obj
from batchot.shapes.formats.off import HEADER as OFF_HEADER
from batchot.shapes.formats.off import read_off
from batchot.shapes.formats.ply import HEADER as PLY_HEADER
from batchot.shapes.formats.ply import read_ply
from batchot.shapes.formats.points import read_hdf5, read_npy, read_pcd, read_text_points
from batchot.shapes.formats.stl import is_binary_stl, read_stl
from batchot.shapes.formats.xml_scenes import read_3mf, read_dae
from batchot.shapes.normalize import normalize_shape, turned_to_z, without_far_flats
from batchot.shapes.shape import Mesh, Shape, Up

Kind: TypeAlias = Literal[
    "off", "obj", "stl", "ply", "gltf", "npy", "pcd", "text", "hdf5", "step", "iges", "3mf", "dae"
]  # fmt: skip

ENDINGS: dict[str, Kind] = {
    ".off": "off", ".obj": "obj", ".stl": "stl", ".ply": "ply", ".glb": "gltf", ".gltf": "gltf",
    ".npy": "npy", ".pcd": "pcd", ".xyz": "text", ".txt": "text", ".pts": "text", ".csv": "text",
    ".xyzn": "text", ".xyzrgb": "text", ".asc": "text", ".tsv": "text", ".h5": "hdf5", ".hdf5": "hdf5",
    ".step": "step", ".stp": "step", ".p21": "step", ".iges": "iges", ".igs": "iges", ".3mf": "3mf", ".dae": "dae",
}  # fmt: skip
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HEAD = 1 << 16  # bytes looked at
_OBJ_LINE = re.compile(rb"^[ \t]*(?:v[ \t]+[-+.\d]|f[ \t]+-?\d)", re.MULTILINE)
_PCD_START = re.compile(rb"# \.PCD|(?:\s|#[^\n]*\n)*(?:VERSION|FIELDS|COLUMNS)[ \t]")
_PCD_LINE = re.compile(rb"^(?:FIELDS|COLUMNS)[ \t]", re.MULTILINE)
_NUMBER_LINE = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|(?:#|//)[^\r\n]*[\r\n])*[-+.\d]+")
_MARK = re.compile(rb"(?:\xef\xbb\xbf)+")  # some programs write one more at every save
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
_IGES_LINE = re.compile(rb"[^\r\n]{72}S[ 0]*1[ \t]*[\r\n]")
_STEP_LINE = re.compile(rb"(?:\s|/\*.*?\*/)*ISO-10303-21\s*;", re.DOTALL)
_XML_ROOT = re.compile(
    rb"(?:\s|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\])?\s*>)*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL
)
_BLENDER, _CAD, _CLOUD = (
    "open it in Blender and save it as .glb",
    "open it in FreeCAD or the program that made it and save it as .step",
    "open it in CloudCompare and save it as .ply",
)
_PARAVIEW = "open it in ParaView and save its surface as .stl"
_UNPACK = "unpack it"
_RESTORE = "download or copy the file itself"
# What it is, what opens it, how it begins, how its name ends.
_OTHERS: tuple[tuple[str, str, tuple[bytes, ...], tuple[str, ...]], ...] = (
    ("an FBX file", _BLENDER, (b"Kaydara FBX", b"; FBX"), (".fbx",)),
    ("a Blender file", _BLENDER, (b"BLENDER",), (".blend",)),
    ("a USD file", _BLENDER, (b"#usda", b"PXR-USDC"), (".usd", ".usda", ".usdc")),
    ("a USDZ file", _BLENDER, (), (".usdz",)),
    ("a VRML file", _BLENDER, (b"#VRML",), (".wrl", ".vrml")),
    ("an X3D file", _BLENDER, (), (".x3d",)),
    ("a 3D Studio file", "open it in MeshLab and save it as .ply", (), (".3ds", ".max")),
    ("a BREP file of OpenCASCADE", _CAD, (b"DBRep_DrawableShape", b"CASCADE Topology"), (".brep", ".brp")),
    ("a FreeCAD document", _CAD, (), (".fcstd",)),
    ("a DXF file", _CAD, (b"AutoCAD Binary DXF",), (".dxf",)),
    ("a DWG file", _CAD, (b"AC10",), (".dwg",)),
    ("a Parasolid file", _CAD, (b"**ABCDEFGHIJKLMNOPQRSTUVWXYZ",), (".x_t", ".x_b")),
    ("a JT file", _CAD, (), (".jt",)),
    ("an ACIS file", _CAD, (b"ACIS BinaryFile",), (".sat", ".sab")),
    ("a Rhino file", _CAD, (b"3D Geometry File Format",), (".3dm",)),
    (
        "a document of SolidWorks, Inventor or Office", _CAD, (b"\xd0\xcf\x11\xe0",),
        (".sldprt", ".sldasm", ".ipt", ".iam", ".prt", ".catpart", ".catproduct"),
    ),
    ("a VTK file", _PARAVIEW, (b"# vtk DataFile",), (".vtk", ".vtp", ".vtu")),
    ("a Gmsh mesh", "open it in Gmsh and save it as .stl", (b"$MeshFormat", b"$NOD"), (".msh",)),
    ("a LAS file", _CLOUD, (b"LASF",), (".las", ".laz")),
    ("an E57 file", _CLOUD, (b"ASTM-E57",), (".e57",)),
    ("an AMF file", "open it in PrusaSlicer and save it as .3mf", (), (".amf",)),
    ("a zip archive", _UNPACK, (b"PK\x03\x04", b"PK\x05\x06"), (".zip", ".zae")),
    ("an NPZ archive of NumPy", "save one of its arrays as .npy", (), (".npz",)),
    ("packed with gzip", _UNPACK, (b"\x1f\x8b",), (".gz", ".tgz", ".stpz")),
    ("packed with bzip2", _UNPACK, (b"BZh",), (".bz2",)),
    ("packed with xz", _UNPACK, (b"\xfd7zXZ\x00",), (".xz",)),
    ("packed with zstandard", _UNPACK, (b"\x28\xb5\x2f\xfd",), (".zst",)),
    ("a 7z archive", _UNPACK, (b"7z\xbc\xaf\x27\x1c",), (".7z",)),
    ("a RAR archive", _UNPACK, (b"Rar!\x1a\x07",), (".rar",)),
    ("a tar archive", _UNPACK, (), (".tar",)),
    ("a MATLAB file", "save the points as .npy or .csv", (b"MATLAB 5.0",), (".mat",)),
    ("a PNG image", "give a shape", (b"\x89PNG",), ()),
    ("a JPEG image", "give a shape", (b"\xff\xd8\xff",), ()),
    ("a PDF document", "give a shape", (b"%PDF",), ()),
    ("a Git LFS pointer, not the file itself", _RESTORE, (b"version https://git-lfs",), ()),
)  # fmt: skip
FOREIGN_ENDINGS = frozenset(ending for *_, endings in _OTHERS for ending in endings)
"""Of files that may hold shapes and are not read."""
_XML = {b"x3d": ".x3d", b"amf": ".amf", b"vtkfile": ".vtk"}
_DXF_LINE = re.compile(rb"\s*(?:999[^\n]*\n[^\n]*\n\s*)*0\s*[\r\n]+\s*SECTION\b")


def plain_text(data: bytes) -> bytes:
    """The content of a file without its byte-order mark; UTF-16 and UTF-32 become UTF-8."""
    if data[:1] not in (b"\xef", b"\xff", b"\xfe", b"\x00") or is_binary_stl(data):
        return data
    if data.startswith(codecs.BOM_UTF8):
        return _MARK.sub(b"", data, count=1)
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding).lstrip("\ufeff").encode()
            except UnicodeDecodeError as error:
                raise ShapeError(
                    f"begins as {encoding} text, but is none ({error.reason} at byte {error.start:,}); restore the "
                    "file, or save it as UTF-8"
                ) from error
    return data


def kind_of(data: bytes, ending: str) -> Kind:
    """The format of a file."""
    data = plain_text(data)
    if is_binary_stl(data):  # the 80 bytes of its header may begin as those of any other format
        return "stl"
    head = data[:_HEAD]
    if kind := _by_magic(head, data):
        return kind
    named = ENDINGS.get(ending)
    if (foreign := _foreign(head, data)) is not None:
        raise ShapeError(f"is {foreign[0]}, which is not read; {foreign[1]}")
    is_text = b"\x00" not in head.rstrip(b"\x00")  # some file systems fill up with zeros
    if is_text and (b"v" in head or b"f" in head) and _OBJ_LINE.search(head):
        return "obj"
    if is_text and _NUMBER_LINE.match(head):
        return "off" if named == "off" else "text"
    if named == "stl":
        return "stl"  # a truncated one, whose reader says what is missing
    if named == "text" and is_text:
        return "text"
    if named == "obj" and is_text:
        return "obj"
    if named is None:
        for what, advice, _, endings in _OTHERS:
            if ending in endings:
                raise ShapeError(f"is {what} by its ending {ending}, which is not read; {advice}")
        raise ShapeError(
            f"neither the ending {ending!r} nor the content is of a format that is read; save the shape as one of "
            f"{_formats()}"
        )
    raise ShapeError(
        f"does not begin as a {ending} file does ({head[:16]!r}); it is damaged or of another format: restore it, or "
        f"save the shape as one of {_formats()}"
    )


def _by_magic(head: bytes, data: bytes) -> Kind | None:
    if head.startswith(b"glTF"):
        return "gltf"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if PLY_HEADER.match(head):
        return "ply"
    if OFF_HEADER.match(head):
        return "off"
    if head.lstrip().startswith(b"{") and b'"asset"' in data:  # perhaps after many accessors
        return "gltf"
    if _PCD_START.match(head) and _PCD_LINE.search(head):
        return "pcd"
    if _STEP_LINE.match(head):
        return "step"
    if _IGES_LINE.match(head):
        return "iges"
    if _xml_root(head) == b"collada":
        return "dae"
    if head.startswith(b"PK\x03\x04") and any(name.endswith(".model") for name in _members(data)):
        return "3mf"
    if head.lstrip()[:5].lower() == b"solid" and b"facet" in head.lower():
        return "stl"
    return None


def _foreign(head: bytes, data: bytes) -> tuple[str, str] | None:
    """What a file is that is not read, and what opens it."""
    for what, advice, magics, endings in _OTHERS:
        if head.startswith(magics):
            return _packed(_members(data)) if ".zip" in endings else (what, advice)
    if head[257:262] == b"ustar":
        return _other(".tar")
    if _DXF_LINE.match(head):
        return _other(".dxf")
    if root := _xml_root(head):
        if root in _XML:
            return _other(_XML[root])
        what = {b"svg": "an SVG drawing", b"html": "an HTML page"}.get(root, "XML of another kind")
        return what, "save the shape in a format that is read: " + _formats()
    return None


def _packed(members: list[str]) -> tuple[str, str]:
    """What a zip archive is of."""
    if not members:
        return "a zip archive (or a 3MF or USDZ file) that is cut off or empty", "restore it"
    if "document.xml" in members:
        return _other(".fcstd")
    if any(name.endswith((".usd", ".usda", ".usdc")) for name in members):
        return _other(".usdz")
    if all(name.endswith(".npy") for name in members):
        return _other(".npz")
    return ("an Office document", "give a shape") if "[content_types].xml" in members else _other(".zip")


def _other(ending: str) -> tuple[str, str]:
    return next((what, advice) for what, advice, _, endings in _OTHERS if ending in endings)


def _members(data: bytes) -> list[str]:
    """The names in a zip archive, in small letters; none where it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [name.lower() for name in archive.namelist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        return []


def _xml_root(head: bytes) -> bytes:
    """The name of the first element of XML, in small letters; empty where it is none."""
    found = _XML_ROOT.match(head) if head.lstrip().startswith(b"<") else None
    return b"" if found is None else found[1].lower()


def _formats() -> str:
    return ", ".join(sorted(ENDINGS))


MAX_BYTES = 1 << 30
MAX_FACES = 10_000_000

_READERS = {
    "off": read_off, "obj": read_obj, "stl": read_stl, "ply": read_ply,
    "npy": read_npy, "pcd": read_pcd, "text": read_text_points,
}  # fmt: skip


def load_shape(
    path: str | os.PathLike[str],
    *,
    up: Up = "auto",
    normalize: bool = True,
    member: int | None = None,
    cad: CadSettings = DEFAULT_CAD,
    max_bytes: int = MAX_BYTES,
    max_faces: int = MAX_FACES,
) -> Shape:
    """Read a mesh (OFF, OBJ, STL, PLY, GLB, glTF, STEP, IGES, 3MF, DAE) or points (NPY, PLY, PCD, XYZ, CSV, HDF5).

    The content decides where it disagrees with the ending. Materials, textures and colours are not looked at, and no
    other file is opened but those with the numbers of a glTF file, in its own folder.

    Args:
        path: the file.
        up: the axis of the file that points up, turned to z. ``"auto"`` is y for GLB and glTF, whose specification
            says so, what a DAE file says, and z for every other format.
        normalize: centre the shape and scale it to the unit sphere, as ``normalize_shape`` does.
        member: which cloud of an HDF5 file, or which part of a STEP assembly, from 0.
        cad: how fine the triangles of STEP and IGES files are.
        max_bytes: a larger file is refused before it is read.
        max_faces: a shape of more triangles, or points, is refused.

    Returns:
        A ``Mesh``, or a ``PointCloud`` where there is no surface, z up; in millimetres where the
        file says its unit and it is not normalised. What was left out of it, such as points that
        are NaN, or what will hardly be seen, is in its ``notes``, and each of these is a ``ShapeWarning``.

    Raises:
        ShapeError: whatever is wrong with the file; the message begins with its path and says what to do.
        ImportError: cascadio, pycollada, lib3mf or h5py, which it needs, is not installed; the message says how to.

    Example:
        >>> import tempfile
        >>> from batchot.shapes import load_shape
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "triangle.off"
        ...     _ = path.write_text("OFF3 1 0\\n0 0 0\\n2 0 0\\n0 2 0\\n3 0 1 2\\n")
        ...     load_shape(path).vertices.max()
        np.float64(0.7071067811865475)
    """
    path, how = Path(path), _How(up, normalize, member, cad, max_bytes, max_faces)
    with _named(path, "check the path and its permissions"):
        size = _size(path)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        with path.open("rb") as file:
            if file.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
                return _told(_finished(read_hdf5(path, member), "auto", how), path)
            file.seek(0)
            data = file.read(max_bytes + 1)
        return _told(_read(data, path.suffix.lower(), path.parent, how), path)


def read_shape(
    data: bytes | BinaryIO,
    ending: str,
    name: str,
    *,
    up: Up = "auto",
    normalize: bool = True,
    member: int | None = None,
    cad: CadSettings = DEFAULT_CAD,
    max_bytes: int = MAX_BYTES,
    max_faces: int = MAX_FACES,
) -> Shape:
    """As ``load_shape``, from memory or a stream, under a name for messages; glTF may name no other files."""
    how = _How(up, normalize, member, cad, max_bytes, max_faces)
    with _named(name, "restore the archive it is in"):
        content = data if isinstance(data, bytes) else data.read(max_bytes + 1)
        return _told(_read(content, ending.lower(), None, how), name)


@dataclass(frozen=True)
class _How:
    """What callers ask for, see ``load_shape``."""

    up: Up
    normalize: bool
    member: int | None
    cad: CadSettings
    max_bytes: int
    max_faces: int


@contextmanager
def _named(name: str | os.PathLike[str], advice: str) -> Iterator[None]:
    """Errors that begin with the name of the file."""
    try:
        yield
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from error
    except OSError as error:
        raise ShapeError(f"{name}: cannot be read ({error.strerror or error}); {advice}") from error
    except MemoryError as error:
        raise ShapeError(
            f"{name}: does not fit into memory; simplify the shape, or close other programs"
        ) from error


def _read(data: bytes, ending: str, folder: Path | None, how: _How) -> Shape:
    if len(data) > how.max_bytes:
        raise _too_large(len(data), how.max_bytes)
    data = plain_text(data)
    if not data.strip():
        raise ShapeError("is empty; restore the file or leave it out")
    kind = kind_of(data, ending if not ending or ending.startswith(".") else f".{ending}")
    if how.member is not None and kind not in ("hdf5", "step", "iges"):
        raise ShapeError("has no members, which only HDF5 files and STEP assemblies have; leave member out")
    shape: Shape
    axis: Up = "auto"  # that the format, or the file, says
    if kind == "hdf5":
        shape = read_hdf5(data, how.member)
    elif kind == "gltf":
        shape, axis = read_gltf(data, folder, how.max_bytes, how.max_faces), "y"
    elif kind == "step" or kind == "iges":
        shape = read_cad(data, kind, how.max_bytes, how.max_faces, how.member, how.cad)
    elif kind == "3mf":
        shape = read_3mf(data, how.max_bytes, how.max_faces)
    elif kind == "dae":
        shape, axis = read_dae(data, how.max_faces)
    else:
        shape = _READERS[kind](data)
    return _finished(shape, axis, how)


def _finished(shape: Shape, axis: Up, how: _How) -> Shape:
    what, n = ("faces", len(shape.faces)) if isinstance(shape, Mesh) else ("points", len(shape.points))
    if n > how.max_faces:
        raise ShapeError(
            f"has {n:,} {what}, the limit is {how.max_faces:,}; simplify the shape or raise max_faces"
        )
    up = axis if how.up == "auto" else how.up
    # Done in any case, because it finds the shapes of no size and no area, of which nothing can be drawn.
    normalized = normalize_shape(shape, up)
    if how.normalize:
        return normalized
    return replace(turned_to_z(without_far_flats(shape), up), notes=normalized.notes)


def _told(shape: Shape, name: str | os.PathLike[str]) -> Shape:
    for note in shape.notes:
        warnings.warn(f"{name}: {note}", ShapeWarning, stacklevel=3)
    return shape


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except ValueError as error:  # a zero byte in the name
        raise ShapeError(f"is no name of a file ({error}); check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise ShapeError("is a folder; give one file, or load the folder as a collection")
    if not stat.S_ISREG(status.st_mode):
        raise ShapeError("is no regular file (a pipe or a device); save the shape to a file")
    return status.st_size


def _too_large(size: int, max_bytes: int) -> ShapeError:
    return ShapeError(
        f"is larger than the limit ({size:,} of {max_bytes:,} bytes); simplify the shape or raise max_bytes"
    )
