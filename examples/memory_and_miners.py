"""The loss with a memory of past batches and a miner: `python examples/memory_and_miners.py`.

Needs pytorch-metric-learning: `pip install 'batchot[compare]'`.
"""

import torch
from pytorch_metric_learning.losses import CrossBatchMemory
from pytorch_metric_learning.miners import MultiSimilarityMiner

from batchot import retrieval_scores
from batchot.data import load_digits
from batchot.pml import BatchOTLoss

torch.manual_seed(0)
digits = load_digits()
train = torch.utils.data.TensorDataset(digits.train.images / 255, digits.train.labels)
batches = torch.utils.data.DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
network = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 32)
)
variants = {
    "the batch alone": (BatchOTLoss(), None),
    "pairs of a miner": (BatchOTLoss(), MultiSimilarityMiner(epsilon=0.1)),
    "against a memory of 512": (CrossBatchMemory(BatchOTLoss(), embedding_size=32, memory_size=512), None),
}
start = {name: value.clone() for name, value in network.state_dict().items()}

for name, (loss_of, miner) in variants.items():
    network.load_state_dict(start)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.003)
    for _ in range(3):
        for images, labels in batches:
            optimiser.zero_grad()
            embeddings = network(images)
            pairs = None if miner is None else miner(embeddings, labels)
            loss_of(embeddings, labels, pairs).backward()
            optimiser.step()
    with torch.no_grad():
        scores = retrieval_scores(
            network(digits.test.images / 255), digits.test.labels, distance="cosine", at=[1]
        )
    print(f"{name}: mAP {scores.map:.3f}")
