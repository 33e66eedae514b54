/** `pnpm bench <modality>`: see README.md. */
import { D2vError } from '@d2v/core';
import { benchMemory, benchUpdates, prepare } from './bench.js';
import { parseOptions, usage } from './options.js';
import { predict } from './predict.js';
import { formatMemory, formatReport } from './report.js';
import { GPUS } from './roofline.js';

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(usage);
    return 0;
  }
  const log = (message: string) => {
    if (process.stderr.isTTY) console.error(`  ${message}`);
  };
  const tell = (line: string) => {
    if (!options.json) console.log(line);
  };
  const bench = await prepare(options, { log, tell });
  const print = <T>(report: T, format: (report: T) => string) =>
    console.log(options.json ? JSON.stringify(report) : format(report));
  if (options.predict) {
    console.log(predict(bench, GPUS[options.predict]!));
    return 0;
  }
  if (options.memory) {
    const report = await benchMemory(bench);
    print(report, formatMemory);
    return report.flat ? 0 : 1;
  }
  tell(`bench ${process.argv.slice(2).join(' ')}`);
  print(await benchUpdates(bench), formatReport);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof D2vError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
