/**
 * What work on a dataset shows: on a terminal one line that is redrawn (bar, amount, rate, time left) with messages scrolling
 * above it; elsewhere a plain line every ten seconds, of whatever is then being done.
 */
import type { DatasetEvent } from '@d2v/core';
import { bytes, count, duration } from './format.js';
import { type Output, StatusLine } from './status-line.js';

type Progress = Extract<DatasetEvent, { type: 'progress' }>;

const REDRAW_MS = 100;
const PLAIN_MS = 10_000;
/** Over how long the rate is taken. */
const WINDOW_MS = 10_000;
const BAR = 20;
const VERBS = { download: 'downloading', verify: 'checking', prepare: 'preparing' } as const;

/** How far one item was at some times. */
type Track = [time: number, done: number][];

export class DataProgress {
  private readonly tracks = new Map<string, Track>();
  /** When something was last shown of a phase: one clock for all its items, however short each of them is. */
  private readonly shown = new Map<Progress['phase'], number>();
  private readonly status: StatusLine;

  constructor(
    private readonly output: Output,
    private readonly quiet = false,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.status = new StatusLine(output);
  }

  /** Shows an event; give it to core's dataset functions as `on`. */
  readonly on = (event: DatasetEvent): void => {
    switch (event.type) {
      case 'info':
        if (!this.quiet) this.status.print(event.message);
        break;
      case 'warning':
        this.status.print(`${this.status.colors.yellow('warning:')} ${event.message}`);
        break;
      case 'progress':
        if (!this.quiet) this.progress(event);
        break;
      default:
        event satisfies never;
    }
  };

  /** Removes the bar. */
  clear(): void {
    this.status.clear();
  }

  private progress(event: Progress): void {
    const { phase, item, done, total } = event;
    const now = this.now();
    const key = `${phase} ${item}`;
    const track = this.tracks.get(key) ?? [];
    this.tracks.set(key, track);
    // A point every 0.1 s is enough for the rate.
    if (track.length > 1 && now - track.at(-2)![0] < REDRAW_MS) track.pop();
    track.push([now, done]);
    while (track.length > 2 && now - track[1]![0] > WINDOW_MS) track.shift();
    // The first line comes after a while: what is quick needs none.
    const shown = this.shown.get(phase) ?? now;
    this.shown.set(phase, shown);
    if (this.output.isTTY) {
      if (now - shown < REDRAW_MS && done !== total) return;
      this.status.draw(barLine(event, rateOf(track), this.output.columns ?? 80));
    } else {
      if (now - shown < PLAIN_MS) return;
      this.status.print(plainLine(event, rateOf(track)));
    }
    this.shown.set(phase, now);
  }
}

/** Units per second over the window; null while it cannot be told. */
function rateOf(track: Track): number | null {
  const [first, last] = [track[0], track.at(-1)];
  if (!first || !last || last[0] - first[0] < 200) return null;
  return Math.max(0, ((last[1] - first[1]) / (last[0] - first[0])) * 1000);
}

function parts(event: Progress, rate: number | null): string[] {
  const { done, total, unit } = event;
  const amount = (value: number) => (unit === 'bytes' ? bytes(value) : count(value));
  const what = unit === 'bytes' ? '' : ` ${unit}`;
  const left = rate && total !== null ? (total - done) / rate : null;
  return [
    `${amount(done)}${total === null ? '' : `/${amount(total)}`}${what}`,
    ...(rate === null ? [] : [`${amount(Math.round(rate))}/s`]),
    ...(left === null || left < 0.5 ? [] : [`${duration(left)} left`]),
  ];
}

/** The line that is redrawn, cut to the width of the terminal. */
export function barLine(event: Progress, rate: number | null, columns: number): string {
  const { phase, item, done, total } = event;
  const share = total ? Math.min(1, done / total) : null;
  const filled = Math.round((share ?? 0) * BAR);
  const bar = share === null ? '' : `${'━'.repeat(filled)}${'─'.repeat(BAR - filled)} `;
  const percent = share === null ? '' : `${String(Math.floor(share * 100)).padStart(3)} %  `;
  let room = columns - 1 - (share === null ? 0 : BAR + 1) - percent.length;
  let text = '';
  for (const part of [`${VERBS[phase]} ${item}`, ...parts(event, rate)]) {
    const next = text ? `  ${part}` : part.slice(0, Math.max(10, room));
    if (next.length > room) break;
    text += next;
    room -= next.length;
  }
  return `${bar}${percent}${text}`;
}

/** `downloading train.tar: 45 % 62.1 GB/138 GB, 85.0 MB/s, 14:12 left` */
export function plainLine(event: Progress, rate: number | null): string {
  const { phase, item, done, total } = event;
  const percent = total ? `${Math.floor((100 * done) / total)} %, ` : '';
  return `${VERBS[phase]} ${item}: ${percent}${parts(event, rate).join(', ')}`;
}
