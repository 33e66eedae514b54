/**
 * Image datasets through the real command: small copies, built like the published archives, come from a local server; one
 * command downloads, prepares and trains.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHeldOut } from '@d2v/core';
import { makeTar } from '@d2v/core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeCifar10, makeCifar100 } from '../../packages/modality-image/src/datasets/__fixtures__/cifar.js';
import {
  makeArchives,
  makeHub,
  NAMES,
  published,
  stripes,
} from '../../packages/modality-image/src/datasets/__fixtures__/imagenet.js';
import { metrics, runCleanly, startCli, trainArguments } from './support/cli.js';
import { type Copies, preparedDigests, serveCopies } from './support/copies.js';

const plugin = resolve(import.meta.dirname, 'support', 'image-copies.mjs');
const PARTS = ['train', 'valid', 'devkit'] as const;

let copies: Copies;
let folder: string;
let server: Copies['server'];
beforeAll(async () => {
  const archives = await makeArchives();
  const [cifar10, cifar100] = [makeCifar10(), makeCifar100()];
  const files = {
    ...Object.fromEntries(PARTS.map((part) => [`/${NAMES[part]}`, archives[part]])),
    ...(await makeHub()),
    '/cifar-10-binary.tar.gz': cifar10,
    '/cifar-100-binary.tar.gz': cifar100,
  };
  const of = (bytes: Buffer) => ({
    bytes: bytes.length,
    md5: createHash('md5').update(bytes).digest('hex'),
  });
  copies = await serveCopies('image-datasets', files, {
    imagenet: published(archives),
    cifar10: of(cifar10),
    cifar100: of(cifar100),
  });
  ({ folder, server } = copies);
}, 60_000);
afterAll(() => copies.close());
/** Each test has a cache folder of its own. */
let cache: string;
beforeEach(() => {
  cache = mkdtempSync(join(folder, 'cache-'));
  process.env.D2V_DATA = cache;
});

const withCopies = (...args: string[]) => [...args, '--plugin', plugin];
const fromServer = (...args: string[]) => withCopies(...args, '--mirror', server.url(''), '--yes');

const d2v = (...args: string[]) => runCleanly(args, { cwd: folder });

describe('one command downloads, prepares and trains 20 updates', () => {
  it.each([
    ['imagenet', 'imagenet', []],
    ['imagenet-hub', 'imagenet', ['data.dataset_options={source: hub, max_side: 32}']],
    ['cifar10', 'cifar10', []],
    ['cifar100', 'cifar100', []],
  ] as const)('%s', async (run, dataset, settings) => {
    const train = trainArguments(run, dataset, ['optimization.max_update=20', ...settings]);
    const trained = await d2v(...fromServer(...train));
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.stdout).toContain('20 updates');
    const losses = metrics(join(folder, run)).map(({ loss }) => loss);
    expect(losses.length).toBeGreaterThan(2);
    expect(losses.every((loss) => loss === undefined || Number.isFinite(loss))).toBe(true);

    const verified = await d2v(...withCopies('data', 'verify', dataset));
    expect(verified.code, verified.stderr).toBe(0);
    // All is there: no server is asked any more.
    const before = server.requests.length;
    const again = trainArguments(`${run}-2`, dataset, [
      'optimization.max_update=1',
      'data.shuffle=shards',
      ...settings,
    ]);
    const offline = await d2v(...withCopies(...again, '--offline'));
    expect(offline.code, offline.stderr).toBe(0);
    expect(server.requests.length).toBe(before);
  });
});

describe('shards of the user', () => {
  it('are trained on; damaged images are passed over and listed', async () => {
    const bad = [...Array(20).keys()].find((i) => !isHeldOut(`s${i}`, 0.25))!;
    const files = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => [
        { path: `s${i}.cls`, content: String(i % 3) },
        { path: `s${i}.jpg`, content: i === bad ? 'no image' : await stripes(i % 3, i) },
      ]),
    );
    writeFileSync(join(folder, 'own-0.tar'), makeTar(files.slice(0, 20).flat()));
    writeFileSync(join(folder, 'own-1.tar'), makeTar(files.slice(20).flat()));
    const settings = ['optimization.max_update=20', 'data.max_bad_share=0.1'];
    const trained = await d2v(...trainArguments('own', 'own-{0..1}.tar', settings));
    expect(trained.code, trained.stderr).toBe(0);
    const lines = readFileSync(join(folder, 'own', 'bad-samples.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { file: `own-0.tar: s${bad}`, reason: expect.stringContaining('not an image') },
    ]);
    const range = ['embed', 'own', 'own-{0..1}.tar', '--workers', '1'];
    const embedded = await d2v(...range, '-o', 'own.jsonl');
    expect(embedded.code, embedded.stderr).toBe(0);
    expect(embedded.stderr).toContain(`own-0.tar: s${bad}: not an image`);
    const rows = readFileSync(join(folder, 'own.jsonl'), 'utf8').trim().split('\n');
    const keys = files.map((_, i) => `s${i}`).filter((_, i) => i !== bad);
    expect(rows.map((row) => JSON.parse(row).name)).toEqual(keys);
  });
});

describe('d2v data prepare imagenet', () => {
  it('gives the same files when it is killed again and again', async () => {
    const command = fromServer('data', 'prepare', 'imagenet', '--max-side', '32');
    const whole = await d2v(...command);
    expect(whole.code, whole.stderr).toBe(0);
    const expected = preparedDigests(cache, 'imagenet', 'max_side-32');
    expect(Object.keys(expected)).toContain('train-n01440764.tar.idx');

    cache = mkdtempSync(join(folder, 'cache-'));
    process.env.D2V_DATA = cache;
    let kills = 0;
    for (let wait = 60; ; wait *= 1.25) {
      const { child, finished } = startCli(command, { cwd: folder });
      await Promise.race([sleep(wait), finished]);
      child.kill('SIGKILL');
      const { code, stderr } = await finished;
      if (code === 0) break;
      expect(code, stderr).toBeNull();
      kills++;
    }
    expect(kills).toBeGreaterThan(3);
    expect(preparedDigests(cache, 'imagenet', 'max_side-32')).toEqual(expected);
  });

  it('asks for the terms, knows its options, and says where archives are to be put', async () => {
    const refused = await d2v(...withCopies('data', 'prepare', 'imagenet', '--mirror', server.url('')));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/imagenet has terms of use .*--yes/);
    const typo = await d2v(...fromServer('data', 'prepare', 'imagenet', '--max-sid', '32'));
    expect(typo.stderr).toContain('no such option (did you mean');
    const offline = await d2v(...withCopies('data', 'prepare', 'imagenet', '--offline', '--splits', 'valid'));
    expect(offline.code).toBe(1);
    expect(offline.stderr).toMatch(/ILSVRC2012_img_val\.tar of imagenet is not here .*--from/);
  });
});
