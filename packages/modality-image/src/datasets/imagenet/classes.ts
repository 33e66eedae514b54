/** The classes of a part of the dataset, as its preparation wrote them: `<split>-classes.json`, a WordNet id per number. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError, type StepOutput } from '@d2v/core';

/** By number; null where a part has no picture of the class, and so does not tell. */
export type Classes = readonly (string | null)[];

const fileOf = (split: string) => `${split}-classes.json`;

export async function writeClasses(output: StepOutput, split: string, classes: Classes): Promise<void> {
  await writeFile(join(output.folder, fileOf(split)), `${JSON.stringify(classes)}\n`);
}

/** The classes of some parts together. @throws D2vError if the parts number them differently */
export async function readClasses(folder: string, splits: readonly string[]): Promise<string[]> {
  const merged: string[] = [];
  for (const split of splits) {
    const classes = JSON.parse(await readFile(join(folder, fileOf(split)), 'utf8')) as Classes;
    for (const [number, wnid] of classes.entries()) {
      if (wnid === null) continue;
      const known = merged[number];
      if (known !== undefined && known !== wnid) {
        throw new D2vError(
          `imagenet: class ${number} is ${known} in ${splits[0]} and ${wnid} in ${split}: the parts are not of one dataset`,
        );
      }
      merged[number] = wnid;
    }
  }
  return Array.from(merged, (wnid, number) => wnid ?? `class ${number}`);
}
