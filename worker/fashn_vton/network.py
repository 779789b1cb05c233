"""The diffusion transformer of FASHN VTON v1.5, with the keys and shapes of the published weights.

The blocks are those of FLUX.1 (Black Forest Labs 2024): double-stream blocks keep separate weights for the
person and the garment and attend over both; single-stream blocks treat them as one sequence.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

PERSON_CHANNELS = 7
"""Noisy picture 3, person picture 3, person pose 1."""

GARMENT_CHANNELS = 4
"""Garment picture 3, garment pose 1."""

PICTURE_CHANNELS = 3

CATEGORIES = 4
"""None, tops, bottoms, one-pieces."""

TIME_FEATURES = 256
"""Sines and cosines that describe the time."""

TIME_FACTOR = 1000.0
"""The time 0..1 is multiplied by this before its sines and cosines: the scale of the training."""

MAX_PERIOD = 10_000.0
"""Longest period of the sines and cosines of time and position (Vaswani et al. 2017, section 3.5)."""

EPSILON = 1e-6
"""Added to a mean square before its root, so that zeros do not divide by zero."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the network; the defaults are the published ones.

    Attributes:
        input_shape: rows and columns of the pictures, pixels; multiples of `patch`.
        hidden_size: features of a token.
        n_heads: attention heads; `hidden_size` is a multiple.
        double_blocks_depth, single_blocks_depth, patch_mixer_depth: number of blocks of each kind.
        axes_dim: features of a head that the three position axes rotate; their sum is a head's size.
        patch: side of the square of pixels that one token describes.
        mlp_ratio: features between the two layers of an MLP, in units of `hidden_size`.
    """

    input_shape: tuple[int, int] = (864, 576)
    hidden_size: int = 1280
    n_heads: int = 10
    double_blocks_depth: int = 8
    single_blocks_depth: int = 16
    axes_dim: tuple[int, int, int] = (16, 56, 56)
    patch_mixer_depth: int = 4
    patch: int = 12
    mlp_ratio: int = 4

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of one picture."""
        return self.input_shape[0] // self.patch, self.input_shape[1] // self.patch


@dataclass(frozen=True)
class Conditions:
    """What stays the same in all steps of a picture; computed once by `TryOnTransformer.conditions`.

    Attributes:
        person: (b, tokens, hidden): embedded person picture and pose, without the noisy picture.
        garment: (b, tokens, hidden): embedded garment picture and pose.
        category: (b, hidden): embedded category.
        rotation: float32 (tokens, head / 2, 2): cosine and sine of each position's angles.
    """

    person: Tensor
    garment: Tensor
    category: Tensor
    rotation: Tensor


class TryOnTransformer(nn.Module):
    """Predicts the velocity from noise to picture.

    Args:
        sizes: the sizes of the network.
    """

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        hidden, values = sizes.hidden_size, PICTURE_CHANNELS * sizes.patch**2
        # No computation uses it; the published file holds it.
        self.register_buffer("patch_mixer_token", torch.zeros(1, 1, values))
        self.t_embedder = TimeEmbedder(hidden)
        self.y_embedder = nn.Embedding(CATEGORIES, hidden)
        self.x_embedder = PatchEmbedder(PERSON_CHANNELS, hidden, sizes.patch)
        self.garment_embedder = PatchEmbedder(GARMENT_CHANNELS, hidden, sizes.patch)
        self.x_patch_mixer = nn.ModuleList(SingleBlock(sizes) for _ in range(sizes.patch_mixer_depth))
        self.double_blocks = nn.ModuleList(DoubleBlock(sizes) for _ in range(sizes.double_blocks_depth))
        self.single_blocks = nn.ModuleList(SingleBlock(sizes) for _ in range(sizes.single_blocks_depth))
        self.final_layer = FinalLayer(hidden, values)

    def conditions(
        self,
        person: Tensor,
        garment: Tensor,
        person_pose: Tensor,
        garment_pose: Tensor,
        category: Tensor,
    ) -> Conditions:
        """Return what does not change between the steps.

        Args:
            person, garment: (b, 3, h, w) in [-1, 1]; all zero for the unconditional velocity.
            person_pose, garment_pose: (b, 1, h, w) in [-1, 1]; all zero likewise.
            category: int64 (b,): 1 tops, 2 bottoms, 3 one-pieces, 0 none.
        """
        return Conditions(
            self.x_embedder(torch.cat([person, person_pose], 1), first_channel=PICTURE_CHANNELS, bias=False),
            self.garment_embedder(torch.cat([garment, garment_pose], 1)),
            self.y_embedder(category),
            rotation_table(self.sizes.grid, self.sizes.axes_dim, person.device),
        )

    def forward(self, picture: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Return the velocity, (b, 3, h, w).

        Args:
            picture: (b, 3, h, w), noise at time 0, the picture at time 1.
            time: (b,) in [0, 1].
            conditions: of the same b items.
        """
        # The embedding is linear: the noisy picture's share is added to that of what does not change.
        person = self.x_embedder(picture, first_channel=0) + conditions.person
        garment = conditions.garment
        vector = self.t_embedder(time, picture.dtype) + conditions.category
        for block in self.x_patch_mixer:
            person = block(person, vector, conditions.rotation)
        # Both pictures have the same positions: the order of the two does not matter to the table.
        both = torch.cat([conditions.rotation, conditions.rotation])
        for block in self.double_blocks:
            person, garment = block(person, garment, vector, both)
        tokens = torch.cat([garment, person], 1)
        for block in self.single_blocks:
            tokens = block(tokens, vector, both)
        patches = self.final_layer(tokens[:, garment.shape[1] :], vector)
        rows, columns = self.sizes.grid
        planes = patches.transpose(1, 2).unflatten(2, (rows, columns))
        return functional.pixel_shuffle(planes, self.sizes.patch)


class TimeEmbedder(nn.Module):
    """Sines and cosines of the time, then an MLP."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.ModuleDict(
            {"in_layer": nn.Linear(TIME_FEATURES, hidden), "out_layer": nn.Linear(hidden, hidden)}
        )

    def forward(self, time: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (b, hidden) for times (b,) in [0, 1]; the angles are computed in float32."""
        half = TIME_FEATURES // 2
        exponents = torch.arange(half, dtype=torch.float32, device=time.device) / half
        angles = TIME_FACTOR * time.float()[:, None] * torch.exp(-math.log(MAX_PERIOD) * exponents)
        features = torch.cat([angles.cos(), angles.sin()], 1).to(dtype)
        embedded: Tensor = self.mlp["out_layer"](functional.silu(self.mlp["in_layer"](features)))
        return embedded


class PatchEmbedder(nn.Module):
    """One token for each square of pixels (Dosovitskiy et al. 2021, section 3.1)."""

    def __init__(self, channels: int, hidden: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden, patch, stride=patch)

    def forward(self, pictures: Tensor, *, first_channel: int = 0, bias: bool = True) -> Tensor:
        """Return the share (b, tokens, hidden) of these channels, (b, c, h, w), in the tokens.

        Args:
            pictures: some of the input's channels.
            first_channel: the input's channel that is the first of them.
            bias: whether the bias is added.
        """
        weight = self.proj.weight[:, first_channel : first_channel + pictures.shape[1]]
        share = functional.conv2d(pictures, weight, self.proj.bias if bias else None, stride=self.proj.stride)
        return share.flatten(2).transpose(1, 2)


class RootMeanSquareNorm(nn.Module):
    """Zhang and Sennrich 2019, eq. 4, in float32."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., features) with a mean square of 1, times the scale."""
        single = x.float()
        normalised = single * torch.rsqrt(single.square().mean(-1, keepdim=True) + EPSILON)
        return normalised.to(x.dtype) * self.scale


class QueryKeyNorm(nn.Module):
    """Norms of queries and keys before the attention (Dehghani et al. 2023, section 2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query_norm = RootMeanSquareNorm(features)
        self.key_norm = RootMeanSquareNorm(features)

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Return both normalised, (b, heads, tokens, features)."""
        return self.query_norm(query), self.key_norm(key)


class Modulation(nn.Module):
    """Shift, scale and gate of adaptive layer norms (Peebles and Xie 2023, section 3.2)."""

    def __init__(self, hidden: int, norms: int) -> None:
        super().__init__()
        self.norms = norms
        self.lin = nn.Linear(hidden, 3 * norms * hidden)

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Return shift, scale and gate of each norm, each (b, 1, hidden)."""
        lines: Tensor = self.lin(functional.silu(vector))
        return lines[:, None].chunk(3 * self.norms, -1)


class Attention(nn.Module):
    """The layers of one stream's attention; `attend` joins the streams."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.norm = QueryKeyNorm(hidden // heads)
        self.proj = nn.Linear(hidden, hidden)

    def query_key_value(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three of x (b, tokens, hidden), each (b, heads, tokens, features)."""
        query, key, value = split_heads(self.qkv(x), self.heads)
        return *self.norm(query, key), value


class DoubleBlock(nn.Module):
    """Person and garment with weights of their own, one attention (Esser et al. 2024, section 4)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        hidden, heads = sizes.hidden_size, sizes.n_heads
        self.img_mod, self.txt_mod = Modulation(hidden, 2), Modulation(hidden, 2)
        self.img_attn, self.txt_attn = Attention(hidden, heads), Attention(hidden, heads)
        self.img_mlp, self.txt_mlp = _mlp(hidden, sizes.mlp_ratio), _mlp(hidden, sizes.mlp_ratio)

    def forward(
        self, person: Tensor, garment: Tensor, vector: Tensor, rotation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return person and garment, (b, tokens, hidden) each; `img` is the person, `txt` the garment.

        vector: (b, hidden), time and category. rotation: of the garment's and the person's positions.
        """
        person_shift, person_scale, person_gate, *person_rest = self.img_mod(vector)
        garment_shift, garment_scale, garment_gate, *garment_rest = self.txt_mod(vector)
        person_parts = self.img_attn.query_key_value(modulated(person, person_shift, person_scale))
        garment_parts = self.txt_attn.query_key_value(modulated(garment, garment_shift, garment_scale))
        query, key, value = (torch.cat(parts, 2) for parts in zip(garment_parts, person_parts, strict=True))
        attended = attend(query, key, value, rotation)
        of_garment, of_person = attended.tensor_split([garment.shape[1]], 1)
        person = person + person_gate * self.img_attn.proj(of_person)
        garment = garment + garment_gate * self.txt_attn.proj(of_garment)
        shift, scale, gate = person_rest
        person = person + gate * self.img_mlp(modulated(person, shift, scale))
        shift, scale, gate = garment_rest
        garment = garment + gate * self.txt_mlp(modulated(garment, shift, scale))
        return person, garment


class SingleBlock(nn.Module):
    """Attention and MLP side by side on one sequence (Dehghani et al. 2023, section 2)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        hidden, self.heads = sizes.hidden_size, sizes.n_heads
        self.widths = 3 * hidden, sizes.mlp_ratio * hidden
        self.linear1 = nn.Linear(hidden, sum(self.widths))
        self.linear2 = nn.Linear(hidden + sizes.mlp_ratio * hidden, hidden)
        self.norm = QueryKeyNorm(hidden // sizes.n_heads)
        self.modulation = Modulation(hidden, 1)

    def forward(self, x: Tensor, vector: Tensor, rotation: Tensor) -> Tensor:
        """Return x (b, tokens, hidden); vector: (b, hidden); rotation: of the tokens' positions."""
        shift, scale, gate = self.modulation(vector)
        joined, inner = self.linear1(modulated(x, shift, scale)).split(self.widths, -1)
        query, key, value = split_heads(joined, self.heads)
        query, key = self.norm(query, key)
        attended = attend(query, key, value, rotation)
        change: Tensor = self.linear2(torch.cat([attended, functional.gelu(inner, approximate="tanh")], -1))
        return torch.addcmul(x, gate, change)


class FinalLayer(nn.Module):
    """Adaptive norm and a linear layer to the pixels of each token's patch."""

    def __init__(self, hidden: int, values: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, values)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Return the pixels of each patch, channel-major, (b, tokens, values)."""
        shift, scale = self.adaLN_modulation(vector)[:, None].chunk(2, -1)
        return cast(Tensor, self.linear(modulated(x, shift, scale)))


def _mlp(hidden: int, ratio: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(hidden, ratio * hidden), nn.GELU(approximate="tanh"), nn.Linear(ratio * hidden, hidden)
    )


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return the layer norm of x (b, tokens, hidden), scaled and shifted by (b, 1, hidden)."""
    return (1 + scale) * functional.layer_norm(x, x.shape[-1:], eps=EPSILON) + shift


def split_heads(joined: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Return query, key and value, (b, heads, tokens, features), of (b, tokens, 3 · heads · features)."""
    items, tokens, _ = joined.shape
    return joined.view(items, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def attend(query: Tensor, key: Tensor, value: Tensor, rotation: Tensor) -> Tensor:
    """Return the attention's result, (b, tokens, heads · features); queries and keys are rotated first."""
    attended = functional.scaled_dot_product_attention(
        rotated(query, rotation), rotated(key, rotation), value
    )
    return attended.transpose(1, 2).flatten(2)


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Return x (b, heads, tokens, features) with each pair of features rotated (Su et al. 2021, eq. 34)."""
    first, second = x.float().view(*x.shape[:-1], -1, 2).unbind(-1)
    cosine, sine = rotation.unbind(-1)
    pairs = torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1)
    return pairs.flatten(-2).to(x.dtype)


@cache
def rotation_table(grid: tuple[int, int], axes: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return cosine and sine of the angles of each position, float32 (tokens, sum(axes) / 2, 2).

    Axis 0 is always 0, axis 1 the row, axis 2 the column. The angles are computed in float64, once.
    """
    rows, columns = (torch.arange(count, dtype=torch.float64) for count in grid)
    row, column = (part.flatten() for part in torch.meshgrid(rows, columns, indexing="ij"))
    angles = [
        position[:, None] / MAX_PERIOD ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
        for position, size in zip((torch.zeros_like(row), row, column), axes, strict=True)
    ]
    angle = torch.cat(angles, 1)
    return torch.stack([angle.cos(), angle.sin()], -1).float().to(device)
