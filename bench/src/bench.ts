import { D2vError, type Modality, type RunConfig, resolveConfig } from '@d2v/core';
import * as k from '@d2v/cuda-kernels';
import { updateFlops } from './flops.js';
import { GemmPeak } from './gemm-peak.js';
import { type MemoryReport, memoryPoint, shareOf, watchMemory } from './memory.js';
import { type BenchOptions, onGpu } from './options.js';
import { Peer, peerMissing } from './peer.js';
import { profileUpdates } from './profile.js';
import { type BenchReport, side } from './report.js';
import { UpdateRunner } from './runner.js';
import { median } from './statistics.js';
import { measureWaiting } from './waiting.js';
import { type Workload, workloads } from './workloads/index.js';
import { batchSize } from './workloads/shared.js';

export interface Bench {
  modality: Modality;
  workload: Workload;
  config: RunConfig;
  options: BenchOptions;
  log(message: string): void;
}

/** Finds the workload and its config. @throws D2vError naming what there is */
export async function prepare(options: BenchOptions, log: (message: string) => void): Promise<Bench> {
  const entry = Object.hasOwn(workloads, options.modality) ? workloads[options.modality] : undefined;
  if (!entry) {
    throw new D2vError(
      `no workload for "${options.modality}": there are ${Object.keys(workloads).join(', ')}`,
    );
  }
  const workload = options.preset ? entry.presets.find((w) => w.preset === options.preset) : entry.presets[0];
  if (!workload) {
    const names = entry.presets.map((w) => w.preset).join(', ');
    throw new D2vError(`no workload "${options.preset}" for ${options.modality}: there are ${names}`);
  }
  const modality = await entry.load();
  const set = [
    ...workload.set,
    ...(onGpu(options.device) || options.predict ? workload.onGpu : []),
    `common.device=${options.device}`,
    `common.dtype=${options.dtype}`,
    ...options.set,
  ];
  const config = resolveConfig({ modality, preset: workload.preset, set });
  if (options.threads > 0) k.setThreads(options.threads);
  return { modality, workload, config, options, log };
}

function newRunner({ modality, workload, config, options }: Bench): UpdateRunner {
  return new UpdateRunner(modality, config, workload.batch(config, 1), options.device);
}

/** Watches memory over many updates; clips and blocks of text have another length in each. */
export async function benchMemory(bench: Bench): Promise<MemoryReport> {
  const { workload, options } = bench;
  const { shorten } = workload;
  const runner = newRunner(bench);
  const whole = runner.batch;
  try {
    return await watchMemory(
      runner,
      options.updates ?? 500,
      options.device,
      shorten ? (update) => shorten(whole, shareOf(update)) : null,
      ({ update }) => bench.log(`${update} updates`),
    );
  } finally {
    runner.dispose();
  }
}

/** Measures ours, and the peers in turns with it. */
export async function benchUpdates(bench: Bench): Promise<BenchReport> {
  const { workload, config, options, log } = bench;
  const { device, dtype } = options;
  const missing = options.peer ? peerMissing() : null;
  const { peers, failed } = options.peer && !missing ? await startPeers(bench) : { peers: [], failed: null };
  const runner = newRunner(bench);
  try {
    const peak = new GemmPeak(device, dtype);
    const seconds: number[] = [];
    log('warming up');
    runner.measure(3);
    const third = memoryPoint(3, device);
    runner.measure(Math.max(0, workload.warmup - 3));
    const perRound = options.updates ? Math.ceil(options.updates / workload.rounds) : workload.perRound;
    k.resetPeakMemory(device);
    peak.measure();
    for (let round = 1; round <= workload.rounds; round++) {
      log(`round ${round} of ${workload.rounds}`);
      seconds.push(...runner.measure(perRound));
      for (const peer of peers) await peer.run(perRound);
      peak.measure();
    }
    for (const peer of peers) peer.checkConfig(workload.peerConfig(config));
    const last = memoryPoint(0, device);
    const shape = workload.shape(config, runner.meanKept);
    const flops = updateFlops(shape);
    const about = { samples: shape.samples, flops, peak: peak.best, updates: perRound * workload.rounds };
    const { isa, gemm, threads } = k.deviceInfo(device);
    // Of a GPU that of tensors counts, on both sides.
    const peakMemory = onGpu(device) ? last.peak : process.resourceUsage().maxRSS * 1024;
    const report: BenchReport = {
      modality: options.modality,
      preset: workload.preset,
      device,
      dtype,
      threads,
      isa,
      gemm,
      parameters: runner.parameters,
      samples: shape.samples,
      clones: shape.clones,
      flops,
      gemmPeak: { flopsPerSecond: peak.best, shapes: peak.shapes },
      ours: side('ours', seconds, { ...about, peakMemory }),
      peers: peers.map((peer) => ({
        ...side(peer.name, peer.seconds, { ...about, peakMemory: peer.last!.peak_memory }),
        ratio: median(peer.seconds) / median(seconds),
      })),
      ...(missing && { peerMissing: missing }),
      ...(failed && { compiledMissing: failed }),
      tensors: {
        peakBytes: last.peak,
        liveBuffers: last.liveBuffers,
        liveBuffersGrowth: last.liveBuffers - third.liveBuffers,
        currentGrowth: last.current - third.current,
      },
    };
    if (process.env.D2V_PROFILE === '1') {
      log('profiling');
      report.profile = profileUpdates(runner, perRound);
    }
    if (options.data) report.waiting = await waiting(bench, perRound);
    return report;
  } finally {
    for (const peer of peers) await peer.stop();
    runner.dispose();
  }
}

async function waiting({ modality, config, workload, log }: Bench, perRound: number) {
  log('updates from files');
  return measureWaiting(modality, config, workload, 2 * perRound);
}

/** The peer as it is and compiled; `failed` says why PyTorch could not compile it, which is no reason to measure nothing. */
async function startPeers({
  workload,
  config,
  options,
  log,
}: Bench): Promise<{ peers: Peer[]; failed: string | null }> {
  const { preset, warmup } = workload;
  const { modality, threads, device, dtype } = options;
  const batch = batchSize(config);
  const clones = config.model.clone_batch;
  const start = (compiled: boolean) =>
    Peer.start({ modality, preset, warmup, compiled, threads, device, dtype, batch, clones });
  log('starting the PyTorch peer');
  const eager = await start(false);
  log('compiling the PyTorch peer');
  try {
    return { peers: [eager, await start(true)], failed: null };
  } catch (error) {
    if (error instanceof D2vError) return { peers: [eager], failed: reason(error) };
    await eager.stop();
    throw error;
  }
}

/** The line of a Python traceback that names the error. */
function reason({ message }: D2vError): string {
  const lines = message.split('\n').filter((line) => /^[\w.]*Error\b/.test(line));
  return lines.at(-1) ?? message.split('\n')[0]!;
}
