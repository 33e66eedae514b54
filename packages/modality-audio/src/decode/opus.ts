/** Ogg Opus (RFC 7845): packets are found here, and decoded by libopus as WebAssembly, always at 48 kHz. */
import { BadSampleError } from '@d2v/core';
import type { AudioFile } from './audio-file.js';
import { viewOf } from './bytes.js';
import type { OggPage, OggStream } from './ogg-pages.js';
import { checked, MonoWindow, quietly, withDecoder } from './wasm.js';

const RATE = 48_000;
/** Half a second: after a jump a decoder needs a while (80 ms at least) until it gives what it would have given. */
const PRE_ROLL = 24_000;

interface OpusHead {
  channels: number;
  preSkip: number;
  /** Factor on the samples. */
  gain: number;
  streamCount: number;
  coupledStreamCount: number;
  channelMappingTable: number[];
}

export async function openOpus(stream: OggStream, first: OggPage, name: string): Promise<AudioFile> {
  const head = parseHead(first.body, name);
  const sound = await soundStart(stream, name);
  const file = new OpusFile(stream, head, sound, name);
  return {
    sampleRate: RATE,
    channels: head.channels,
    length: Math.max(0, (await stream.lastGranule(sound)) - head.preSkip),
    read: (start, count) => file.read(start, count),
  };
}

function parseHead(body: Uint8Array, name: string): OpusHead {
  if (body.length < 19) throw new BadSampleError(name, 'damaged Opus file');
  const view = viewOf(body);
  const channels = body[9]!;
  const family = body[18]!;
  const plain = family === 0;
  if (plain ? channels < 1 || channels > 2 : channels < 1 || channels > 8 || body.length < 21 + channels) {
    throw new BadSampleError(name, `Opus of an unsupported kind (mapping ${family}, ${channels} channels)`);
  }
  return {
    channels,
    preSkip: view.getUint16(10, true),
    gain: 10 ** (view.getInt16(16, true) / 256 / 20),
    streamCount: plain ? 1 : body[19]!,
    coupledStreamCount: plain ? channels - 1 : body[20]!,
    channelMappingTable: plain ? [0, 1].slice(0, channels) : [...body.subarray(21, 21 + channels)],
  };
}

/** Offset of the page after the tags. */
async function soundStart(stream: OggStream, name: string): Promise<number> {
  let packets = 0;
  for await (const page of stream.pages(0)) {
    if (packets >= 2) return page.offset;
    packets += page.parts.length - (page.open ? 1 : 0);
  }
  throw new BadSampleError(name, 'truncated: the Opus file has headers only');
}

class OpusFile {
  constructor(
    private readonly stream: OggStream,
    private readonly head: OpusHead,
    private readonly sound: number,
    private readonly name: string,
  ) {}

  async read(start: number, count: number): Promise<Float32Array> {
    const { OpusDecoder } = await import('opus-decoder');
    const { channels, preSkip, streamCount, coupledStreamCount, channelMappingTable, gain } = this.head;
    // Positions as pages count them, from before the part that is skipped.
    const window = new MonoWindow(start + preSkip, count);
    const offset = await this.stream.seek(start + preSkip - PRE_ROLL, this.sound);
    const layout = { channels, streamCount, coupledStreamCount, channelMappingTable };
    await withDecoder(new OpusDecoder({ ...layout, preSkip: 0, sampleRate: RATE }), async (decoder) => {
      let position: number | null = null;
      for await (const { packets, granule } of this.pagesOfPackets(offset)) {
        if (packets.length === 0) continue;
        const decoded = checked(
          quietly(() => decoder.decodeFrames(packets)),
          this.name,
        );
        // Sound on a single page, the last one, may end early (and begins at 0); decoding never starts on another last page.
        position ??= Math.max(0, granule - decoded.samplesDecoded);
        window.add(position, decoded);
        position += decoded.samplesDecoded;
        if (window.complete) break;
      }
    });
    if (!window.complete) throw new BadSampleError(this.name, 'damaged or truncated Opus file');
    return gain === 1 ? window.out : window.out.map((value) => value * gain);
  }

  /** The packets that end on each page from an offset on; a first one without its beginning is left out. */
  private async *pagesOfPackets(offset: number): AsyncGenerator<{ packets: Uint8Array[]; granule: number }> {
    let begun: Uint8Array[] | null = null;
    for await (const page of this.stream.pages(offset)) {
      const packets: Uint8Array[] = [];
      let at = 0;
      for (const [i, length] of page.parts.entries()) {
        const part = page.body.subarray(at, at + length);
        at += length;
        const pieces: Uint8Array[] | null = i === 0 && page.continued ? begun && [...begun, part] : [part];
        begun = null;
        if (page.open && i === page.parts.length - 1) begun = pieces;
        else if (pieces) packets.push(Buffer.concat(pieces));
      }
      yield { packets, granule: page.granule };
    }
  }
}
