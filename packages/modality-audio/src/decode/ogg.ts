/** Ogg files: which codec the first stream has. */
import { BadSampleError } from '@d2v/core';
import type { AudioFile } from './audio-file.js';
import { type ByteReader, tagAt } from './bytes.js';
import { OggStream } from './ogg-pages.js';

export async function openOgg(bytes: ByteReader, name: string): Promise<AudioFile> {
  const { stream, first } = await OggStream.open(bytes, name);
  if (tagAt(first.body, 0, 8) === 'OpusHead')
    return (await import('./opus.js')).openOpus(stream, first, name);
  if (tagAt(first.body, 0, 7) === '\x01vorbis') {
    return (await import('./vorbis.js')).openVorbis(stream, first, name);
  }
  throw new BadSampleError(name, 'an Ogg file whose first stream is neither Vorbis nor Opus');
}
