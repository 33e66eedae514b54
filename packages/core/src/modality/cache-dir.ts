import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/**
 * The folder for downloads and prepared data: what the config says (`data.cache_dir`), else the environment variable
 * `D2V_DATA`, else `d2v` in the platform's cache folder (`%LOCALAPPDATA%`, `~/Library/Caches`, `$XDG_CACHE_HOME` or
 * `~/.cache`). It is not created here.
 */
export function dataCacheDir(configured?: string | null): string {
  const chosen = configured || process.env.D2V_DATA;
  return chosen ? resolve(chosen) : join(platformCache(), 'd2v');
}

function platformCache(): string {
  const { env, platform } = process;
  if (platform === 'win32') return env.LOCALAPPDATA || join(homedir(), 'AppData', 'Local');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches');
  return env.XDG_CACHE_HOME || join(homedir(), '.cache');
}
