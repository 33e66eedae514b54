import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import * as k from './index.js';
import { configuredThreads, native } from './native.js';

const addon = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build', 'Release', 'd2v.node');

/** Runs a script with the addon as `n` in a process of its own. */
function run(script: string, ...flags: string[]) {
  const source = `const n = require(${JSON.stringify(addon)}); ${script}`;
  const result = spawnSync(process.execPath, [...flags, '-e', source], { encoding: 'utf8', timeout: 60_000 });
  return { status: result.status, signal: result.signal, out: result.stdout.trim(), err: result.stderr };
}

describe('loading', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.resetModules();
  });

  test('says what was tried and what to do', async () => {
    vi.stubEnv('D2V_NATIVE', '/nowhere/d2v.node');
    vi.resetModules();
    await expect(import('./native.js')).rejects.toThrow(
      /cannot be loaded\. Tried:\n {2}\/nowhere\/d2v\.node: does not exist\nTo build it: run `npm explore @d2v\/cuda-kernels -- npm run build:native`/,
    );
  });

  test('a file that is no addon', async () => {
    vi.stubEnv('D2V_NATIVE', fileURLToPath(import.meta.url).replace(/native\.test\.ts$/, '../package.json'));
    vi.resetModules();
    await expect(import('./native.js')).rejects.toThrow(
      /ABI undefined found, 3 needed\n {4}-> it was built from other/,
    );
  });

  test('D2V_THREADS', async () => {
    expect(configuredThreads('3')).toBe(3);
    expect(configuredThreads('')).toBeGreaterThan(0);
    for (const bad of ['0', '-1', '1.5', 'many', '5000']) {
      expect(() => configuredThreads(bad)).toThrow(
        `D2V_THREADS=${bad}: expected a whole number from 1 to 1024.`,
      );
    }
    vi.stubEnv('D2V_THREADS', 'many');
    vi.resetModules();
    await expect(import('./native.js')).rejects.toThrow('D2V_THREADS=many');
  });
});

test('deviceInfo', () => {
  const info = k.deviceInfo();
  expect(info.devices).toContain('cpu');
  expect(info.abi).toBe(k.ABI);
  expect(info.gemm).toMatch(/^(oneDNN \d|builtin)/);
  expect(['avx512', 'avx2', 'sse2', 'neon', 'generic']).toContain(info.isa);
  const { threads } = info;
  k.setThreads(1);
  expect(k.deviceInfo().threads).toBe(1);
  k.setThreads(threads);
  k.synchronize();
});

test('the CPU records no graphs', async () => {
  const work = () => k.scope(() => k.toArray(k.full([1], 2))[0]);
  expect(await k.recorded('cpu', work)).toBe(2);
  expect(k.graphStats('cpu')).toEqual({ started: 0, made: 0 });
});

test('what is recorded is started also after an error, which is not hidden by another one', async () => {
  const start = vi.spyOn(native, 'startGraph').mockImplementation(() => {
    throw new Error('the driver');
  });
  const fail = async () => {
    throw new Error('the op');
  };
  await expect(k.recorded('cpu', fail)).rejects.toThrow('the op');
  expect(start).toHaveBeenCalledWith('cpu');
  await expect(k.recorded('cpu', () => 1)).rejects.toThrow('the driver');
  start.mockRestore();
});

test('the profile counts calls and time', () => {
  k.scope(() => {
    const t = k.zeros([10]);
    k.profile.start();
    k.scale(t, 2);
    k.scale(t, 3);
    k.sum(t);
    k.profile.stop();
    k.scale(t, 4);
    const report = k.profile.report();
    expect(report.find((line) => line.op === 'scale')).toMatchObject({ calls: 2 });
    expect(report.find((line) => line.op === 'sum')).toMatchObject({ calls: 1 });
    expect(report.every((line) => line.ms >= 0)).toBe(true);
    k.profile.start();
    k.profile.stop();
    expect(k.profile.report()).toEqual([]);
  });
});

describe('in a process of its own', () => {
  test('slower instruction sets give the same up to rounding', () => {
    const script = `
      const t = n.empty([999]); n.normal_(t, 0, 1, { seed: 1, update: 2, stream: 3 });
      const x = n.view(t, 0, [27, 37]), w = n.view(t, 100, [20, 37]);
      const y = n.layerNorm(n.linear(x, w, null, { activation: 'gelu' }).y, { eps: 1e-5 }).y;
      const q = n.view(t, 0, [3, 11, 30]);
      const a = n.attention(q, null, { heads: 2 }).out;
      console.log(JSON.stringify([n.deviceInfo().isa, ...n.toArray(y), ...n.toArray(a), n.item(n.sumSquares(t))]));`;
    const fast = JSON.parse(run(script).out) as [string, ...number[]];
    const script2 = `process.env.D2V_ISA = 'base'; ${script}`;
    const source = `${script2.replace('const t', `const n = require(${JSON.stringify(addon)}); const t`)}`;
    const result = spawnSync(process.execPath, ['-e', source], { encoding: 'utf8' });
    const slow = JSON.parse(result.stdout) as [string, ...number[]];
    expect(slow[0]).not.toMatch(/avx/);
    for (let i = 1; i < fast.length; i++) {
      expect(Math.abs((fast[i] as number) - (slow[i] as number))).toBeLessThan(
        2e-5 * Math.max(1, Math.abs(fast[i] as number)),
      );
    }
  });

  test('the garbage collector frees forgotten tensors', () => {
    const { out, status } = run(
      `(async () => {
        for (let i = 0; i < 100; i++) n.zeros([1000]);
        for (let i = 0; i < 20; i++) { globalThis.gc(); await new Promise((r) => setTimeout(r, 10)); }
        console.log(n.memoryStats().liveBuffers);
      })()`,
      '--expose-gc',
    );
    expect([status, out]).toEqual([0, '0']);
  });

  test('forgotten tensors outside of scopes wake the garbage collector', () => {
    const { out, status } = run(
      `(async () => {
        let most = 0;
        for (let i = 0; i < 300; i++) {
          n.empty([1 << 22]);
          most = Math.max(most, n.memoryStats().liveBuffers);
          await new Promise((r) => setImmediate(r));
        }
        console.log(most < 250);
      })()`,
    );
    expect([status, out]).toEqual([0, 'true']);
  });

  test('what is made and disposed of again and again does not', () => {
    const { out, status } = run(
      `const { PerformanceObserver, constants } = require('node:perf_hooks');
      let collections = 0;
      new PerformanceObserver((list) => {
        for (const { detail } of list.getEntries()) collections += detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
      }).observe({ entryTypes: ['gc'] });
      (async () => {
        for (let i = 0; i < 50; i++) {
          for (const t of Array.from({ length: 40 }, () => n.empty([1 << 22]))) t.dispose();
          if (i === 5) collections = 0;
          await new Promise((r) => setImmediate(r));
        }
        await new Promise((r) => setTimeout(r, 50));
        console.log(collections < 10);
      })()`,
    );
    expect([status, out]).toEqual([0, 'true']);
  });

  test('a profiler, whose signals come in the middle of a product, does no harm', () => {
    const folder = mkdtempSync(join(tmpdir(), 'd2v-profile-'));
    try {
      const { out, status } = run(
        `const [x, w, dy, dw] = [[640, 768], [1024, 768], [640, 1024], [1024, 768]].map((shape) => n.full(shape, 1));
        const end = Date.now() + 1000;
        while (Date.now() < end) {
          const id = n.scopeBegin();
          n.linearGradWeight_(dw, dy, x, null);
          n.linearGradInput(dy, w);
          n.linear(x, w, null, {});
          n.scopeEnd(id, []);
        }
        console.log('alive')`,
        '--cpu-prof',
        '--cpu-prof-interval=100',
        `--cpu-prof-dir=${folder}`,
      );
      expect([status, out]).toEqual([0, 'alive']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('leaving with tensors and open scopes is no problem', () => {
    expect(run('globalThis.t = n.zeros([10]); n.scopeBegin(); n.zeros([5]); console.log(1)')).toMatchObject({
      status: 0,
      signal: null,
      out: '1',
    });
    expect(run('n.scopeBegin(); globalThis.t = n.zeros([10]); process.exit(7)')).toMatchObject({ status: 7 });
  });
});

describe('worker threads', () => {
  const worker = `
    const { parentPort, workerData } = require('node:worker_threads');
    const n = require(workerData.addon);
    n.setThreads(2);
    const key = { seed: 1, update: 1, stream: 1 };
    const step = () => {
      const id = n.scopeBegin();
      const x = n.empty([64, 96]); n.normal_(x, 0, 1, key);
      const y = n.linear(x, n.view(x, 0, [48, 96]), null, { activation: 'gelu' }).y;
      const a = n.attention(n.view(y, 0, [4, 16, 48]), null, { heads: 4 }).out;
      const s = n.item(n.sumSquares(n.layerNorm(a, { eps: 1e-5 }).y)) + n.item(n.sum(n.softmax(y)));
      n.scopeEnd(id, []);
      return s;
    };
    const first = step();
    parentPort.postMessage('started');
    let same = true;
    for (let i = 0; i < workerData.steps; i++) same = same && step() === first;
    n.zeros([1000]); // left to the end of the thread
    parentPort.postMessage({ same, first, live: n.memoryStats().liveBuffers });`;

  const main = (rest: string): string => `
    const { Worker } = require('node:worker_threads');
    const source = ${JSON.stringify(worker)};
    const start = (steps) => new Worker(source, { eval: true, workerData: { addon: ${JSON.stringify(addon)}, steps } });
    const result = (w) => new Promise((ok, no) => { w.on('message', (m) => m.same !== undefined && ok(m)); w.on('error', no); });
    const begun = (w) => new Promise((ok) => w.on('message', (m) => m === 'started' && ok()));
    (async () => { ${rest} })().catch((e) => { console.error(e); process.exit(1); });`;

  test('each has its own tensors and the same results', () => {
    const { status, signal, out, err } = run(
      main(`
        const results = await Promise.all([50, 60, 70, 80].map((s) => result(start(s))));
        const t = n.zeros([3]);
        console.log(results.every((r) => r.same && r.live === 1 && r.first === results[0].first), n.memoryStats().liveBuffers);`),
    );
    expect([status, signal, out, err]).toEqual([0, null, 'true 1', '']);
  });

  test('may be terminated in the middle of an op, again and again', () => {
    const { status, signal, out, err } = run(
      main(`
        const steady = result(start(100));
        for (let round = 0; round < 6; round++) {
          const workers = [1e9, 1e9, 1e9].map(start);
          await Promise.all(workers.map(begun));
          await new Promise((r) => setTimeout(r, round * 7));
          await Promise.all(workers.map((w) => w.terminate()));
        }
        console.log((await steady).same);`),
    );
    expect([status, signal, out, err]).toEqual([0, null, 'true', '']);
  });

  test('the process may leave while they run', () => {
    const { status, signal } = run(
      main('const ws = [1e9, 1e9, 1e9].map(start); await Promise.all(ws.map(begun)); process.exit(3);'),
    );
    expect([status, signal]).toEqual([3, null]);
  });

  test('tensors do not pass between threads', () => {
    const { status, err } = run(
      main(
        'const w = start(1); await begun(w); try { w.postMessage(n.zeros([1])); } catch {} await w.terminate();',
      ),
    );
    expect([status, err]).toEqual([0, '']);
  });
});
