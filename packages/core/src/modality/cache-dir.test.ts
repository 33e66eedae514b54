import { resolve } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { dataCacheDir } from './cache-dir.js';

afterEach(() => vi.unstubAllEnvs());

describe('dataCacheDir', () => {
  it('prefers the config, then D2V_DATA', () => {
    vi.stubEnv('D2V_DATA', 'from-env');
    expect(dataCacheDir('from-config')).toBe(resolve('from-config'));
    expect(dataCacheDir(null)).toBe(resolve('from-env'));
  });

  it('falls back to a folder of its own in the cache folder of the platform', () => {
    vi.stubEnv('D2V_DATA', '');
    vi.stubEnv('XDG_CACHE_HOME', resolve('cache'));
    vi.stubEnv('LOCALAPPDATA', resolve('cache'));
    const folder = dataCacheDir();
    expect(folder.endsWith('d2v')).toBe(true);
    if (process.platform !== 'darwin') expect(folder).toBe(resolve('cache', 'd2v'));
  });
});
