/**
 * Round axis marks (steps of 1, 2 or 5 times a power of ten) that lie inside [low, high].
 *
 * @param low smallest value shown
 * @param high largest value shown; equal values give the one mark
 * @param about how many marks to aim for
 */
export function ticks(low: number, high: number, about: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10);
  const marks: number[] = [];
  // Counted in whole steps, so that rounding errors do not add up along the axis.
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) marks.push(k * step);
  return marks;
}

/** A number short enough for an axis: 1.2k, 0.05, 3e-5. */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-3) return value.toExponential(1).replace('.0e', 'e');
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  return trim(value);
}

const trim = (value: number) => String(Number(value.toPrecision(3)));
