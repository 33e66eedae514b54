import { D2vError } from '../errors.js';
import { readManifest } from './folder/manifest.js';
import { chooseOptions, flagOf } from './options.js';
import { prepareDataset, readyIn } from './prepare.js';
import { startSession } from './session.js';
import type { DatasetOptions, ManagedDataset, ReadyDataset } from './types.js';

/**
 * A dataset that is prepared already: what `Modality.openData` calls, also in loader threads. Where no options are given and
 * it was prepared with one set of options, those are taken; where no splits are named, those that are prepared.
 * @throws D2vError with the command that prepares it
 */
export async function openDataset<O>(
  dataset: ManagedDataset<O>,
  given: Pick<DatasetOptions, 'cacheDir' | 'options'> = {},
): Promise<ReadyDataset<O>> {
  const session = startSession(dataset, given);
  const content = await readManifest(session.folder);
  const ready = (await readyIn(session, content)) ?? (await readyIn(await onlyVariant(), content));
  if (ready) return ready as ReadyDataset<O>;
  const others = Object.entries(content?.prepared ?? {}).map(
    ([name, { complete }]) => `${name}: ${complete.join(', ')}`,
  );
  const flags = Object.entries(given.options ?? {}).map(([key, value]) => ` ${flagOf(key)} ${value}`);
  const there = others.length > 0 ? ` (prepared is ${others.join('; ')})` : '';
  throw new D2vError(
    `${dataset.name} is not prepared${there}: run d2v data prepare ${dataset.name}${flags.join('')}`,
  );

  /** A session with the options of the only variant that there is, if none were given. */
  async function onlyVariant() {
    const { splits, ...own } = given.options ?? {};
    const variants = Object.values(content?.prepared ?? {});
    if (Object.keys(own).length > 0 || variants.length !== 1) return session;
    const options = { ...(variants[0]!.options as object), ...(splits !== undefined && { splits }) };
    const chosen = chooseOptions(dataset, options);
    const { complete } = variants[0]!;
    // Splits that are taken by default are those that are prepared.
    return {
      ...session,
      chosen: chosen.named || complete.length === 0 ? chosen : { ...chosen, splits: complete },
    };
  }
}

/**
 * Opens a dataset, after downloading and preparing it if it isn't there: what a training run does before it opens its data.
 * @throws D2vError in one line with the remedy
 */
export async function ensureDataset<O>(
  dataset: ManagedDataset<O>,
  given: DatasetOptions = {},
): Promise<ReadyDataset<O>> {
  const session = startSession(dataset, given);
  const content = await readManifest(session.folder);
  const some = Object.values(content?.prepared ?? {}).some(({ complete }) => complete.length > 0);
  if (some) {
    const ready = await openDataset(dataset, given).catch((error: unknown) => {
      if (error instanceof D2vError) return null;
      throw error;
    });
    if (ready) return ready;
  }
  return prepareDataset(dataset, given);
}
