import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors, readNpy } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resumeArguments, runCli, trainArguments } from './support/cli.js';
import { imageFolder } from './support/images.js';

let folder: string;
let data: string;
let run: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-commands-'));
  data = imageFolder(join(folder, 'images'));
  run = join(folder, 'run');
  const settings = ['optimization.max_update=3', 'eval.report=true'];
  const result = await runCli(trainArguments(run, data, settings));
  expect(result.stderr).toBe('');
  expect(result.code).toBe(0);
  expect(result.stdout).toMatch(/untrained network .*\nraw pixels .*\npretrained network /);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fails = async (args: string[], message: RegExp | string, code = 1) => {
  const result = await runCli(args, { cwd: folder });
  expect(result).toMatchObject({ code, signal: null });
  expect(result.stderr.trim().split('\n').at(-1)).toMatch(message);
  expect(result.stderr).not.toContain('    at ');
};

describe('train', () => {
  it('ends with a report, and leaves no absolute path behind', () => {
    const report = JSON.parse(readFileSync(join(run, 'report.json'), 'utf8'));
    expect(report.rows.map(({ name }: { name: string }) => name)).toEqual([
      'untrained network',
      'raw pixels',
      'pretrained network',
    ]);
    expect(readFileSync(join(run, 'preview.png')).subarray(1, 4).toString()).toBe('PNG');
    expect(existsSync(join(run, 'curves.html'))).toBe(true);
    for (const name of readdirSync(run, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const content = readFileSync(join(name.parentPath, name.name)).toString('latin1');
      expect(content.includes(folder), name.name).toBe(false);
    }
  });

  it('scores on labelled data of its own, and finds it again from the run folder', async () => {
    const labels = join(folder, 'labels');
    const plain = join(data, 'vertical');
    const settings = ['optimization.max_update=2', 'eval.report=true', 'eval.data_options.label=top'];
    const args = [...trainArguments(labels, plain, settings), '--eval-data', 'images'];
    const result = await runCli(args, { cwd: folder });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toContain('3 classes of images, on held-out samples:');
    expect(readFileSync(join(labels, 'config.yaml'), 'utf8')).toMatch(/^ {2}data: \.\.\/images /m);
    const scored = await runCli(['eval', 'knn', labels, '--set', 'eval.k=3', '--json']);
    expect(JSON.parse(scored.stdout)).toHaveLength(1);
    await fails(
      [
        ...trainArguments(join(folder, 'unscored'), plain),
        '--eval-data',
        'imags',
        '--set',
        'eval.report=true',
      ],
      'eval.data imags: no such file or folder, and modality image has no dataset of that name',
    );
    // It is noticed before anything is trained.
    expect(existsSync(join(folder, 'unscored'))).toBe(false);
  });

  it('refuses another run in the folder, and other settings when it goes on', async () => {
    await fails(trainArguments(run, data), /holds a run already \(checkpoint 3\): continue it with --resume/);
    await fails(
      [...resumeArguments(run), '--set', 'model.depth=3'],
      'a resumed run keeps model.depth (2, not 3)',
    );
    await fails(['train', '--run', join(folder, 'none'), '--resume'], 'is not a run folder');
  });

  it('names key, file and line of a wrong setting', async () => {
    const config = join(folder, 'wrong.yaml');
    writeFileSync(config, 'modality: image\noptimization:\n  lr: fast\n');
    await fails(['train', '--config', config], 'wrong.yaml:3: optimization.lr must be a number, not "fast"');
    await fails(['train', 'image', '--set', 'model.dept=3'], '(did you mean "model.depth"?)');
    await fails(['train', 'imag'], 'did you mean "image"?');
    await fails(['train', 'image', '--preset', 'tinny'], 'did you mean "tiny"?');
    await fails(['train', 'image', '--data', 'nowhere'], 'no such file or folder');
  });
});

describe('embed', () => {
  const embed = (...args: string[]) => runCli(['embed', run, ...args], { cwd: folder });

  it('writes .npy with an index', async () => {
    const result = await embed('images', '-o', 'all.npy');
    expect(result.stdout).toContain('36 samples of shape [32]');
    const { data: values, shape } = readNpy(join(folder, 'all.npy'));
    expect(shape).toEqual([36, 32]);
    expect(values.every(Number.isFinite)).toBe(true);
    const index = readFileSync(join(folder, 'all.index.jsonl'), 'utf8').trim().split('\n');
    expect(index).toHaveLength(36);
    expect(JSON.parse(index[0]!)).toMatchObject({ row: 0, name: expect.stringContaining('diagonal') });
  });

  it('writes the same numbers in every format', async () => {
    const file = join('images', 'vertical', '1.png');
    for (const ending of ['npy', 'safetensors', 'jsonl']) {
      expect((await embed(file, '-o', `one.${ending}`, '--layer', '2', '--network', 'student')).code).toBe(0);
    }
    const npy = readNpy(join(folder, 'one.npy')).data;
    const safetensors = openSafetensors(join(folder, 'one.safetensors'));
    expect(safetensors.readFloat32('features')).toEqual(npy);
    expect(safetensors.metadata.get('layer')).toBe('2');
    safetensors.close();
    const { name, embedding } = JSON.parse(readFileSync(join(folder, 'one.jsonl'), 'utf8'));
    expect(name).toContain('1.png');
    embedding.forEach((value: number, i: number) => {
      expect(value).toBeCloseTo(npy[i]!, 5);
    });
  });

  it('gives a vector per token', async () => {
    await embed(join('images', 'vertical'), '-o', 'tokens.safetensors', '--pool', 'none', '-q');
    const file = openSafetensors(join(folder, 'tokens.safetensors'));
    expect(file.info('features').shape).toEqual([12, 16, 32]);
    file.close();
  });

  it('says what is wrong in one line and leaves nothing behind', async () => {
    await fails(['embed', run, 'nothing', '-o', 'a.npy'], 'nothing: no such file or folder, and no dataset');
    await fails(['embed', run, 'images', '-o', 'a.txt'], 'must end in .npy, .safetensors or .jsonl');
    await fails(['embed', run, 'images', '-o', 'no/a.npy'], 'there is no folder no');
    await fails(['embed', run, 'images', '-o', 'a.npy', '--layer', '9'], /from 0 .* to 3; got 9/);
    await fails(['embed', folder, 'images', '-o', 'a.npy'], 'holds no checkpoint');
    expect(readdirSync(folder).filter((name) => name.startsWith('a.'))).toEqual([]);
  });
});

describe('eval', () => {
  it('scores and compares', async () => {
    const result = await runCli(['eval', 'all', run, '--compare', '--json']);
    expect(result.code).toBe(0);
    const rows = JSON.parse(result.stdout);
    expect(rows).toHaveLength(3);
    for (const { knn, linear } of rows) {
      for (const { top1, top5 } of [knn, linear]) {
        expect(top1).toBeGreaterThanOrEqual(0);
        expect(top5).toBe(1);
      }
    }
    expect((await runCli(['eval', 'knn', join(run, 'checkpoints', '3'), '--layer', '1'])).stdout).toMatch(
      /teacher, layer 1 +\d+\.\d %/,
    );
  });

  it('says what is wrong', async () => {
    await fails(['eval', 'knm', run], 'there is no evaluation "knm" (did you mean "knn"?)');
    await fails(['eval', 'knn', run, '--data', join(data, 'vertical')], 'has no labelled samples');
  });
});

describe('the other commands', () => {
  it('list modalities without loading them, and show one', async () => {
    const list = await runCli(['modalities', '--json']);
    const names = JSON.parse(list.stdout).map(({ modality }: { modality: string }) => modality);
    expect(names).toEqual(expect.arrayContaining(['image', 'timeseries']));
    const image = await runCli(['modalities', 'image']);
    expect(image.stdout).toMatch(/tiny .*\(default\)/);
    expect(image.stdout).toContain('digits');
  });

  it('print a config that trains the same', async () => {
    const { stdout } = await runCli(['config', 'image', '--preset', 'base', '--set', 'common.seed=9']);
    expect(stdout).toMatch(/clone_batch: 16 # /);
    const file = join(folder, 'base.yaml');
    writeFileSync(file, stdout);
    expect((await runCli(['config', 'image', '--config', file])).stdout).toBe(stdout);
  });

  it('check the installation', async () => {
    const result = await runCli(['doctor', '--json', '--seconds', '0.05']);
    expect(result.code).toBe(0);
    const topics = JSON.parse(result.stdout).map(({ topic }: { topic: string }) => topic);
    expect(topics).toEqual(
      expect.arrayContaining(['Node', 'GPU', 'threads', 'GEMM', 'versions', 'modality']),
    );
  });
});
