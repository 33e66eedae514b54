"""The image encoder of data2vec 2.0: patches, fixed positions, inverse block masks, a decoder over the grid."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from data2vec import Config, Decoder, Encoder, pick
from torch import Tensor, nn


@dataclass(frozen=True)
class ImageConfig(Config):
    image_size: int = 224
    channels: int = 3
    patch: int = 16
    depth: int = 10
    prenet: int = 2
    norm_eps: float = 1e-6
    top_k: int = 10
    clone_batch: int = 16
    mask_prob: float = 0.8
    mask_adjust: float = 0.07
    mask_length: int = 3
    layer_norm_targets: bool = True
    cls_loss: float = 0.01
    ema_start: float = 0.9998
    ema_anneal: int = 100_000
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    adam_eps: float = 1e-8
    weight_decay: float = 0.05
    clip_norm: float = 4.0

    @property
    def grid(self) -> int:
        return self.image_size // self.patch

    def encoder(self) -> Encoder:
        return ImageEncoder(self)

    def decoder(self) -> Decoder:
        return Decoder(self, (self.grid, self.grid))

    def source(self, batch: int) -> Tensor:
        return torch.randn(batch, self.channels, self.image_size, self.image_size)

    def mask(self, rows: int) -> tuple[Tensor, Tensor]:
        return inverse_block_mask(rows, self)


PRESETS = {
    'tiny': (
        32,  # batch size
        ImageConfig(image_size=32, patch=4, width=192, depth=6, prenet=0, heads=6, top_k=6, clone_batch=4,
                    decoder_width=192, decoder_layers=4),
    ),
    'base': (2, ImageConfig(clone_batch=8)),
}  # fmt: skip


def inverse_block_mask(rows: int, cfg: ImageConfig) -> tuple[Tensor, Tensor]:
    """Kept [rows, K] and masked [rows, N] positions, ascending.

    Squares of kept patches around random centres, cut off at the border; then exactly K patches are kept: a random
    choice among the squares' where they are too many, random others besides where they are too few.
    """
    grid, tokens, side = cfg.grid, cfg.grid**2, cfg.mask_length
    kept = int(tokens * (1 - cfg.mask_prob))
    centres = int(tokens * (1 - cfg.mask_prob + cfg.mask_adjust) / side**2)
    blocks = torch.zeros(rows, tokens)
    blocks.scatter_(1, torch.randint(tokens, (rows, centres)), 1.0)
    before, after = side // 2, side - 1 - side // 2
    blocks = F.pad(blocks.view(rows, 1, grid, grid), (after, before, after, before))
    blocks = F.max_pool2d(blocks, side, stride=1).view(rows, tokens)
    order = (blocks + torch.rand(rows, tokens)).argsort(1, descending=True)
    return order[:, :kept].sort(1).values, order[:, kept:].sort(1).values


def sincos_positions(width: int, grid: int) -> Tensor:
    """[1, grid*grid, width]: the first half of the channels encodes the column, the second the row."""
    freq = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * freq
    table = torch.cat([angle.sin(), angle.cos()], 1)
    column = table.repeat(grid, 1)
    row = table.repeat_interleave(grid, 0)
    return torch.cat([column, row], 1).float()[None]


class ImageEncoder(Encoder):
    def __init__(self, cfg: ImageConfig):
        super().__init__(cfg, norm=True, extra=1)
        self.patch = nn.Conv2d(cfg.channels, cfg.width, cfg.patch, stride=cfg.patch)
        self.register_buffer('positions', sincos_positions(cfg.width, cfg.grid))
        nn.init.xavier_uniform_(self.patch.weight.view(cfg.width, -1))

    def local_features(self, source: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, T, D]: one patch, one token."""
        return self.patch(source).flatten(2).transpose(1, 2)

    def visible(self, local: Tensor, keep: Tensor | None) -> tuple[Tensor, None]:
        x = local + self.positions
        return (x if keep is None else pick(x, keep, self.cfg.clone_batch)), None
