/** `d2v data ...`: the words of the commands; what they do is loaded when one of them runs. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DataOptions } from './commands/data/options.js';
import { pluginOption, wholeNumber } from './options.js';

/** `5M`, `800k`, `1.5G`: bytes per second. */
export function rate(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([kMG]?)B?(?:\/s)?$/i.exec(text.trim()) ?? [];
  const value = Number(number) * { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[unit.toLowerCase()]!;
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number of bytes per second, e.g. 800k, 5M.');
  return value;
}

export function addData(program: Command): void {
  const data = program
    .command('data')
    .summary('list, download, prepare and check datasets')
    .description(
      'Datasets of the installed modalities. They lie in the cache folder (D2V_DATA chooses another). Whatever is interrupted goes on where it was when the command is repeated.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ d2v data list
  $ d2v data list <dataset>                       licence, terms, splits, options
  $ d2v data prepare <dataset> --splits a,b       downloads what is missing, then prepares
  $ d2v data prepare <dataset> --from archives/   of files that you have
  $ d2v data verify <dataset>`,
    );
  const list = data
    .command('list')
    .description('List datasets and what is there of them, or show all about one.')
    .argument('[dataset]');
  common(list).action(async (name: string | undefined, options: DataOptions) => {
    const { list: run } = await import('./commands/data/list.js');
    await run(name, options);
  });
  const download = data
    .command('download')
    .description('Download the archives of a dataset and verify them, without preparing them.');
  transfer(download).action(async (_name: string, options: DataOptions, command: Command) => {
    const { download: run } = await import('./commands/data/work.js');
    await run(command.args, options);
  });
  const prepare = data
    .command('prepare')
    .description(
      'Download what is missing of a dataset and prepare it for training. Its own options ("d2v data list <dataset>") follow its name.',
    )
    .option('--threads <n>', 'cores to use (default: all)', wholeNumber(1));
  transfer(prepare).action(async (_name: string, options: DataOptions, command: Command) => {
    const { prepare: run } = await import('./commands/data/work.js');
    await run(command.args, options);
  });
  const verify = data
    .command('verify')
    .description('Compare all files of a dataset, downloaded and prepared, with their checksums.')
    .argument('<dataset>')
    .option('-q, --quiet', 'no progress');
  common(verify).action(async (name: string, options: DataOptions) => {
    const { verify: run } = await import('./commands/data/work.js');
    await run([name], options);
  });
  const stats = data.command('stats').description('Sizes and counts of a dataset.').argument('<dataset>');
  common(stats).action(async (name: string, options: DataOptions) => {
    const { stats: run } = await import('./commands/data/work.js');
    await run([name], options);
  });
  const rm = data
    .command('rm')
    .description("Remove a dataset from the cache folder. Files of --from are the user's and stay.")
    .argument('<dataset>')
    .option('--raw', 'only the downloads: what is prepared stays usable')
    .option('-y, --yes', 'do not ask');
  common(rm).action(async (name: string, options: DataOptions & { raw?: boolean }) => {
    const { remove: run } = await import('./commands/data/work.js');
    await run([name], options);
  });
}

function common(command: Command): Command {
  return command
    .option('--modality <name>', 'where several have a dataset of that name')
    .option('--json', 'print JSON')
    .addOption(pluginOption());
}

function transfer(command: Command): Command {
  command
    .argument('<dataset>')
    // The dataset's own flags.
    .allowUnknownOption()
    .allowExcessArguments()
    .option('--splits <names>', 'parts of the dataset, separated by commas; all = every one')
    .option('--from <folder>', 'a folder with the archives, or their extracted content')
    .addOption(mirrorOption())
    .addOption(new Option('--limit-rate <rate>', 'most bytes per second, e.g. 5M').argParser(rate))
    .addOption(
      new Option('--connections <n>', 'most connections for a file (default: 4)').argParser(wholeNumber(1)),
    )
    .option('--offline', 'never use the network')
    .addOption(yesOption())
    .option('-q, --quiet', 'no progress');
  return common(command);
}

export const mirrorOption = () =>
  new Option(
    '--mirror <url>',
    'take the files from there instead (default: D2V_MIRROR_<DATASET>, the place for credentials)',
  );
export const yesOption = () => new Option('-y, --yes', 'accept the terms of the dataset');
