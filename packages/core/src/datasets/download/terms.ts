import { D2vError } from '../../errors.js';
import type { Manifest } from '../folder/manifest.js';
import type { Session } from '../session.js';

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
  } else log(`${dataset.name}: ${dataset.license}\n${dataset.terms.trim()}`);
  await manifest.update((content) => {
    content.termsAccepted = new Date().toISOString();
  });
}
