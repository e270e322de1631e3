"""The network: one for every family, through the screen interface.

Screen, instruction, previous action and previous reward go in; logits over the live choices of
the screen action and a distribution over the return come out. It knows no task ids, so it can
play a game that it never saw. It doesn't know how it is trained.

A *state* is a dict of tensors, one row per slot: the GRU's hidden vector and the brightness of
the last screen, from which motion is seen. Where ``first`` is set the state starts anew.

Suffixes: N sequences, T times, B = N·T, H W pixels, A = 209 choices, P = 5 parts, U distinct
texts, L ids of a text, V value bins, D features, M sequences with a live pointer; in encoders
C cells, K heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from universe2.agents.conditional import ConditionalEncoder
from universe2.agents.gru import ResettingGRU
from universe2.agents.lora import add_adapters, trunk_name
from universe2.agents.patches import PIXEL, see_patches
from universe2.agents.pointing import POINTER_AT, Cells, Pointing
from universe2.agents.returns import bins, symlog
from universe2.agents.text import BUCKETS
from universe2.core.errors import UsageError
from universe2.core.screen import NVEC, POINTER

State = dict[str, Tensor]
CHOICES = sum(NVEC)
_OFFSETS = torch.tensor([sum(NVEC[:part]) for part in range(len(NVEC))])
ANEW = {"keys": ("policy", slice(POINTER_AT)), "value": ("value", slice(None))}
"""What may begin anew in a trained network, by name: the layer and which of its rows. The rows of the pointer
and its buttons are not among them: a place that is clicked means the same in every task."""
GAZES = 8
"""Heads of a Gaze: about as many things as a game's next move depends on."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network. ``screen_size`` is (height, width) in pixels."""

    encoder: str
    width: int
    hidden: int
    screen_size: tuple[int, int] = (64, 64)
    text_dim: int = 32
    value_bins: int = 127
    value_limit: float = 9.0
    """the bins span symlog returns of ±this (±8,100 for 9)"""
    reconstruct: bool = False
    """a head that paints the screen, for ``PPOLoss.reconstruction_coef``"""
    lora_rank: int = 0
    """of adapters beside a frozen trunk; 0 means that all weights are trained"""
    bases: int = 0
    """out of so many is each instruction's own encoder mixed (see agents/conditional.py); 0: one for all"""


PRESETS = {
    "nano": ModelConfig("patch", 16, 128),
    "micro": ModelConfig("patch", 32, 256),
    "small": ModelConfig("impala", 16, 256),
    "base": ModelConfig("impala", 48, 512),
}


def preset(name: str, screen_size: tuple[int, int] = (64, 64)) -> ModelConfig:
    """The sizes called ``name``: ``nano`` for two CPU cores; ``micro``, at half its speed, where many tasks
    share one there; ``small`` and ``base`` for a GPU."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return replace(PRESETS[name], screen_size=screen_size)


class Observation(NamedTuple):
    """What the network sees, batch first."""

    screen: Tensor
    """uint8 (N, T, H, W, 3)"""
    texts: Tensor
    """int (U, L): hashed ids of the distinct instructions"""
    text_index: Tensor
    """int64 (N, T): which of them; in [0, U)"""
    mask: Tensor
    """bool (N, A): live choices"""
    prev_action: Tensor
    """int64 (N, T, P); zeros where ``first``"""
    prev_reward: Tensor
    """float32 (N, T); zeros where ``first``"""
    first: Tensor
    """bool (N, T): the first observation of an episode"""
    points: Tensor
    """int64 (M,): the sequences whose pointer is live (``pointing.points`` of the masks)"""


class Output(NamedTuple):
    """What the network says, batch first."""

    logits: Tensor
    """float32 (N, T, A); dead choices are -inf"""
    value_logits: Tensor
    """float32 (N, T, V)"""
    state: State
    picture: Tensor | None = None
    """float32 (N, T, H/4, W/4, 3) in [0, 1]: the screen as the features tell it, if asked for"""


class Gaze(nn.Module):
    """Attention pooling: each of K heads looks where its score is highest, and says what is there and where.

    What a head finds means the same wherever it is found. A layer with weights of its own for
    every place has to learn it anew in each of them.
    """

    def __init__(self, channels: int, grid: tuple[int, int], heads: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, heads)
        self.place = nn.Parameter(torch.zeros(grid[0] * grid[1], heads))
        axes = [torch.linspace(-1, 1, side) for side in grid]
        where_C2 = torch.cartesian_prod(*axes)
        self.register_buffer("where", where_C2, persistent=False)
        self.out_features = heads * (channels + 2)

    def forward(self, x_BCD: Tensor) -> Tensor:
        """(B, C, D) features of the grid's cells, row by row → (B, out_features)."""
        look_BKC = (self.score(x_BCD) + self.place).transpose(1, 2).softmax(-1)
        what_BKD = torch.bmm(look_BKC, x_BCD.to(look_BKC.dtype))
        return torch.cat([what_BKD.flatten(1), (look_BKC @ self.where).flatten(1)], -1)


class PatchEncoder(nn.Module):
    """Patches of 4 × 4 pixels, one strided convolution, a gaze: the cheapest thing that sees a screen.

    Three input channels make a convolution slow on a CPU; patches are a plain matrix product.
    """

    def __init__(self, width: int, size: tuple[int, int], out: int) -> None:
        super().__init__()
        self.grid = (size[0] // 4, size[1] // 4)
        self.patch = nn.Linear(48 + 4, width)
        self.conv = nn.Conv2d(width, 2 * width, 4, 2)
        rows, columns = ((side - 4) // 2 + 1 for side in self.grid)
        self.cells, self.channels = Cells((rows, columns), size, 8, 8), 2 * width
        self.gaze = Gaze(2 * width, (rows, columns), GAZES)
        self.out = nn.Linear(2 * width * rows * columns + self.gaze.out_features + 48, out)

    def forward(self, screen_BHW3: Tensor, motion_BHW: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, H, W, 3) and int16 (B, H/2, W/2) → (B, out), and (B, C, channels) of the cells."""
        # bfloat16 could not hold the difference of two large sums.
        with torch.autocast(screen_BHW3.device.type, enabled=False):
            x, mean_B48 = see_patches(screen_BHW3, motion_BHW, self.patch.weight, self.patch.bias)
        x = x.view(len(x), *self.grid, -1).permute(0, 3, 1, 2)
        x = F.relu(self.conv(x)).permute(0, 2, 3, 1).flatten(1, 2)
        # The mean colour goes a way of its own.
        seen = torch.cat([x.flatten(1), self.gaze(x), mean_B48 * PIXEL], -1)
        return F.relu(self.out(seen)), x


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(F.relu(x))))
        return out


class ImpalaEncoder(nn.Module):
    """IMPALA's residual network (Espeholt et al., 2018), widths (w, 2w, 2w), pooled to 4 × 4 cells."""

    def __init__(self, width: int, size: tuple[int, int], out: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 2 * width)
        self.motion = nn.Conv2d(1, width, 3, padding=1)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip((3, *widths), widths, strict=False)
        )
        self.blocks = nn.ModuleList(nn.Sequential(ResidualBlock(w), ResidualBlock(w)) for w in widths)
        self.out = nn.Linear(widths[-1] * 16, out)
        rows, columns = (-(-side // 8) for side in size)
        self.cells, self.channels = Cells((rows, columns), size, 0, 8), widths[-1]

    def forward(self, screen_BHW3: Tensor, motion_BHW: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, H, W, 3) and int16 (B, H/2, W/2) → (B, out), and (B, C, channels) of the cells."""
        # rows of RGB are channels_last already: the cast is the only copy
        x = screen_BHW3.permute(0, 3, 1, 2).float() * PIXEL
        motion = motion_BHW.unsqueeze(1).float() * PIXEL
        for stage, (conv, blocks) in enumerate(zip(self.convs, self.blocks, strict=True)):
            x = F.max_pool2d(conv(x), 3, 2, 1)
            if stage == 0:
                x = x + self.motion(motion).contiguous(memory_format=torch.channels_last)
            x = blocks(x)
        x = F.relu(x)
        seen = F.relu(self.out(F.adaptive_avg_pool2d(x, 4).flatten(1)))
        return seen, x.permute(0, 2, 3, 1).flatten(1, 2)


class Network(nn.Module):
    """Encoder, GRU, masked factored action head that points, distributional value head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        height, width = config.screen_size
        if height % 4 or width % 4 or min(height, width) < 32:
            raise UsageError(
                f"screen_size must be multiples of 4, at least 32 × 32, got {config.screen_size}"
            )
        self.config = config
        encoders: dict[str, type[PatchEncoder | ImpalaEncoder]] = {
            "patch": PatchEncoder,
            "impala": ImpalaEncoder,
        }
        hidden = config.hidden
        encoder = encoders[config.encoder](config.width, config.screen_size, hidden)
        self.encoder = ConditionalEncoder(encoder, config.bases) if config.bases else encoder
        self.text = nn.EmbeddingBag(BUCKETS, config.text_dim, mode="mean", padding_idx=0)
        self.action = nn.EmbeddingBag(CHOICES, config.text_dim, mode="sum")
        self.mix = nn.Linear(hidden + 2 * config.text_dim + 1, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.core = ResettingGRU(hidden, hidden)
        self.policy = nn.Linear(2 * hidden, CHOICES)
        self.value = nn.Linear(2 * hidden, config.value_bins)
        self.picture = nn.Linear(2 * hidden, 3 * height * width // 16) if config.reconstruct else None
        self.bf16 = False
        """products in bfloat16; the learner's choice"""
        for layer in (*self.encoder.modules(), self.mix, self.core.inputs):
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                # the default shrinks what passes through layer by layer, and learning starts late
                nn.init.orthogonal_(layer.weight, 2**0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for module in self.encoder.modules():
            if isinstance(module, Gaze):
                nn.init.normal_(module.score.weight, std=0.1)  # at first it looks everywhere
        nn.init.orthogonal_(self.policy.weight, 0.01)
        nn.init.zeros_(self.policy.bias)
        nn.init.zeros_(self.value.weight)
        # the first guess: a return near 0, with far bins so unlikely that they don't matter
        self.value.bias.data = -2 * symlog(bins(config.value_bins, config.value_limit)).abs()
        self.pointing = Pointing(encoder.channels, encoder.cells, 2 * hidden)
        if config.lora_rank:
            add_adapters(self, config.lora_rank)
        nn.Module.to(self, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def initial_state(self, count: int) -> State:
        """The state of ``count`` fresh slots."""
        height, width = self.config.screen_size
        device = self.policy.weight.device
        return {
            "hidden": torch.zeros(count, self.config.hidden, device=device),
            "brightness": torch.zeros(count, height // 2, width // 2, dtype=torch.int16, device=device),
        }

    def forward(self, obs: Observation, state: State) -> Output:
        """All T times of N sequences, from the state before the first of them."""
        with torch.autocast(obs.screen.device.type, torch.bfloat16, enabled=self.bf16):
            seen_NTD, cells_NTCD, features_NTD, last_NHW = self._encode(obs, state["brightness"])
            core_NTD, hidden_ND = self.core(features_NTD, obs.first, state["hidden"])
            # the heads see past the memory: what a glance tells is learned much sooner
            out_NTD = torch.cat([F.relu(features_NTD + core_NTD), seen_NTD], -1)
            logits = self.policy(out_NTD).float()
            logits = self._pointed(logits, cells_NTCD, out_NTD, obs.points)
            logits = logits.masked_fill(~obs.mask[:, None], -torch.inf)
            value_logits = self.value(out_NTD).float()
            picture = self._paint(out_NTD) if self.picture is not None else None
        return Output(logits, value_logits, {"hidden": hidden_ND, "brightness": last_NHW}, picture)

    def trunk_name(self, name: str) -> str:
        """What the weight ``name`` of a network without adapters is called in this one."""
        return trunk_name(self, name)

    def _pointed(self, logits_NTA: Tensor, cells_NTCD: Tensor, out_NTD: Tensor, points_M: Tensor) -> Tensor:
        """The logits with those of the pointer's head added. No sequences are no work, and no gradient of 0
        is missing: ranks add up theirs."""
        cells, context = (x.index_select(0, points_M).flatten(0, 1) for x in (cells_NTCD, out_NTD))
        pointed = self.pointing(cells, context).unflatten(0, (len(points_M), logits_NTA.shape[1]))
        after = CHOICES - POINTER_AT - 2 * POINTER
        return logits_NTA.index_add(0, points_M, F.pad(pointed, (POINTER_AT, after)))

    def _paint(self, out_NTD: Tensor) -> Tensor:
        assert self.picture is not None
        height, width = self.config.screen_size
        painted: Tensor = self.picture(out_NTD).float()
        return painted.view(*out_NTD.shape[:2], height // 4, width // 4, 3)

    def _encode(self, obs: Observation, before_NHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the screen, its cells, and of all inputs: features without memory. The last brightness."""
        count, times = obs.first.shape
        now_NTHW = brightness(obs.screen)
        last_NTHW = torch.cat([before_NHW[:, None], now_NTHW[:, :-1]], 1)
        moved = (now_NTHW - last_NTHW).masked_fill_(obs.first[..., None, None], 0)
        told = (obs.texts, obs.text_index.flatten()) if self.config.bases else ()
        seen_BD, cells_BCD = self.encoder(obs.screen.flatten(0, 1), moved.flatten(0, 1), *told)
        text_BD = self.text(obs.texts)[obs.text_index.flatten()]
        acted_BD = self.action(obs.prev_action.flatten(0, 1) + _OFFSETS.to(obs.prev_action.device))
        acted_BD = acted_BD * (~obs.first).flatten()[:, None]
        reward_B1 = symlog(obs.prev_reward.flatten())[:, None]
        features_BD = F.relu(self.mix(torch.cat([seen_BD, text_BD, acted_BD, reward_B1], -1)))
        features_BD = self.norm(features_BD)
        seen, cells, features = (x.unflatten(0, (count, times)) for x in (seen_BD, cells_BCD, features_BD))
        return seen, cells, features, now_NTHW[:, -1]


def brightness(screen: Tensor) -> Tensor:
    """uint8 (…, H, W, 3) → int16 (…, H/2, W/2): red + green + blue of every other pixel."""
    picked = screen[..., ::2, ::2, :]
    # three sums of views: a reduction over an axis of length 3 is three times slower
    return picked[..., 0].short() + picked[..., 1].short() + picked[..., 2].short()


def thumbnail(screen: Tensor) -> Tensor:
    """uint8 (…, H, W, 3) → float32 (…, H/4, W/4, 3) in [0, 1]: means of 4 × 4 pixels."""
    *lead, height, width, _ = screen.shape
    # sums of whole rows, then of columns, in 16 bits: five times faster than a mean over both at once
    rows = screen.view(*lead, height // 4, 4, 3 * width).sum(-2, dtype=torch.int16)
    sums = rows.view(*lead, height // 4, width // 4, 4, 3).sum(-2, dtype=torch.int16)
    return sums.float() * (PIXEL / 16)
