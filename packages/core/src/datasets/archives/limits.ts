/** What an archive may contain at most: archives come from outside, and a small one can unpack to fill any disk. */
import { D2vError } from '../../errors.js';

export interface ArchiveLimits {
  /** Most bytes of one entry. Default: 2 TB. */
  entryBytes?: number;
  /** Most bytes of all entries together. Default: 4 TB. */
  totalBytes?: number;
  /** Most entries. Default: 20 million. */
  entries?: number;
  /** Most bytes that one compressed byte may become, counted from 64 MB on. Default: 250. */
  ratio?: number;
}

const DEFAULTS: Required<ArchiveLimits> = { entryBytes: 2e12, totalBytes: 4e12, entries: 20e6, ratio: 250 };
/** Below this a high ratio does no harm, and happens: a small file of one value. */
const RATIO_FROM = 64 << 20;

/** An archive's entry that is refused. */
export class ArchiveError extends D2vError {
  override readonly name = 'ArchiveError';

  /** @param archive for messages @param entry its name as the archive has it; null: the archive itself */
  constructor(archive: string, entry: string | null, reason: string, options?: ErrorOptions) {
    super(
      `${archive}: ${entry === null ? '' : `the entry ${JSON.stringify(shortened(entry))} `}${reason}`,
      options,
    );
  }
}

const shortened = (name: string) => (name.length > 200 ? `${name.slice(0, 200)}...` : name);

/** Counts what comes out of one archive and checks each entry against the limits. */
export class EntryGuard {
  private readonly limits: Required<ArchiveLimits>;
  private readonly names = new Set<string>();
  private total = 0;

  constructor(
    private readonly archive: string,
    limits: ArchiveLimits = {},
  ) {
    this.limits = { ...DEFAULTS, ...limits };
  }

  /**
   * Checks a regular file. @returns its name, made clean (`./a//b` is `a/b`)
   * @throws ArchiveError naming the entry
   */
  admit(name: string, bytes: number): string {
    const clean = cleanName(name, this.archive);
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw this.refuse(name, 'has no proper size');
    if (bytes > this.limits.entryBytes)
      throw this.refuse(name, `is larger than ${this.limits.entryBytes} bytes`);
    this.total += bytes;
    if (this.total > this.limits.totalBytes) {
      throw this.refuse(name, `makes the content larger than ${this.limits.totalBytes} bytes`);
    }
    const key = clean.normalize('NFC');
    if (this.names.has(key)) throw this.refuse(name, 'is there twice');
    this.names.add(key);
    if (this.names.size > this.limits.entries)
      throw this.refuse(name, `is one of more than ${this.limits.entries}`);
    return clean;
  }

  private refuse(entry: string, reason: string): ArchiveError {
    return new ArchiveError(this.archive, entry, reason);
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
const MOST_NAME = 1024;
const MOST_PART = 255;

/**
 * The name of an entry as a relative path with `/`.
 * @throws ArchiveError if it would lead out of a folder on any platform, or is not proper text
 */
export function cleanName(name: string, archive: string): string {
  const fail = (reason: string): never => {
    throw new ArchiveError(archive, name, reason);
  };
  if (CONTROL.test(name)) fail('has control characters in its name');
  // What is not UTF-8 was decoded to this sign.
  if (name.includes('\ufffd')) fail('has a name that is not UTF-8');
  if (name.includes('\\')) fail('has a backslash in its name');
  if (name.startsWith('/')) fail('has an absolute path');
  if (/^[A-Za-z]:/.test(name)) fail('names a drive');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) fail('leads out of its folder');
  if (parts.length === 0) fail('has no name');
  if (parts.some((part) => Buffer.byteLength(part) > MOST_PART) || name.length > MOST_NAME)
    fail('has a name that is too long');
  return parts.join('/');
}

/** Checks the growth of a stream that is being decompressed. @throws ArchiveError above the ratio */
export function checkRatio(archive: string, compressed: number, plain: number, most = DEFAULTS.ratio): void {
  if (plain <= RATIO_FROM || plain <= most * compressed) return;
  throw new ArchiveError(
    archive,
    null,
    `${compressed} compressed bytes have become ${plain}: more than ${most} times as many, which no honest archive does`,
  );
}
