import { createInterface } from 'node:readline/promises';
import type { ManagedDataset } from '@d2v/core';
import { err } from '../../colors.js';

/** Shows licence and terms and asks whether they are accepted. */
export async function askTerms(
  dataset: ManagedDataset,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
): Promise<boolean> {
  output.write(`${termsText(dataset)}\n\n`);
  const lines = createInterface({ input, output });
  try {
    const answer = await lines.question('Do you accept these terms? [y/N] ');
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

/** Name, size, licence and terms. */
export function termsText({ name, description, size, license, terms, homepage }: ManagedDataset): string {
  const end = description.endsWith('?') ? '' : ';';
  const lines = [`${err.bold(name)}: ${description}${end} ${size}`, `Licence: ${license}`, '', terms.trim()];
  if (homepage) lines.push('', homepage);
  return lines.join('\n');
}
