import { D2vError } from '../errors.js';
import { type ManifestContent, readManifest } from './folder/manifest.js';
import { chooseOptions, flagOf } from './options.js';
import { prepareIn, readyIn } from './prepare.js';
import { type Session, startSession } from './session.js';
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
  const ready =
    (await readyIn(session, content)) ?? (await readyIn(withOnlyVariant(session, content), content));
  if (ready) return ready as ReadyDataset<O>;
  const others = Object.entries(content?.prepared ?? {}).map(
    ([name, { complete }]) => `${name}: ${complete.join(', ')}`,
  );
  const flags = Object.entries(given.options ?? {}).map(([key, value]) => ` ${flagOf(key)} ${value}`);
  const there = others.length > 0 ? ` (prepared is ${others.join('; ')})` : '';
  throw new D2vError(
    `${dataset.name} is not prepared${there}: run d2v data prepare ${dataset.name}${flags.join('')}`,
  );
}

/** A session with the options of the only variant that there is, or that was begun, if none were given. */
function withOnlyVariant(session: Session, content: ManifestContent | null): Session {
  const { dataset, given } = session;
  const { splits, ...own } = given.options ?? {};
  const variants = Object.values(content?.prepared ?? {});
  if (Object.keys(own).length > 0 || variants.length !== 1) return session;
  const { options, complete, struck = [] } = variants[0]!;
  // Of an older version's options, some may no longer be there.
  if (variants[0]!.version !== dataset.version) return session;
  const chosen = chooseOptions(dataset, {
    ...(options as object),
    ...(splits !== undefined && { splits }),
  });
  // Splits that are taken by default are those that are prepared.
  const there = [...new Set([...complete, ...struck])].sort();
  return { ...session, chosen: chosen.named || there.length === 0 ? chosen : { ...chosen, splits: there } };
}

/**
 * Opens a dataset, after downloading and preparing it if it isn't there: what a training run does before it opens its data.
 * Options and splits are chosen as in `openDataset`, also where files have to be made again.
 * @throws D2vError in one line with the remedy
 */
export async function ensureDataset<O>(
  dataset: ManagedDataset<O>,
  given: DatasetOptions = {},
): Promise<ReadyDataset<O>> {
  const session = startSession(dataset, given);
  const content = await readManifest(session.folder);
  const chosen = (await readyIn(session, content)) ? session : withOnlyVariant(session, content);
  return (await prepareIn(chosen)) as ReadyDataset<O>;
}
