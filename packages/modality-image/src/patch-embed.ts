/** Images to patch features: every patch is flattened and projected. */
import {
  type Batch,
  D2vError,
  type HostTensor,
  init,
  Linear,
  Module,
  ops,
  type Parameter,
  type Pass,
  type Tensor,
} from '@d2v/core';

export interface PatchOptions {
  /** Height and width of the images in pixels. Pixels beyond the last whole patch are not seen. */
  inputSize: number;
  channels: number;
  patchSize: number;
}

/** Patches per side. */
export function gridSide({ inputSize, patchSize }: PatchOptions): number {
  if (patchSize > inputSize) {
    throw new D2vError(`patch_size ${patchSize} is larger than input_size ${inputSize}: lower it`);
  }
  return Math.floor(inputSize / patchSize);
}

/**
 * The images of a batch, `source` f32 [B,C,S,S], cut to whole patches.
 * @throws D2vError if their shape is another one
 */
export function batchImages(batch: Batch, options: PatchOptions): HostTensor & { data: Float32Array } {
  const { inputSize: size, channels, patchSize } = options;
  const source = batch.tensors.source;
  const [samples, c, height, width] = source?.shape ?? [];
  if (!(source?.data instanceof Float32Array) || c !== channels || height !== size || width !== size) {
    const found = source ? `[${source.shape.join(', ')}]` : 'none';
    throw new D2vError(
      `the model takes images of ${channels} x ${size} x ${size}, the batch has ${found}: check input_size and in_chans`,
    );
  }
  const side = gridSide(options) * patchSize;
  if (side === size) return { data: source.data, shape: source.shape };
  const data = new Float32Array(samples! * channels * side * side);
  for (let line = 0; line < samples! * channels * side; line++) {
    const plane = Math.floor(line / side);
    const from = (plane * size + (line % side)) * size;
    data.set(source.data.subarray(from, from + side), line * side);
  }
  return { data, shape: [samples!, channels, side, side] };
}

/** State: `proj.weight` [width, channels, patch, patch], `proj.bias`, as a convolution with the patch as its stride. */
export class PatchEmbed extends Module {
  private readonly proj: PatchProjection;

  constructor(
    private readonly options: PatchOptions,
    width: number,
  ) {
    super();
    this.proj = this.child('proj', new PatchProjection(options, width));
  }

  /** [B, patches, width] */
  forward(batch: Batch, pass: Pass): Tensor {
    const { patchSize } = this.options;
    const images = pass.input(batchImages(batch, this.options));
    const patches = ops.patchify(images, [patchSize, patchSize], 'cpq');
    const y = this.proj.forward(patches);
    patches.dispose();
    return y;
  }
}

class PatchProjection extends Module {
  private readonly weight: Parameter;
  private readonly bias: Parameter;

  constructor({ channels, patchSize }: PatchOptions, width: number) {
    super();
    const inputs = channels * patchSize ** 2;
    this.weight = this.param('weight', [width, channels, patchSize, patchSize], {
      init: init.xavierUniform(width, inputs),
    });
    this.bias = this.param('bias', [width], { init: init.frameworkDefault(inputs) });
  }

  forward(patches: Tensor): Tensor {
    const weight = ops.reshape(this.weight, [this.weight.shape[0]!, -1]);
    return ops.linear(patches, ops.cast(weight, patches.dtype as 'f32' | 'bf16'), this.bias);
  }
}

/** A patch embedding of one width, projected to another. State: `0` (the embedding), `1` (the projection). */
export class ProjectedPatchEmbed extends Module {
  private readonly embed: PatchEmbed;
  private readonly project: Linear;

  constructor(options: PatchOptions, width: number, outputs: number, linearInit: 'bert' | 'xavier') {
    super();
    this.embed = this.child('0', new PatchEmbed(options, width));
    this.project = this.child('1', new Linear(width, outputs, { init: linearInit }));
  }

  /** [B, patches, outputs] */
  forward(batch: Batch, pass: Pass): Tensor {
    const x = this.embed.forward(batch, pass);
    const y = this.project.forward(x);
    x.dispose();
    return y;
  }
}
