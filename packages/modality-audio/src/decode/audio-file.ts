/**
 * Audio files of any supported kind, read by range. The content decides about the kind, not the name.
 *
 * Positions and lengths are in frames: one sample of every channel, at the file's own rate.
 */
import { BadSampleError } from '@d2v/core';
import { type BytePart, type ByteReader, openBytes, partOfBytes, tagAt } from './bytes.js';

/** What a file says about itself. */
export interface AudioInfo {
  /** Hz */
  readonly sampleRate: number;
  readonly channels: number;
  /** Frames in all. */
  readonly length: number;
}

export interface AudioFile extends AudioInfo {
  /**
   * Decodes frames `start` to `start + count`, which must lie inside, and mixes the channels to their mean.
   * @throws BadSampleError if they are damaged
   */
  read(start: number, count: number): Promise<Float32Array>;
}

/** Decodes one kind of file. `name` is for messages. */
export type OpenFormat = (bytes: ByteReader, name: string) => Promise<AudioFile>;

/** File name endings that are taken for audio. */
export const AUDIO_EXTENSIONS = ['wav', 'wave', 'flac', 'mp3', 'ogg', 'oga', 'opus'] as const;

/** In words, for messages. */
export const AUDIO_KINDS = 'WAV, FLAC, MP3, Ogg Vorbis or Opus';

const RATES = { lowest: 1000, highest: 768_000 };
const MOST_CHANNELS = 64;

/** An open file; `close` it in the end. */
export interface OpenAudio extends AudioFile {
  close(): Promise<void>;
}

/** A file, or a part of one: a file in an uncompressed archive. */
export interface AudioPlace {
  path: string;
  part?: BytePart;
  /** For messages; default: the path. */
  title?: string;
}

/** Opens a file and reads its headers. @throws BadSampleError if it is missing, empty, no audio, or damaged */
export async function openAudio({ path, part, title = path }: AudioPlace): Promise<OpenAudio> {
  const whole = await openBytes(path);
  try {
    const audio = await openAudioBytes(part ? partOfBytes(whole, part, title) : whole, title);
    const { sampleRate, channels, length } = audio;
    return {
      sampleRate,
      channels,
      length,
      read: (start, count) => audio.read(start, count),
      close: () => whole.close(),
    };
  } catch (error) {
    await whole.close();
    throw error;
  }
}

/** The same for bytes that are already open. @throws BadSampleError */
export async function openAudioBytes(bytes: ByteReader, name: string): Promise<AudioFile> {
  const open = await recognise(await bytes.read(0, 64), name);
  const audio = await open(bytes, name).catch((error: unknown) => {
    // A number was read past the end of a header.
    if (!(error instanceof RangeError)) throw error;
    throw new BadSampleError(name, 'truncated or damaged: its headers make no sense', { cause: error });
  });
  const { sampleRate, channels, length } = audio;
  if (!(sampleRate >= RATES.lowest && sampleRate <= RATES.highest)) {
    throw new BadSampleError(name, `a sampling rate of ${sampleRate} Hz is out of range`);
  }
  if (!(channels >= 1 && channels <= MOST_CHANNELS))
    throw new BadSampleError(name, `has ${channels} channels`);
  if (length === 0) throw new BadSampleError(name, 'holds no sound');
  return audio;
}

/** Finds the decoder by the first bytes; its code is loaded when it is needed. */
async function recognise(head: Uint8Array, name: string): Promise<OpenFormat> {
  switch (tagAt(head, 0)) {
    case 'RIFF':
    case 'RF64':
    case 'BW64':
      if (tagAt(head, 8) === 'WAVE') return (await import('./wav.js')).openWav;
      break;
    case 'fLaC':
      return (await import('./flac.js')).openFlac;
    case 'OggS':
      return (await import('./ogg.js')).openOgg;
  }
  const { looksLikeMp3, openMp3 } = await import('./mp3.js');
  if (looksLikeMp3(head)) return openMp3;
  throw new BadSampleError(name, `not an audio file (or of another kind than ${AUDIO_KINDS})`);
}
