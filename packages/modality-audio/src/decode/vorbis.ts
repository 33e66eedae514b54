/** Ogg Vorbis: pages are found here, and decoded by libvorbis as WebAssembly. */
import { BadSampleError } from '@d2v/core';
import type { OggVorbisDecoder } from '@wasm-audio-decoders/ogg-vorbis';
import type { AudioFile } from './audio-file.js';
import { viewOf } from './bytes.js';
import type { OggPage, OggStream } from './ogg-pages.js';
import { checked, type Decoded, MonoWindow, quietly, withDecoder } from './wasm.js';

/** The longest block of the codec: the first packet after a jump gives no sound, so so much is decoded before. */
const LONGEST_BLOCK = 8192;

export async function openVorbis(stream: OggStream, first: OggPage, name: string): Promise<AudioFile> {
  if (first.body.length < 30) throw new BadSampleError(name, 'damaged Vorbis file');
  const view = viewOf(first.body);
  const { headers, sound } = await readHeaders(stream, name);
  const file = new VorbisFile(stream, headers, sound, name);
  return {
    sampleRate: view.getUint32(12, true),
    channels: view.getUint8(11),
    length: Math.max(0, await stream.lastGranule(sound)),
    read: (start, count) => file.read(start, count),
  };
}

/** The pages of the three header packets, as bytes, and where the sound begins. */
async function readHeaders(
  stream: OggStream,
  name: string,
): Promise<{ headers: Uint8Array[]; sound: number }> {
  const headers: Uint8Array[] = [];
  let packets = 0;
  for await (const page of stream.pages(0)) {
    // Headers end with a page of their own.
    if (packets >= 3) return { headers, sound: page.offset };
    headers.push(page.bytes);
    packets += page.parts.length - (page.open ? 1 : 0);
  }
  throw new BadSampleError(name, 'truncated: the Vorbis file has headers only');
}

class VorbisFile {
  constructor(
    private readonly stream: OggStream,
    private readonly headers: Uint8Array[],
    private readonly sound: number,
    private readonly name: string,
  ) {}

  async read(start: number, count: number): Promise<Float32Array> {
    const { OggVorbisDecoder } = await import('@wasm-audio-decoders/ogg-vorbis');
    const window = new MonoWindow(start, count);
    const offset = await this.stream.seek(start - LONGEST_BLOCK, this.sound);
    await withDecoder(new OggVorbisDecoder(), async (decoder) => {
      let position = await this.positionAt(decoder, offset);
      const take = (decoded: Decoded) => {
        window.add(position, checked(decoded, this.name));
        position += decoded.samplesDecoded;
      };
      for (const header of this.headers) await quietly(() => decoder.decode(header));
      for await (const page of this.stream.pages(offset)) {
        take(await quietly(() => decoder.decode(page.bytes)));
        if (window.complete) return;
      }
      take(await quietly(() => decoder.flush()));
    });
    if (!window.complete) throw new BadSampleError(this.name, 'damaged or truncated Vorbis file');
    return window.out;
  }

  /**
   * Position of the first sample that decoding from a page gives: a page says where it ends, so it is decoded alone to
   * see how much it gives. (The last page may end early, so this has to be another one, if there is one.)
   */
  private async positionAt(decoder: OggVorbisDecoder, offset: number): Promise<number> {
    for (const header of this.headers) await quietly(() => decoder.decode(header));
    let samples = 0;
    for await (const page of this.stream.pages(offset)) {
      const some = await quietly(() => decoder.decode(page.bytes));
      samples += some.samplesDecoded;
      if (page.granule < 0) continue;
      const rest = await quietly(() => decoder.flush());
      return page.granule - samples - rest.samplesDecoded;
    }
    return 0;
  }
}
