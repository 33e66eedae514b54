/** Audio files as a source of clips. */
import type { DataSource, HostTensor, Sample } from '@d2v/core';
import type { AudioDataConfig } from '../data-config.js';
import { type AudioPlace, openAudio } from '../decode/audio-file.js';
import { lengthAt, prepareClip, readAt, stirSilence } from './clip.js';
import { cropStretch, partOf, type partsToSample } from './parts.js';

/** A file and what is known of it before it is decoded. */
export interface ClipFile extends AudioPlace {
  className?: string;
  /** The shard it lies in. */
  shard?: string;
  /** Its name among other samples of a shard. */
  key?: string;
  /** Samples at the rate of the config; 0 if it cannot be told. */
  samples: number;
  /** What was said, if it is known. */
  text?: string;
}

export interface ClipSourceOptions {
  name: string;
  license?: string;
  classes: readonly string[];
  /** How many clips a file gives. */
  parts: typeof partsToSample;
}

interface Clip {
  file: ClipFile;
  part: number;
  parts: number;
}

/** The clips of files, in their order. */
export function clipSource(
  files: readonly ClipFile[],
  data: AudioDataConfig,
  { name, license, classes, parts: partsOf }: ClipSourceOptions,
): DataSource {
  const { max_sample_size: most, sample_rate: rate } = data;
  const clips: Clip[] = files.flatMap((file) => {
    const parts = partsOf(file.samples, most);
    return Array.from({ length: parts }, (_, part) => ({ file, part, parts }));
  });
  const numbers = new Map(classes.map((className, number) => [className, number]));
  const label = (index: number) => numbers.get(clips[index]!.file.className ?? '') ?? -1;
  return {
    length: clips.length,
    name,
    license,
    classes: classes.length > 0 ? [...classes] : undefined,
    describe: (index) => describe(clips[index]!, titleOf(clips[index]!.file), rate),
    key: (index) => {
      const { file } = clips[index]!;
      return describe(clips[index]!, file.key ?? titleOf(file), rate);
    },
    label,
    ...(clips.every(({ file }) => file.shard !== undefined) && { shards: () => shardStarts(clips) }),
    sizes: () =>
      Float64Array.from(clips, ({ file, part, parts }) => {
        const { count } = partOf(file.samples, part, parts);
        return Math.min(count, most ?? count) / rate;
      }),
    async get(index, rng, mode) {
      const { file, part, parts } = clips[index]!;
      const audio = await openAudio(file);
      try {
        const whole = partOf(lengthAt(audio, rate), part, parts);
        const { start, count } = cropStretch(whole, most, rng, mode);
        const samples = await readAt(audio, rate, start, count);
        prepareClip(samples, data.normalize, titleOf(file));
        const tensors: Sample['tensors'] = { source: { data: samples, shape: [count] } };
        if (mode === 'train') {
          tensors.crop = randomPlace(rng.uniform());
          stirSilence(samples, rng);
        }
        const number = label(index);
        return {
          tensors,
          label: number < 0 ? undefined : number,
          id: index,
        };
      } finally {
        await audio.close();
      }
    },
  };
}

/** Where each run of clips of one shard begins. */
function shardStarts(clips: readonly Clip[]): number[] {
  return clips.flatMap(({ file }, i) => (file.shard === clips[i - 1]?.file.shard ? [] : [i]));
}

/** Where a batch whose clips are cropped to the shortest cuts this one, from 0 (its start) to 1 (its end). */
function randomPlace(place: number): HostTensor {
  return { data: Float32Array.of(place), shape: [1] };
}

const titleOf = ({ path, title = path }: ClipFile) => title;

function describe({ file, part, parts }: Clip, title: string, rate: number): string {
  const text = file.text ? ` "${file.text}"` : '';
  if (parts === 1) return title + text;
  const { start, count } = partOf(file.samples, part, parts);
  const seconds = (samples: number) => (samples / rate).toFixed(2);
  return `${title} [${seconds(start)}-${seconds(start + count)} s]${text}`;
}
