"""STEP, IGES, 3MF and DAE files written without the code under test."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence

import numpy as np

from oracles.shape_files import BOX, POLYGONS

UNITS = {
    "mm": "(LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.))",
    "m": "(LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT($,.METRE.))",
    "in": "(CONVERSION_BASED_UNIT('INCH',#900) LENGTH_UNIT() NAMED_UNIT(#901))",
}
NODE = '<node id="n"><instance_geometry url="#g"/></node>'
Place = tuple[float, float, float]


class _Step:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str) -> str:
        self.lines.append(text)
        return f"#{len(self.lines)}"

    def point(self, place: Sequence[float]) -> str:
        return self.add(f"CARTESIAN_POINT('',({','.join(f'{float(x)!r}' for x in place)}))")

    def axes(
        self,
        place: Sequence[float] = (0, 0, 0),
        z: Sequence[float] = (0, 0, 1),
        x: Sequence[float] = (1, 0, 0),
    ) -> str:
        directions = [self.add(f"DIRECTION('',({','.join(f'{float(v)!r}' for v in way)}))") for way in (z, x)]
        return self.add(f"AXIS2_PLACEMENT_3D('',{self.point(place)},{','.join(directions)})")

    def shape(self, name: str, kind: str, items: Sequence[str], context: str) -> tuple[str, str]:
        """A product with its shape: numbers of its definition and of its representation."""
        app = self.add("APPLICATION_CONTEXT('core data for automotive mechanical design processes')")
        seen = self.add(f"PRODUCT_CONTEXT('',{app},'mechanical')")
        product = self.add(f"PRODUCT('{name}','{name}','',({seen}))")
        formation = self.add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
        design = self.add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{app},'design')")
        definition = self.add(f"PRODUCT_DEFINITION('design','',{formation},{design})")
        outline = self.add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
        body = self.add(f"{kind}('',({','.join(items)}),{context})")
        self.add(f"SHAPE_DEFINITION_REPRESENTATION({outline},{body})")
        return definition, body


def step(places: Sequence[Place] = ((0, 0, 0),), unit: str = "mm", extra: str = "") -> bytes:
    """The box of 1 x 2 x 3 units as a faceted solid; of several places, an assembly that uses it once at each."""
    made = _Step()
    length, angle, solid = (
        made.add(UNITS[unit]),
        made.add("(NAMED_UNIT(*) PLANE_ANGLE_UNIT() SI_UNIT($,.RADIAN.))"),
        made.add("(NAMED_UNIT(*) SI_UNIT($,.STERADIAN.) SOLID_ANGLE_UNIT())"),
    )
    near = made.add(
        f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-07),{length},'distance_accuracy_value','')"
    )
    context = made.add(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3) GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({near})) "
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid})) REPRESENTATION_CONTEXT('','3D'))"
    )
    corners = [made.point(point) for point in BOX]
    faces = []
    for polygon in POLYGONS:
        loop = made.add(f"POLY_LOOP('',({','.join(corners[i] for i in polygon)}))")
        bound = made.add(f"FACE_OUTER_BOUND('',{loop},.T.)")
        first, along = BOX[polygon[0]], BOX[polygon[1]] - BOX[polygon[0]]
        normal = np.cross(along, BOX[polygon[2]] - first)
        plane = made.add(f"PLANE('',{made.axes(first.tolist(), normal.tolist(), along.tolist())})")
        faces.append(made.add(f"FACE_SURFACE('',({bound}),{plane},.T.)"))
    shell = made.add(f"CLOSED_SHELL('',({','.join(faces)}))")
    brep = made.add(f"FACETED_BREP('',{shell})")
    part, body = made.shape("box", "FACETED_BREP_SHAPE_REPRESENTATION", [made.axes(), brep], context)
    if len(places) > 1:
        there = [made.axes(place) for place in places]
        here = made.axes()
        whole, frame = made.shape("two", "SHAPE_REPRESENTATION", [here, *there], context)
        for k, place in enumerate(there):
            usage = made.add(f"NEXT_ASSEMBLY_USAGE_OCCURRENCE('{k}','box {k}','',{whole},{part},$)")
            outline = made.add(f"PRODUCT_DEFINITION_SHAPE('','',{usage})")
            moved = made.add(f"ITEM_DEFINED_TRANSFORMATION('','',{here},{place})")
            related = made.add(
                f"(REPRESENTATION_RELATIONSHIP('','',{body},{frame}) REPRESENTATION_RELATIONSHIP_WITH_TRANSFORMATION"
                f"({moved}) SHAPE_REPRESENTATION_RELATIONSHIP())"
            )
            made.add(f"CONTEXT_DEPENDENT_SHAPE_REPRESENTATION({related},{outline})")
    text = "\n".join(f"#{k}={line};" for k, line in enumerate(made.lines, 1))
    if unit == "in":
        text += (
            "\n#900=LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),#902);\n#901=DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,"
            f"0.);\n#902={UNITS['mm']};"
        )
    return (
        "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\n"
        f"FILE_SCHEMA(('AUTOMOTIVE_DESIGN'));\nENDSEC;\nDATA;\n{text}\n{extra}ENDSEC;\nEND-ISO-10303-21;\n"
    ).encode()


def ball(radius: float) -> bytes:
    """A solid ball in the middle, in millimetres."""
    lines = (
        f"CARTESIAN_POINT('',(0.,0.,0.)) DIRECTION('',(0.,0.,1.)) DIRECTION('',(1.,0.,0.)) "
        f"AXIS2_PLACEMENT_3D('',#9000,#9001,#9002) SPHERICAL_SURFACE('',#9003,{float(radius)!r}) "
        f"CARTESIAN_POINT('',(0.,0.,{float(radius)!r})) VERTEX_POINT('',#9005) VERTEX_LOOP('',#9006) "
        "FACE_BOUND('',#9007,.T.) ADVANCED_FACE('',(#9008),#9004,.T.) CLOSED_SHELL('',(#9009))"
    ).split()
    extra = "".join(f"#{9000 + k}={line};\n" for k, line in enumerate(lines))
    return re.sub(rb"FACETED_BREP\('',#\d+\)", b"MANIFOLD_SOLID_BREP('',#9010)", step(extra=extra))


def iges(unit: str = "MM", flag: int = 2) -> bytes:
    """The box of 1 x 2 x 3 units as six patches that do not know of one another; some of them face inwards."""
    quads = [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 4, 5), (2, 3, 6, 7), (0, 2, 4, 6), (1, 3, 5, 7)]
    sections: dict[str, list[str]] = {"S": ["box"], "D": [], "P": []}
    head = f"1H,,1H;,3Hbox,3Hbox,3Hbox,3Hbox,32,38,6,308,15,3Hbox,1.,{flag},{len(unit)}H{unit},1,0.01,"
    sections["G"] = [head, "15H20261129.151331,1.E-07,3.,3Hbox,3Hbox,11,0,15H20261129.151331;"]
    for quad in quads:
        corners = ",".join(f"{x!r}" for i in quad for x in BOX[i].tolist())
        first = len(sections["P"]) + 1
        number = len(sections["D"]) + 1
        for text in (
            "128,1,1,1,1,0,0,1,0,0,0.,0.,1.,1.,0.,0.,1.,1.,1.,1.,1.,1.,",
            f"{corners},",
            "0.,1.,0.,1.;",
        ):
            sections["P"].append(f"{text:<64}{number:8d}")
        sections["D"].append("".join(f"{n:8d}" for n in (128, first, 0, 0, 0, 0, 0, 0)) + "00000000")
        sections["D"].append("".join(f"{n:8d}" for n in (128, 0, 0, 3, 0)) + " " * 24 + f"{0:8d}")
    lines = [f"{text:<72}{letter}{k:7d}" for letter in "SGDP" for k, text in enumerate(sections[letter], 1)]
    counts = "".join(f"{letter}{len(sections[letter]):7d}" for letter in "SGDP")
    return "\n".join([*lines, f"{counts:<72}T{1:7d}", ""]).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def threemf_mesh(number: int, kind: str = "model") -> str:
    corners = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in BOX)
    faces = "".join(
        f'<triangle v1="{p[0]}" v2="{p[k]}" v3="{p[k + 1]}"/>' for p in POLYGONS for k in range(1, len(p) - 1)
    )
    return (
        f'<object id="{number}" type="{kind}"><mesh><vertices>{corners}</vertices><triangles>{faces}</triangles></mesh>'
        "</object>"
    )


def threemf(
    objects: str | None = None, build: str = '<item objectid="1"/>', unit: str = "", **members: bytes
) -> bytes:
    """The box in a 3MF file, or other objects."""
    core, production = (
        f"http://schemas.microsoft.com/3dmanufacturing/{x}" for x in ("core/2015/02", "production/2015/06")
    )
    measure = f' unit="{unit}"' if unit else ""
    model = (
        f'<?xml version="1.0" encoding="UTF-8"?><model xmlns="{core}" xmlns:p="{production}"'
        f"{measure}>"
        f"<resources>{threemf_mesh(1) if objects is None else objects}</resources><build>{build}</build></model>"
    )
    relation = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "".join(
        f'<Default Extension="{e}" ContentType="application/vnd.{t}+xml"/>'
        for e, t in (
            ("rels", "openxmlformats-package.relationships"),
            ("model", "ms-package.3dmanufacturing-3dmodel"),
        )
    )
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types">{types}</Types>'.encode(),
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Target="/3D/3dmodel.model" '
            f'Id="r0" Type="{relation}"/></Relationships>'.encode(),
            "3D/3dmodel.model": model.encode(),
            **members,
        }
    )


def dae(asset: str = "<up_axis>Z_UP</up_axis>", nodes: str = NODE, primitives: str | None = None) -> bytes:
    """The box in a COLLADA file as polygons, or other primitives; instead of its node, others."""
    numbers = " ".join(f"{x!r}" for x in BOX.ravel().tolist())
    if primitives is None:
        counts, corners = (
            " ".join(str(len(p)) for p in POLYGONS),
            " ".join(str(i) for p in POLYGONS for i in p),
        )
        primitives = (
            f'<polylist count="{len(POLYGONS)}" material="red"><input semantic="VERTEX" source="#v" offset="0"/>'
            f"<vcount>{counts}</vcount><p>{corners}</p></polylist>"
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" '
        f'version="1.4.1"><asset>{asset}</asset><library_images><image id="i"><init_from>/etc/passwd</init_from>'
        "</image></library_images><library_geometries>"
        f'<geometry id="g"><mesh><source id="s"><float_array id="f" count="24">'
        f'{numbers}</float_array><technique_common><accessor source="#f" count="8" stride="3"><param name="X" '
        'type="float"/><param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common>'
        f'</source><vertices id="v"><input semantic="POSITION" source="#s"/></vertices>{primitives}</mesh></geometry>'
        '</library_geometries><library_visual_scenes><visual_scene id="w">'
        f"{nodes}"
        '</visual_scene></library_visual_scenes><scene><instance_visual_scene url="#w"/></scene></COLLADA>'
    ).encode()
