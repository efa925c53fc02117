"""The decoder-only transformer in Nanda's form (Nanda et al. 2023, section 3), read at "=".

An example is the three tokens "a b ="; learned positions, no layer norm, ReLU, untied unembedding, logits at the last
position only. `forward_plain` is the textbook path. `forward` is the same function by exact algebra:

- Only the last position of the last block is read, so only its query, its row of attention and its MLP are computed.
- In a network of one block, key and value of an operand depend on the token and its place alone: they are computed once
  for each of the p symbols, not once for each example, and the query of "=" once in all.

B examples, S positions (3), V symbols, H heads, E width of a head, D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config import RunConfig
from trainers.models.draws import Draws

Weights = dict[str, Tensor]


def forward_plain(weights: Weights, inputs_BT: Tensor, config: RunConfig, draws: Draws | None) -> Tensor:
    """(B, K) logits at "=", every position of every block computed."""
    x_BSD = _embed(weights, inputs_BT, config)
    for block in range(config.depth):
        x_BSD = _block(weights, x_BSD, block, config, draws)
    return F.linear(x_BSD[:, -1], weights["unembed.weight"])


def forward(weights: Weights, inputs_BT: Tensor, config: RunConfig, draws: Draws | None) -> Tensor:
    """(B, K) logits at "=", by the shortcuts above."""
    last = config.depth - 1
    if config.depth == 1:
        x_D = weights["embed.weight"][config.modulus] + weights["position.weight"][2]
        z_BD = _attend_by_table(weights, inputs_BT, x_D, config)
        x_BD = x_D.expand_as(z_BD)
    else:
        x_BSD = _embed(weights, inputs_BT, config)
        for block in range(last):
            x_BSD = _block(weights, x_BSD, block, config, draws)
        x_BD = x_BSD[:, -1]
        z_BD = _attend_last(weights, x_BSD, last, config)
    attended_BD = F.linear(z_BD, weights[f"blocks.{last}.attention.output.weight"])
    x_BD = x_BD + _drop_last(attended_BD, draws, 2 * last)
    x_BD = x_BD + _drop_last(_mlp(weights, x_BD, last), draws, 2 * last + 1)
    return F.linear(x_BD, weights["unembed.weight"])


def _embed(weights: Weights, inputs_BT: Tensor, config: RunConfig) -> Tensor:
    equals_B1 = torch.full_like(inputs_BT[:, :1], config.modulus)
    tokens_BS = torch.cat([inputs_BT, equals_B1], dim=1)
    return F.embedding(tokens_BS, weights["embed.weight"]) + weights["position.weight"]


def _block(weights: Weights, x_BSD: Tensor, block: int, config: RunConfig, draws: Draws | None) -> Tensor:
    attended = F.linear(_attend(weights, x_BSD, block, config), weights[f"blocks.{block}.attention.output.weight"])
    x_BSD = x_BSD + (attended if draws is None else draws.dropout(attended, tag=2 * block))
    mlp = _mlp(weights, x_BSD, block)
    return x_BSD + (mlp if draws is None else draws.dropout(mlp, tag=2 * block + 1))


def _attend(weights: Weights, x_BSD: Tensor, block: int, config: RunConfig) -> Tensor:
    query, key, value = (_heads(weights, x_BSD, block, name, config) for name in ("query", "key", "value"))
    scores_BHSS = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    causal_SS = torch.ones(3, 3, dtype=torch.bool, device=x_BSD.device).tril()
    attention_BHSS = scores_BHSS.masked_fill(~causal_SS, -torch.inf).softmax(-1)
    return (attention_BHSS @ value).transpose(-2, -3).reshape(x_BSD.shape)


def _heads(weights: Weights, x_BSD: Tensor, block: int, name: str, config: RunConfig) -> Tensor:
    """(B, H, S, E)"""
    projected = F.linear(x_BSD, weights[f"blocks.{block}.attention.{name}.weight"])
    return torch.unflatten(projected, -1, (config.heads, -1)).transpose(-2, -3)


def _attend_last(weights: Weights, x_BSD: Tensor, block: int, config: RunConfig) -> Tensor:
    """(B, D) what the last position attends to, heads side by side."""
    key, value = (_heads(weights, x_BSD, block, name, config) for name in ("key", "value"))
    query_BHE = _heads(weights, x_BSD[:, -1:], block, "query", config)[:, :, 0]
    scores_BHS = (key * query_BHE[:, :, None]).sum(-1) / math.sqrt(query_BHE.shape[-1])
    return (value * scores_BHS.softmax(-1)[..., None]).sum(-2).flatten(1)


def _attend_by_table(weights: Weights, inputs_BT: Tensor, x_D: Tensor, config: RunConfig) -> Tensor:
    """(B, D) of a network with one block, from a table of score and value for each symbol in each place."""
    symbols_VD = weights["embed.weight"][: config.modulus]
    place_SD = weights["position.weight"]
    key_DD, value_DD = (weights[f"blocks.0.attention.{name}.weight"] for name in ("key", "value"))
    # Scores are linear in x: fold query and key into one vector per head.
    query_HE = torch.unflatten(F.linear(x_D, weights["blocks.0.attention.query.weight"]), 0, (config.heads, -1))
    fold_HD = torch.einsum("he,hed->hd", query_HE, torch.unflatten(key_DD, 0, (config.heads, -1)))
    fold_HD = fold_HD / math.sqrt(query_HE.shape[-1])
    to_table = torch.cat([value_DD, fold_HD])
    gathered = [
        F.embedding(inputs_BT[:, place], F.linear(symbols_VD + place_SD[place], to_table)) for place in range(2)
    ]
    own = F.linear(x_D, to_table).expand_as(gathered[0])
    stacked_SB = torch.stack([*gathered, own])
    width = value_DD.shape[0]
    attention_SBH = stacked_SB[..., width:].softmax(0)
    value_SBHE = torch.unflatten(stacked_SB[..., :width], -1, (config.heads, -1))
    return (attention_SBH[..., None] * value_SBHE).sum(0).flatten(-2)


def _mlp(weights: Weights, x: Tensor, block: int) -> Tensor:
    up, down = f"blocks.{block}.mlp.up", f"blocks.{block}.mlp.down"
    hidden = F.relu(F.linear(x, weights[f"{up}.weight"], weights.get(f"{up}.bias")))
    return F.linear(hidden, weights[f"{down}.weight"], weights.get(f"{down}.bias"))


def _drop_last(x_BD: Tensor, draws: Draws | None, tag: int) -> Tensor:
    """Dropout of the last position with the draws that `forward_plain` makes for it among all three."""
    if draws is None:
        return x_BD
    all_BSD = x_BD[:, None].expand(-1, 3, -1)
    return draws.dropout(all_BSD, tag)[:, -1]
