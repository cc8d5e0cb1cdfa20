"""The loss in a plain training loop, and the measures of the embedding: `python examples/loop.py`."""

import torch

from batchot import BatchOTLoss, plan_report, retrieval_scores
from batchot.data import load_digits

torch.manual_seed(0)
digits = load_digits()  # 1,297 and 500 handwritten digits of 8 x 8 pixels
train = torch.utils.data.TensorDataset(digits.train.images / 255, digits.train.labels)
batches = torch.utils.data.DataLoader(train, batch_size=128, shuffle=True, drop_last=True)

network = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 32)
)
loss_of = BatchOTLoss(lam=5.0, gamma=3.0)
optimiser = torch.optim.AdamW(network.parameters(), lr=0.003)

for epoch in range(5):
    network.train()
    for images, labels in batches:
        optimiser.zero_grad()
        embeddings = network(images)
        loss = loss_of(embeddings, labels)
        loss.backward()
        optimiser.step()

    network.eval()
    with torch.no_grad():
        scores = retrieval_scores(
            network(digits.test.images / 255), digits.test.labels, distance="cosine", at=[1]
        )
    plan = plan_report(embeddings.detach(), labels)
    print(
        f"epoch {epoch + 1}: mAP {scores.map:.3f}, nearest neighbour {scores.nn:.3f}; "
        f"{plan.violated_mass:.0%} of the mass on the {plan.violated_pairs:.0%} of pairs that are badly placed"
    )
