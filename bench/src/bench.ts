import { D2vError, type Modality, type RunConfig, resolveConfig } from '@d2v/core';
import * as k from '@d2v/cuda-kernels';
import { gpuName, isEmulated } from './device.js';
import { updateFlops } from './flops.js';
import { GemmPeak } from './gemm-peak.js';
import { type MemoryReport, memoryPoint, shareOf, watchMemory } from './memory.js';
import { memoryRate } from './memory-rate.js';
import { type BenchOptions, onGpu } from './options.js';
import { Peer, type PeerOptions, peerMissing } from './peer.js';
import { Peers } from './peers.js';
import { profileUpdates } from './profile.js';
import { type BenchReport, heading, type LeastTimes, side, summary } from './report.js';
import { type Gpu, gpuOfName, leastSeconds, type Part, updateParts } from './roofline.js';
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
  /** Where it is. */
  log(message: string): void;
  /** A result, when it is there: what follows may fail or be cut off. */
  tell(line: string): void;
}

/** Finds the workload and its config. @throws D2vError naming what there is */
export async function prepare(
  options: BenchOptions,
  { log, tell }: Pick<Bench, 'log' | 'tell'>,
): Promise<Bench> {
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
    ...(options.batch ? [`data.batch_size=${options.batch}`] : []),
    ...(options.clones ? [`model.clone_batch=${options.clones}`] : []),
    `common.device=${options.device}`,
    `common.dtype=${options.dtype}`,
    ...options.set,
  ];
  const config = resolveConfig({ modality, preset: workload.preset, set });
  if (options.threads > 0) k.setThreads(options.threads);
  return { modality, workload, config, options, log, tell };
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

/** Rounds on a GPU, whose updates take milliseconds. */
const ON_GPU = { warmup: 10, perRound: 20, rounds: 5 };

/** Measures ours, and the peers in turns with it; `bench.tell` hears of each figure as soon as it is there. */
export async function benchUpdates(bench: Bench): Promise<BenchReport> {
  const { workload, config, options, log, tell } = bench;
  const { device, dtype } = options;
  const usual = onGpu(device) ? ON_GPU : workload;
  const rounds = Math.min(usual.rounds, options.updates ?? usual.rounds);
  const perRound = options.updates ? Math.ceil(options.updates / rounds) : usual.perRound;
  const warmup = Math.max(3, Math.min(usual.warmup, perRound));
  const wanted = [...(options.eager ? [false] : []), ...(options.compiled ? [true] : [])];
  const missing = wanted.length > 0 ? peerMissing() : null;
  const peers = new Peers(workload.peerConfig(config));
  const runner = newRunner(bench);
  try {
    const peak = new GemmPeak(device, dtype);
    const seconds: number[] = [];
    log('warming up');
    await runner.measure(3);
    const third = memoryPoint(3, device);
    await runner.measure(warmup - 3);
    const bytesPerSecond = onGpu(device) ? memoryRate(device, isEmulated(device) ? 4096 : 2 ** 30) : null;
    k.resetPeakMemory(device);
    peak.measure();
    const { isa, gemm, threads } = k.deviceInfo(device);
    const report = (): BenchReport => {
      const shape = workload.shape(config, runner.meanKept);
      const flops = updateFlops(shape);
      const about = { samples: shape.samples, flops, peak: peak.best };
      const last = memoryPoint(0, device);
      // Of a GPU that of tensors counts, on both sides.
      const peakMemory = onGpu(device) ? last.peak : process.resourceUsage().maxRSS * 1024;
      const updates = seconds.length * (k.asynchronous(device) ? perRound : 1);
      return {
        modality: options.modality,
        preset: workload.preset,
        device,
        ...(onGpu(device) && { gpu: gpuName(device) }),
        dtype,
        threads,
        isa,
        gemm,
        parameters: runner.size.parameters,
        samples: shape.samples,
        clones: shape.clones,
        flops,
        gemmPeak: { flopsPerSecond: peak.best, shapes: peak.shapes },
        ...(bytesPerSecond && {
          memoryRate: bytesPerSecond,
          least: leastTimes(updateParts(shape, runner.size), {
            name: gpuName(device),
            flopsPerSecond: peak.best,
            bytesPerSecond,
          }),
        }),
        ours: side('ours', seconds, { ...about, updates, peakMemory }),
        peers: peers.measured.map((peer) => ({
          ...side(peer.name, peer.seconds, {
            ...about,
            updates: peer.updates,
            peakMemory: peer.last!.peak_memory,
          }),
          version: peer.last!.version,
          ratio: median(peer.seconds) / median(seconds),
        })),
        ...(onGpu(device) && { gemmReport: k.gemmReport(device) }),
        ...(onGpu(device) && config.common.cuda_graphs && { graphs: k.graphStats(device) }),
        ...(missing && { peerMissing: missing }),
        peerFailures: peers.failures,
        tensors: {
          peakBytes: last.peak,
          liveBuffers: last.liveBuffers,
          liveBuffersGrowth: last.liveBuffers - third.liveBuffers,
          currentGrowth: last.current - third.current,
        },
      };
    };
    if (wanted.length > 0 && !missing) {
      // Before anything that can fail or take minutes.
      seconds.push(...(await runner.measure(perRound)));
      peak.measure();
      tell(heading(report()));
      tell(`before PyTorch starts: ${summary(report())}`);
      for (const compiled of wanted) {
        log(`starting PyTorch${compiled ? ', which compiles' : ''}`);
        const start = performance.now();
        const runs = await peers.start(peerOptions(bench, compiled, warmup));
        const took = ((performance.now() - start) / 1000).toFixed(0);
        tell(`${Peer.nameOf({ compiled })} ${runs ? 'is ready' : 'failed'} after ${took} s`);
      }
    } else {
      tell(heading(report()));
    }
    for (let round = 1; round <= rounds; round++) {
      log(`round ${round} of ${rounds}`);
      const ours = await runner.measure(perRound);
      seconds.push(...ours);
      const others = await peers.run(perRound);
      peak.measure();
      tell(
        [`round ${round} of ${rounds}: ours ${(median(ours) * 1000).toFixed(2)} ms`, ...others].join(', '),
      );
    }
    const result = report();
    if (process.env.D2V_PROFILE === '1') {
      log('profiling');
      result.profile = await profileUpdates(runner, perRound);
    }
    if (options.data) result.waiting = await waiting(bench, perRound);
    return result;
  } finally {
    await peers.stop();
    runner.dispose();
  }
}

async function waiting({ modality, config, workload, log }: Bench, perRound: number) {
  log('updates from files');
  return measureWaiting(modality, config, workload, 2 * perRound);
}

function peerOptions({ workload, config, options }: Bench, compiled: boolean, warmup: number): PeerOptions {
  const { modality, threads, dtype } = options;
  const { preset } = workload;
  const device = isEmulated(options.device) ? 'cpu' : options.device; // what is rehearsed there means nothing
  const clones = config.model.clone_batch;
  return { modality, preset, warmup, compiled, threads, device, dtype, batch: batchSize(config), clones };
}

/** The least that an update can take at the rates measured here, and at those that the GPU's maker states. */
function leastTimes(parts: readonly Part[], measured: Gpu): LeastTimes {
  const stated = gpuOfName(measured.name);
  return {
    measured: leastSeconds(parts, measured),
    ...(stated && { stated: { gpu: stated.name, seconds: leastSeconds(parts, stated) } }),
  };
}
