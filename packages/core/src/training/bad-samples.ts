import { appendFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import type { BadSample } from '../data/load-batch.js';
import { D2vError } from '../errors.js';
import { writeFileAtomic } from './atomic-file.js';

export const BAD_SAMPLES_FILE = 'bad-samples.jsonl';

/** What is remembered of damaged samples; part of a checkpoint. */
export interface BadSamplesState {
  /** Samples that were asked for, substitutes included. */
  tried: number;
  /** How many of those were damaged, repetitions included. */
  met: number;
  /** Indices of the different damaged samples, in the order of their discovery. */
  indices: number[];
}

export interface BadSamplesOptions {
  runDir: string;
  /** Name of the list in the run folder. */
  file?: string;
  /** `data.max_bad_share`. */
  maxShare: number;
  /** Name of that setting in the run's config, for messages. */
  key?: string;
  /** Samples in the dataset. */
  length: number;
  /** Folder that names are shortened against; artefacts hold no absolute path. */
  root: string | null;
  state?: BadSamplesState;
}

/**
 * So many damaged samples are always passed over (of a small dataset, at most half of it): one of 79 is more than 1 %,
 * but no reason to stop. Not with share 0, which accepts none.
 */
const ALWAYS_ACCEPTED = 10;

/** Counts damaged samples, lists each once in a file of the run folder, and ends a run with too many. */
export class BadSamples {
  private readonly known: Set<number>;
  private tried: number;
  private met: number;

  private constructor(private readonly options: BadSamplesOptions) {
    const { tried = 0, met = 0, indices = [] } = options.state ?? {};
    this.tried = tried;
    this.met = met;
    this.known = new Set(indices);
  }

  /** Opens the list; of an earlier one, the lines that belong to the checkpoint stay. */
  static async open(options: BadSamplesOptions): Promise<BadSamples> {
    const register = new BadSamples(options);
    const text = await readFile(register.path, 'utf8').catch(() => '');
    const lines = text.split('\n').filter((line) => line !== '');
    if (lines.length > register.known.size) {
      const kept = lines.slice(0, register.known.size).map((line) => `${line}\n`);
      if (kept.length > 0) await writeFileAtomic(register.path, kept.join(''));
      else await rm(register.path);
    }
    return register;
  }

  /** Different damaged samples so far. */
  get count(): number {
    return this.known.size;
  }

  /**
   * @param taken samples that came out well
   * @param bad damaged ones that were met on the way
   * @returns those that are new
   * @throws D2vError when more than `max_bad_share` of the data, and more than a handful, is damaged
   */
  record(taken: number, bad: readonly BadSample[]): BadSample[] {
    this.tried += taken + bad.length;
    this.met += bad.length;
    const news: BadSample[] = [];
    for (const sample of bad) {
      if (this.known.has(sample.index)) continue;
      this.known.add(sample.index);
      news.push({ ...sample, file: this.portableName(sample.file) });
    }
    if (news.length > 0) {
      const lines = news.map(({ file, reason }) => `${JSON.stringify({ file, reason })}\n`);
      appendFileSync(this.path, lines.join(''));
      this.check(news.at(-1)!);
    }
    return news;
  }

  state(): BadSamplesState {
    return { tried: this.tried, met: this.met, indices: [...this.known] };
  }

  private get file(): string {
    return this.options.file ?? BAD_SAMPLES_FILE;
  }

  private get path(): string {
    return join(this.options.runDir, this.file);
  }

  private check(example: BadSample): void {
    const { maxShare, length, key = 'data.max_bad_share' } = this.options;
    const accepted = maxShare > 0 ? Math.min(ALWAYS_ACCEPTED, length / 2) : 0;
    if (this.known.size <= accepted) return;
    const certain = this.known.size > maxShare * length;
    // Long before all samples were seen: far more than chance would bring if the share were allowed (4 deviations).
    const allowed = maxShare * this.tried;
    const evident = this.met > allowed + 4 * Math.sqrt(allowed) + 4;
    if (!certain && !evident) return;
    const share = certain ? this.known.size / length : this.met / this.tried;
    const of = certain ? length : this.tried;
    throw new D2vError(
      `${certain ? this.known.size : this.met} of ${of} samples are damaged (${percent(share)}), more than ${key} allows ` +
        `(${percent(maxShare)}), e.g. ${example.file}: ${example.reason}; all are listed in ${this.file} in the run folder; mend or remove them, or raise the limit with --set ${key}=${raised(share)}`,
    );
  }

  private portableName(file: string): string {
    const { root } = this.options;
    if (!isAbsolute(file)) return file;
    const inside = root === null ? '..' : relative(resolve(root), file);
    return inside.startsWith('..') || inside === '' || isAbsolute(inside)
      ? basename(file)
      : inside.replaceAll('\\', '/');
  }
}

/** The next round limit that would let a share pass. */
const raised = (share: number) => Math.min(1, Math.ceil(share * 1.2 * 100) / 100);

const percent = (share: number) => `${Number((share * 100).toPrecision(2))} %`;
