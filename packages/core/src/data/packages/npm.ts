/**
 * Fetching a published package with the user's own npm client, so that their registry, proxy and credentials hold.
 *
 * The tarball is compared with a pinned hash before anything reads it, so neither a registry nor a proxy has to be
 * trusted. A tarball that was put into the cache folder by hand is taken as well: the way for machines without network.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { D2vError } from '../../errors.js';
import { makeFolder } from '../../training/make-folder.js';
import { removeStale } from './stale.js';

/** A package version, pinned by content. */
export interface PinnedPackage {
  name: string;
  version: string;
  /** Of the tarball: `sha512-` and base64, as registries state it. */
  integrity: string;
  /** Download size, for the message. */
  size: string;
}

export interface FetchOptions {
  cacheDir: string;
  /** Take the package from npm's own cache only. */
  offline?: boolean;
  log(message: string): void;
}

const WORK_PREFIX = 'fetch-';

/** File name of a package's tarball, as `npm pack` chooses it. */
export function tarballName(wanted: PinnedPackage): string {
  return `${wanted.name.replace(/^@/, '').replace('/', '-')}-${wanted.version}.tgz`;
}

/**
 * Calls `use` with the path of the verified tarball, which is removed afterwards.
 * @throws D2vError with the remedy: no npm, no network, or other content than pinned
 */
export async function withPackage<T>(
  wanted: PinnedPackage,
  options: FetchOptions,
  use: (tarball: string) => Promise<T>,
): Promise<T> {
  const placed = join(options.cacheDir, tarballName(wanted));
  if (await isFile(placed)) {
    await verify(placed, wanted, `remove ${placed} or replace it`);
    return use(placed);
  }
  await makeFolder(options.cacheDir);
  await removeStale(options.cacheDir, (name) => name.startsWith(WORK_PREFIX));
  const folder = await mkdtemp(join(options.cacheDir, WORK_PREFIX));
  try {
    options.log(`fetching ${wanted.name}@${wanted.version} (${wanted.size}) with npm`);
    await npmPack(wanted, folder, options);
    const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
    if (!tarball) throw failure(wanted, options, 'npm ended well but wrote no file');
    const path = join(folder, tarball);
    await verify(path, wanted, 'check the registry that npm is set to ("npm config get registry")');
    return await use(path);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function npmPack(wanted: PinnedPackage, folder: string, options: FetchOptions): Promise<void> {
  const spec = `${wanted.name}@${wanted.version}`;
  const commands = await npmCommands();
  for (const command of commands) {
    const result = await runNpm(command, ['pack', spec], npmEnvironment(folder, options.offline === true));
    if (result === 'missing') continue;
    if (result.code === 0) return;
    throw failure(wanted, options, npmReason(result.output, result.code));
  }
  throw failure(wanted, options, 'npm was not found on PATH; install it');
}

/** Options go by environment: no quoting is needed on any platform, and paths with spaces are safe. */
function npmEnvironment(folder: string, offline: boolean): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [key, value] of Object.entries(process.env)) {
    // What an outer `npm run` was told about its own command does not concern this one.
    if (
      !/^npm_config_(workspaces?|include_workspace_root|dry_run|json|global|pack_destination)$/i.test(key)
    ) {
      env[key] = value;
    }
  }
  return {
    ...env,
    npm_config_pack_destination: folder,
    npm_config_ignore_scripts: 'true',
    npm_config_update_notifier: 'false',
    npm_config_progress: 'false',
    npm_config_loglevel: 'error',
    // The version is pinned by content, so npm's own cache is as good as the registry.
    ...(offline ? { npm_config_offline: 'true' } : { npm_config_prefer_offline: 'true' }),
  };
}

interface NpmCommand {
  file: string;
  args: string[];
  /** Through the command interpreter: the only way to start a .cmd file on Windows. */
  shell?: boolean;
}

/** Ways to start npm, best first: the one that runs us, the one on PATH, the one that came with Node. */
async function npmCommands(): Promise<NpmCommand[]> {
  const script = (file: string): NpmCommand => ({ file: process.execPath, args: [file] });
  const commands: NpmCommand[] = [];
  const outer = process.env.npm_execpath;
  if (outer && basename(outer) === 'npm-cli.js' && (await isFile(outer))) commands.push(script(outer));
  const windows = process.platform === 'win32';
  if (!windows) commands.push({ file: 'npm', args: [] });
  const bin = dirname(process.execPath);
  const lib = windows ? bin : join(bin, '..', 'lib');
  const bundled = join(lib, 'node_modules', 'npm', 'bin', 'npm-cli.js');
  if (await isFile(bundled)) commands.push(script(bundled));
  // The words after it are fixed in our sources, so the interpreter has nothing to misread.
  if (windows) commands.push({ file: 'npm.cmd', args: [], shell: true });
  return commands;
}

function runNpm(
  command: NpmCommand,
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<'missing' | { code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command.file, [...command.args, ...args], {
      env,
      shell: command.shell === true,
      stdio: ['ignore', 'ignore', 'pipe'],
      windowsHide: true,
    });
    let output = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => {
      output = (output + text).slice(-8192);
    });
    child.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' ? resolve('missing') : reject(error),
    );
    child.on('close', (code) => {
      const missing =
        command.shell === true && /not recognized|not found/i.test(output) && !output.includes('npm error');
      resolve(missing ? 'missing' : { code, output });
    });
  });
}

/** One line out of npm's many: the error code and its first explanation. */
function npmReason(output: string, code: number | null): string {
  const lines = output
    .split('\n')
    .map((line) => /^npm (?:error|ERR!)\s+(.*)$/.exec(line.trim())?.[1]?.trim())
    .filter((line): line is string => !!line && !line.startsWith('A complete log'));
  const kind = lines.find((line) => /^code \w+$/.test(line))?.slice('code '.length);
  const text = lines.find((line) => !/^(code|errno|syscall) /.test(line));
  const parts = [kind, text].filter(Boolean);
  return parts.length > 0 ? `npm says ${parts.join(': ')}` : `npm ended with code ${code}`;
}

function failure(wanted: PinnedPackage, options: FetchOptions, reason: string): D2vError {
  const spec = `${wanted.name}@${wanted.version}`;
  const remedy = options.offline
    ? 'allow the network once (data.offline: false)'
    : `see that "npm view ${spec}" works`;
  return new D2vError(
    `cannot get the package ${spec}: ${reason}; ${remedy}, or put ${tarballName(wanted)} into ${options.cacheDir}, or use your own data (--data <path>)`,
  );
}

/** Compares a file with the pinned hash. */
async function verify(file: string, wanted: PinnedPackage, remedy: string): Promise<void> {
  const [algorithm, expected] = splitIntegrity(wanted.integrity);
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  const actual = hash.digest('base64');
  if (actual === expected) return;
  throw new D2vError(
    `${tarballName(wanted)} is not the published package: its ${algorithm} is ${actual.slice(0, 12)}..., expected ${expected.slice(0, 12)}...; nothing of it was used; ${remedy}`,
  );
}

function splitIntegrity(integrity: string): [string, string] {
  const dash = integrity.indexOf('-');
  return [integrity.slice(0, dash), integrity.slice(dash + 1)];
}

async function isFile(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
