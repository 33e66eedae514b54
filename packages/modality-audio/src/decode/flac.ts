/** FLAC: frames are found here, and decoded by libFLAC as WebAssembly. */
import { BadSampleError } from '@d2v/core';
import type { AudioFile } from './audio-file.js';
import { type ByteReader, viewOf } from './bytes.js';
import { type FrameStart, findFrameStarts, parseStreamInfo, type StreamInfo } from './flac-frames.js';
import { checked, DecoderPool, MonoWindow, quietly } from './wasm.js';

/** Bytes read at a time; several frames of usual files. */
const CHUNK = 1 << 17;
/** No frame is longer: 65 535 samples of 8 channels of 32 bits, and some. */
const LONGEST_FRAME = 1 << 22;
const STREAMINFO = 0;
const STREAMINFO_SIZE = 34;
const MOST_BLOCKS = 128;

/** A frame in the file. */
interface PlacedFrame {
  offset: number;
  first: number;
}

export async function openFlac(bytes: ByteReader, name: string): Promise<AudioFile> {
  const { info, start } = await readMetadata(bytes, name);
  const length = info.total || (await lengthByLastFrame(bytes, info, start, name));
  if (info.total && !(await endsWithLastFrame(bytes, info))) {
    throw new BadSampleError(name, 'truncated: its last frame is not there');
  }
  const stream = new FlacStream(bytes, info, { start, length }, name);
  return {
    sampleRate: info.sampleRate,
    channels: info.channels,
    length,
    read: (from, count) => stream.read(from, count),
  };
}

/** The STREAMINFO block, and where the frames begin. */
async function readMetadata(bytes: ByteReader, name: string): Promise<{ info: StreamInfo; start: number }> {
  let info: StreamInfo | null = null;
  let at = 4;
  for (let block = 0; block < MOST_BLOCKS; block++) {
    const head = await bytes.read(at, 4);
    if (head.length < 4) break;
    const size = viewOf(head).getUint32(0) & 0xff_ffff;
    if ((head[0]! & 0x7f) === STREAMINFO && size === STREAMINFO_SIZE) {
      const content = await bytes.read(at + 4, size);
      if (content.length === size) info = parseStreamInfo(content);
    }
    at += 4 + size;
    if (head[0]! & 0x80) {
      if (info && at < bytes.size) return { info, start: at };
      break;
    }
  }
  throw new BadSampleError(name, 'truncated or damaged FLAC file');
}

/** Whether a frame near the end ends with the last sample that STREAMINFO promises. */
async function endsWithLastFrame(bytes: ByteReader, info: StreamInfo): Promise<boolean> {
  for (const size of [CHUNK, LONGEST_FRAME]) {
    const tail = await bytes.read(Math.max(0, bytes.size - size), size);
    if (findFrameStarts(tail, info).some(({ first, samples }) => first + samples === info.total)) return true;
  }
  return false;
}

/** For a stream whose encoder did not know its length. */
async function lengthByLastFrame(
  bytes: ByteReader,
  info: StreamInfo,
  start: number,
  name: string,
): Promise<number> {
  const tail = await bytes.read(Math.max(start, bytes.size - LONGEST_FRAME), LONGEST_FRAME);
  const starts = findFrameStarts(tail, info);
  const links = new Set(starts.map(({ first, samples }) => first + samples));
  const last = starts.findLast(({ first }) => first === 0 || links.has(first));
  if (!last) throw new BadSampleError(name, 'damaged FLAC file: no frames');
  return last.first + last.samples;
}

const decoders = new DecoderPool(async (header) => {
  const { FLACDecoder } = await import('@wasm-audio-decoders/flac');
  const decoder = new FLACDecoder();
  await decoder.ready;
  await decoder.decodeFrames([header]);
  return decoder;
});

class FlacStream {
  constructor(
    private readonly bytes: ByteReader,
    private readonly info: StreamInfo,
    private readonly extent: { start: number; length: number },
    private readonly name: string,
  ) {}

  async read(start: number, count: number): Promise<Float32Array> {
    const window = new MonoWindow(start, count);
    const from = await this.seek(start);
    await decoders.lend(this.info.form, this.info.header, async (decoder) => {
      for await (const { first, data } of this.frames(from)) {
        const decoded = await quietly(() => decoder.decodeFrames([data]));
        window.add(first, checked(decoded, this.name));
        if (window.complete) return;
      }
      throw this.damaged();
    });
    return window.out;
  }

  /** A frame at or before a sample, found by halving the file (by its bytes) until it is near. */
  private async seek(sample: number): Promise<PlacedFrame> {
    let low: PlacedFrame = { offset: this.extent.start, first: 0 };
    let high = { offset: this.bytes.size, first: this.extent.length };
    while (high.offset - low.offset > 4 * CHUNK && sample - low.first > 0) {
      const share = (sample - low.first) / (high.first - low.first);
      const guess = low.offset + Math.floor((high.offset - low.offset) * share) - CHUNK / 2;
      const offset = Math.min(Math.max(guess, low.offset + 1), high.offset - CHUNK);
      const frame = await this.firstFrame(offset);
      if (!frame || frame.first > sample) high = { offset, first: frame?.first ?? high.first };
      else if (frame.offset <= low.offset) break;
      else low = frame;
      if (frame && frame.first <= sample && sample - frame.first < 4 * this.info.minBlock) break;
    }
    return low;
  }

  /** The first frame that begins after an offset: one that is followed by the frame it promises. */
  private async firstFrame(offset: number): Promise<PlacedFrame | null> {
    for (let size = CHUNK; size <= LONGEST_FRAME; size *= 2) {
      const part = await this.bytes.read(offset, size);
      const starts = findFrameStarts(part, this.info);
      for (const [i, start] of starts.entries()) {
        if (next(starts, i)) return { offset: offset + start.at, first: start.first };
      }
      if (part.length < size) break;
    }
    return null;
  }

  /** The frames from a known one on. */
  private async *frames(from: PlacedFrame): AsyncGenerator<{ first: number; data: Uint8Array }> {
    let { offset, first } = from;
    let size = CHUNK;
    while (first < this.extent.length) {
      const part = await this.bytes.read(offset, size);
      const atEnd = offset + part.length >= this.bytes.size;
      const starts = findFrameStarts(part, this.info);
      let index = starts.findIndex((start) => start.at === 0 && start.first === first);
      if (index < 0) throw this.damaged();
      for (let end = next(starts, index); end; end = next(starts, index)) {
        const start = starts[index]!;
        yield { first, data: part.subarray(start.at, end.at) };
        first = end.first;
        index = starts.indexOf(end);
      }
      const start = starts[index]!;
      if (atEnd) {
        if (first + start.samples < this.extent.length) throw this.damaged();
        yield { first, data: part.subarray(start.at) };
        return;
      }
      if (start.at === 0) {
        size *= 2;
        if (size > 2 * LONGEST_FRAME) throw this.damaged();
      } else size = CHUNK;
      offset += start.at;
    }
  }

  private damaged(): BadSampleError {
    return new BadSampleError(this.name, 'damaged or truncated FLAC file');
  }
}

/** The start that continues the count of start `i`. */
function next(starts: readonly FrameStart[], i: number): FrameStart | undefined {
  const { first, samples } = starts[i]!;
  for (let j = i + 1; j < starts.length; j++) if (starts[j]!.first === first + samples) return starts[j];
  return undefined;
}
