"""What packs are measured against: one run, trained as a careful user of PyTorch would write it. Frozen.

Modules of torch.nn, the full batch on the device once, readout and loss at the last position only,
`torch.optim.AdamW(fused=True)`, no evaluation, no logging. Attention is written out: for three positions it is faster
than `scaled_dot_product_attention` (67 against 49 steps/s at width 8 on one core).

B examples, S positions, D width, H heads, E width of a head, K classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[], None]


class Transformer(nn.Module):
    """Nanda et al. 2023: one block, learned positions, no layer norm, ReLU, biases in the MLP, untied unembedding."""

    mask_SS: Tensor

    def __init__(self, modulus: int, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(modulus + 1, width)
        self.position = nn.Parameter(torch.randn(3, width) / width**0.5)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.unembed = nn.Linear(width, modulus, bias=False)
        self.register_buffer("mask_SS", ~torch.ones(3, 3, dtype=torch.bool).tril())

    def forward(self, tokens_BS: Tensor) -> Tensor:
        x_BSD = self.embed(tokens_BS) + self.position
        heads_BSXHE = self.query_key_value(x_BSD).unflatten(-1, (3, self.heads, -1))
        query, key, value = heads_BSXHE.permute(2, 0, 3, 1, 4)
        scores_BHSS = query @ key.mT / query.shape[-1] ** 0.5
        attention_BHSS = scores_BHSS.masked_fill(self.mask_SS, -torch.inf).softmax(-1)
        x_BSD = x_BSD + self.output((attention_BHSS @ value).transpose(1, 2).flatten(-2))
        x_BSD = x_BSD + self.down(F.relu(self.up(x_BSD)))
        return self.unembed(x_BSD[:, -1])


class Toy(nn.Module):
    """Liu et al. 2022: embeddings of length 1, summed, into a tanh MLP of two hidden layers; 30 outputs."""

    def __init__(self, modulus: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(modulus, 1)
        hidden = [nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
        self.decoder = nn.Sequential(*hidden, nn.Linear(width, 30))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return self.decoder(self.embed(tokens_BT).sum(-2))


def transformer_step(width: int, *, device: str, compiled: bool = False) -> Step:
    """A training step of addition mod 113 on 3,000 examples."""
    torch.manual_seed(0)
    symbols = torch.arange(113)
    pairs_BT = torch.cartesian_prod(symbols, symbols)[torch.randperm(113**2)[:3000]]
    tokens_BS = F.pad(pairs_BT, (0, 1), value=113).to(device)
    labels_B = (pairs_BT.sum(-1) % 113).to(device)
    model = Transformer(113, width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98), fused=True)
    return training_step(model, optimizer, lambda: F.cross_entropy(model(tokens_BS), labels_B), compiled)


def toy_step(width: int, *, device: str, compiled: bool = False) -> Step:
    """A training step of Liu's addition of 10 symbols on 45 of 55 pairs, as regression."""
    torch.manual_seed(0)
    pairs_BT = torch.triu_indices(10, 10).T[torch.randperm(55)[:45]].to(device)
    targets_BK = torch.randn(19, 30, device=device)[pairs_BT.sum(-1)]
    model = Toy(10, width).to(device)
    groups = [
        {"params": model.embed.parameters(), "weight_decay": 0.0},
        {"params": model.decoder.parameters(), "lr": 1e-4},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=1.0, fused=True)
    return training_step(model, optimizer, lambda: F.mse_loss(model(pairs_BT), targets_BK), compiled)


def image_mlp_step(images: int, *, device: str, compiled: bool = False) -> Step:
    """A training step of a 4 x 400 perceptron on so many images of MNIST's size."""
    torch.manual_seed(0)
    inputs_BT, labels_B = torch.rand(images, 784, device=device), torch.randint(10, (images,), device=device)
    hidden = [nn.Linear(784, 400), nn.ReLU(), *(m for _ in range(3) for m in (nn.Linear(400, 400), nn.ReLU()))]
    model = nn.Sequential(*hidden, nn.Linear(400, 10)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    return training_step(model, optimizer, lambda: F.cross_entropy(model(inputs_BT), labels_B), compiled)


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], compiled: bool
) -> Step:
    forward = torch.compile(loss, dynamic=False) if compiled else loss

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward().backward()
        optimizer.step()

    return step
