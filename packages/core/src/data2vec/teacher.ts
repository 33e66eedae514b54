/** The teacher: the moving average of the student, which sees every sample once and unmasked, and makes the targets. */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { Batch } from '../modality/contract.js';
import type { BlockOutput, ParameterArena } from '../nn/index.js';
import { noGrad, type Tensor } from '../tensor/index.js';
import type { ModelConfig } from './config.js';
import type { ModalityEncoder, TokenLayout } from './modality-encoder.js';
import type { Pass } from './pass.js';
import type { Student } from './student.js';
import { TargetBuilder } from './targets.js';

/**
 * Whether the teacher has its own, averaged copy of a tensor of the student: everything but the decoders, or the shared
 * blocks only (`ema_encoder_only`). What it has no copy of, it takes from the student.
 * @param name in the state dictionary
 * @param encoders all encoders by key
 */
export function averagedByTeacher(
  name: string,
  config: ModelConfig,
  encoders: ReadonlyMap<string, ModalityEncoder>,
): boolean {
  if (config.ema_encoder_only) return name.startsWith('blocks.');
  const [first, key, part] = name.split('.') as [string, string, string];
  if (first !== 'modality_encoders') return first === 'blocks' || first === 'norm';
  if (part === 'local_encoder' || part === 'project_features') {
    return encoders.get(key)?.config.ema_local_encoder ?? false;
  }
  return part !== 'decoder';
}

/** Teacher weights are the same tree as the student's, bound to the arena's teacher buffer. */
export class Teacher {
  readonly module: Student;
  private readonly builder: TargetBuilder;

  constructor(
    private readonly config: ModelConfig,
    arena: ParameterArena,
    student: Student,
  ) {
    this.module = arena.bindTeacher(student);
    this.builder = new TargetBuilder(config, config.depth);
  }

  /**
   * The targets of a batch, f32 [B,T,D]; the caller disposes of them.
   * @param local the student's local features, used unless the teacher has a local encoder of its own
   * @param pass in evaluation mode
   */
  targets(key: string, batch: Batch, local: Tensor, layout: TokenLayout, pass: Pass): RawTensor {
    const { config, builder, module } = this;
    const encoder = module.encoder(key);
    const extra = encoder.config.num_extra_tokens;
    const ownLocal = !config.ema_encoder_only && encoder.config.ema_local_encoder;
    const ends = config.end_of_block_targets;
    const onBlock = (i: number, { x, ffn }: BlockOutput) => {
      const contribution = ends ? x.raw : ffn?.raw;
      if (contribution) builder.add(i, contribution, extra);
      if (pass.probe && contribution) probeLayer(i, contribution, extra, pass);
      if (i === config.depth - 1) pass.probe?.tensor('teacher_out', x.raw);
    };
    const wantsFfn = (i: number) => !ends && (builder.wants(i) || pass.probe !== undefined);
    try {
      return noGrad(() =>
        k.scope(() => {
          const features = ownLocal ? encoder.localFeatures(batch, pass) : local;
          const { x, attention } = encoder.contextualize(features, layout, null, pass);
          pass.probe?.tensor('teacher_in', x.raw);
          const y = module.encode(x, attention, encoder.config.prenet_depth, pass, { onBlock, wantsFfn });
          y.dispose();
          return builder.finish();
        }),
      );
    } finally {
      builder.dispose();
    }
  }
}

function probeLayer(index: number, layer: RawTensor, extra: number, pass: Pass): void {
  const part = k.slice(layer, 1, extra, layer.shape[1]! - extra);
  pass.probe?.tensor(`teacher_ffn_${index}`, part);
  part.dispose();
}
