/** `dataset.json`: what is in a dataset's folder, where it came from and how it was made. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { D2vError } from '../../errors.js';
import { writeFileAtomic } from '../../training/atomic-file.js';

const MANIFEST = 'dataset.json';
const size = z.int().min(0);

const checksumsSchema = z.object({
  md5: z.string().optional(),
  sha1: z.string().optional(),
  sha256: z.string().optional(),
  sha512: z.string().optional(),
});

const rawSchema = z.object({
  bytes: size,
  /** Published ones, or SHA-256. */
  checksums: checksumsSchema,
  /** Where it was downloaded from, without credentials. */
  url: z.string().optional(),
  /** Where it lies, if not in `raw`: a folder of the user's. */
  path: z.string().optional(),
  /** `changeTime` of the file that was verified; after any other it is verified again. Left out by older releases. */
  changed: z.number().optional(),
});

const fileSchema = z.object({
  name: z.string(),
  urls: z.array(z.string()),
  bytes: size.optional(),
  checksums: checksumsSchema.optional(),
  splits: z.array(z.string()).optional(),
  mirrorPath: z.string().optional(),
});

const stepSchema = z.object({
  counts: z.record(z.string(), z.number()),
  files: z.array(z.object({ name: z.string(), bytes: size, sha256: z.string() })),
});

const sourceSchema = z.object({
  /** `published`: files with published checksums, wherever they lay; `tree`: what lies in a folder of the user's. */
  kind: z.enum(['published', 'tree']),
  /** That folder. */
  path: z.string().optional(),
  /** Number and size of the files in it, and SHA-256 of their names and sizes. */
  files: size.optional(),
  bytes: size.optional(),
  sha256: z.string().optional(),
});

const variantSchema = z.object({
  /** `ManagedDataset.version` of the preparation. */
  version: z.int(),
  options: z.unknown(),
  /** Splits that are prepared as a whole. */
  complete: z.array(z.string()),
  /** Splits that were complete until damaged or missing files were struck off; to be prepared again. */
  struck: z.array(z.string()).optional(),
  /** What each split was prepared from; left out by older releases. */
  sources: z.record(z.string(), sourceSchema).optional(),
  /** Published files that it was prepared from, by name. */
  archives: z.record(z.string(), z.object({ bytes: size, checksums: checksumsSchema })).optional(),
  steps: z.record(z.string(), stepSchema),
});

const manifestSchema = z.object({
  format: z.literal(1),
  name: z.string(),
  license: z.string(),
  /** When the terms were accepted. */
  termsAccepted: z.string().nullable(),
  /** What is published, by the splits that were asked for: for work without network. */
  published: z.record(z.string(), z.array(fileSchema)),
  raw: z.record(z.string(), rawSchema),
  /** What is prepared, by the name of its folder. */
  prepared: z.record(z.string(), variantSchema),
});

export type RawRecord = z.output<typeof rawSchema>;
export type SourceRecord = z.output<typeof sourceSchema>;
export type StepRecord = z.output<typeof stepSchema>;
export type VariantRecord = z.output<typeof variantSchema>;
export type ManifestContent = z.output<typeof manifestSchema>;

/** The manifest of a folder; null if there is none. @throws D2vError if it cannot be understood */
export async function readManifest(folder: string): Promise<ManifestContent | null> {
  const path = join(folder, MANIFEST);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  if (text === null) return null;
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new D2vError(
      `${path} is not what was written there: remove it and prepare the dataset again (downloads that are there are verified and used; what is prepared is made anew)`,
      { cause: error },
    );
  }
}

/** The manifest while it changes; every change is on the disk before it counts, where the folder can be written. */
export class Manifest {
  private writing: Promise<void> = Promise.resolve();
  private pending = false;

  private constructor(
    private readonly folder: string,
    readonly content: ManifestContent,
    /** Whether changes are kept on the disk. */
    readonly writable: boolean,
  ) {}

  /** Reads it, or begins one. The caller has the folder's lock, unless it cannot be written. */
  static async open(folder: string, name: string, license: string, writable = true): Promise<Manifest> {
    const content = await readManifest(folder);
    if (content && content.name !== name) {
      throw new D2vError(`${folder} holds the dataset ${content.name}, not ${name}: remove or rename it`);
    }
    const empty = {
      format: 1 as const,
      name,
      license,
      termsAccepted: null,
      published: {},
      raw: {},
      prepared: {},
    };
    return new Manifest(folder, content ?? empty, writable);
  }

  /** Changes the content and writes it; changes that come while it is being written share the next writing. */
  async update(change: (content: ManifestContent) => void): Promise<void> {
    change(this.content);
    if (!this.writable) return;
    if (this.pending) return this.writing;
    this.pending = true;
    this.writing = this.writing
      .catch(() => undefined)
      .then(() => {
        this.pending = false;
        return this.write();
      });
    return this.writing;
  }

  private async write(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await writeFileAtomic(join(this.folder, MANIFEST), `${JSON.stringify(this.content, null, 1)}\n`);
  }
}
