import { type Chart, chartSvg, escapeHtml, type Series } from './chart.js';
import { PANELS } from './panels.js';

/** One line of `metrics.jsonl`: numbers by name, `update` among them. */
export type MetricsRow = Readonly<Record<string, unknown>>;

/**
 * A self-contained HTML page (no script, no network) with the loss and variance curves of a run.
 *
 * @param rows the rows of `metrics.jsonl`, in order of `update`; damaged or foreign rows are ignored
 * @param title the run's name
 * @param modalities of the run. With several, each has pictures of its own, since their losses cannot be compared
 */
export function renderCurves(
  rows: readonly MetricsRow[],
  title: string,
  modalities: readonly string[] = [],
): string {
  const several = modalities.length > 1;
  const series = collect(rows);
  const sections = several ? byModality(series, modalities) : new Map([['', series]]);
  const body = [...sections].map(([name, own]) => section(name, charts(own))).filter((html) => html !== '');
  const updates = Number(rows.at(-1)?.update);
  const facts = [
    `${Number.isFinite(updates) ? updates : 0} updates`,
    ...(several ? [modalities.join(', ')] : []),
    'in bold: last values',
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(title)}</h1>
<p class="facts">${escapeHtml(facts.join(' · '))}</p>
${body.join('\n')}
</html>
`;
}

/** Where the curves of no single modality stand. */
const SHARED = 'all modalities';

/**
 * Divides metrics by the modality that their names end with, and takes the ending off. The loss of the run as a whole is
 * a mean over whatever modalities came up, so it is left out.
 */
function byModality(series: Curves, modalities: readonly string[]): Map<string, Curves> {
  const sections = new Map([...modalities, SHARED].map((name): [string, Curves] => [name, new Map()]));
  // Of two names that both fit, as `waves` and `short_waves`, the longer one is meant.
  const longestFirst = [...modalities].sort((a, b) => b.length - a.length);
  for (const [metric, points] of series) {
    const owner = longestFirst.find((name) => metric.endsWith(`_${name}`));
    if (owner !== undefined) sections.get(owner)!.set(metric.slice(0, -owner.length - 1), points);
    else if (metric !== 'loss') sections.get(SHARED)!.set(metric, points);
  }
  return sections;
}

function charts(series: Curves): Chart[] {
  return PANELS.map(({ keys, ...panel }): Chart => {
    const mine = [...series].filter(([name]) => keys.test(name));
    return { ...panel, series: distinct(mine.map(([name, points]): Series => ({ name, points }))) };
  }).filter((chart) => chart.series.length > 0);
}

/** Without curves that lie under another one: a loss of one part is that part. */
function distinct(series: readonly Series[]): Series[] {
  const seen = new Set<string>();
  return series.filter(({ points }) => {
    const key = JSON.stringify(points);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function section(name: string, pictures: readonly Chart[]): string {
  if (pictures.length === 0) return '';
  const heading = name === '' ? '' : `<h2>${escapeHtml(name)}</h2>\n`;
  return `<section>\n${heading}<div class="charts">\n${pictures.map(figure).join('\n')}\n</div>\n</section>`;
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

/** Points by metric. */
type Curves = Map<string, [update: number, value: number][]>;

function collect(rows: readonly MetricsRow[]): Curves {
  const series: Curves = new Map();
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
body { margin: 2rem auto; max-width: 82rem; padding: 0 1.5rem; background: var(--page); color: var(--ink); }
h1 { font-size: 1.4rem; margin: 0; } .facts { color: var(--soft); margin: 0; }
section { margin-top: 1.5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .8rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
h2::first-letter { text-transform: uppercase; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 1.5rem 2rem; }
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
