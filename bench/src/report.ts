/** The result of a run, as an object (`--json`) and as text. */
import type { GemmReport, GraphStats } from '@d2v/cuda-kernels';
import type { UpdateFlops } from './flops.js';
import type { MemoryReport } from './memory.js';
import { onGpu } from './options.js';
import type { ProfileReport } from './profile.js';
import { median, quantile } from './statistics.js';
import { formatTable } from './table.js';
import type { WaitingReport } from './waiting.js';

/** One implementation's figures. */
export interface Side {
  name: string;
  updates: number;
  /** Median seconds per update, and the value that nine of ten updates stay below. */
  stepSeconds: number;
  stepSeconds90: number;
  samplesPerSecond: number;
  flopsPerSecond: number;
  /** Of the GEMM peak. */
  shareOfPeak: number;
  /** Most memory, bytes: of the process, or of a GPU by tensors. */
  peakMemory: number;
  /** Of PyTorch; for peers. */
  version?: string;
  /** How many times faster ours is (median over median); for peers. */
  ratio?: number;
}

/** Seconds of an update at least, by operations counted (roofline.ts). */
export interface LeastTimes {
  /** At the rates of matrix products and of memory measured in this process. */
  measured: number;
  /** At those that the maker of this GPU states. */
  stated?: { gpu: string; seconds: number };
}

export interface BenchReport {
  modality: string;
  preset: string;
  device: string;
  /** Name of the GPU's model. */
  gpu?: string;
  dtype: string;
  threads: number;
  isa: string;
  gemm: string;
  parameters: number;
  samples: number;
  clones: number;
  flops: UpdateFlops;
  gemmPeak: { flopsPerSecond: number; shapes: Record<string, number> };
  /** Bytes per second that copies within a GPU's memory read and write. */
  memoryRate?: number;
  least?: LeastTimes;
  ours: Side;
  peers: Side[];
  /** Why there is no peer although one was asked for. */
  peerMissing?: string;
  /** Peers that could not be measured, or not to the end. */
  peerFailures: { name: string; reason: string }[];
  /** Of a GPU: what the library of matrix products refused, and its searches for algorithms. */
  gemmReport?: GemmReport;
  /** Of a GPU with `common.cuda_graphs`: since the process began. */
  graphs?: GraphStats;
  tensors: { peakBytes: number; liveBuffers: number; liveBuffersGrowth: number; currentGrowth: number };
  waiting?: WaitingReport;
  profile?: ProfileReport;
}

export function side(
  name: string,
  seconds: readonly number[],
  about: { samples: number; flops: UpdateFlops; peak: number; updates: number; peakMemory: number },
): Side {
  const stepSeconds = median(seconds);
  const flopsPerSecond = about.flops.total / stepSeconds;
  return {
    name,
    updates: about.updates,
    stepSeconds,
    stepSeconds90: quantile(seconds, 0.9),
    samplesPerSecond: about.samples / stepSeconds,
    flopsPerSecond,
    shareOfPeak: flopsPerSecond / about.peak,
    peakMemory: about.peakMemory,
  };
}

const giga = (value: number, digits = 0) => (value / 1e9).toFixed(digits);
const mebi = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

const time = (seconds: number) =>
  seconds < 0.1 ? `${(seconds * 1000).toFixed(2)} ms` : `${seconds.toFixed(3)} s`;

export function formatReport(r: BenchReport): string {
  const parts = [heading(r), '', sides(r)];
  const { tensors: t } = r;
  parts.push(
    '',
    `tensors: peak ${mebi(t.peakBytes)}, ${t.liveBuffers} live buffers between updates, ` +
      `${signed(t.liveBuffersGrowth)} buffers and ${signed(t.currentGrowth)} bytes since the third update`,
  );
  if (r.waiting) {
    parts.push(
      `data: ${percent(r.waiting.share)} of the time waiting for it ` +
        `(${r.waiting.updates} updates from files, ${r.waiting.samplesPerSecond.toFixed(1)} samples/s)`,
    );
  }
  if (r.gemmReport) parts.push('', formatGemmReport(r.gemmReport));
  if (r.graphs) parts.push(`graphs: ${r.graphs.started} started, ${r.graphs.made} made`);
  if (r.least) parts.push(roofline(r, r.least));
  for (const { version, name } of r.peers)
    parts.push(
      `${name}: ${version}, ${r.dtype === 'bf16' ? 'bf16 by autocast' : r.dtype}, scaled_dot_product_attention, fused AdamW`,
    );
  for (const { name, reason } of r.peerFailures) parts.push('', `${name} failed: ${reason}`);
  if (r.peerMissing) parts.push('', `no comparison with PyTorch: ${r.peerMissing}`);
  if (r.profile) parts.push('', formatProfile(r.profile));
  parts.push('', summary(r));
  return parts.join('\n');
}

/** A line per product that the library has no way to, so that a first run on a GPU shows them. */
export function formatGemmReport({ library, refusals, searches, searchMs }: GemmReport): string {
  const each = searches > 0 ? `, ${((1000 * searchMs) / searches).toFixed(0)} us each` : '';
  const lines = refusals.map(
    ({ product, instead, calls }) => `${library} refused: ${product}; ${instead} instead, ${calls} times`,
  );
  if (lines.length === 0) lines.push(`${library} refused no product`);
  return [...lines, `${library} was asked for ${searches} algorithms${each}`].join('\n');
}

/** What is measured, on what. */
export function heading(r: BenchReport): string {
  const shapes = Object.entries(r.gemmPeak.shapes).map(([shape, rate]) => `${shape} ${giga(rate)}`);
  return [
    `${r.modality} ${r.preset}: ${r.samples} samples x ${r.clones} masks, ${(r.parameters / 1e6).toFixed(1)} M parameters, ` +
      `${giga(r.flops.total, 1)} GFLOP per update`,
    `${r.gpu ? `${r.gpu}, ` : ''}${r.device} (${r.isa}), ${r.threads} threads, ${r.dtype}, GEMM by ${r.gemm}: ` +
      `peak ${giga(r.gemmPeak.flopsPerSecond)} GFLOP/s (best of ${shapes.join(', ')})`,
  ].join('\n');
}

/** The measurement in one line. */
export function summary(r: BenchReport): string {
  const peers = r.peers.map(({ name, ratio }) => `${ratio!.toFixed(2)}x ${name}`);
  const { stepSeconds, samplesPerSecond, shareOfPeak } = r.ours;
  return [
    `${time(stepSeconds)} per update, ${samplesPerSecond.toFixed(1)} samples/s, model FLOPs ${percent(shareOfPeak)} of the measured peak`,
    ...peers,
  ].join(', ');
}

function roofline({ ours, memoryRate, gemmPeak }: BenchReport, { measured, stated }: LeastTimes): string {
  const paper = stated ? `; at those of ${stated.gpu} on paper ${time(stated.seconds)}` : '';
  return (
    `roofline: at least ${time(measured)} at the rates measured here (${giga(gemmPeak.flopsPerSecond)} GFLOP/s, ` +
    `${giga(memoryRate!)} GB/s of copies)${paper}; ours takes ${(ours.stepSeconds / measured).toFixed(2)} times as long`
  );
}

function sides(r: BenchReport): string {
  const columns = [r.ours, ...r.peers];
  const row = (name: string, cell: (s: Side) => string) => [name, ...columns.map(cell)];
  const rows = [
    row('', (s) => s.name),
    row('step time, median', (s) => time(s.stepSeconds)),
    row(`9 of 10 ${onGpu(r.device) ? 'rounds ' : ''}below`, (s) => time(s.stepSeconds90)),
    row('samples/s', (s) => s.samplesPerSecond.toFixed(1)),
    row('model GFLOP/s', (s) => giga(s.flopsPerSecond)),
    row('share of GEMM peak', (s) => percent(s.shareOfPeak)),
    row(`peak memory of ${onGpu(r.device) ? 'tensors' : 'process'}`, (s) => mebi(s.peakMemory)),
    row('updates measured', (s) => String(s.updates)),
  ];
  if (r.peers.length > 0)
    rows.push(row('ours is faster by', (s) => (s.ratio ? `${s.ratio.toFixed(2)}x` : '')));
  return formatTable(rows);
}

function formatProfile(p: ProfileReport): string {
  const ms = (seconds: number | undefined) => (seconds === undefined ? '' : (seconds * 1000).toFixed(1));
  const total = p.phases.reduce((sum, { seconds }) => sum + seconds, 0);
  const phases = p.phases.map(({ phase }) => phase);
  const rows = [
    ['ms per update', 'all', 'share', 'calls', ...phases],
    ['all', ms(total), '', '', ...p.phases.map(({ seconds }) => ms(seconds))],
    ...p.ops.map((o) => [
      o.op,
      ms(o.seconds),
      percent(o.seconds / total),
      o.calls.toFixed(0),
      ...phases.map((phase) => ms(o.byPhase[phase])),
    ]),
    ['outside of operations', ms(p.outside), percent(p.outside / total), '', ...phases.map(() => '')],
  ];
  return formatTable(rows);
}

export function formatMemory(r: MemoryReport): string {
  const rows = [
    ['update', 'tensors', 'peak', 'live buffers', 'process'],
    ...r.points.map((p) => [
      String(p.update),
      mebi(p.current),
      mebi(p.peak),
      String(p.liveBuffers),
      mebi(p.rss),
    ]),
  ];
  return [
    formatTable(rows),
    '',
    `${r.flat ? 'flat' : 'GROWING'}: ${signed(r.liveBuffersGrowth)} buffers, ${signed(r.currentGrowth)} bytes of tensors, ` +
      `${signed(r.peakGrowth)} bytes of peak, ${signed(Math.round(r.rssGrowth / 2 ** 20))} MiB of process`,
  ].join('\n');
}

const signed = (value: number) => (value > 0 ? `+${value}` : String(value));
