"""data2vec 2.0 for images in plain PyTorch: the yardstick that `pnpm bench image --peer` runs beside ours.

Written from the paper (arXiv 2212.07525) as somebody who knows PyTorch well would write it for one CPU: no copy of
the inputs per mask, fused attention, one fused Adam call, foreach clip and EMA, and nothing that torch.compile cannot
take as one graph. `check_fixture.py` shows that it is the model of the reference values, number by number.

Letters: B samples, M masks per sample (clone_batch), R = B*M rows, T patches, K kept, N = T-K masked, E class tokens
(1), D width. Row b*M + m is mask m of sample b.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    image_size: int = 224
    channels: int = 3
    patch: int = 16
    width: int = 768
    depth: int = 10  # blocks that the targets are taken from
    prenet: int = 2  # blocks of the modality's own encoder, before those
    heads: int = 12
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    top_k: int = 10
    clone_batch: int = 16
    mask_prob: float = 0.8
    mask_adjust: float = 0.07
    mask_length: int = 3
    noise_std: float = 0.01
    decoder_width: int = 768
    decoder_groups: int = 16
    decoder_kernel: int = 3
    decoder_layers: int = 6
    cls_loss: float = 0.01
    ema_start: float = 0.9998
    ema_end: float = 0.99999
    ema_anneal: int = 100_000
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    adam_eps: float = 1e-8
    weight_decay: float = 0.05
    clip_norm: float = 4.0

    @property
    def grid(self) -> int:
        return self.image_size // self.patch

    @property
    def tokens(self) -> int:
        return self.grid**2

    @property
    def kept(self) -> int:
        return int(self.tokens * (1 - self.mask_prob))


PRESETS = {
    'tiny': (
        32,  # batch size
        Config(image_size=32, patch=4, width=192, depth=6, prenet=0, heads=6, top_k=6, clone_batch=4,
               decoder_width=192, decoder_layers=4),
    ),
    'base': (2, Config(clone_batch=8)),
}  # fmt: skip


def inverse_block_mask(rows: int, cfg: Config, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Kept [rows, K] and masked [rows, N] positions, ascending.

    Squares of kept patches around random centres, cut off at the border; then exactly K patches are kept: a random
    choice among the squares' where they are too many, random others besides where they are too few.
    """
    grid, tokens, side = cfg.grid, cfg.tokens, cfg.mask_length
    centres = int(tokens * (1 - cfg.mask_prob + cfg.mask_adjust) / side**2)
    blocks = torch.zeros(rows, tokens)
    blocks.scatter_(1, torch.randint(tokens, (rows, centres), generator=generator), 1.0)
    before, after = side // 2, side - 1 - side // 2
    blocks = F.pad(blocks.view(rows, 1, grid, grid), (after, before, after, before))
    blocks = F.max_pool2d(blocks, side, stride=1).view(rows, tokens)
    order = (blocks + torch.rand(rows, tokens, generator=generator)).argsort(1, descending=True)
    return order[:, : cfg.kept].sort(1).values, order[:, cfg.kept :].sort(1).values


def sincos_positions(width: int, grid: int) -> Tensor:
    """[1, grid*grid, width]: the first half of the channels encodes the column, the second the row."""
    freq = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * freq
    table = torch.cat([angle.sin(), angle.cos()], 1)
    column = table.repeat(grid, 1)
    row = table.repeat_interleave(grid, 0)
    return torch.cat([column, row], 1).float()[None]


class Block(nn.Module):
    """Post-norm transformer block. Also returns what its feed-forward part adds: the teacher's raw material."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.heads = cfg.heads
        hidden = int(cfg.width * cfg.mlp_ratio)
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width)
        self.proj = nn.Linear(cfg.width, cfg.width)
        self.norm1 = nn.LayerNorm(cfg.width, eps=cfg.norm_eps)
        self.fc1 = nn.Linear(cfg.width, hidden)
        self.fc2 = nn.Linear(hidden, cfg.width)
        self.norm2 = nn.LayerNorm(cfg.width, eps=cfg.norm_eps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        x = self.norm1(x + self.proj(mixed))
        ffn = self.fc2(F.gelu(self.fc1(x)))
        return self.norm2(x + ffn), ffn


class Encoder(nn.Module):
    """What the teacher has a moving average of: everything but the decoder."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.patch = nn.Conv2d(cfg.channels, cfg.width, cfg.patch, stride=cfg.patch)
        self.register_buffer('positions', sincos_positions(cfg.width, cfg.grid))
        self.cls = nn.Parameter(torch.randn(1, 1, cfg.width))
        self.norm = nn.LayerNorm(cfg.width, eps=cfg.norm_eps)
        self.prenet = nn.ModuleList(Block(cfg) for _ in range(cfg.prenet))
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.depth))
        nn.init.xavier_uniform_(self.patch.weight.view(cfg.width, -1))
        for m in [m for block in (*self.prenet, *self.blocks) for m in block.modules() if isinstance(m, nn.Linear)]:
            nn.init.normal_(m.weight, std=0.02)
            nn.init.zeros_(m.bias)

    def local_features(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, T, D]: one patch, one token."""
        return self.patch(images).flatten(2).transpose(1, 2)

    def forward(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Tokens [R, K, D], positions added -> output [R, 1+K, D] and each shared block's feed-forward output."""
        x, ffns = self.embed(tokens), []
        for block in self.blocks:
            x, ffn = block(x)
            ffns.append(ffn)
        return x, ffns

    def embed(self, tokens: Tensor) -> Tensor:
        x = self.norm(torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], 1))
        for block in self.prenet:
            x, _ = block(x)
        return x


class Decoder(nn.Module):
    """Grouped convolutions over the patch grid, each followed by a layer norm over channels and GELU."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.grid, self.kernel = cfg.grid, cfg.decoder_kernel
        widths = [cfg.width] + [cfg.decoder_width] * cfg.decoder_layers
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, cfg.decoder_kernel, padding=cfg.decoder_kernel // 2, groups=cfg.decoder_groups)
            for i, o in zip(widths, widths[1:])
        )
        self.proj = nn.Linear(widths[-1], cfg.width)
        self.to(memory_format=torch.channels_last)  # tokens are that already; oneDNN is faster with it

    def forward(self, x: Tensor) -> Tensor:
        """[R, T, D] -> [R, T, decoder width], before the projection."""
        r, t, _ = x.shape
        x = x.view(r, self.grid, self.grid, -1)
        for conv in self.convs:
            y = conv(x.permute(0, 3, 1, 2))[:, :, : self.grid, : self.grid].permute(0, 2, 3, 1)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
            x = x + y if x.shape == y.shape else y
        return x.reshape(r, t, -1)


def flat_rows(ids: Tensor, tokens: int, clones: int = 1) -> Tensor:
    """Positions [R, n] -> rows of the flattened [R/clones * tokens, D]."""
    first = torch.arange(ids.shape[0], device=ids.device).div(clones, rounding_mode='floor') * tokens
    return (ids + first[:, None]).flatten()


class Data2Vec(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """[B, T, D]: mean over the last K blocks of their normalised feed-forward outputs, layer-normalised."""
        teacher = self.teacher
        _, ffns = teacher(teacher.local_features(images) + teacher.positions)
        picked = [F.instance_norm(f[:, 1:].transpose(1, 2)) for f in ffns[-self.cfg.top_k :]]
        mean = (sum(picked) / len(picked)).transpose(1, 2)
        return F.layer_norm(mean, mean.shape[-1:])

    def forward(self, images: Tensor, keep: Tensor, masked: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Summed regression and class losses. keep [R, K], masked [R, N], noise [R, N, D]."""
        cfg, d = self.cfg, self.cfg.width
        target = self.targets(images)
        local = self.encoder.local_features(images) + self.encoder.positions
        kept = local.reshape(-1, d).index_select(0, flat_rows(keep, cfg.tokens, cfg.clone_batch))
        out, _ = self.encoder(kept.view(*keep.shape, d))
        hidden = self.decoder(self.decoder_input(out, keep, masked, noise))
        # The projection works per token, and the loss reads masked tokens only.
        hidden = hidden.view(-1, hidden.shape[-1]).index_select(0, flat_rows(masked, cfg.tokens))
        pred = self.decoder.proj(hidden)
        wanted = target.reshape(-1, d).index_select(0, flat_rows(masked, cfg.tokens, cfg.clone_batch))
        scale = 1 / math.sqrt(d)
        regression = F.mse_loss(pred, wanted, reduction='sum') * scale
        wanted_cls = target.mean(1).repeat_interleave(cfg.clone_batch, 0)
        cls = F.mse_loss(out[:, 0], wanted_cls, reduction='sum') * scale * cfg.cls_loss * masked.numel()
        return regression, cls

    def decoder_input(self, out: Tensor, keep: Tensor, masked: Tensor, noise: Tensor) -> Tensor:
        """Kept tokens at their places, noise elsewhere: [R, T, D]."""
        restore = torch.cat([keep, masked], 1).argsort(1)
        slots = torch.cat([out[:, 1:], noise], 1)
        return slots.view(-1, slots.shape[-1]).index_select(0, flat_rows(restore, self.cfg.tokens)).view_as(slots)


class Trainer:
    """Clip, Adam and EMA. `compiled` compiles the loss, and with it the backward pass."""

    def __init__(self, cfg: Config, model: Data2Vec | None = None, compiled: bool = False):
        self.cfg, self.updates = cfg, 0
        self.model = model or Data2Vec(cfg)
        self.loss = torch.compile(self.model) if compiled else self.model
        learned = [*self.model.encoder.named_parameters(), *self.model.decoder.named_parameters()]
        self.params = [p for _, p in learned]
        groups = [
            {'params': [p for _, p in learned if p.ndim > 1], 'weight_decay': cfg.weight_decay},
            {'params': [p for _, p in learned if p.ndim == 1], 'weight_decay': 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=cfg.lr, betas=cfg.betas, fused=True)
        self.averaged = list(self.model.encoder.parameters())
        self.teacher = list(self.model.teacher.parameters())

    def step(self, images: Tensor, draw: tuple[Tensor, Tensor, Tensor] | None = None) -> dict[str, Tensor | float]:
        """One update. `draw` = (keep, masked, noise) instead of random ones."""
        keep, masked, noise = draw or self.draw(images.shape[0])
        regression, cls = self.loss(images, keep, masked, noise)
        loss = (regression + cls) / masked.numel()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.params, self.cfg.clip_norm or math.inf, foreach=True)
        self.update()
        return {'regression': regression.detach(), 'cls': cls.detach(), 'loss': loss.detach(), 'grad_norm': norm}

    def draw(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        keep, masked = inverse_block_mask(batch * self.cfg.clone_batch, self.cfg)
        return keep, masked, torch.randn(*masked.shape, self.cfg.width) * self.cfg.noise_std

    def ema_decay(self, update: int) -> float:
        start, end, anneal = self.cfg.ema_start, self.cfg.ema_end, self.cfg.ema_anneal
        return end if update >= anneal else end - (end - start) * (1 - update / anneal)

    def update(self) -> None:
        self.updates += 1
        for group in self.optimizer.param_groups:
            # The original adds eps before the bias correction of v, torch after it.
            group['eps'] = self.cfg.adam_eps / math.sqrt(1 - self.cfg.betas[1] ** self.updates)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decay = self.ema_decay(self.updates)
        if decay < 1:
            with torch.no_grad():
                torch._foreach_lerp_(self.teacher, self.averaged, 1 - decay)
