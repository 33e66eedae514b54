/**
 * What a run shows: on a terminal one line that is redrawn (bar, loss, speed, time left) with evaluations and
 * warnings scrolling above it; elsewhere plain lines, one per log interval.
 */
import { join } from 'node:path';
import type { StartEvent, TrainerEvent, UpdateEvent } from '@d2v/core';
import { count, duration, number } from './format.js';
import { type Output, StatusLine } from './status-line.js';

/** Metrics of a plain line, in this order, as far as there are any. */
const SHOWN = ['loss', 'target_var', 'pred_var', 'local_var', 'grad_norm', 'lr', 'ema_decay', 'masked_pct'];
const REDRAW_MS = 100;
const BAR = 24;

export class ProgressView {
  private readonly status: StatusLine;
  private drawn = 0;
  /** Whether the run is of several modalities. */
  private several = false;
  /** The latest loss of each. */
  private readonly losses = new Map<string, number>();

  constructor(
    private readonly output: Output,
    private readonly quiet = false,
  ) {
    this.status = new StatusLine(output);
  }

  /** Shows an event; give it to `train()` as `on`. */
  readonly on = (event: TrainerEvent): void => {
    switch (event.type) {
      case 'start':
        this.start(event);
        break;
      case 'update':
        this.update(event);
        break;
      case 'log':
        if (!this.output.isTTY) this.line(logLine(event.update, event.metrics));
        break;
      case 'eval':
        this.line(`update ${event.update}  ${pairs(event.metrics)}`);
        break;
      case 'checkpoint':
        if (!this.output.isTTY)
          this.line(`update ${event.update}  saved ${event.path}${event.best ? ' (best)' : ''}`);
        break;
      case 'warning':
        this.status.print(`${this.status.colors.yellow('warning:')} ${event.message}`);
        break;
      case 'info':
        this.line(event.message);
        break;
      case 'stop':
        this.clear();
        break;
      default:
        event satisfies never;
    }
  };

  /** Removes the bar. */
  clear(): void {
    this.status.clear();
  }

  /** A line above the bar, unless quiet. */
  line(text: string): void {
    if (!this.quiet) this.status.print(text);
  }

  private start(event: StartEvent): void {
    const from = event.resumedFrom === null ? '' : `, going on from update ${event.resumedFrom}`;
    this.line(`${this.status.colors.bold(event.runDir)}${from}`);
    const { modalities, effectiveBatch } = event;
    const parameters = `${count(event.parameters)} parameters`;
    this.several = modalities.length > 1;
    if (this.several) {
      this.line(`${parameters} for ${modalities.join(', ')}`);
      modalities.forEach((name, i) => {
        this.line(`${name}: ${effectiveBatch[i]}`);
      });
    } else this.line(`${parameters}; ${effectiveBatch.join('; ')}`);
    if (event.memory) this.line(event.memory);
    this.line(
      this.status.colors.dim(`curves: ${join(event.runDir, 'curves.html')} (written with each checkpoint)`),
    );
  }

  private update(event: UpdateEvent): void {
    if (this.quiet || !this.output.isTTY) return;
    this.losses.set(event.modality, event.loss);
    const now = performance.now();
    if (now - this.drawn < REDRAW_MS && event.progress !== 1) return;
    this.drawn = now;
    const losses = this.several ? this.losses : undefined;
    this.status.draw(progressLine(event, this.output.columns ?? 80, losses));
  }
}

/**
 * The line that is redrawn, cut to the width of the terminal.
 * @param losses of each modality, in a run of several
 */
export function progressLine(
  event: UpdateEvent,
  columns: number,
  losses?: ReadonlyMap<string, number>,
): string {
  const { update, maxUpdate, progress, loss, lr, samplesPerSecond, etaSeconds } = event;
  const shown = [...(losses ?? [])].map(([name, value]) => `${name} ${number(value)}`).join(', ');
  const filled = Math.round((progress ?? 0) * BAR);
  const bar = progress === null ? '' : `${'━'.repeat(filled)}${'─'.repeat(BAR - filled)} `;
  const share = progress === null ? '' : `${String(Math.floor(progress * 100)).padStart(3)} %  `;
  const parts = [
    `update ${update}${maxUpdate === null ? '' : `/${maxUpdate}`}`,
    `loss ${losses ? shown : number(loss)}`,
    `lr ${number(lr)}`,
    `${number(Math.round(samplesPerSecond))}/s`,
    ...(etaSeconds === null ? [] : [`${duration(etaSeconds)} left`]),
  ];
  const room = columns - 1 - (progress === null ? 0 : BAR + 1 + share.length);
  let text = '';
  for (const part of parts) {
    const next = text ? `${text}  ${part}` : part;
    if (next.length > room) break;
    text = next;
  }
  return room < 20 ? parts[0]!.slice(0, columns - 1) : `${bar}${share}${text}`;
}

/** `update 50  loss 0.71  ...` */
export function logLine(update: number, metrics: Record<string, number>): string {
  const keys = SHOWN.flatMap((key) => (key === 'loss' ? [key, ...lossesOf(metrics)] : key));
  const shown = keys.flatMap((key) => (metrics[key] === undefined ? [] : [`${key} ${number(metrics[key])}`]));
  const speed = metrics.samples_per_second;
  if (speed !== undefined) shown.push(`${number(Math.round(speed))} samples/s`);
  if ((metrics.wait_share ?? 0) >= 0.05)
    shown.push(`${Math.round(metrics.wait_share! * 100)} % waiting for data`);
  return `update ${update}  ${shown.join('  ')}`;
}

/** Names of the losses of each modality, in a run of several. */
const lossesOf = (metrics: Record<string, number>) =>
  Object.keys(metrics).flatMap((key) => (key.startsWith('epoch_') ? key.replace('epoch', 'loss') : []));

const pairs = (metrics: Record<string, number>) =>
  Object.entries(metrics)
    .filter(([key]) => key.includes('eval'))
    .map(([key, value]) => `${key} ${number(value)}`)
    .join('  ');
