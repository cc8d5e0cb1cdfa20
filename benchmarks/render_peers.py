"""Other headless renderers behind one call, for benchmarks/render.py, which runs each in a process of its own.

Each function takes the cameras (rotations, distance, extent) and the size, sets up what can be kept from mesh to mesh,
and returns a function from (vertices, faces) to uint8 pixels (v, size, size): grey by |n · v|, two-sided, on white,
four samples a pixel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Draw = Callable[[NDArray[np.float64], NDArray[np.int64]], Pixels]


@dataclass(frozen=True, eq=False)
class View:
    """As batchot.shapes.Cameras, without the need to import it where only the other renderer is installed."""

    rotations: NDArray[np.float64]
    distance: float
    extent: float
    size: int


def batchot(view: View) -> Draw:
    from batchot.shapes import Mesh
    from batchot.shapes.render.cameras import Cameras
    from batchot.shapes.render.render import render_views

    cameras = Cameras("benchmark", view.rotations, view.distance, view.extent)
    return lambda vertices, faces: render_views(Mesh(vertices, faces), cameras, size=view.size)[:, 0]


def moderngl(view: View) -> Draw:
    """OpenGL by EGL, which without a GPU is Mesa's llvmpipe; multi-sampled 4 times."""
    import moderngl

    context = moderngl.create_standalone_context(backend="egl")
    context.enable(moderngl.DEPTH_TEST)
    program = context.program(
        vertex_shader="""#version 330
            uniform mat4 clip; uniform mat3 turn; in vec3 place; out vec3 q;
            void main() { q = turn * place; gl_Position = clip * vec4(q, 1.0); }""",
        fragment_shader="""#version 330
            in vec3 q; out vec4 colour;
            void main() {
                float c = abs(normalize(cross(dFdx(q), dFdy(q))).z);
                colour = vec4(vec3((35.0 + 185.0 * c) / 255.0), 1.0);
            }""",
    )
    d, near, far = view.distance, view.distance - 1.01, view.distance + 1.01
    clip = np.zeros((4, 4))
    clip[0, 0] = clip[1, 1] = d / view.extent
    clip[2, 2], clip[2, 3] = (
        -(far + near) / (far - near),
        d * (far + near) / (far - near) - 2 * far * near / (far - near),
    )
    clip[3, 2], clip[3, 3] = -1.0, d
    program["clip"].write(np.ascontiguousarray(clip.T, np.float32))
    shape = (view.size, view.size)
    drawn = context.framebuffer(
        [context.renderbuffer(shape, 1, samples=4)], context.depth_renderbuffer(shape, samples=4)
    )
    plain = context.framebuffer([context.renderbuffer(shape, 1)])

    def draw(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Pixels:
        places = context.buffer(vertices.astype(np.float32))
        indices = context.buffer(faces.astype(np.int32))
        array = context.vertex_array(program, [(places, "3f", "place")], indices)
        pixels = np.empty((len(view.rotations), *shape), np.uint8)
        for k, R in enumerate(view.rotations):
            program["turn"].write(np.ascontiguousarray(R.T, np.float32))
            drawn.use()
            drawn.clear(1.0, 1.0, 1.0, 1.0)
            array.render()
            context.copy_framebuffer(plain, drawn)
            pixels[k] = np.frombuffer(plain.read(components=1, alignment=1), np.uint8).reshape(shape)[::-1]
        for thing in (array, places, indices):
            thing.release()
        return pixels

    return draw


def pyvista(view: View) -> Draw:
    """VTK, multi-sampled 4 times."""
    import pyvista

    plotter = pyvista.Plotter(off_screen=True, window_size=[view.size, view.size], lighting="none")
    plotter.set_background("white")
    plotter.ren_win.SetMultiSamples(4)
    plotter.add_light(pyvista.Light(light_type="headlight"))
    plotter.camera.view_angle = 2 * np.degrees(np.arctan(view.extent / view.distance))

    def draw(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Pixels:
        mesh = pyvista.PolyData.from_regular_faces(vertices.astype(np.float32), faces)
        actor = plotter.add_mesh(
            mesh,
            color="white",
            ambient=35 / 255,
            diffuse=185 / 255,
            specular=0.0,
            lighting=True,
            reset_camera=False,
        )
        pixels = np.empty((len(view.rotations), view.size, view.size), np.uint8)
        for k, R in enumerate(view.rotations):
            plotter.camera.position = tuple(view.distance * R[2])
            plotter.camera.focal_point = (0.0, 0.0, 0.0)
            plotter.camera.up = tuple(R[1])
            plotter.camera.clipping_range = (view.distance - 1.01, view.distance + 1.01)
            plotter.ren_win.Render()
            pixels[k] = plotter.screenshot(return_img=True)[..., 0]
        plotter.remove_actor(actor, render=False)
        return pixels

    return draw


def embree(view: View) -> Draw:
    """Intel's ray tracer through embreex: a ray for each of four samples a pixel."""
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    side = 2 * view.size
    u, v = np.meshgrid(
        ((np.arange(side) + 0.5) / side * 2 - 1) * view.extent,
        (1 - (np.arange(side) + 0.5) / side * 2) * view.extent,
    )
    ways = np.stack([u, v, np.full_like(u, -view.distance)], axis=-1).reshape(-1, 3)
    ways = [(ways @ R).astype(np.float32) for R in view.rotations]
    starts = [np.tile((view.distance * R[2]).astype(np.float32), (side * side, 1)) for R in view.rotations]

    def draw(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Pixels:
        scene = rtcore_scene.EmbreeScene()
        TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
        a, b, c = vertices[faces].transpose(1, 0, 2)
        n = np.cross(b - a, c - a)
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-300)
        pixels = np.empty((len(view.rotations), view.size, view.size), np.uint8)
        for k, R in enumerate(view.rotations):
            hit = scene.run(starts[k], ways[k], query="INTERSECT")
            grey = np.append(35 + 185 * np.abs(n @ R[2]), 255.0)[hit]  # no hit is -1, the last
            pixels[k] = grey.reshape(view.size, 2, view.size, 2).mean(axis=(1, 3)) + 0.5
        return pixels

    return draw


def pyrender(view: View) -> Draw:
    """OpenGL through pyrender, flat faces, none culled, multi-sampled 4 times; its own headlight shading."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    import pyrender
    import trimesh

    renderer = pyrender.OffscreenRenderer(view.size, view.size)
    camera = pyrender.PerspectiveCamera(yfov=2 * np.arctan(view.extent / view.distance), znear=0.5, zfar=10)
    material = pyrender.MetallicRoughnessMaterial(baseColorFactor=(0.8, 0.8, 0.8, 1.0), doubleSided=True)
    flags = pyrender.RenderFlags.SKIP_CULL_FACES

    def draw(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Pixels:
        mesh = pyrender.Mesh.from_trimesh(
            trimesh.Trimesh(vertices, faces, process=False), smooth=False, material=material
        )
        scene = pyrender.Scene(bg_color=(1.0, 1.0, 1.0))
        scene.add(mesh)
        node = scene.add(camera)
        light = scene.add(pyrender.DirectionalLight(intensity=3.0))
        pixels = np.empty((len(view.rotations), view.size, view.size), np.uint8)
        for k, R in enumerate(view.rotations):
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = R.T, view.distance * R[2]
            scene.set_pose(node, pose)
            scene.set_pose(light, pose)
            pixels[k] = renderer.render(scene, flags=flags)[0][..., 0]
        return pixels

    return draw


RENDERERS: dict[str, Callable[[View], Draw]] = {
    "batchot": batchot,
    "moderngl": moderngl,
    "pyvista": pyvista,
    "embree": embree,
    "pyrender": pyrender,
}
