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
