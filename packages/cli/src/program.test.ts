import { describe, expect, it, vi } from 'vitest';
import { CliError, EXIT, reportFailure } from './failure.js';
import { buildProgram, main } from './program.js';

/** Runs a command line and collects what it prints. */
async function run(...args: string[]) {
  let out = '';
  const write = (text: unknown) => {
    out += String(text);
    return true;
  };
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(write),
    vi.spyOn(process.stderr, 'write').mockImplementation(write),
  ];
  const code = await main(args).finally(() => {
    for (const spy of spies) spy.mockRestore();
  });
  return { code, out };
}

describe('help', () => {
  it('teaches the first steps and every command has examples or says what it does', async () => {
    const { code, out } = await run('--help');
    expect(code).toBe(EXIT.ok);
    expect(out).toContain('First steps:');
    for (const command of buildProgram().commands) {
      expect(out).toContain(command.name());
      const help = await run(command.name(), '--help');
      expect(help.code).toBe(EXIT.ok);
      expect(help.out).toContain(`Usage: d2v ${command.name()}`);
    }
  });

  it('prints the version', async () => {
    expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('usage errors', () => {
  it.each([
    [['tarin'], /unknown command 'tarin'\n\(Did you mean train\?\)/],
    [
      ['train', 'x', '--field', 'body'],
      /unknown option '--field'\n.*any setting goes by its key.*--set data.field=text/,
    ],
    [['train', '--prest', 'x'], /unknown option '--prest'\n\(Did you mean --preset\?\)/],
    [['embed', 'model', 'x'], /required option '-o, --out <file>' not specified/],
    [['embed', 'm', 'x', '-o', 'a.npy', '--pool', 'max'], /Allowed choices are mean, .*none/],
    [['eval', 'knn', 'm', '--layer', '1.5'], /whole number of at least 0/],
  ])('%s', async (args, message) => {
    const { code, out } = await run(...args);
    expect(code).toBe(EXIT.usage);
    expect(out).toMatch(message);
    expect(out).not.toContain('    at ');
  });

  it('are one line when they come from the command itself', async () => {
    const { code, out } = await run('train', '--resume');
    expect(code).toBe(EXIT.failure);
    expect(out.trim().split('\n')).toHaveLength(1);
    expect(out).toContain('--resume needs --run <folder>');
  });
});

describe('reportFailure', () => {
  const report = (error: unknown) => {
    let text = '';
    const code = reportFailure(error, (part) => {
      text += part;
    });
    return { code, text };
  };
  it('tells what a user can mend from our own defects', () => {
    expect(report(new CliError('try this'))).toMatchObject({ code: EXIT.failure });
    expect(report(new CliError('try this')).text).toMatch(/error:.* try this\n$/);
    expect(report(Object.assign(new Error('x'), { code: 'ENOSPC', path: '/a' })).text).toContain(
      '/a: the disk is full',
    );
    const defect = report(new TypeError('x is undefined'));
    expect(defect.code).toBe(EXIT.defect);
    expect(defect.text).toContain('TypeError: x is undefined');
    expect(defect.text).toContain('d2v doctor');
    expect(report('thrown text').text).toContain('thrown text');
  });
});
