"""The audio encoder of data2vec 2.0: convolutions on the waveform, positions by convolution, ALiBi, span masks."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from data2vec import Config, Encoder, pick
from torch import Tensor, nn

Layers = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class AudioConfig(Config):
    samples: int = 160_000  # of a clip
    layers: Layers = ((512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2)  # width, kernel, stride
    position_width: int = 95
    position_depth: int = 5
    position_groups: int = 16
    top_k: int = 8
    mask_length: int = 5
    decoder_width: int = 384
    decoder_kernel: int = 7
    decoder_layers: int = 4
    lr: float = 7.5e-4
    varying_masks: bool = True

    @property
    def tokens(self) -> int:
        length = self.samples
        for _, kernel, stride in self.layers:
            length = (length - kernel) // stride + 1
        return length

    def encoder(self) -> Encoder:
        return AudioEncoder(self)

    def source(self, batch: int) -> Tensor:
        return torch.randn(batch, self.samples)

    def mask(self, rows: int) -> tuple[Tensor, Tensor]:
        with torch.device('cpu'):  # where their number can be read without waiting for the GPU
            return span_mask(rows, self)


# The paper's, without layer drop, whose work is a matter of luck.
DROPOUTS = dict(encoder_dropout=0.1, attention_dropout=0.1, post_mlp_drop=0.1, prenet_dropout=0.1, decoder_dropout=0.1)
PRESETS = {
    'tiny': (
        8,
        AudioConfig(samples=16_000, layers=((128, 10, 5), *[(128, 3, 2)] * 4, (128, 2, 2)), width=192, depth=5, heads=6,
                    top_k=5, decoder_width=192, decoder_layers=3, ema_start=0.99, ema_end=0.998, lr=1e-3, clip_norm=4.0),
    ),
    'base': (2, AudioConfig(clone_batch=4, **DROPOUTS)),
}  # fmt: skip


def span_mask(rows: int, cfg: AudioConfig) -> tuple[Tensor, Tensor]:
    """Kept [rows, K] and masked [rows, N] positions, ascending.

    About mask_prob * T / length spans per row, which may overlap. The row with the fewest masked tokens sets N; the
    others keep a random choice of theirs.
    """
    tokens, length = cfg.tokens, cfg.mask_length
    spans = (cfg.mask_prob * tokens / length + torch.rand(rows)).long().clamp(min=1)
    places = torch.rand(rows, tokens - length).argsort(1)
    starts = torch.zeros(rows, tokens)
    starts[:, : tokens - length].scatter_(1, places, (torch.arange(tokens - length) < spans[:, None]).float())
    masked = F.max_pool1d(F.pad(starts[:, None], (length - 1, 0)), length, stride=1)[:, 0]
    count = int(masked.sum(1).min())
    order = (masked + torch.rand(rows, tokens)).argsort(1, descending=True)
    return order[:, count:].sort(1).values, order[:, :count].sort(1).values


def alibi_slopes(heads: int) -> list[float]:
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return slopes + [2 ** (-4 * (2 * i + 1) / power) for i in range(heads - power)]


class AudioEncoder(Encoder):
    not_averaged = ('convs', 'norms', 'feature_norm', 'project')

    def __init__(self, cfg: AudioConfig):
        super().__init__(cfg, norm=True)
        widths = [1] + [width for width, _, _ in cfg.layers]
        self.convs = nn.ModuleList(
            nn.Conv1d(inputs, width, kernel, stride=stride, bias=False)
            for inputs, (width, kernel, stride) in zip(widths, cfg.layers)
        )
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
        self.feature_norm = nn.LayerNorm(widths[-1])
        self.project = nn.Linear(widths[-1], cfg.width)
        kernel = max(3, cfg.position_width // cfg.position_depth)
        # As pictures of one line; see Decoder.
        self.positions = nn.ModuleList(
            nn.Conv2d(cfg.width, cfg.width, (1, kernel), padding=(0, kernel // 2), groups=cfg.position_groups)
            for _ in range(cfg.position_depth)
        ).to(memory_format=torch.channels_last)
        self.register_buffer('slopes', torch.tensor(alibi_slopes(cfg.heads)))
        self.alibi_scale = nn.Parameter(torch.ones(cfg.heads))

    def local_features(self, source: Tensor) -> Tensor:
        """[B, samples] -> [B, T, D]"""
        x = source[:, None]
        for conv, norm in zip(self.convs, self.norms):
            x = F.gelu(norm(conv(x).transpose(1, 2))).transpose(1, 2)
        return self.project(self.feature_norm(x.transpose(1, 2)))

    def place(self, x: Tensor) -> Tensor:
        y = x[:, None]
        for conv in self.positions:
            y = conv(y.permute(0, 3, 1, 2))[..., : x.shape[1]].permute(0, 2, 3, 1)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
        return y[:, 0]

    def bias(self, places: Tensor) -> Tensor:
        """[rows, n] -> [rows, heads, n, n]: minus the distance, by head."""
        distance = (places[:, :, None] - places[:, None]).abs()
        return (-self.slopes * self.alibi_scale.clamp(min=0))[:, None, None] * distance[:, None]

    def visible(self, local: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        if keep is None:
            return local + self.place(local), self.bias(torch.arange(local.shape[1], device=local.device)[None])
        shown = local.new_zeros(keep.shape[0], local.shape[1]).scatter_(1, keep, 1.0)
        x = local.repeat_interleave(self.cfg.clone_batch, 0) * shown[..., None]
        return pick(x + self.place(x), keep), self.bias(keep)
