/** What an archive may contain at most: archives come from outside, and a small one can unpack to fill any disk. */
import { D2vError } from '../../errors.js';

export interface ArchiveLimits {
  /** Most bytes of one entry. Default: 2 TB. */
  entryBytes?: number;
  /** Most bytes of all entries together. Default: 4 TB. */
  totalBytes?: number;
  /** Most entries. Default: 16 million, about as many names as a set of V8 can hold. */
  entries?: number;
  /** Most bytes that one compressed byte may become, counted from 64 MB on. Default: 250. */
  ratio?: number;
}

const DEFAULTS: Required<ArchiveLimits> = { entryBytes: 2e12, totalBytes: 4e12, entries: 16e6, ratio: 250 };
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
  private count = 0;
  private total = 0;

  constructor(
    private readonly archive: string,
    limits: ArchiveLimits = {},
  ) {
    this.limits = { ...DEFAULTS, ...limits };
  }

  /**
   * Checks a regular file that is wanted. @returns its name, made clean (`./a//b` is `a/b`)
   * @throws ArchiveError naming the entry
   */
  admit(name: string, bytes: number): string {
    const clean = cleanName(name, this.archive);
    if (bytes > this.limits.entryBytes)
      throw this.refuse(name, `is larger than ${this.limits.entryBytes} bytes`);
    this.pass(name, bytes);
    const key = clean.normalize('NFC');
    if (this.names.has(key)) throw this.refuse(name, 'is there twice');
    this.names.add(key);
    return clean;
  }

  /**
   * Counts an entry, also one that nobody wants: number and size of all are bounded.
   * @throws ArchiveError naming the entry
   */
  pass(name: string, bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw this.refuse(name, 'has no proper size');
    this.total += bytes;
    if (this.total > this.limits.totalBytes) {
      throw this.refuse(name, `makes the content larger than ${this.limits.totalBytes} bytes`);
    }
    this.count++;
    if (this.count > this.limits.entries)
      throw this.refuse(name, `is one of more than ${this.limits.entries}`);
  }

  private refuse(entry: string, reason: string): ArchiveError {
    return new ArchiveError(this.archive, entry, reason);
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
/** Whether the bytes of a name hold control characters: decoders of old encodings turn them into signs. */
export const hasControl = (name: Uint8Array): boolean => name.some((byte) => byte < 0x20 || byte === 0x7f);

/** A name without what changes nothing: `./a//b` is `a/b`. */
export const plainName = (name: string): string =>
  name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');

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
  const plain = plainName(name);
  const parts = plain.split('/');
  if (parts.includes('..')) fail('leads out of its folder');
  if (plain === '') fail('has no name');
  if (parts.some((part) => Buffer.byteLength(part) > MOST_PART) || name.length > MOST_NAME)
    fail('has a name that is too long');
  return plain;
}

const RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)/i;

/**
 * Checks a clean name that is to become a file. What one of the common systems could not hold is refused on all of them:
 * what is unpacked on one may be used on another.
 * @throws ArchiveError naming the entry
 */
export function checkPortable(name: string, archive: string): void {
  for (const part of name.split('/')) {
    const reason = RESERVED.test(part)
      ? 'has a name that Windows keeps for devices'
      : /[. ]$/.test(part)
        ? 'has a name that ends with a dot or space, which Windows drops'
        : /[<>:"|?*]/.test(part)
          ? 'has a name with one of < > : " | ? *, which Windows does not allow'
          : null;
    if (reason !== null) throw new ArchiveError(archive, name, reason);
  }
}

/**
 * Checks the growth of what is being decompressed.
 * @param entry that is being read; null where none is known
 * @throws ArchiveError above the ratio
 */
export function checkRatio(
  archive: string,
  entry: string | null,
  compressed: number,
  plain: number,
  most = DEFAULTS.ratio,
): void {
  if (plain <= RATIO_FROM || plain <= most * compressed) return;
  throw new ArchiveError(
    archive,
    entry,
    `${entry === null ? '' : 'is where '}${compressed} compressed bytes have become ${plain}: more than ${most} times as many, which no honest archive does`,
  );
}
