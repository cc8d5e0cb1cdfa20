# %% [markdown]
# # Recognise a folder of shapes
#
# From meshes in class folders to a recogniser. Set `FOLDER` to yours: `FOLDER/CLASS/*.off`, or OBJ, STL, PLY, GLB,
# points. Here it is made of built-in shapes, so that there is something to look at.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from batchot import load_run, load_shape, render_views
from batchot.shapes.library import generate_shape
from batchot.training import load_recipe, train

ROOT = Path(tempfile.mkdtemp())
FOLDER = ROOT / "shapes"
for name in ("bottle", "stairs", "airplane"):
    (FOLDER / name).mkdir(parents=True)
    for seed in range(10):
        shape = generate_shape(name, seed)
        with (FOLDER / name / f"{seed}.off").open("w") as file:
            file.write(f"OFF\n{len(shape.vertices)} {len(shape.faces)} 0\n")
            np.savetxt(file, shape.vertices, fmt="%.5f")
            np.savetxt(file, np.insert(shape.faces, 0, 3, axis=1), fmt="%d")

# %% [markdown]
# What the network will see: views from all around, without a screen or a GPU.

# %%
shape = load_shape(FOLDER / "airplane" / "0.off")
views = render_views(shape, "box-6", size=64, channels=("shaded",))
plt.imshow(np.hstack(views[:, 0]), cmap="gray")
plt.axis("off")

# %% [markdown]
# Training. `"shape-folder"` begins from ImageNet weights and is the one to take; this one begins from noise and is
# small, to be quick.

# %%
small = {
    "epochs": 6,
    "precision": 32,
    "batch.size": 12,
    "batch.classes_per_batch": 3,
    "model.backbone": "resnet10-w8-s4",
    "shapes.cameras": "box-6",
    "evaluation.recalibrate": 2,
}
recipe = load_recipe("shape-folder-scratch", [(name, str(value)) for name, value in small.items()])
run = train(recipe, ROOT / "run", data_root=FOLDER, device="cpu")
print(f"mAP {run.rows[-1].map:.3f}, accuracy {run.rows[-1].accuracy:.3f}")

# %% [markdown]
# What it makes of a shape that it has not seen: the class of the nearest of the known ones, by cosine.

# %%
network = load_run(ROOT / "run")
known = run.splits.train
with torch.no_grad():
    embeddings = network(known.batch(range(len(known))))
    asked = render_views(generate_shape("stairs", 100), "box-6", size=64, channels=("shaded", "depth"))
    nearest = (embeddings @ network(torch.from_numpy(asked)[None])[0]).argmax()
answer = network.classes[known.labels[nearest]]
print("the shape is taken for:", answer)
