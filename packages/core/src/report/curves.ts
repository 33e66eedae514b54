import { type Chart, chartSvg, escapeHtml } from './chart.js';

/** One line of `metrics.jsonl`: numbers by name, `update` among them. */
export type MetricsRow = Readonly<Record<string, unknown>>;

/** Which curves share a picture, in reading order. A row whose keys match none of these is left out. */
const PANELS: readonly (Omit<Chart, 'series'> & { keys: RegExp })[] = [
  {
    title: 'Loss',
    keys: /^loss$|^loss_|_regression|^cls$|^recon$/,
    note: 'Per masked token. It may rise again after the first drop: the teacher gets better, so its targets get harder.',
  },
  {
    title: 'Standard deviation of targets, predictions and local features',
    keys: /^target_var|^pred_var|^local_var/,
    note: 'Averaged over dimensions. Collapse shows here: curves that fall towards zero and stay there.',
    fromZero: true,
  },
  {
    title: 'Frozen features on held-out data',
    keys: /^(eval\/)?(knn|linear|probe)/,
    note: 'Accuracy of a nearest-neighbour vote or a linear classifier on features that had no labels in training.',
  },
  {
    title: 'Gradient norm before clipping',
    keys: /^grad_norm$/,
    note: 'Spikes are clipped; a steady rise says that the learning rate is too high.',
    fromZero: true,
  },
  {
    title: 'Learning rate',
    keys: /^lr$/,
    note: 'Warm-up, then the schedule.',
    fromZero: true,
  },
  { title: 'EMA decay of the teacher', keys: /^ema_decay$/, note: 'Grows linearly to its final value.' },
];

/**
 * A self-contained HTML page (no script, no network) with the loss and variance curves of a run.
 *
 * @param rows the rows of `metrics.jsonl`, in order of `update`; damaged or foreign rows are ignored
 * @param title the run's name
 */
export function renderCurves(rows: readonly MetricsRow[], title: string): string {
  const series = collect(rows);
  const charts = PANELS.map(({ keys, ...panel }): Chart => {
    const mine = [...series].filter(([name]) => keys.test(name));
    return { ...panel, series: mine.map(([name, points]) => ({ name, points })) };
  });
  const figures = charts.filter((chart) => chart.series.length > 0).map(figure);
  const updates = rows.length > 0 ? Number(rows.at(-1)?.update) : 0;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(title)}</h1>
<p>${Number.isFinite(updates) ? updates : 0} updates</p>
<main>
${figures.join('\n')}
</main>
</html>
`;
}

function figure(chart: Chart): string {
  const legend = chart.series.map(({ name, points }, i) => {
    const last = points.at(-1)?.[1];
    const value = last === undefined ? '' : ` <b>${Number(last.toPrecision(4))}</b>`;
    return `<li class="s${i % 8}">${escapeHtml(name)}${value}</li>`;
  });
  return `<figure>
<figcaption>${escapeHtml(chart.title)}</figcaption>
${chartSvg(chart)}
<ul>${legend.join('')}</ul>
<p>${escapeHtml(chart.note)}</p>
</figure>`;
}

function collect(rows: readonly MetricsRow[]): Map<string, [number, number][]> {
  const series = new Map<string, [number, number][]>();
  for (const row of rows) {
    const update = row.update;
    if (typeof update !== 'number') continue;
    for (const [name, value] of Object.entries(row)) {
      if (name === 'update' || typeof value !== 'number') continue;
      const points = series.get(name) ?? [];
      points.push([update, value]);
      series.set(name, points);
    }
  }
  return series;
}

/** Colours that stay apart for colour-blind readers, on light and on dark pages. */
const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; --ink: #1b1f24; --soft: #6a737d; --rule: #d8dee4; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #8b949e; --rule: #30363d; --page: #0d1117; } }
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem; background: var(--page); color: var(--ink); }
h1 { font-size: 1.4rem; margin: 0; } h1 + p { color: var(--soft); margin: 0 0 1.5rem; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.5rem 2rem; }
figure { margin: 0; } figcaption { font-weight: 600; }
figure p { color: var(--soft); font-size: .85rem; margin: .2rem 0 0; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--rule); } .tick { fill: var(--soft); font-size: 11px; }
.line { fill: none; stroke: var(--c); stroke-width: 1.8; stroke-linejoin: round; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: 0; padding: 0; font-size: .85rem; }
li::before { content: ''; display: inline-block; width: .9em; height: .25em; margin-right: .45em; vertical-align: middle; background: var(--c); }
.s0 { --c: #2f7ed8; } .s1 { --c: #e4803a; } .s2 { --c: #2a9d76; } .s3 { --c: #c44e80; }
.s4 { --c: #8a6fd1; } .s5 { --c: #b59b1f; } .s6 { --c: #4aa3b5; } .s7 { --c: #8c8c8c; }
`;
