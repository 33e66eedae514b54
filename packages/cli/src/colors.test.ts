import { describe, expect, it } from 'vitest';
import { colorsOf } from './colors.js';

const ESCAPE = '\u001b[';
const coloured = (isTTY: boolean, env: NodeJS.ProcessEnv) =>
  colorsOf({ isTTY }, env).red('x').includes(ESCAPE);

describe('colours', () => {
  it('are for terminals; a pipe stays plain, also where CI is set', () => {
    expect(coloured(true, {})).toBe(true);
    expect(coloured(false, {})).toBe(false);
    expect(coloured(false, { CI: 'true' })).toBe(false);
    expect(coloured(true, { TERM: 'dumb' })).toBe(false);
  });

  it('follow FORCE_COLOR, and NO_COLOR before it', () => {
    expect(coloured(false, { FORCE_COLOR: '1' })).toBe(true);
    expect(coloured(true, { FORCE_COLOR: '1', NO_COLOR: '1' })).toBe(false);
  });
});
