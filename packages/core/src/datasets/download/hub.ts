/** The Hugging Face hub, where some datasets are published as files of a repository. */
import { z } from 'zod';
import { D2vError } from '../../errors.js';
import type { DatasetFile, FilesContext } from '../types.js';
import { joinUrl, shownUrl } from './url.js';

const HUB = 'https://huggingface.co';

const listing = z.array(
  z.object({
    path: z.string(),
    size: z.int().min(0).optional(),
    /** Large files are addressed by their SHA-256. */
    lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().min(0) }).nullish(),
  }),
);

/**
 * The files in a folder of a repository on the hub, sorted by path, with the sizes and SHA-256 that the hub states. A mirror has
 * the hub's own paths. At most the 1000 files that the hub lists at once.
 * @param repository e.g. `datasets/ILSVRC/imagenet-1k`
 * @throws D2vError if the answer is no such list
 */
export async function listHubFiles(
  repository: string,
  folder: string,
  { mirror, fetchText }: Pick<FilesContext<unknown>, 'mirror' | 'fetchText'>,
): Promise<DatasetFile[]> {
  const url = joinUrl(mirror ?? HUB, `api/${repository}/tree/main/${folder}`);
  const list = listing.safeParse(parseJson(await fetchText(url)));
  if (!list.success) throw new D2vError(`${shownUrl(url)}: this is not the hub's list of files`);
  return list.data
    .map(({ path, size, lfs }) => {
      const remote = `${repository}/resolve/main/${path}`;
      const bytes = lfs?.size ?? size;
      return {
        name: path,
        urls: [`${HUB}/${remote}`],
        mirrorPath: remote,
        ...(bytes !== undefined && { bytes }),
        ...(lfs && { checksums: { sha256: lfs.oid } }),
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
