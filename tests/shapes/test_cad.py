"""Tests of STEP, IGES, 3MF and DAE files: areas, volumes, units, axes, parts, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchot.shapes import Mesh, MissingExtraError, ShapeError, load_shape, read_shape
from batchot.shapes.formats.cad import CadSettings
from batchot.shapes.formats.read import kind_of
from batchot.shapes.measure import area_and_volume
from oracles import cad_files as files
from oracles.shape_files import BOX

pytest.importorskip("cascadio")
THIRD = '<node id="n"><translate>10 0 0</translate><instance_geometry url="#g"/></node>'


def raw(content: bytes, ending: str, **options: object) -> Mesh:
    shape = read_shape(content, ending, f"a{ending}", normalize=False, **options)  # type: ignore[arg-type]
    assert isinstance(shape, Mesh)
    return shape


def extents(mesh: Mesh) -> list[float]:
    return (mesh.vertices.max(0) - mesh.vertices.min(0)).tolist()


def area(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize("called", ["right", ".stl", ""])
@pytest.mark.parametrize(
    ("content", "ending", "unit", "scale"),
    [
        (files.step(), ".step", "mm", 1.0),
        (files.step(unit="in"), ".stp", "mm", 25.4),
        (files.step(unit="m"), ".p21", "mm", 1000.0),
        (files.iges(), ".iges", "mm", 1.0),
        (files.iges("IN", 1), ".igs", "mm", 25.4),
        (files.threemf(), ".3mf", "mm", 1.0),
        (files.threemf(unit="inch"), ".3mf", "mm", 25.4),
        (files.dae(), ".dae", "", 1.0),
        (files.dae('<unit name="cm" meter="0.01"/><up_axis>Z_UP</up_axis>'), ".dae", "mm", 10.0),
    ],
    ids=["step", "step inch", "step metre", "iges", "iges inch", "3mf", "3mf inch", "dae", "dae cm"],
)
def test_the_box_is_as_large_as_the_file_says(
    content: bytes, ending: str, unit: str, scale: float, called: str
) -> None:
    mesh = raw(content, ending if called == "right" else called)
    assert mesh.unit == unit and not mesh.notes
    np.testing.assert_allclose(extents(mesh), scale * np.array([1.0, 2.0, 3.0]), rtol=1e-6)
    assert area(mesh) == pytest.approx(22 * scale**2, rel=1e-6)


@pytest.mark.parametrize(
    ("axis", "up", "right"),
    [
        ("<up_axis>Y_UP</up_axis>", "auto", [1, 3, 2]),
        ("", "auto", [1, 3, 2]),  # what COLLADA says of files that do not
        ("<up_axis>X_UP</up_axis>", "auto", [2, 3, 1]),
        ("<up_axis>Y_UP</up_axis>", "z", [1, 2, 3]),
    ],
)
def test_the_axis_of_a_dae_file_is_turned_to_z(axis: str, up: str, right: list[int]) -> None:
    mesh = raw(files.dae(axis), ".dae", up=up)
    np.testing.assert_allclose(extents(mesh), right)
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert abs((a * np.cross(b, c)).sum() / 6) == pytest.approx(6)  # turned, not mirrored into a heap


def test_step_and_iges_are_not_turned() -> None:
    for content, ending in ((files.step(), ".step"), (files.iges(), ".iges")):
        np.testing.assert_allclose(raw(content, ending).vertices.max(0), BOX.max(0), rtol=1e-6)
        np.testing.assert_allclose(extents(raw(content, ending, up="y")), [1, 3, 2], rtol=1e-6)


def test_an_assembly_is_one_shape_or_one_of_its_parts(tmp_path: Path) -> None:
    content = files.step([(0, 0, 0), (10, 0, 0), (0, 20, 5)])
    assert extents(raw(content, ".step")) == pytest.approx([11, 22, 8]) and area(
        raw(content, ".step")
    ) == pytest.approx(66)
    (tmp_path / "a.step").write_bytes(content)
    parts = [load_shape(tmp_path / "a.step", normalize=False, member=k) for k in range(3)]
    assert sorted(tuple(np.round(part.vertices.min(0), 3)) for part in parts) == [
        (0, 0, 0),
        (0, 20, 5),
        (10, 0, 0),
    ]  # type: ignore[union-attr]
    with pytest.raises(ShapeError, match="has 3 parts, there is no part 3"):
        load_shape(tmp_path / "a.step", member=3)


def test_curved_surfaces_come_as_fine_as_is_asked_for() -> None:
    with pytest.raises(ValueError, match="tolerance must lie in"):
        CadSettings(tolerance=0.0)
    exact = 4 / 3 * np.pi * 5**3
    errors = []
    for tolerance in (None, 3e-4):
        _, volume = area_and_volume(raw(files.ball(5), ".step", cad=CadSettings.of(tolerance)))
        assert volume is not None
        errors.append(1 - volume / exact)
    assert 0.002 > errors[0] > 3 * errors[1] > 0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    raw(files.iges(), ".iges")
    with pytest.raises(ShapeError):
        raw(files.step().replace(b"CLOSED_SHELL", b"CLOSED_SHELL(", 1), ".step")
    assert capfd.readouterr() == ("", "")


def test_components_of_3mf_and_their_transforms() -> None:
    twice = (
        '<object id="2"><components><component objectid="1"/><component objectid="1" '
        'transform="1 0 0 0 1 0 0 0 1 10 0 0"/></components></object>'
    )
    turned = '<item objectid="2" transform="0 1 0 -1 0 0 0 0 1 5 5 5"/>'
    mesh = raw(files.threemf(files.threemf_mesh(1) + twice, turned), ".3mf")
    np.testing.assert_allclose(mesh.vertices.min(0), [3, 5, 5])
    np.testing.assert_allclose(mesh.vertices.max(0), [5, 16, 8])
    support = files.threemf(
        files.threemf_mesh(1) + files.threemf_mesh(3, "support"), '<item objectid="1"/><item objectid="3"/>'
    )
    assert len(raw(support, ".3mf").faces) == 12


def test_3mf_objects_of_other_files_with_the_same_number() -> None:
    core, production = (
        f"http://schemas.microsoft.com/3dmanufacturing/{x}" for x in ("core/2015/02", "production/2015/06")
    )
    long = files.threemf_mesh(1).replace('x="1.0"', 'x="7.0"') + files.threemf_mesh(2)
    spaces = f'unit="millimeter" xmlns="{core}" xmlns:p="{production}"'
    other = f'<?xml version="1.0"?><model {spaces}><resources>{long}</resources><build/></model>'
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship '
        'Target="/3D/o.model" Id="r1" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
    )
    both = (
        '<object id="5"><components><component objectid="1"/><component p:path="/3D/o.model" objectid="1" '
        'transform="1 0 0 0 1 0 0 0 1 20 0 0"/></components></object>'
    )
    members = {"3D/o.model": other.encode(), "3D/_rels/3dmodel.model.rels": relations.encode()}
    mesh = raw(files.threemf(files.threemf_mesh(1) + both, '<item objectid="5"/>', **members), ".3mf")
    assert len(mesh.faces) == 24 and extents(mesh) == [27, 2, 3]


def test_concave_polygons_of_dae_are_cut_by_their_outline() -> None:
    channel = "0 0 0 3 0 0 3 3 0 2 3 0 2 1 0 1 1 0 1 3 0 0 3 0"  # a U, area 7
    polygon = (
        '<polylist count="1"><input semantic="VERTEX" source="#v" offset="0"/><vcount>8</vcount>'
        "<p>0 1 2 3 4 5 6 7</p></polylist>"
    )
    content = files.dae(primitives=polygon).replace(
        " ".join(f"{x!r}" for x in BOX.ravel().tolist()).encode(), channel.encode()
    )
    assert area(raw(content, ".dae")) == pytest.approx(7)


def test_instances_of_dae_nodes() -> None:
    matrix = "<matrix>2 0 0 0 0 2 0 0 0 0 2 9 0 0 0 1</matrix>"
    nodes = f'{files.NODE}<node id="m">{matrix}<instance_geometry url="#g"/></node>'
    mesh = raw(files.dae(nodes=nodes), ".dae")
    assert len(mesh.faces) == 24 and extents(mesh) == [2, 4, 15]


def _laughs() -> str:
    nodes = "".join(
        f'<node id="n{k}"><instance_node url="#n{k - 1}"/><instance_node url="#n{k - 1}"/></node>'
        for k in range(1, 60)
    )
    return f'<node id="n0"><instance_geometry url="#g"/></node>{nodes}'


_DOUBLED = files.threemf_mesh(1) + "".join(
    f'<object id="{k}"><components><component objectid="{k - 1}"/><component objectid="{k - 1}"/></components></object>'
    for k in range(2, 60)
)
_ENTITY = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]>'


@pytest.mark.parametrize(
    ("content", "ending", "words"),
    [
        (files.step()[:-60], ".step", "without its end; it is cut off"),
        (files.step().replace(b"ENDSEC;\nEND-ISO", b"#\nEND-ISO"), ".step", "OpenCASCADE finds it damaged"),
        (files.step().replace(b"FACETED_BREP(", b"NOTHING_AT_ALL("), ".step", "without surfaces"),
        (files.iges()[: 81 * 12], ".iges", "lacks lines"),
        (b"".join(line for line in files.iges().splitlines(True) if line[72:73] != b"P"), ".iges", "lacks lines"),
        (files.threemf()[:-40], ".3mf", "a zip archive \\(or a 3MF or USDZ file\\) that is cut off"),
        (files.threemf(build=""), ".3mf", "says to build nothing"),
        (files.threemf(build='<item objectid="9"/>'), ".3mf", "Could not find Object"),
        (files.threemf(_DOUBLED, '<item objectid="59"/>'), ".3mf", "components, the limit is 100,000"),
        (files.threemf(files.threemf_mesh(1).replace('v3="3"', 'v3="88"', 1)), ".3mf", "Invalid model node index"),
        (files.dae()[:-30], ".dae", "no whole XML"),
        (_ENTITY + files.dae(), ".dae", "has a document type"),
        (files.dae().replace(b"utf-8", b"utf-7"), ".dae", "encoding utf-7"),
        (files.dae(nodes=_laughs()), ".dae", "nodes, the limit is 1,000,000"),
        (files.dae(nodes='<node id="a"><instance_node url="#a"/></node>'), ".dae", "in a circle"),
        (files.dae(nodes='<node id="a"><instance_geometry url="b.dae#g"/></node>'), ".dae", "b.dae"),
        (files.dae().replace(b'count="24"', b'count="27"'), ".dae", "24 of 27"),
        (files.dae().replace(b"<p>0 1 3", b"<p>0 1 x"), ".dae", "no whole numbers"),
        (files.dae().replace(b"<vcount>3 3", b"<vcount>3 4"), ".dae", "more or fewer corners"),
        (files.dae().replace(b"instance_geometry", b"instance_controller"), ".dae", "skins"),
    ],
)  # fmt: skip
def test_what_is_not_whole_or_not_harmless_is_refused_with_the_reason(
    content: bytes, ending: str, words: str
) -> None:
    with pytest.raises(ShapeError, match=words) as refused:
        raw(content, ending)
    assert str(refused.value).startswith(f"a{ending}: ") and len(str(refused.value)) < 500


def test_no_part_is_taken_from_another_file(tmp_path: Path) -> None:
    """An uploaded assembly must not bring along what lies on the disk of the server."""
    secret = tmp_path / "secret.stp"
    secret.write_bytes(files.step())
    names = f"#9001=DOCUMENT_FILE('{secret}','',$,$,'',$);\n"
    whole = raw(files.step(extra=names), ".step")  # a document that belongs to it, but has none of its shape
    assert extents(whole) == pytest.approx([1, 2, 3])
    alone = files.step([(0, 0, 0), (5, 0, 0)], extra=names).replace(b"FACETED_BREP(", b"NOTHING_AT_ALL(")
    with pytest.raises(
        ShapeError, match=r"parts that lie in other files \(.*secret\.stp\), which are not opened"
    ):
        raw(alone, ".step")


def test_limits() -> None:
    for content, ending in ((files.step(), ".step"), (files.threemf(), ".3mf"), (files.dae(), ".dae")):
        with pytest.raises(ShapeError, match="limit is 11"):
            raw(content, ending, max_faces=11)
    bomb = files.threemf(**{"3D/big.model": b" " * 5_000_000})
    assert len(bomb) < 20_000
    with pytest.raises(ShapeError, match="limit is 1,000,000"):
        raw(bomb, ".3mf", max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("content", "ending", "what", "advice"),
    [
        (files.zipped({"a.usdc": b"PXR-USDC"}), ".usdz", "a USDZ file", "Blender"),
        (files.zipped({"Document.xml": b"<a/>"}), ".FCStd", "a FreeCAD document", "FreeCAD"),
        (files.zipped({"a.off": b"OFF"}), ".zip", "a zip archive", "unpack it"),
        (files.zipped({"[Content_Types].xml": b"", "word/a.xml": b""}), ".3mf", "an Office document", "give a shape"),
        (b"#usda 1.0\n", ".usda", "a USD file", "Blender"),
        (b"PXR-USDC\0", "", "a USD file", "Blender"),
        (b"Kaydara FBX Binary  \0", ".fbx", "an FBX file", "Blender"),
        (b"; FBX 7.3.0 project file\n", ".obj", "an FBX file", "Blender"),
        (b"0\nSECTION\n2\nENTITIES\n0\n3DFACE\n", ".dxf", "a DXF file", "FreeCAD"),
        (b"  0\r\nSECTION\r\n  2\r\nHEADER\r\n", ".xyz", "a DXF file", "FreeCAD"),
        (b"DBRep_DrawableShape\n\nCASCADE Topology V1", ".brep", "a BREP file", "FreeCAD"),
        (b"# vtk DataFile Version 2.0\n", ".vtk", "a VTK file", "ParaView"),
        (b'<?xml version="1.0"?><VTKFile type="PolyData">', ".vtp", "a VTK file", "ParaView"),
        (b"$MeshFormat\n4.1 0 8\n", ".msh", "a Gmsh mesh", "Gmsh"),
        (b'<?xml version="1.0"?>\n<!-- a --><X3D>', ".x3d", "an X3D file", "Blender"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", ".sldprt", "a document of SolidWorks", "FreeCAD"),
        (b"LASF\0\0", ".las", "a LAS file", "CloudCompare"),
        (b"\x01\x02\x03\x04", ".jt", "a JT file", "FreeCAD"),
        (b"<html><body>not found</body></html>", ".step", "an HTML page", ".step"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_format_and_what_opens_it(
    content: bytes, ending: str, what: str, advice: str
) -> None:
    with pytest.raises(ShapeError, match=what) as refused:
        kind_of(content, ending.lower())
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("package", "content", "ending"),
    [("cascadio", files.step, ".step"), ("lib3mf", files.threemf, ".3mf"), ("collada", files.dae, ".dae")],
)
def test_without_the_extra_it_is_named(
    package: str, content: Callable[[], bytes], ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'batchot\[cad\]'"):
        raw(content(), ending)


def accessor(count: int, stride: int, offset: int = 0, array: str = "f") -> str:
    return f'<accessor source="#{array}" count="{count}" stride="{stride}" offset="{offset}">'


def dae_numbers(numbers: np.ndarray, entry: str) -> bytes:
    """The box with other numbers, of which an accessor says what is where."""
    before, rest = files.dae().decode().split('count="24">')
    _, after = rest.split("</float_array>")
    text = " ".join(repr(value) for value in numbers.ravel().tolist())
    content = f'{before}count="{numbers.size}">{text}</float_array>{after}'
    return content.replace('<accessor source="#f" count="8" stride="3">', entry).encode()


def test_positions_of_dae_among_other_numbers() -> None:
    ones = np.full((8, 3), 7.0)
    for numbers, entry in (
        (np.hstack([BOX, ones]), accessor(8, 6)),
        (np.hstack([BOX, ones[:, :1]]), accessor(8, 4)),
        (np.vstack([ones[:1], BOX]), accessor(8, 3, 3)),
        (np.hstack([ones, BOX]), accessor(8, 6, 3)),
        (BOX, '<accessor source="#f" count="8">'),
    ):
        mesh = raw(dae_numbers(numbers, entry), ".dae")
        assert area_and_volume(mesh) == pytest.approx((22, 6))
    for entry in (
        accessor(9, 3, 3),
        accessor(8, 2),
        accessor(8, 6),
        accessor(8, 3, -3),
        accessor(8, 3).replace("3", "x"),
    ):
        with pytest.raises(ShapeError, match="names more numbers than a list has"):
            raw(dae_numbers(BOX, entry), ".dae")
    with pytest.raises(ShapeError, match="used by another source"):
        raw(dae_numbers(BOX, accessor(8, 3, array="other")), ".dae")


def test_positions_of_dae_far_from_the_origin_keep_their_digits() -> None:
    far = BOX / 1000 + np.array([4.6e6, 5e5, 300.0])
    mesh = raw(dae_numbers(far, accessor(8, 3)), ".dae")
    np.testing.assert_allclose(mesh.vertices[np.unique(mesh.faces)], far, rtol=1e-12)


def test_mirrored_parts_keep_their_outside() -> None:
    mirrored = (
        '<node id="m"><scale>-1 1 1</scale><translate>5 0 0</translate><instance_geometry url="#g"/></node>'
    )
    items = '<item objectid="1"/><item objectid="1" transform="-1 0 0 0 1 0 0 0 1 -5 0 0"/>'
    for content, ending in (
        (files.dae(nodes=files.NODE + mirrored), ".dae"),
        (files.threemf(build=items), ".3mf"),
    ):
        assert area_and_volume(raw(content, ending)) == pytest.approx((44, 12))


def test_solid_supports_of_3mf_are_no_part_of_the_shape() -> None:
    objects = files.threemf_mesh(1) + files.threemf_mesh(3, "solidsupport")
    assert area(
        raw(files.threemf(objects, '<item objectid="1"/><item objectid="3"/>'), ".3mf")
    ) == pytest.approx(22)


def test_axes_of_dae_in_another_order_and_skewed_nodes() -> None:
    swapped = (
        files.dae()
        .replace(b'name="X"', b'name="Q"')
        .replace(b'name="Z"', b'name="X"')
        .replace(b'name="Q"', b'name="Z"')
    )
    np.testing.assert_allclose(extents(raw(swapped, ".dae")), [3, 2, 1])
    node = '<node id="n"><skew>45 0 1 0 1 0 0</skew><instance_geometry url="#g"/></node>'
    with pytest.raises(ShapeError, match="skewed"):
        raw(files.dae(nodes=node), ".dae")
    with pytest.raises(ShapeError, match="cannot be read as COLLADA"):
        raw(files.dae(nodes=node.replace("skew", "bend")), ".dae")
