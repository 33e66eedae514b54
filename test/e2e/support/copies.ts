/** Small copies of published datasets on a local server, for the real command. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FaultServer } from '@d2v/core/testing';

export interface Copies {
  server: FaultServer;
  /** To work in. */
  folder: string;
  close(): Promise<void>;
}

/**
 * Serves copies and sets the environment: the plugins of this folder read what is published of them, datasets go into a cache of
 * their own.
 * @param name of the tests, for the folder
 * @param files by path on the server
 * @param published what the plugin takes for the published sizes and checksums
 */
export async function serveCopies(
  name: string,
  files: Readonly<Record<string, Buffer>>,
  published: object,
): Promise<Copies> {
  const folder = mkdtempSync(join(tmpdir(), `d2v-${name}-`));
  const server = await FaultServer.start();
  for (const [path, content] of Object.entries(files)) server.serve(path, content);
  writeFileSync(join(folder, 'published.json'), JSON.stringify(published));
  process.env.D2V_TEST_PUBLISHED = join(folder, 'published.json');
  process.env.D2V_DATA = join(folder, 'cache');
  return {
    server,
    folder,
    async close() {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** SHA-256 of all prepared files of a dataset, by name. @param variant one combination of options; default: all of them */
export function preparedDigests(cache: string, dataset: string, variant = ''): Record<string, string> {
  const root = join(cache, 'datasets', dataset, 'prepared', variant);
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  const files = names.filter((name) => statSync(join(root, name)).isFile());
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(root, name)))
      .digest('hex');
  return Object.fromEntries(files.map((name) => [name, digest(name)]));
}
