import { D2vError } from '../../errors.js';
import type { Manifest } from '../folder/manifest.js';
import type { Session } from '../session.js';
import type { ManagedDataset } from '../types.js';

/**
 * Shows licence and terms when a dataset is first made from files of the user's own. Nothing is asked: whoever has the files got
 * them under these terms, and nothing is downloaded.
 */
export function showTerms({ dataset, given, log }: Session, { content }: Manifest): void {
  const known = Object.keys(content.raw).length + Object.keys(content.prepared).length > 0;
  if (given.from !== undefined && content.termsAccepted === null && !known) log(termsOf(dataset));
}

const termsOf = ({ name, license, terms }: ManagedDataset) => `${name}: ${license}\n${terms.trim()}`;

/**
 * Has the terms accepted before the first download. Asked once per dataset folder.
 * @throws D2vError when they are not
 */
export async function acceptTerms({ dataset, given, log }: Session, manifest: Manifest): Promise<void> {
  if (manifest.content.termsAccepted !== null) return;
  if (!given.acceptTerms) {
    if (!given.confirmTerms) {
      throw new D2vError(
        `${dataset.name} has terms of use (${dataset.license}): read them with "d2v data list ${dataset.name}" and accept them with --yes`,
      );
    }
    if (!(await given.confirmTerms(dataset))) {
      throw new D2vError(`the terms of ${dataset.name} were not accepted: nothing was downloaded`);
    }
  } else log(termsOf(dataset));
  await manifest.update((content) => {
    content.termsAccepted = new Date().toISOString();
  });
}
