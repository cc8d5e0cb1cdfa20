"""A network of your own under Lightning: `python examples/under_lightning.py`."""

from functools import partial

import torch
from lightning.pytorch import Trainer, seed_everything

from batchot import BatchOTLoss, Learner, make_backbone
from batchot.data import load_digits

seed_everything(0)
digits = load_digits()


def loader(images: torch.Tensor, labels: torch.Tensor, **options: bool) -> torch.utils.data.DataLoader:
    data = torch.utils.data.TensorDataset(images / 255, labels)
    return torch.utils.data.DataLoader(data, batch_size=128, **options)


backbone = make_backbone("resnet10-w4", in_channels=1, image_size=8)  # or any module of yours
network = torch.nn.Sequential(backbone, torch.nn.Linear(backbone.out_features, 32))
learner = Learner(network, BatchOTLoss(), optimizer=partial(torch.optim.AdamW, lr=0.003))

trainer = Trainer(
    max_epochs=3,
    accelerator="cpu",  # "auto" takes GPUs; devices=2 makes one transport problem over both
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(
    learner,
    loader(digits.train.images, digits.train.labels, shuffle=True, drop_last=True),
    loader(digits.test.images, digits.test.labels),
)
print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
