# %% [markdown]
# # What a plan looks at
#
# A batch of handwritten digits and the transport plan of the loss on it. Move the sliders: `gamma` says how fast
# a pair gets cheap as it is placed worse, `lam` how closely the plan follows the cost, `margin` from where a negative
# pair is easy.

# %%
import matplotlib.pyplot as plt
import torch

from batchot import BatchOTLoss, ground_distance, plan_report, sinkhorn
from batchot.data import load_digits
from batchot.losses import BatchOTSettings

torch.manual_seed(0)
digits = load_digits().train
pixels = digits.images.flatten(1) / 255
network = torch.nn.Linear(64, 8)
optimiser = torch.optim.Adam(network.parameters(), 0.01)

# %% [markdown]
# Ten steps of training, so that some pairs are placed well and others badly.

# %%
for batch in torch.randperm(len(pixels))[:1000].split(100):
    optimiser.zero_grad()
    BatchOTLoss()(network(pixels[batch]), digits.labels[batch]).backward()
    optimiser.step()

chosen = torch.cat([(digits.labels == digit).nonzero().flatten()[20:26] for digit in (1, 3, 8, 9)])
x = torch.nn.functional.normalize(network(pixels[chosen]).detach())
labels = digits.labels[chosen]


# %%
def show(gamma: float = 3.0, lam: float = 5.0, margin: float = 1.0) -> torch.Tensor:
    itself = torch.eye(len(x), dtype=torch.bool)
    M, D = ground_distance(x, labels, margin=margin, gamma=gamma)
    plan = sinkhorn(D, lam, mask=itself)
    relative = plan.coupling * len(x) * (len(x) - 1)  # 1: the uniform plan
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.imshow(M, cmap="Blues")
    left.set_title("M: how badly a pair is placed")
    right.imshow(relative.masked_fill(itself, torch.nan), cmap="Purples", vmin=0, vmax=4)
    right.set_title("plan, in units of the uniform one")
    for axes in (left, right):
        axes.set(
            xticks=range(len(x)),
            yticks=range(len(x)),
            xticklabels=labels.tolist(),
            yticklabels=labels.tolist(),
        )
    report = plan_report(x, labels, settings=BatchOTSettings(gamma=gamma, lam=lam, margin=margin))
    print(
        f"{report.violated_mass:.0%} of the mass on the {report.violated_pairs:.0%} of pairs that are badly placed; "
        f"as if it looked at {report.effective_pairs:.0f} of {report.allowed_pairs} pairs"
    )
    plt.show()
    return relative


# %% [markdown]
# With ipywidgets the sliders move; without it the plan is drawn for three values of `lam`.

# %%
try:
    from ipywidgets import interact

    interact(show, gamma=(0.5, 20.0), lam=(0.0, 40.0), margin=(0.1, 3.0))
except ImportError:
    plans = [show(lam=lam) for lam in (0.0, 5.0, 40.0)]
