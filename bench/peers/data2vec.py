"""data2vec 2.0 in plain PyTorch, the parts that all modalities share; data2vec_image.py and its siblings add encoders.

Written from the paper (arXiv 2212.07525) as somebody who knows PyTorch well would write it for one CPU: no copy of
the inputs per mask, fused attention, one fused Adam call, foreach clip and EMA, and nothing that torch.compile cannot
take as one graph. `check_fixture.py` shows that it is the model of the reference values, number by number.

Letters: B samples, M masks per sample (clone_batch), R = B*M rows, T tokens, K kept, N = T-K masked, E class tokens
(0 or 1), D width. Row b*M + m is mask m of sample b.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    width: int = 768
    depth: int = 12  # blocks that the targets are taken from
    prenet: int = 0  # blocks of the modality's own encoder, before those
    heads: int = 12
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    top_k: int = 12
    clone_batch: int = 8
    mask_prob: float = 0.5
    noise_std: float = 0.01
    encoder_dropout: float = 0.0  # after attention's output layer
    attention_dropout: float = 0.0
    post_mlp_drop: float = 0.0
    prenet_dropout: float = 0.0  # before the first block
    decoder_width: int = 768
    decoder_groups: int = 16
    decoder_kernel: int = 3
    decoder_layers: int = 6
    decoder_residual: bool = True
    decoder_dropout: float = 0.0
    projections: int = 1
    projection_ratio: float = 2.0
    loss_scale: float | None = None  # 1/sqrt(width)
    layer_norm_targets: bool = False
    cls_loss: float = 0.0
    ema_start: float = 0.999
    ema_end: float = 0.99999
    ema_anneal: int = 75_000
    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.98)
    adam_eps: float = 1e-6
    weight_decay: float = 0.01
    clip_norm: float = 0.0  # none
    varying_masks: bool = False  # another number of kept tokens in each update

    def encoder(self) -> 'Encoder':
        raise NotImplementedError

    def decoder(self) -> 'Decoder':
        return Decoder(self)

    def source(self, batch: int) -> Tensor:
        """Random input of the size that is measured."""
        raise NotImplementedError

    def mask(self, rows: int) -> tuple[Tensor, Tensor]:
        """Kept [rows, K] and masked [rows, N] positions, ascending."""
        raise NotImplementedError


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
        self.attention_dropout = cfg.attention_dropout
        self.proj_dropout = nn.Dropout(cfg.encoder_dropout)
        self.mlp_dropout = nn.Dropout(cfg.post_mlp_drop)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [R, T, D], bias on the scores [R, heads, T, T]"""
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        dropped = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropped)
        mixed = mixed.transpose(1, 2).reshape(b, t, d)
        x = self.norm1(x + self.proj_dropout(self.proj(mixed)))
        ffn = self.fc2(F.gelu(self.fc1(x)))
        return self.norm2(x + self.mlp_dropout(ffn)), ffn


class Encoder(nn.Module):
    """Everything but the decoder. Modalities give local features and visible tokens."""

    # Attributes that the teacher has no average of: it uses the student's local features then.
    not_averaged: tuple[str, ...] = ()

    def __init__(self, cfg: Config, norm: bool, extra: int = 0):
        super().__init__()
        self.cfg = cfg
        self.cls = nn.Parameter(torch.randn(1, extra, cfg.width)) if extra > 0 else None
        self.norm = nn.LayerNorm(cfg.width, eps=cfg.norm_eps) if norm else None
        self.dropout = nn.Dropout(cfg.prenet_dropout)
        self.prenet = nn.ModuleList(Block(cfg) for _ in range(cfg.prenet))
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.depth))
        for m in [m for block in (*self.prenet, *self.blocks) for m in block.modules() if isinstance(m, nn.Linear)]:
            nn.init.normal_(m.weight, std=0.02)
            nn.init.zeros_(m.bias)

    def local_features(self, source: Tensor) -> Tensor:
        """[B, T, D]"""
        raise NotImplementedError

    def visible(self, local: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens with positions, [R, K, D] of those at keep [R, K] or [B, T, D] of all, and the bias on attention."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, bias: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Output [R, E+K, D] and each shared block's feed-forward output."""
        x, ffns = self.embed(tokens, bias), []
        for block in self.blocks:
            x, ffn = block(x, bias)
            ffns.append(ffn)
        return x, ffns

    def embed(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        x = tokens
        if self.cls is not None:
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x)
        for block in self.prenet:
            x, _ = block(x, bias)
        return x


class Decoder(nn.Module):
    """Convolutions over the sequence, each followed by a layer norm over channels and GELU, then linear layers.

    As convolutions over a picture of one line: channels-last, which tokens are already, exists for pictures only, and
    oneDNN is faster with it.
    """

    def __init__(self, cfg: Config, grid: tuple[int, int] | None = None):
        super().__init__()
        self.grid, self.residual = grid, cfg.decoder_residual
        kernel = (1 if grid is None else cfg.decoder_kernel, cfg.decoder_kernel)
        widths = [cfg.width] + [cfg.decoder_width] * cfg.decoder_layers
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=cfg.decoder_groups)
            for i, o in zip(widths, widths[1:])
        )
        layers: list[nn.Module] = []
        inputs = widths[-1]
        for i in range(cfg.projections - 1):
            outputs = int(inputs * cfg.projection_ratio) if i == 0 else inputs
            layers += [nn.Linear(inputs, outputs), nn.GELU()]
            inputs = outputs
        last = nn.Linear(inputs, cfg.width)
        self.proj = nn.Sequential(*layers, last) if layers else last
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """[R, T, D] -> [R, T, decoder width], before the projection."""
        r, t, _ = x.shape
        height, width = self.grid or (1, t)
        x = x.reshape(r, height, width, -1)
        for conv in self.convs:
            y = conv(x.permute(0, 3, 1, 2))[:, :, :height, :width].permute(0, 2, 3, 1)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
            x = x + y if self.residual and x.shape == y.shape else y
        return x.reshape(r, t, -1)


def flat_rows(ids: Tensor, tokens: int, clones: int = 1) -> Tensor:
    """Positions [R, n] -> rows of the flattened [R/clones * tokens, D]."""
    first = torch.arange(ids.shape[0], device=ids.device).div(clones, rounding_mode='floor') * tokens
    return (ids + first[:, None]).flatten()


def pick(x: Tensor, ids: Tensor, clones: int = 1) -> Tensor:
    """x [R/clones, T, D], ids [R, n] -> [R, n, D]"""
    return x.reshape(-1, x.shape[-1]).index_select(0, flat_rows(ids, x.shape[1], clones)).view(*ids.shape, -1)


class Data2Vec(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        self.encoder = cfg.encoder()
        self.decoder = cfg.decoder()
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
        for name in self.teacher.not_averaged:
            delattr(self.teacher, name)
        self.teacher.eval()

    def train(self, mode: bool = True) -> 'Data2Vec':
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def targets(self, source: Tensor, local: Tensor) -> Tensor:
        """[B, T, D]: mean over the last K blocks of their feed-forward outputs, each normalised over time."""
        cfg, teacher = self.cfg, self.teacher
        tokens, bias = teacher.visible(local if teacher.not_averaged else teacher.local_features(source), None)
        _, ffns = teacher(tokens, bias)
        extra = ffns[0].shape[1] - tokens.shape[1]
        picked = [F.instance_norm(f[:, extra:].float().transpose(1, 2)) for f in ffns[-cfg.top_k :]]
        mean = (sum(picked) / len(picked)).transpose(1, 2)
        return F.layer_norm(mean, mean.shape[-1:]) if cfg.layer_norm_targets else mean

    def forward(self, source: Tensor, keep: Tensor, masked: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Summed regression and class losses. keep [R, K], masked [R, N], noise [R, N, D]."""
        cfg = self.cfg
        local = self.encoder.local_features(source)
        target = self.targets(source, local.detach())
        out, _ = self.encoder(*self.encoder.visible(local, keep))
        hidden = self.decoder(self.decoder_input(out, keep, masked, noise, local.shape[1]))
        # The projection works per token, and the loss reads masked tokens only.
        pred = self.decoder.proj(pick(hidden, masked))
        scale = cfg.loss_scale or 1 / math.sqrt(cfg.width)
        regression = F.mse_loss(pred, pick(target, masked, cfg.clone_batch), reduction='sum') * scale
        if cfg.cls_loss == 0:
            return regression, regression.new_zeros(())
        wanted = target.mean(1).repeat_interleave(cfg.clone_batch, 0)
        cls = F.mse_loss(out[:, 0], wanted, reduction='sum') * scale * cfg.cls_loss * masked.numel()
        return regression, cls

    def decoder_input(self, out: Tensor, keep: Tensor, masked: Tensor, noise: Tensor, tokens: int) -> Tensor:
        """Kept tokens at their places, noise elsewhere: [R, T, D].

        T is given: where K and N change with every update, a compiler cannot know that they add up to it.
        """
        kept = F.dropout(out[:, out.shape[1] - keep.shape[1] :], self.cfg.decoder_dropout, self.training)
        x = kept.new_empty(keep.shape[0] * tokens, kept.shape[-1])
        for ids, values in ((masked, noise.to(kept.dtype)), (keep, kept)):
            x = x.index_copy(0, flat_rows(ids, tokens), values.flatten(0, 1))
        return x.view(-1, tokens, x.shape[-1])


class Trainer:
    """Clip, Adam and EMA. `compiled` compiles the loss, and with it the backward pass; bf16 is autocast over f32 weights.

    Works on the device that the model is made on: `with torch.device('cuda:0'): Trainer(...)`.
    """

    def __init__(self, cfg: Config, model: Data2Vec | None = None, compiled: bool = False, dtype: str = 'f32'):
        self.cfg, self.updates = cfg, 0
        self.model = model or Data2Vec(cfg)
        self.device = next(self.model.parameters()).device
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == 'bf16')
        self.compiled = compiled
        self.loss = torch.compile(self.model) if compiled else self.model
        learned = [*self.model.encoder.named_parameters(), *self.model.decoder.named_parameters()]
        self.params = [p for _, p in learned]
        groups = [
            {'params': [p for _, p in learned if p.ndim > 1], 'weight_decay': cfg.weight_decay},
            {'params': [p for _, p in learned if p.ndim == 1], 'weight_decay': 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=cfg.lr, betas=cfg.betas, fused=True)
        averaged = dict(self.model.teacher.named_parameters())
        self.teacher = list(averaged.values())
        self.averaged = [self.model.encoder.get_parameter(name) for name in averaged]

    def step(self, source: Tensor, draw: tuple[Tensor, Tensor, Tensor] | None = None) -> dict[str, Tensor | float]:
        """One update. `draw` = (keep, masked, noise) instead of random ones."""
        keep, masked, noise = draw or self.draw(source.shape[0])
        if self.compiled and self.cfg.varying_masks:
            for x in (keep, masked, noise):  # one graph for all sizes, from the first update on
                torch._dynamo.maybe_mark_dynamic(x, 1)
        with self.autocast:
            regression, cls = self.loss(source, keep, masked, noise)
        loss = (regression + cls) / masked.numel()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.params, self.cfg.clip_norm or math.inf, foreach=True)
        self.update()
        return {'regression': regression.detach(), 'cls': cls.detach(), 'loss': loss.detach(), 'grad_norm': norm}

    def draw(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        with self.device:
            keep, masked = (self.on_device(ids) for ids in self.cfg.mask(batch * self.cfg.clone_batch))
            return keep, masked, torch.randn(*masked.shape, self.cfg.width) * self.cfg.noise_std

    def on_device(self, ids: Tensor) -> Tensor:
        """Without waiting for the GPU."""
        return ids if ids.device == self.device else ids.pin_memory().to(self.device, non_blocking=True)

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
