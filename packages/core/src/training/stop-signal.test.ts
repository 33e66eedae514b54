import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { StopSignal } from './stop-signal.js';

describe('StopSignal', () => {
  it('follows an AbortSignal, also one that was aborted before', () => {
    const controller = new AbortController();
    const causes: string[] = [];
    const stop = new StopSignal({ signal: controller.signal, onRequest: (cause) => causes.push(cause) });
    expect(stop.requested).toBeNull();
    controller.abort();
    expect(stop.requested).toBe('abort');
    expect(causes).toEqual(['abort']);
    expect(new StopSignal({ signal: controller.signal }).requested).toBe('abort');
  });

  it('leaves the process as it was when disposed', () => {
    const before = process.listenerCount('SIGINT');
    const stop = new StopSignal({ handleSignals: true });
    expect(process.listenerCount('SIGINT')).toBe(before + 1);
    stop.dispose();
    expect(process.listenerCount('SIGINT')).toBe(before);
  });

  it.skipIf(process.platform === 'win32')(
    'hears the first signal and lets the second one through',
    async () => {
      const script = `
      import { StopSignal } from ${JSON.stringify(fileURLToPath(new URL('./stop-signal.ts', import.meta.url)))};
      new StopSignal({ handleSignals: true, onRequest: (cause) => console.log(cause) });
      setInterval(() => {}, 1000);
      console.log('ready');`;
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
        cwd: fileURLToPath(new URL('../../../..', import.meta.url)),
      });
      const line = async () => String((await once(child.stdout, 'data'))[0]).trim();
      expect(await line()).toBe('ready');
      child.kill('SIGINT');
      expect(await line()).toBe('SIGINT');
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      expect(await exit).toEqual([null, 'SIGTERM']);
    },
  );
});
