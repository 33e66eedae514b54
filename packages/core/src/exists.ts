import { stat } from 'node:fs/promises';

/** Whether there is anything at a path that this process can see. */
export const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;
