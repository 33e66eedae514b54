import pc from 'picocolors';

/**
 * Colours for text written to a stream: on a terminal, or where FORCE_COLOR asks for them, and never with NO_COLOR.
 * The library's own guess looks at stdout for both streams and colours whatever runs with CI set, so logs and pipes
 * would hold escape codes.
 */
export const colorsOf = (stream: { isTTY?: boolean }, { NO_COLOR, FORCE_COLOR, TERM } = process.env) =>
  pc.createColors(!NO_COLOR && (Boolean(FORCE_COLOR) || (stream.isTTY === true && TERM !== 'dumb')));

/** For what is written to stdout. */
export const out = colorsOf(process.stdout);
/** For what is written to stderr. */
export const err = colorsOf(process.stderr);
