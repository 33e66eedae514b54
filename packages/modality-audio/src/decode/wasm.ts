/** What the WebAssembly decoders have in common. */
import { BadSampleError } from '@d2v/core';

/** What they give back. */
export interface Decoded {
  channelData: Float32Array[];
  samplesDecoded: number;
  errors: readonly { message: string }[];
}

/** A decoder that has memory outside of JavaScript. */
export interface WasmDecoder {
  readonly ready: Promise<void>;
  free(): void;
}

/** Lends a decoder to `use` and frees it afterwards. */
export async function withDecoder<D extends WasmDecoder, T>(
  decoder: D,
  use: (decoder: D) => Promise<T>,
): Promise<T> {
  await decoder.ready;
  try {
    return await use(decoder);
  } finally {
    decoder.free();
  }
}

/** Decoders that wait for their next use, at most. Each has some megabytes of memory. */
const MOST_IDLE = 4;
/** After so many uses a decoder is replaced, whatever may have gathered in its memory. */
const MOST_USES = 500;

/**
 * Keeps decoders for streams of the same form, since making one (16 MB of WebAssembly memory) takes longer than decoding a
 * clip of a second.
 */
export class DecoderPool<D extends WasmDecoder> {
  private readonly idle: { form: string; decoder: D; uses: number }[] = [];

  /** @param start makes a decoder that is ready for frames of this form */
  constructor(private readonly start: (header: Uint8Array) => Promise<D>) {}

  /**
   * Lends a decoder to `use` alone. One whose use has failed is thrown away.
   * @param form what streams must agree in to share a decoder
   */
  async lend<T>(form: string, header: Uint8Array, use: (decoder: D) => Promise<T>): Promise<T> {
    const place = this.idle.findLastIndex((one) => one.form === form);
    const [kept] = place < 0 ? [] : this.idle.splice(place, 1);
    const lent = kept ?? { form, decoder: await this.start(header), uses: 0 };
    try {
      const result = await use(lent.decoder);
      lent.uses++;
      if (lent.uses < MOST_USES) this.idle.push(lent);
      else lent.decoder.free();
      if (this.idle.length > MOST_IDLE) this.idle.shift()!.decoder.free();
      return result;
    } catch (error) {
      lent.decoder.free();
      throw error;
    }
  }
}

/**
 * Runs a decoder without its messages on the console: it returns the same, and those are ours to report. `decode` must
 * do its work before it returns, even if what it returns is a promise.
 */
export function quietly<T>(decode: () => T): T {
  const { error } = console;
  console.error = () => {};
  try {
    return decode();
  } finally {
    console.error = error;
  }
}

/** Refuses what a decoder complained about. @throws BadSampleError with its first complaint */
export function checked(decoded: Decoded, name: string): Decoded {
  const [error] = decoded.errors;
  if (!error) return decoded;
  throw new BadSampleError(name, `damaged (${error.message.split(/[;\n]/)[0]!.replace(/^Error:?\s*/, '')})`);
}

/**
 * Collects frames `start` to `start + count` out of decoded pieces, mixed to the mean of their channels.
 */
export class MonoWindow {
  readonly out: Float32Array;
  private filled = 0;

  constructor(
    private readonly start: number,
    private readonly count: number,
  ) {
    this.out = new Float32Array(count);
  }

  /** Whether everything is there. */
  get complete(): boolean {
    return this.filled === this.count;
  }

  /** Takes what belongs to the window. @param first position of the piece; pieces come in order, without gaps */
  add(first: number, { channelData, samplesDecoded }: Decoded): void {
    const from = Math.max(0, this.start - first);
    const to = Math.min(samplesDecoded, this.start + this.count - first);
    if (to <= from) return;
    const at = first + from - this.start;
    const { length: channels } = channelData;
    for (const channel of channelData) {
      for (let i = from; i < to; i++) this.out[at + i - from]! += channel[i]! / channels;
    }
    this.filled += to - from;
  }
}
