/**
 * What a plugin says about a dataset that d2v downloads and prepares, and what it gets from core to do so.
 *
 * A dataset is data and two functions: `files` names what is published, `prepare` turns it into what its modality reads.
 * Everything else (resumed downloads, checksums, locks, the manifest, progress, verification) is core's.
 */
import type { z } from 'zod';
import type { DatasetInfo } from '../modality/contract.js';

/** Digests of a whole file, lower-case hexadecimal; as many as are published. */
export interface Checksums {
  md5?: string;
  sha1?: string;
  sha256?: string;
  sha512?: string;
}

/** A published file, or one of a user's archives. */
export interface DatasetFile {
  /** Its name in the dataset's `raw` folder; a relative path with `/` where names repeat. */
  name: string;
  /** Where it is published, best first; the next is tried when one is gone. */
  urls: readonly string[];
  /** Published size; unknown where left out. */
  bytes?: number;
  checksums?: Checksums;
  /** The splits that need it; left out: every one. */
  splits?: readonly string[];
  /** What follows `--mirror <url>/`; default: `name`. */
  mirrorPath?: string;
}

/** A part of a dataset that can be chosen with `--splits`. */
export interface DatasetSplitInfo {
  /** One line: what is in it and how large it is. */
  description: string;
  /** Whether it is taken when `--splits` is not given. Default: true. */
  default?: boolean;
}

/** Who may download a dataset, and how they show it. */
export interface DatasetAccess {
  /** Environment variables that may hold a token, in this order; sent as `Authorization: Bearer`, to the files' own host alone. */
  tokenEnv?: readonly string[];
  /** What to do when the server says no, e.g. `accept the terms at https://... and set HF_TOKEN`. */
  howTo: string;
}

/** Numbers about a prepared dataset, by name: `samples`, `seconds`, `tokens`, ... */
export type Counts = Readonly<Record<string, number>>;

/** What `files` may need to find out what is published. */
export interface FilesContext<O> {
  options: O;
  splits: readonly string[];
  /** `--from`: a folder with archives or an extracted tree. */
  from: string | null;
  /** `--mirror`: may hold credentials and a query, so take it apart with `joinUrl` and show it with `shownUrl` alone. */
  mirror: string | null;
  /**
   * The text behind a URL (a list of files, checksums), with the same retries, proxies and credentials as downloads.
   * @throws D2vError offline, or when it cannot be had
   */
  fetchText(url: string): Promise<string>;
}

/** Where a step of the preparation writes. */
export interface StepOutput {
  /** An empty folder for this step alone; every file in it becomes part of the dataset when the step ends. Paths below it are kept. */
  folder: string;
  /**
   * States the size and SHA-256 of a file of `folder` that the writer has computed along the way, so that it isn't read
   * once more. @param name relative to `folder`, with `/`
   */
  wrote(name: string, bytes: number, sha256: string): void;
  /** Has something closed when the step ends, well or not. */
  atEnd(close: () => Promise<void>): void;
}

/** What `prepare` gets. */
export interface PrepareContext<O> {
  options: O;
  splits: readonly string[];
  /** Where the prepared files are; to be read only: steps write. */
  folder: string;
  /** Cores that it may use. */
  threads: number;
  /** `--from`: a folder with archives or an extracted tree; null where everything was downloaded. */
  from: string | null;
  /**
   * The files of `files()` for the chosen splits, complete and verified, in that order. `path` may lie outside of the cache
   * (`--from`).
   */
  files: readonly (DatasetFile & { path: string })[];
  /** The path of one of them. @throws D2vError if there is none of that name */
  raw(name: string): string;
  /**
   * One part of the work that is done once: its files appear together, are recorded with their SHA-256 in `dataset.json`,
   * and are never made again while they are there. After `kill -9` a step is begun anew. Some seconds to some minutes of
   * work are a good size. Several steps may run at once.
   * @param key lower case letters, digits, `.`, `-`, `_` and `/`; unique in the dataset. `<split>` and `<split>/...` are of that
   *   split alone, any other is of all: when files of it are damaged, these are what is prepared again
   * @param make writes the files and returns numbers to be recorded
   * @returns what `make` returned, now or at an earlier time
   */
  step(key: string, make: (output: StepOutput) => Promise<Counts>): Promise<Counts>;
  /** Shows how far it is. @param total null where it is not known @param unit a plural noun; `bytes` are shown as MB */
  progress(item: string, done: number, total: number | null, unit: string): void;
  log(message: string): void;
  warn(message: string): void;
  /** To be looked at between pieces of work: throws when the user stops the preparation. */
  signal: AbortSignal;
}

/**
 * A dataset with its download and preparation. Made with `defineDataset`, put into `Modality.datasets` under its name;
 * opened by `Modality.openData` through `openDataset`.
 * @typeParam O its options, parsed
 */
// biome-ignore lint/suspicious/noExplicitAny: a list of datasets has many types of O at once
export interface ManagedDataset<O = any> extends DatasetInfo {
  name: string;
  /** Raise it when `prepare` gives something else: what was prepared before is then prepared again. */
  version: number;
  /** What is shown before the first download: terms of use, whom to cite; plain text of some lines. */
  terms: string;
  homepage?: string;
  /** Left out where anybody may download it. A function where it depends on the options, e.g. on the chosen source. */
  access?: DatasetAccess | ((options: O) => DatasetAccess);
  /**
   * Its options (`z.strictObject`; every key with a default and a `.describe()`): flags of `d2v data`, and keys of
   * `data.dataset_options`. Each combination of values is prepared into a folder of its own. `splits` is core's.
   */
  options: z.ZodType<O>;
  /** Counts that only `prepare` itself makes use of: not shown among the others. */
  internalCounts?: readonly string[];
  /** Parts that can be chosen; without it the dataset is one whole. Each part is prepared by steps of its own. */
  splits?: Readonly<Record<string, DatasetSplitInfo>>;
  /** What is published of the chosen splits. */
  files(context: FilesContext<O>): Promise<readonly DatasetFile[]> | readonly DatasetFile[];
  /**
   * Files and folders below `--from` that `prepare` reads for a split in place of what `files` would list with checksums: an
   * extracted tree. Names and sizes of what is in them are recorded, and another tree is refused. Needed where `files` states
   * nothing for some folders.
   */
  inputs?(from: string, split: string, options: O): Promise<readonly string[]>;
  /** Bytes that the prepared form takes for the chosen splits, for the check of the disk; left out: as many as the raw files. */
  preparedBytes?(options: O, splits: readonly string[]): number;
  /** Turns raw files into prepared ones, in steps. Called again after an interruption and for further splits. */
  prepare(context: PrepareContext<O>): Promise<void>;
}

/** A prepared dataset, to be opened. */
export interface ReadyDataset<O = unknown> {
  name: string;
  /** Where the prepared files are. */
  folder: string;
  options: O;
  /** The splits that were asked for; all of them are prepared. */
  splits: readonly string[];
  /** Steps in the order of their keys, with what they have recorded. */
  steps: readonly PreparedStep[];
}

/** A step of the preparation that is done. */
export interface PreparedStep {
  key: string;
  counts: Counts;
  /** Relative to `ReadyDataset.folder`, with `/`. */
  files: readonly { name: string; bytes: number; sha256: string }[];
}

/** How long something takes, and what is to be said; for progress bars, logs and tests. */
export type DatasetEvent =
  | {
      type: 'progress';
      phase: 'download' | 'verify' | 'prepare';
      /** File or part. */
      item: string;
      done: number;
      total: number | null;
      /** A plural noun. */
      unit: string;
    }
  | { type: 'info'; message: string }
  | { type: 'warning'; message: string };

/** How core is to work on datasets; the same for every function of `datasets/`. */
export interface DatasetOptions {
  /** Default: `dataCacheDir()`. */
  cacheDir?: string;
  /** Values of the dataset's options by key, unchecked, `splits` (a list) among them. */
  options?: Readonly<Record<string, unknown>>;
  /** A folder with archives that are there already (any depth is not searched: names as in `DatasetFile.name`), or an extracted tree. */
  from?: string;
  /** Base URL to take the files from instead of the published ones. May hold credentials. Default: `D2V_MIRROR_<NAME>`. */
  mirror?: string;
  /** Never use the network. */
  offline?: boolean;
  /** Bytes per second, all connections together. */
  limitRate?: number;
  /** Most connections for one file. Default: 4. */
  connections?: number;
  /** Most attempts in a row that bring nothing. Default: 8. */
  retries?: number;
  /** Seconds without data, or with less than a KB per second, after which a connection is given up. Default: 30. */
  stallSeconds?: number;
  /** For the files' own host; otherwise from `DatasetAccess.tokenEnv`. */
  token?: string;
  /** Of waiting times between attempts; for tests. */
  backoffScale?: number;
  /** Asked before the first download with licence and terms; without it the terms must have been accepted (`acceptTerms`). */
  confirmTerms?: (dataset: ManagedDataset) => Promise<boolean>;
  /** The terms are accepted (`--yes`). */
  acceptTerms?: boolean;
  /** Cores for the preparation. Default: all. */
  threads?: number;
  on?: (event: DatasetEvent) => void;
  signal?: AbortSignal;
}
