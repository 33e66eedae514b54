import { describe, expect, it } from 'vitest';
import { chartSvg } from './chart.js';
import { renderCurves } from './curves.js';
import { shortNumber, ticks } from './ticks.js';

describe('ticks', () => {
  it('gives round marks inside the range', () => {
    expect(ticks(0, 1, 5)).toHaveLength(6);
    expect(ticks(3, 97, 5)).toEqual([20, 40, 60, 80]);
    expect(ticks(-0.02, 0.03, 5)).toHaveLength(6);
  });
  it('survives a range of one value', () => expect(ticks(7, 7, 5)).toEqual([7]));
  it('writes short numbers', () => {
    expect([0, 0.05, 3e-5, 1234, 12_345, 2_500_000].map(shortNumber)).toEqual([
      '0',
      '0.05',
      '3e-5',
      '1230',
      '12.3k',
      '2.5M',
    ]);
  });
});

describe('chartSvg', () => {
  it('interrupts a line at values that are not finite', () => {
    const points = [
      [0, 1],
      [1, Number.NaN],
      [2, 3],
      [3, 2],
    ] as const;
    const svg = chartSvg({ title: 'x', note: '', series: [{ name: 'a', points }] });
    expect(svg.match(/ d="([^"]+)"/)?.[1]?.match(/M/g)).toHaveLength(2);
    expect(svg).not.toContain('NaN');
  });
  it('draws a constant and a single point without dividing by zero', () => {
    for (const points of [
      [[0, 0]],
      [
        [0, 2],
        [1, 2],
      ],
    ] as [number, number][][]) {
      expect(chartSvg({ title: 'x', note: '', series: [{ name: 'a', points }] })).not.toMatch(/NaN|Infinity/);
    }
  });
});

describe('renderCurves', () => {
  const rows = [1, 2, 3].map((update) => ({
    update,
    loss: 9 / update,
    target_var: 0.5,
    lr: 1e-3,
    when: 'now',
  }));

  it('shows only the panels that have data, each with its last value', () => {
    const html = renderCurves(rows, 'my run');
    expect(html.match(/<figure>/g)).toHaveLength(3);
    expect(html).toContain('3 updates');
    expect(html).toContain('loss <b>3</b>');
  });
  it('escapes the title and ignores rows without an update', () => {
    const html = renderCurves([{ loss: 1 }, ...rows], '<script>');
    expect(html).not.toContain('<script>');
  });
  it('gives each of several modalities pictures of its own, and what they share others', () => {
    const joint = rows.map(({ update }) => ({
      update,
      loss: 5,
      loss_waves: 2,
      loss_short_waves: 7,
      target_var_waves: 1,
      grad_norm_short_waves: 3,
      lr: 1e-3,
    }));
    const html = renderCurves(joint, 'both', ['waves', 'short_waves']);
    const sections = html.split('<section>').slice(1);
    expect(sections.map((part) => part.match(/<h2>(.+)<\/h2>/)?.[1])).toEqual([
      'waves',
      'short_waves',
      'all modalities',
    ]);
    const [waves, short, shared] = sections as [string, string, string];
    expect(waves).toContain('loss <b>2</b>');
    expect(waves).toContain('target_var <b>1</b>');
    expect(short).toContain('loss <b>7</b>');
    expect(short).toContain('grad_norm <b>3</b>');
    expect(shared.match(/<figure>/g)).toHaveLength(1);
    expect(html).not.toContain('<b>5</b>');
  });
  it('draws a loss of one part once', () => {
    const html = renderCurves([{ update: 1, loss: 3, loss_IMAGE_regression: 3, loss_cls: 1 }], 'one');
    expect(html).toContain('loss_cls <b>1</b>');
    expect(html).not.toContain('regression');
  });
  it('has no headings for a run of one modality', () =>
    expect(renderCurves(rows, 'one', ['waves'])).not.toContain('<h2>'));
  it('is a whole page for an empty run', () => expect(renderCurves([], 'empty')).toContain('0 updates'));
});
