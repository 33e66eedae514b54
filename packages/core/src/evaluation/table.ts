/**
 * A table for the terminal.
 * @param rows the first one is the header
 * @param align of the columns after the first, which is left-aligned: `right` for numbers
 */
export function formatTable(rows: readonly (readonly string[])[], align: 'left' | 'right' = 'right'): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) =>
    Math.max(...rows.map((row) => width(row[c] ?? ''))),
  );
  const line = (row: readonly string[]) =>
    widths
      .map((size, c) => {
        const text = row[c] ?? '';
        const space = ' '.repeat(size - width(text));
        return c === 0 || align === 'left' ? text + space : space + text;
      })
      .join('  ')
      .trimEnd();
  const [header = [], ...body] = rows;
  return [line(header), widths.map((size) => '-'.repeat(size)).join('  '), ...body.map(line)].join('\n');
}

/** Characters as a terminal shows them, without colour codes. */
function width(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape that starts a colour code
  return [...text.replace(/\u001b\[[0-9;]*m/g, '')].length;
}

/** 0.8934 as "89.3 %". */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
