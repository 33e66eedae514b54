/** A batch's masks on the device. */
import type { RawTensor } from '@d2v/cuda-kernels';
import { type MaskInfo, makeMaskInfo } from './masking/index.js';
import type { Pass } from './pass.js';

/** Index tensors of a `MaskInfo`, uploaded when first asked for; the pass frees them. */
export class DeviceMask {
  private readonly tensors = new Map<string, RawTensor>();
  private plain: DeviceMask | null = null;

  /** @param clones rows (masked copies) per sample */
  constructor(
    readonly info: MaskInfo,
    readonly clones: number,
    private readonly pass: Pass,
  ) {}

  /** i32 [R,K] positions the student sees. */
  get keep(): RawTensor {
    return this.get('keep', this.info.keep, this.info.keptPerRow);
  }

  /** i32 [R,T] place of each position in [kept | noise]. */
  get restore(): RawTensor {
    return this.get('restore', this.info.restore, this.info.tokens);
  }

  /** i32 [R,N] positions to predict. */
  get masked(): RawTensor {
    return this.get('masked', this.info.masked, this.info.maskedPerRow);
  }

  /** i32 [R,T]: position + 1 where masked, else 0: rows of a table that begins with a row of zeros. */
  get maskedRows(): RawTensor {
    const { mask, tokens } = this.info;
    const rows = Int32Array.from(mask, (m, i) => (m ? (i % tokens) + 1 : 0));
    return this.get('maskedRows', rows, tokens);
  }

  /** The same masks without masked tokens that are kept nevertheless (`keep_masked_pct`). */
  get withoutKeptMasked(): DeviceMask {
    const { mask, rows, tokens, keptPerRow, maskedPerRow } = this.info;
    if (keptPerRow + maskedPerRow === tokens) return this;
    this.plain ??= new DeviceMask(makeMaskInfo(mask, rows, tokens), this.clones, this.pass);
    return this.plain;
  }

  private get(name: string, data: Int32Array, width: number): RawTensor {
    let raw = this.tensors.get(name);
    if (!raw) {
      raw = this.pass.upload({ data, shape: [this.info.rows, width] });
      this.tensors.set(name, raw);
    }
    return raw;
  }
}
