/** What the workloads of all modalities read from a config in the same way. */
import type { Batch, RunConfig } from '@d2v/core';
import type { UpdateShape } from '../flops.js';

/** The keys that every modality's section has, as far as they are read here. */
export interface ModalitySection {
  prenet_depth: number;
  num_extra_tokens: number;
  prenet_dropout: number;
  mask_prob: number;
  decoder: {
    decoder_dim: number;
    decoder_groups: number;
    decoder_kernel: number;
    decoder_layers: number;
    decoder_residual: boolean;
    input_dropout: number;
    projection_layers: number;
    projection_ratio: number;
  };
}

/** Samples of a batch. Workloads pin it. */
export function batchSize(config: RunConfig): number {
  return config.data.batch_size!;
}

/** @param tokens of a sample; @param rank dimensions of the decoder's convolutions */
export function sharedShape(
  { model, data }: RunConfig,
  section: ModalitySection,
  { tokens, kept, rank }: { tokens: number; kept: number; rank: 1 | 2 },
): UpdateShape {
  const { decoder } = section;
  const between = decoder.projection_layers - 1;
  return {
    samples: data.batch_size!,
    clones: model.clone_batch,
    tokens,
    kept,
    extra: section.num_extra_tokens,
    width: model.embed_dim,
    mlpRatio: model.mlp_ratio,
    studentBlocks: section.prenet_depth + model.depth,
    teacherBlocks: section.prenet_depth + model.depth,
    decoder: {
      width: decoder.decoder_dim,
      groups: decoder.decoder_groups,
      kernel: new Array<number>(rank).fill(decoder.decoder_kernel),
      layers: decoder.decoder_layers,
      projections: [
        ...new Array<number>(between).fill(Math.trunc(decoder.decoder_dim * decoder.projection_ratio)),
        model.embed_dim,
      ],
    },
  };
}

/** The keys of `peers/data2vec.py`'s `Config`. */
export function sharedPeerConfig(
  { model, data, optimizer, optimization }: RunConfig,
  section: ModalitySection,
): Record<string, unknown> {
  const { decoder } = section;
  return {
    batch: data.batch_size,
    width: model.embed_dim,
    depth: model.depth,
    prenet: section.prenet_depth,
    heads: model.num_heads,
    mlp_ratio: model.mlp_ratio,
    top_k: model.average_top_k_layers,
    clone_batch: model.clone_batch,
    mask_prob: section.mask_prob,
    encoder_dropout: model.encoder_dropout,
    attention_dropout: model.attention_dropout,
    post_mlp_drop: model.post_mlp_drop,
    prenet_dropout: section.prenet_dropout,
    decoder_width: decoder.decoder_dim,
    decoder_groups: decoder.decoder_groups,
    decoder_kernel: decoder.decoder_kernel,
    decoder_layers: decoder.decoder_layers,
    decoder_residual: decoder.decoder_residual,
    decoder_dropout: decoder.input_dropout,
    projections: decoder.projection_layers,
    loss_scale: model.loss_scale,
    cls_loss: model.cls_loss,
    betas: [...optimizer.adam_betas],
    weight_decay: optimizer.weight_decay,
    clip_norm: optimization.clip_norm,
  };
}

/** The first part of every sequence of a batch of `[size, length]`. */
export function shortenSequences(batch: Batch, share: number): Batch {
  const source = batch.tensors.source!;
  const [size, length] = source.shape as [number, number];
  const kept = Math.round(share * length);
  const data = source.data.slice(0, size * kept);
  for (let i = 0; i < size; i++)
    data.set(source.data.subarray(i * length, i * length + kept) as never, i * kept);
  return { ...batch, tensors: { ...batch.tensors, source: { data, shape: [size, kept] } } };
}
