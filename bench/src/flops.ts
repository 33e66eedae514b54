/**
 * Model FLOPs of one update: two per multiply-add of the linear layers of the transformer blocks, of the convolutions
 * and projections of the decoder, and of those that audio has before the blocks. Backward counts as two forwards; the
 * teacher has none.
 *
 * Left out, as in the published figure that the goal refers to (43 GFLOP for the images of `tiny`, 442 for `base`): the
 * products of attention scores and values, and the embedding of patches or tokens (2 % together). The decoder's
 * projections count for all tokens, as in the original, also where an implementation projects masked tokens only. So the
 * number belongs to the model, not to an implementation, and a faster way to the same result shows as a larger share of
 * the peak.
 */
export interface UpdateShape {
  /** Samples per update, before clone_batch repeats them. */
  samples: number;
  clones: number;
  /** Tokens of a sample without extra ones. */
  tokens: number;
  /** Tokens the student sees, without extra ones; a mean where masks differ in their number. */
  kept: number;
  extra: number;
  width: number;
  mlpRatio: number;
  /** Blocks of the student: the modality's own and the shared ones. */
  studentBlocks: number;
  teacherBlocks: number;
  /** Forward FLOPs of local features, learned from the gradient of all rows. Default 0. */
  featuresPerSample?: number;
  /** Numbers that the layers of local features write for a sample. Default 0. */
  featureElements?: number;
  /** Forward FLOPs of relative positions: for all tokens of every row, and once per sample for the teacher. Default 0. */
  positionsPerToken?: number;
  /** Layers of relative positions. */
  positionLayers?: number;
  decoder: {
    width: number;
    groups: number;
    /** Kernel size per dimension: 1 number for sequences, 2 for images. */
    kernel: number[];
    layers: number;
    /** Output widths of the linear layers at the end. */
    projections: number[];
  };
}

export interface UpdateFlops {
  student: number;
  decoder: number;
  teacher: number;
  /** Local features and the student's relative positions. */
  features: number;
  /** Forward and backward of features, student and decoder, forward of the teacher. */
  total: number;
}

export function updateFlops(shape: UpdateShape): UpdateFlops {
  const { samples, clones, tokens, kept, extra, width, decoder } = shape;
  const rows = samples * clones;
  // Query, key, value: 3; output: 1; the two layers of the MLP: one ratio each.
  const perToken = 2 * width ** 2 * (4 + 2 * shape.mlpRatio);
  const student = rows * (kept + extra) * perToken * shape.studentBlocks;
  const { featuresPerSample = 0, positionsPerToken = 0 } = shape;
  const teacher = samples * ((tokens + extra) * perToken * shape.teacherBlocks + tokens * positionsPerToken);
  const features = samples * featuresPerSample + rows * tokens * positionsPerToken;
  const taps = decoder.kernel.reduce((product, k) => product * k, 1);
  let inputs = width;
  let perDecoded = 0;
  for (let layer = 0; layer < decoder.layers; layer++) {
    perDecoded += 2 * taps * (inputs / decoder.groups) * decoder.width;
    inputs = decoder.width;
  }
  for (const outputs of decoder.projections) {
    perDecoded += 2 * inputs * outputs;
    inputs = outputs;
  }
  const decoded = rows * tokens * perDecoded;
  return {
    student,
    decoder: decoded,
    teacher,
    features,
    total: 3 * (features + student + decoded) + teacher,
  };
}
