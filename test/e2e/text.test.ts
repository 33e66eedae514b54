/** Text through the real command: a tokenizer of one's own, packed and bucketed batches, and a checkpoint that needs nothing else. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Philox, readNpy } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outcome, runCli } from './support/cli.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-text-'));
  mkdirSync(join(folder, 'corpus'));
  const words = ['river', 'stone', 'bridge', 'market', 'winter', 'candle', 'silver', 'garden'];
  for (const name of ['a', 'b']) {
    const rng = new Philox(1).fork(name);
    const line = () => Array.from({ length: 2 + rng.int(20) }, () => words[rng.int(8)]!).join(' ');
    const records = Array.from({ length: 120 }, () => JSON.stringify({ body: line(), kind: name }));
    writeFileSync(join(folder, 'corpus', `${name}.jsonl`), `${records.join('\n')}\n`);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function d2v(...args: string[]) {
  const result = await runCli(args, { cwd: folder });
  expect(result.stderr, args.join(' ')).not.toContain('    at ');
  return result;
}

function trainArguments(run: string, updates: number, ...settings: string[]): string[] {
  const all = [
    'model.embed_dim=32',
    'model.depth=1',
    'model.num_heads=2',
    'model.average_top_k_layers=1',
    'model.ema_decay=0.9',
    'model.ema_end_decay=0.9',
    'model.encoder_dropout=0.1',
    'model.modalities.text.decoder.decoder_dim=32',
    'model.modalities.text.max_source_positions=24',
    'data.tokenizer=t.json',
    'data.field=body',
    'data.cache_dir=cache',
    'lr_scheduler.name=constant',
    'lr_scheduler.warmup_updates=0',
    `optimization.max_update=${updates}`,
    'optimization.update_freq=2',
    'common.log_interval=1',
    'common.threads=1',
    ...settings,
  ].flatMap((text) => ['--set', text]);
  return ['train', 'text', '--preset', 'tiny', '--data', 'corpus', '--run', run, ...all];
}

const BUCKETS = ['data.sample_break_mode=eos', 'data.batch_size=null', 'data.batch_length=120'];

describe('text', () => {
  it('trains with a tokenizer of its own, and goes on bit for bit', { timeout: 120_000 }, async () => {
    const learned = await d2v(
      ...['tokenizer', 'train', 'corpus', '--field', 'body', '--vocab-size', '330', '-o', 't.json'],
    );
    expect(learned.stdout).toMatch(/^t\.json: \d+ entries from 2 files/);
    for (const [name, settings] of [
      ['packed', ['data.batch_size=3']],
      ['buckets', BUCKETS],
    ] as const) {
      const whole = await d2v(...trainArguments(`${name}-whole`, 6, ...settings, 'eval.report=false'));
      expect(whole.code, whole.stderr).toBe(0);
      const part = await d2v(...trainArguments(`${name}-part`, 3, ...settings, 'eval.report=false'));
      expect(part.code, part.stderr).toBe(0);
      const rest = ['--resume', '--set', 'optimization.max_update=6'];
      const resumed = await d2v('train', '--run', `${name}-part`, ...rest);
      expect(resumed.code, resumed.stderr).toBe(0);
      const [expected, found] = ['whole', 'part'].map((end) => outcome(join(folder, `${name}-${end}`), 6));
      expect(found!.model).toEqual(expected!.model);
      expect(found!.optimizer).toEqual(expected!.optimizer);
      expect(found!.state).toEqual(expected!.state);
    }
  });

  it('scores features with the classes of records', { timeout: 60_000 }, async () => {
    const result = await d2v(...trainArguments('labelled', 2, ...BUCKETS, 'data.label_field=kind'));
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toMatch(/untrained network .*\nbag of BPE tokens .*\npretrained network /);
  });

  it('embeds with nothing but the checkpoint', async () => {
    cpSync(
      join(folder, 'buckets-whole', 'checkpoints', '6', 'model.safetensors'),
      join(folder, 'moved.safetensors'),
    );
    rmSync(join(folder, 't.json'));
    writeFileSync(join(folder, 'lines.txt'), `river stone\n\n${'winter garden '.repeat(30)}\n`);
    const result = await d2v('embed', 'moved.safetensors', 'lines.txt', '-o', 'lines.npy');
    expect(result.code, result.stderr).toBe(0);
    const { data, shape } = readNpy(join(folder, 'lines.npy'));
    const names = readFileSync(join(folder, 'lines.index.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { name: string }).name);
    expect(names[0]).toBe('lines.txt:1');
    expect(names[1]).toMatch(/^lines\.txt:3 \(1\/\d+\)$/);
    expect(shape).toEqual([names.length, 32]);
    // Alone, a line gives the same features as beside longer ones.
    writeFileSync(join(folder, 'one.txt'), 'river stone\n');
    await d2v('embed', 'moved.safetensors', 'one.txt', '-o', 'one.npy');
    const one = readNpy(join(folder, 'one.npy')).data;
    for (let d = 0; d < 32; d++) expect(data[d]).toBeCloseTo(one[d]!, 5);
  });

  it('says what is wrong with its input', async () => {
    for (const [content, message] of [
      ['', 'there is no text in bad.jsonl'],
      ['{"text": "x"}\n', 'bad.jsonl:1 has no field "body" (there is: text): choose one with data.field'],
    ] as const) {
      writeFileSync(join(folder, 'bad.jsonl'), content);
      const result = await d2v('embed', 'moved.safetensors', 'bad.jsonl', '-o', 'bad.npy');
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(message);
    }
  });

  it('reads inputs with other settings than the run had', async () => {
    writeFileSync(join(folder, 'said.jsonl'), '{"said": "river stone", "body": "winter"}\n');
    const embed = ['embed', 'moved.safetensors', 'said.jsonl', '-o', 'said.npy'];
    const result = await d2v(...embed, '--set', 'data.field=said');
    expect(result.code, result.stderr).toBe(0);
    const said = readNpy(join(folder, 'said.npy')).data;
    const one = readNpy(join(folder, 'one.npy')).data;
    for (let d = 0; d < 32; d++) expect(said[d]).toBeCloseTo(one[d]!, 5);
    for (const [setting, message] of [
      ['data.feild=said', '--set data.feild: unknown key "data.feild" (did you mean "data.field"?)'],
      ['model.depth=2', '--set model.depth=2: embed takes settings of the inputs only'],
    ] as const) {
      const wrong = await d2v(...embed, '--set', setting);
      expect(wrong.code).not.toBe(0);
      expect(wrong.stderr).toContain(message);
    }
  });
});
