"""The text encoder of data2vec 2.0: token and position embeddings, single tokens masked; the teacher is its blocks."""

from dataclasses import dataclass

import torch
from data2vec import Config, Encoder, pick
from torch import Tensor, nn

PAD = 1


@dataclass(frozen=True)
class TextConfig(Config):
    vocab: int = 50_262
    tokens: int = 512
    most_tokens: int = 512  # positions there are
    dropout: float = 0.0
    mask_prob: float = 0.48
    decoder_groups: int = 1
    decoder_kernel: int = 9
    decoder_layers: int = 5
    decoder_residual: bool = False
    projections: int = 2
    loss_scale: float | None = 1.0
    ema_start: float = 0.9999
    ema_anneal: int = 100_000
    lr: float = 2e-4
    clip_norm: float = 1.0

    def encoder(self) -> Encoder:
        return TextEncoder(self)

    def source(self, batch: int) -> Tensor:
        return torch.randint(5, self.vocab - 1, (batch, self.tokens))

    def mask(self, rows: int) -> tuple[Tensor, Tensor]:
        kept = int(self.tokens * (1 - self.mask_prob))
        order = torch.rand(rows, self.tokens).argsort(1)
        return order[:, :kept].sort(1).values, order[:, kept:].sort(1).values


DROPOUTS = dict(dropout=0.1, encoder_dropout=0.1, attention_dropout=0.1, post_mlp_drop=0.1, decoder_dropout=0.1)
PRESETS = {
    'tiny': (
        8,
        TextConfig(vocab=8192, tokens=128, most_tokens=128, width=128, depth=4, heads=4, top_k=4, clone_batch=4,
                   decoder_width=128, decoder_layers=2, ema_start=0.99, ema_end=0.998, lr=1e-3, **DROPOUTS),
    ),
    'base': (2, TextConfig(clone_batch=4, **DROPOUTS)),
}  # fmt: skip


class TextEncoder(Encoder):
    not_averaged = ('tokens', 'positions', 'embedding_norm')

    def __init__(self, cfg: TextConfig):
        super().__init__(cfg, norm=False)
        self.tokens = nn.Embedding(cfg.vocab, cfg.width, padding_idx=PAD)
        self.positions = nn.Embedding(cfg.most_tokens + PAD + 1, cfg.width, padding_idx=PAD)
        self.embedding_norm = nn.LayerNorm(cfg.width)
        self.embedding_dropout = nn.Dropout(cfg.dropout)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)
            nn.init.zeros_(table.weight[PAD])

    def local_features(self, source: Tensor) -> Tensor:
        """[B, T] token ids -> [B, T, D]"""
        places = torch.arange(source.shape[1], device=source.device) + PAD + 1
        return self.embedding_dropout(self.embedding_norm(self.tokens(source) + self.positions(places)))

    def visible(self, local: Tensor, keep: Tensor | None) -> tuple[Tensor, None]:
        return (local if keep is None else pick(local, keep, self.cfg.clone_batch)), None
