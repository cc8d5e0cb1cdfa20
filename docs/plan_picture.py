"""Draw what the plan of a batch looks at: `python docs/plan_picture.py docs/plan.png`.

Sixteen handwritten digits, embedded by a linear map after ten steps with the loss.
"""

import sys

import matplotlib.pyplot as plt
import torch
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from batchot import BatchOTLoss, ground_distance, sinkhorn
from batchot.data import load_digits

GAMMA, LAM, MARGIN = 3.0, 5.0, 1.0
torch.manual_seed(0)
digits = load_digits().train
network, loss_of = torch.nn.Linear(64, 8), BatchOTLoss(gamma=GAMMA, lam=LAM, margin=MARGIN)
pixels = digits.images.flatten(1) / 255
optimiser = torch.optim.Adam(network.parameters(), 0.01)
for batch in torch.randperm(len(pixels))[:1000].split(100):
    optimiser.zero_grad()
    loss_of(network(pixels[batch]), digits.labels[batch]).backward()
    optimiser.step()

chosen = torch.cat([(digits.labels == digit).nonzero().flatten()[20:24] for digit in (1, 3, 8, 9)])
x = torch.nn.functional.normalize(network(pixels[chosen]).detach())
labels = digits.labels[chosen]
n = len(labels)

itself = torch.eye(n, dtype=torch.bool)
same = labels[:, None] == labels
M, D = ground_distance(x, labels, margin=MARGIN, gamma=GAMMA)
T = sinkhorn(D, LAM, mask=itself).coupling
pull = torch.where(same, T, -T * (M > 0)) * n * (n - 1)

figure, panels = plt.subplots(1, 3, figsize=(12.6, 4.6), layout="constrained")
cost = "cost  $D_{ij} = e^{-\\gamma M_{ij}}$\ndark: cheap, since the pair is badly placed"
plan = "plan  $T_{ij}$, in units of the uniform plan\nevery row and column has the same sum"
weights = "weights of the gradient\nblue pulls together, red pushes apart"
shown_matrices = (
    (D, cost, "Blues_r", (0, 1)),
    (n * (n - 1) * T, plan, "Purples", (0, 3)),
    (pull, weights, "RdBu", (-3, 3)),
)
for axes, (values, title, colours, limits) in zip(panels, shown_matrices, strict=True):
    shown = axes.imshow(
        values.masked_fill(itself, torch.nan), cmap=colours, vmin=limits[0], vmax=limits[1], aspect="equal"
    )
    axes.set_facecolor("0.9")
    axes.set_title(title, fontsize=11)
    axes.set(xticks=[], yticks=[])
    for edge in range(4, n, 4):
        axes.axhline(edge - 0.5, color="0.3", lw=0.8)
        axes.axvline(edge - 0.5, color="0.3", lw=0.8)
    for k, image in enumerate(digits.images[chosen, 0]):
        for place in ((k, n + 0.3), (-1.3, k)):
            picture = OffsetImage(image.numpy(), cmap="Greys", zoom=1.4)
            axes.add_artist(AnnotationBbox(picture, place, frameon=False, annotation_clip=False, pad=0))
    figure.colorbar(shown, ax=axes, shrink=0.75, pad=0.02)
figure.savefig(sys.argv[1], dpi=110, facecolor="white", bbox_inches="tight")
