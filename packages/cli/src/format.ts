/** Numbers and times as a person reads them. */

/** 75 s as "1:15", 3700 s as "1:01:40". */
export function duration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Four significant digits, without needless zeros; large whole numbers in full. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2).replace(/\.?0*e\+?/, 'e');
  return String(Number(value.toPrecision(4)));
}

/** 86 123 456 as "86.1 M". */
export function count(value: number): string {
  for (const [limit, unit] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (value >= limit) return `${(value / limit).toFixed(value >= 100 * limit ? 0 : 1)} ${unit}`;
  }
  return String(value);
}

/** 86 123 456 bytes as "82.1 MB", powers of 1024. */
export function bytes(value: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Columns of the terminal; 100 where there is none. */
export const terminalWidth = (): number => process.stdout.columns ?? 100;

/** Cuts a text that is too long, with an ellipsis for what is left out. */
export function clip(text: string, width: number): string {
  const letters = [...text];
  return letters.length <= width
    ? text
    : `${letters
        .slice(0, Math.max(0, width - 1))
        .join('')
        .trimEnd()}…`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours
const COLOUR = /\u001b\[\d+m/g;

/** A line as lines that are at most so wide, broken between words; those that follow stand under its column of text. */
export function wrap(line: string, width: number): string[] {
  const column = /^ *(?:\S+ {2,})?/.exec(line)![0].length;
  const indent = ' '.repeat(column < width / 2 ? column : 2);
  const lines: string[] = [];
  let text = line.slice(0, column);
  let empty = true;
  for (const word of line.slice(column).split(' ')) {
    const longer = empty ? text + word : `${text} ${word}`;
    if (!empty && longer.replace(COLOUR, '').length > width) {
      lines.push(text);
      text = indent + word;
    } else text = longer;
    empty = false;
  }
  return [...lines, text];
}

/** Least width that a column is cut to. */
const LEAST = 12;

/**
 * Rows for `formatTable` that are at most so wide: cells of some columns are cut, the longest ones first.
 * @param cut columns that may be cut
 */
export function fitColumns(
  rows: readonly (readonly string[])[],
  cut: readonly number[],
  width: number,
): string[][] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...row[column]!].length)));
  const excess = () => widths.reduce((sum, one) => sum + one + 2, -2) - width;
  while (excess() > 0) {
    const widest = cut.reduce((best, column) => (widths[column]! > widths[best]! ? column : best), cut[0]!);
    if (widths[widest]! <= LEAST) break;
    widths[widest]!--;
  }
  return rows.map((row) =>
    row.map((text, column) => (cut.includes(column) ? clip(text, widths[column]!) : text)),
  );
}
