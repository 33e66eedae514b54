import { shortNumber, ticks } from './ticks.js';

/** One line of a chart: points in ascending x; points that are not finite interrupt the line. */
export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  title: string;
  /** What the curves should look like, for readers who see them for the first time. */
  note: string;
  series: readonly Series[];
  /** Zero belongs in the picture, as in a plot of standard deviations. */
  fromZero?: boolean;
}

const WIDTH = 440;
const HEIGHT = 240;
const MARGIN = { top: 10, right: 12, bottom: 24, left: 48 };

/** An inline SVG with axes and up to eight lines; the colours come from the page's CSS classes `s0` to `s7`. */
export function chartSvg({ title, series, fromZero }: Chart): string {
  const points = series.flatMap((s) => s.points.filter(([, y]) => Number.isFinite(y)));
  if (points.length === 0) return '';
  const [xLow, xHigh] = extent(points.map(([x]) => x));
  const ys = extent(points.map(([, y]) => y));
  const [yLow, yHigh] = pad(fromZero ? Math.min(0, ys[0]) : ys[0], ys[1], fromZero);
  const plotWidth = WIDTH - MARGIN.left - MARGIN.right;
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  const px = (x: number) => MARGIN.left + (xHigh > xLow ? (x - xLow) / (xHigh - xLow) : 0.5) * plotWidth;
  const py = (y: number) => MARGIN.top + (1 - (y - yLow) / (yHigh - yLow)) * plotHeight;

  const grid = ticks(yLow, yHigh, 5).map((y) => {
    const at = py(y).toFixed(1);
    return (
      `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}"/>` +
      `<text class="tick" x="${MARGIN.left - 8}" y="${at}" dy="0.32em" text-anchor="end">${shortNumber(y)}</text>`
    );
  });
  const marks = ticks(xLow, xHigh, 5).map(
    (x) =>
      `<text class="tick" x="${px(x).toFixed(1)}" y="${HEIGHT - 8}" text-anchor="middle">${shortNumber(x)}</text>`,
  );
  // The first curve is drawn last: a total lies on top of its parts.
  const lines = series
    .map((s, i) => `<path class="line s${i % 8}" d="${path(s.points, px, py)}"/>`)
    .reverse();
  return (
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">` +
    `${grid.join('')}${marks.join('')}${lines.join('')}</svg>`
  );
}

/** Text made safe for HTML content and attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function path(points: Series['points'], px: (x: number) => number, py: (y: number) => number): string {
  let command = 'M';
  let d = '';
  for (const [x, y] of points) {
    if (!Number.isFinite(y)) {
      command = 'M';
      continue;
    }
    d += `${command}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
    command = 'L';
  }
  return d;
}

function extent(values: readonly number[]): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Room above and below, so that no line touches the frame; a flat line gets a band of its own size. */
function pad(low: number, high: number, keepLow = false): [number, number] {
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [keepLow ? low : low - room, high + room];
}
