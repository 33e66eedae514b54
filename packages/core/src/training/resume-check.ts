import type { AnyConfig } from '../config/joint.js';
import type { TrainerState } from './trainer-state.js';

/** Sections whose settings change what is computed. */
const SECTIONS = ['model', 'data', 'optimization', 'optimizer', 'lr_scheduler', 'common', 'joint'] as const;
/** Keys that change how fast or where, never what. */
const HARMLESS = new Set([
  'data.num_workers',
  'data.prefetch',
  'data.worker_timeout_seconds',
  'data.cache_dir',
  'data.offline',
  'data.max_bad_share',
  'common.log_interval',
  'common.tensorboard',
  'common.threads',
  'common.device',
]);

/**
 * Says what differs between the run that is resumed and the settings it is resumed with, beyond which the continuation
 * is no longer the same run.
 * @param now its config as a checkpoint would have it, see `portableConfig`
 * @returns lines for the user, empty when the run goes on exactly
 */
export function resumeWarnings(
  before: { config: unknown; machine: TrainerState['machine'] },
  now: { config: AnyConfig; machine: TrainerState['machine'] },
): string[] {
  const warnings: string[] = [];
  const old = flatten(pick(before.config));
  const current = flatten(pick(now.config));
  const changed = [...new Set([...old.keys(), ...current.keys()])]
    .filter((key) => !isHarmless(key) && old.get(key) !== current.get(key))
    .map((key) => `${key} ${old.get(key) ?? 'unset'} -> ${current.get(key) ?? 'unset'}`);
  if (changed.length > 0) warnings.push(`resuming with changed settings: ${changed.join(', ')}`);
  const machine = Object.keys(now.machine) as (keyof TrainerState['machine'])[];
  const moved = machine
    .filter((key) => before.machine[key] !== now.machine[key])
    .map((key) => `${key} ${before.machine[key]} -> ${now.machine[key]}`);
  if (moved.length > 0) {
    warnings.push(
      `resuming on different hardware settings (${moved.join(', ')}): last digits will differ from an uninterrupted run`,
    );
  }
  return warnings;
}

/** Also in the sections of one of several modalities: `data.image.prefetch`. */
function isHarmless(key: string): boolean {
  return HARMLESS.has(key) || HARMLESS.has(key.replace(/^data\.[^.]+\./, 'data.'));
}

function pick(config: unknown): unknown {
  const all = (config ?? {}) as Record<string, unknown>;
  return Object.fromEntries(SECTIONS.map((section) => [section, all[section]]));
}

function flatten(value: unknown, prefix = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, prefix ? `${prefix}.${key}` : key, into);
  } else if (value !== undefined) into.set(prefix, JSON.stringify(value));
  return into;
}
