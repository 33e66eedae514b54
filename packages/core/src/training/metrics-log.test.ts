import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Meters } from './meters.js';
import { MetricsLog, readMetrics } from './metrics-log.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-log-'));
  path = join(folder, 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('MetricsLog', () => {
  it('drops on resume what comes after the checkpoint, and a cut line', async () => {
    const first = await MetricsLog.open(path, 0);
    for (const update of [10, 20, 30]) first.append({ update, loss: 1 / update });
    first.close();
    appendFileSync(path, '{"update": 40, "lo');
    const second = await MetricsLog.open(path, 20);
    second.append({ update: 30, loss: 1 / 30 });
    second.close();
    expect(readMetrics(path).map(({ update }) => update)).toEqual([10, 20, 30]);
    expect(readFileSync(path, 'utf8').endsWith('}\n')).toBe(true);
  });

  it('reads an absent file as an empty one', () => {
    expect(readMetrics(path)).toEqual([]);
  });
});

describe('Meters', () => {
  it('averages by weight and starts again', () => {
    const meters = new Meters();
    meters.add({ loss: 1, a: 4 });
    meters.add({ loss: 4 }, 2);
    expect(meters.flush()).toEqual({ loss: 3, a: 4 });
    expect(meters.empty).toBe(true);
  });

  it('survives a round trip through JSON bit for bit', () => {
    const whole = new Meters();
    let broken = new Meters();
    for (let i = 1; i < 50; i++) {
      for (const meters of [whole, broken]) meters.add({ loss: Math.sin(i) / 3 });
      broken = new Meters(JSON.parse(JSON.stringify(broken.state())));
    }
    expect(broken.flush()).toEqual(whole.flush());
  });
});
