import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Batch, Philox, type RunConfig } from '@d2v/core';
import {
  batchSize,
  type ModalitySection,
  sharedPeerConfig,
  sharedShape,
  shortenSequences,
} from './shared.js';
import type { ModalityWorkloads, Workload } from './types.js';

interface TextSection extends ModalitySection {
  vocab_size: number;
  max_source_positions: number;
  dropout: number;
}

const SPECIAL_TOKENS = 4;
const section = (config: RunConfig) => config.model.modalities.text as TextSection;
const blockLength = (config: RunConfig) =>
  (config.data as unknown as { tokens_per_sample: number }).tokens_per_sample;

function randomBlocks(config: RunConfig, seed: number): Batch {
  const [size, tokens] = [batchSize(config), blockLength(config)];
  const rng = new Philox(seed);
  const words = section(config).vocab_size - SPECIAL_TOKENS;
  const data = Int32Array.from({ length: size * tokens }, (_, i) =>
    i % tokens === 0 ? 0 : SPECIAL_TOKENS + Math.floor(rng.uniform() * words),
  );
  return {
    size,
    tensors: { source: { data, shape: [size, tokens] } },
    ids: Array.from({ length: size }, (_, i) => i),
  };
}

const common: Pick<Workload, 'batch' | 'shorten' | 'shape' | 'peerConfig'> = {
  batch: randomBlocks,
  shorten: shortenSequences,
  shape: (config, kept) =>
    sharedShape(config, section(config), { tokens: blockLength(config), kept, rank: 1 }),
  peerConfig: (config) => {
    const { vocab_size, max_source_positions, dropout } = section(config);
    return {
      ...sharedPeerConfig(config, section(config)),
      vocab: vocab_size,
      tokens: blockLength(config),
      most_tokens: max_source_positions,
      dropout,
    };
  },
};

/** So many words, made of syllables, the frequent ones short, in lines of twenty. */
async function writeWords(folder: string, count: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const rng = new Philox(1);
  const draw = (n: number) => Math.floor(n * rng.uniform());
  const syllable = () => 'bcdfghklmnprstvw'[draw(16)]! + 'aeiou'[draw(5)]! + ['', 'n', 'r', 's'][draw(4)]!;
  const vocabulary = Array.from({ length: 20_000 }, (_, rank) =>
    Array.from({ length: 1 + Math.min(4, Math.floor(Math.log10(1 + rank))) }, syllable).join(''),
  );
  const words = Array.from(
    { length: count },
    () => vocabulary[Math.floor(vocabulary.length ** rng.uniform()) - 1]!,
  );
  const lines = Array.from({ length: Math.ceil(count / 20) }, (_, i) =>
    words.slice(20 * i, 20 * i + 20).join(' '),
  );
  await writeFile(join(folder, 'words.txt'), `${lines.join('\n')}\n`);
}

export const text: ModalityWorkloads = {
  load: async () => (await import('@d2v/modality-text')).default,
  presets: [
    {
      ...common,
      preset: 'tiny',
      set: [
        'data.batch_size=8',
        'data.batch_length=null',
        'data.vocab_size=8192',
        'data.sample_break_mode=none',
        'model.clone_batch=4',
        'model.embed_dim=128',
        'model.depth=4',
        'model.num_heads=4',
        'model.average_top_k_layers=4',
        'model.encoder_dropout=0.1',
        'model.attention_dropout=0.1',
        'model.post_mlp_drop=0.1',
        'model.layerdrop=0',
        'model.cls_loss=0',
        'model.instance_norm_target_layer=true',
        'model.layer_norm_target_layer=false',
        'model.modalities.text.max_source_positions=128',
        'model.modalities.text.no_token_positional_embeddings=false',
        'model.modalities.text.use_alibi_encoder=false',
        'model.modalities.text.dropout=0.1',
        'model.modalities.text.prenet_depth=0',
        'model.modalities.text.mask_prob=0.48',
        'model.modalities.text.decoder.decoder_dim=128',
        'model.modalities.text.decoder.decoder_groups=1',
        'model.modalities.text.decoder.decoder_kernel=9',
        'model.modalities.text.decoder.decoder_layers=2',
        'model.modalities.text.decoder.input_dropout=0.1',
        'model.modalities.text.decoder.projection_layers=2',
        'optimizer.adam_betas=[0.9,0.98]',
        'optimizer.weight_decay=0.01',
        'optimizer.groups=[]',
        'optimization.clip_norm=1',
        'optimization.update_freq=1',
      ],
      onGpu: ['data.batch_size=64'],
      warmup: 5,
      perRound: 10,
      rounds: 6,
      writeSamples: (folder) => writeWords(folder, 200_000),
    },
    {
      ...common,
      preset: 'base',
      set: ['data.batch_size=2', 'model.clone_batch=4', 'optimization.update_freq=1'],
      onGpu: ['data.batch_size=16', 'model.clone_batch=8'],
      warmup: 3,
      perRound: 2,
      rounds: 4,
      writeSamples: (folder) => writeWords(folder, 200_000),
    },
  ],
};
