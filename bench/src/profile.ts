import * as k from '@d2v/cuda-kernels';
import { PHASES, type Phase, type UpdateRunner } from './runner.js';

export interface ProfileReport {
  updates: number;
  /** Seconds per update. */
  phases: { phase: Phase; seconds: number }[];
  /** Per update, largest first. `seconds` is that of all phases together. */
  ops: { op: string; calls: number; seconds: number; byPhase: Partial<Record<Phase, number>> }[];
  /** Seconds per update outside of native operations: JavaScript. */
  outside: number;
}

/** Time per phase and per operation. The clock around every operation costs a little: not for step times. */
export async function profileUpdates(runner: UpdateRunner, updates: number): Promise<ProfileReport> {
  const phases = new Map<Phase, number>(PHASES.map((phase) => [phase, 0]));
  const ops = new Map<string, { calls: number; seconds: number; byPhase: Partial<Record<Phase, number>> }>();
  let last = 0;
  const begin = () => {
    k.profile.start();
    last = performance.now();
  };
  for (let i = 0; i < updates; i++) {
    begin();
    await runner.update((phase) => {
      phases.set(phase, phases.get(phase)! + (performance.now() - last) / 1000 / updates);
      k.profile.stop();
      for (const { op, calls, ms } of k.profile.report()) {
        const entry = ops.get(op) ?? { calls: 0, seconds: 0, byPhase: {} };
        const seconds = ms / 1000 / updates;
        entry.calls += calls / updates;
        entry.seconds += seconds;
        entry.byPhase[phase] = (entry.byPhase[phase] ?? 0) + seconds;
        ops.set(op, entry);
      }
      begin();
    });
    k.profile.stop();
  }
  const list = [...ops].map(([op, entry]) => ({ op, ...entry })).sort((a, b) => b.seconds - a.seconds);
  const total = [...phases.values()].reduce((a, b) => a + b, 0);
  return {
    updates,
    phases: [...phases].map(([phase, seconds]) => ({ phase, seconds })),
    ops: list,
    outside: total - list.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}
