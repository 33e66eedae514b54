import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PeerOptions } from './peer.js';
import type { Peers } from './peers.js';

const folder = mkdtempSync(join(tmpdir(), 'd2v-peers-'));
let make: (expected: Record<string, unknown>) => Peers;

/** In the place of Python: a compiled peer that cannot start, and one as it is whose third request is too much for it. */
const STUB = `#!${process.execPath}
const fail = (line) => { console.error('Traceback\\n' + line); process.exit(1); };
if (process.argv.includes('--compile')) fail('torch.OutOfMemoryError: no memory left');
console.log('ready');
let requests = 0;
require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  if (++requests === 3) fail('RuntimeError: the third');
  console.log(JSON.stringify({ version: '2', threads: 1, config: { depth: 6 }, seconds: [0.5], median: 0.5, graphs: requests, peak_memory: 1 }));
});
`;

beforeAll(async () => {
  writeFileSync(join(folder, 'python'), STUB);
  chmodSync(join(folder, 'python'), 0o755);
  vi.stubEnv('D2V_PYTHON', join(folder, 'python'));
  vi.resetModules();
  const { Peers } = await import('./peers.js');
  make = (expected) => new Peers(expected);
  vi.spyOn(console, 'error').mockImplementation(() => {});
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const options = (compiled: boolean): PeerOptions => ({
  modality: 'image',
  preset: 'tiny',
  threads: 0,
  warmup: 1,
  compiled,
  device: 'cpu',
  dtype: 'f32',
  batch: 1,
  clones: 1,
});

describe('peers', () => {
  it('keep what was measured of one that fails, and say why each failed', async () => {
    const peers = make({ depth: 6 });
    expect(await peers.start(options(false))).toBe(true);
    expect(await peers.start(options(true))).toBe(false);
    expect(await peers.run(2)).toEqual(['PyTorch 500.00 ms']);
    expect(await peers.run(2)).toEqual(['PyTorch 500.00 ms (compiled again meanwhile)']);
    expect(await peers.run(2)).toEqual(['PyTorch failed']);
    expect(await peers.run(2)).toEqual([]);
    await peers.stop();
    expect(peers.measured.map(({ name, seconds, updates }) => [name, seconds, updates])).toEqual([
      ['PyTorch', [0.5, 0.5], 4],
    ]);
    expect(peers.failures).toEqual([
      { name: 'PyTorch compiled', reason: 'torch.OutOfMemoryError: no memory left' },
      { name: 'PyTorch', reason: 'RuntimeError: the third' },
    ]);
  });

  it('compare nothing with another model', async () => {
    const peers = make({ depth: 12 });
    await peers.start(options(false));
    expect(await peers.run(1)).toEqual(['PyTorch failed']);
    await peers.stop();
    expect(peers.measured).toEqual([]);
    expect(peers.failures[0]!.reason).toMatch(/depth is 6 there and 12 here/);
  });
});
