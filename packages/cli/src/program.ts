/**
 * The command line. Only commander is loaded here; each command imports what it needs when it runs, so that help and
 * errors come at once. No modality is named: they are found among the installed packages.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { addData, mirrorOption, yesOption } from './data-commands.js';
import { EXIT, reportFailure } from './failure.js';
import {
  addConfigOptions,
  addFeatureOptions,
  collect,
  dataOption,
  modalitiesOption,
  pluginOption,
  positiveNumber,
  presetOption,
  setOption,
  wholeNumber,
} from './options.js';
import { addPluginCommands } from './plugin-commands.js';

/** Runs one command line (without `node` and the script). @returns the exit code */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const program = buildProgram();
    await addPluginCommands(program, args);
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return reportFailure(error, (text) => process.stderr.write(text));
  }
}

/** The program with all commands but those of plugins; tests look into it. */
export function buildProgram(): Command {
  const program = new Command('d2v')
    .description('Self-supervised pretraining with data2vec 2.0: pretrain, embed and evaluate.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError('(add --help for what there is)')
    .exitOverride()
    .addHelpText(
      'after',
      `
First steps:
  $ d2v doctor                                  is everything here, and how fast is it?
  $ d2v modalities                              what is installed: images, audio, text, ...
  $ d2v train <modality> --preset tiny          learn from the modality's built-in data
  $ d2v data list                               larger datasets: download, prepare, verify
  $ d2v eval knn runs/<run>                     how good are the features?
  $ d2v embed runs/<run> my-files/ -o out.npy   features of your own files

Add "--help" to a command for its options and examples.`,
    );
  addTrain(program);
  addEmbed(program);
  addEval(program);
  addData(program);
  addModalities(program);
  addConfig(program);
  addDoctor(program);
  return program;
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function addTrain(program: Command): void {
  const command = program
    .command('train')
    .summary('pretrain a model')
    .description(
      'Pretrain a model. Without --data it learns from the built-in data of the preset. The run folder holds the config, metrics, curves and checkpoints; Ctrl-C finishes the update, saves and ends, --resume goes on.',
    )
    .argument('[modality]', 'installed modality; may stand in the config or the run instead')
    .addOption(modalitiesOption())
    .addOption(presetOption())
    .addOption(dataOption('a folder or file of samples, or a dataset by name (see "d2v data list")'));
  addConfigOptions(command)
    .option('-r, --run <folder>', 'run folder (default: runs/<modality>-<preset>)')
    .option('--resume', 'go on from the last checkpoint of the run folder, bit for bit')
    .option('--device <name>', 'cpu, cuda or auto (default): the first GPU, else the CPU')
    .option('--seed <n>', 'everything random follows from it')
    .option('--batch-size <n>', 'most samples per forward pass; of several modalities also image=8', collect)
    .option(
      '--batch-length <x>',
      "longest batch, padding counted, in the modality's unit (seconds, tokens)",
      collect,
    )
    .option('--workers <n>', 'loader threads; 0 = none')
    .optionsGroup('Stop rules (whichever comes first):')
    .option('--max-updates <n>', 'length of the run; schedules span it')
    .option('--max-seconds <s>', 'wall time, all resumes counted')
    .option('--loss-threshold <x>', 'mean loss at or below')
    .option('--patience <n>', 'updates without progress of the loss')
    .optionsGroup('Other:')
    .addOption(pluginOption())
    .option(
      '--eval-data <path|dataset>',
      'labelled data to score features with (default: the training data)',
      collect,
    )
    .option('--offline', 'never use the network; data must be in the cache')
    .addOption(mirrorOption())
    .addOption(yesOption())
    .option('--no-report', 'no table and picture at the end')
    .option('-q, --quiet', 'no progress, only warnings and the result')
    .addHelpText(
      'after',
      `
Examples:
  $ d2v train image --preset tiny --max-seconds 120
  $ d2v train image --preset tiny --data photos/ --run runs/photos --set model.clone_batch=8
  $ d2v train image --config my.yaml --device cuda
  $ d2v train --modalities image,audio --data image=photos/ --data audio=clips/
  $ d2v train --run runs/photos --resume --max-updates 20000

Any key of "d2v config <modality>" can be set with --set, or stand in the YAML given with --config.`,
    )
    .action(async (modality: string | undefined, options) => {
      const { train } = await import('./commands/train.js');
      await train(modality, options);
    });
}

function addEmbed(program: Command): void {
  const command = program
    .command('embed')
    .summary('features of files, folders or a dataset')
    .description(
      'Write features of files, folders, tar shards, manifests or a dataset. The ending of --out chooses the format: .npy and .safetensors (with an .index.jsonl beside that names each row), or .jsonl with everything in it.',
    )
    .argument('<model>', 'a run folder, a checkpoint folder or a model.safetensors')
    .argument('<inputs...>', 'files, folders, and what else --data of train takes; or the name of a dataset')
    .requiredOption('-o, --out <file>', 'features.npy, features.safetensors or features.jsonl');
  addFeatureOptions(command)
    .addOption(
      new Option('--pool <how>', 'one vector per sample (mean, grid, cls), or one per token (none)')
        .choices(['mean', 'grid', 'cls', 'none'])
        .default('mean'),
    )
    .option('--modality <name>', 'of a model of several: whose the inputs are (default: by the files)')
    .addOption(
      new Option('--split <part>', 'part of a dataset').choices(['train', 'valid', 'all']).default('all'),
    )
    .addOption(
      new Option('--checkpoint <which>', 'of a run folder').choices(['last', 'best']).default('last'),
    )
    .addOption(setOption('how inputs are read: a key of the section data (repeatable)'))
    .option('--batch-size <n>', 'most samples per forward pass', wholeNumber(1))
    .option('--workers <n>', 'loader threads; 0 = none', wholeNumber(0))
    .option('--device <name>', 'cpu, cuda or auto (default): the first GPU, else the CPU')
    .addOption(pluginOption())
    .option('-q, --quiet', 'no progress')
    .addHelpText(
      'after',
      `
Which features? The teacher (the average of the student over time) is usually the better one, and blocks a little
below the last often transfer best: try a few with "d2v eval knn <model> --layer <n>".

Examples:
  $ d2v embed runs/photos photos/ -o photos.npy
  $ d2v embed runs/photos a.jpg b.jpg -o two.jsonl --layer 8
  $ d2v embed runs/digits digits --split valid -o digits.safetensors --pool none
  $ d2v embed runs/text reviews.jsonl -o reviews.npy --set data.field=body`,
    )
    .action(async (model: string, inputs: string[], options) => {
      const { embed } = await import('./commands/embed.js');
      await embed(model, inputs, options);
    });
}

function addEval(program: Command): void {
  const command = program
    .command('eval')
    .summary('score frozen features with labels')
    .description(
      'Score frozen features on held-out labelled samples.\n\nknn     weighted vote of the nearest training samples (cosine similarity)\nlinear  linear probe: logistic regression fitted to the optimum',
    )
    .argument('<method>', 'knn, linear or all')
    .argument('<model>', 'a run folder, a checkpoint folder or a model.safetensors')
    .addOption(dataOption("labelled samples (default: the run's own)"))
    .option('--modality <name>', 'of a model of several: the one to score (default: all with labels)')
    .addOption(setOption());
  addFeatureOptions(command)
    .addOption(new Option('--pool <how>', 'one vector per sample').choices(['mean', 'grid', 'cls']))
    .addOption(
      new Option('--checkpoint <which>', 'of a run folder').choices(['last', 'best']).default('last'),
    )
    .option('-k <n>', 'neighbours that vote', wholeNumber(1))
    .option('--train-samples <n>', 'most samples to learn from', wholeNumber(1))
    .option('--valid-samples <n>', 'most samples to score', wholeNumber(1))
    .option('--device <name>', 'cpu, cuda or auto (default): the first GPU, else the CPU')
    .option('--compare', 'also score the untrained network and the plain baseline')
    .option('--json', 'print JSON')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      `
Examples:
  $ d2v eval knn runs/photos
  $ d2v eval linear runs/photos --data labelled/ --layer 8 --network student
  $ d2v eval all runs/photos --compare`,
    )
    .action(async (method: string, model: string, options) => {
      const { evaluate } = await import('./commands/eval.js');
      await evaluate(method, model, options);
    });
}

function addModalities(program: Command): void {
  program
    .command('modalities')
    .summary('list installed modalities; presets and datasets of one')
    .description('List installed modality plugins (nothing is loaded), or the presets and datasets of one.')
    .argument('[modality]', 'show its presets and datasets')
    .option('--json', 'print JSON')
    .addOption(pluginOption())
    .addHelpText('after', '\nExamples:\n  $ d2v modalities\n  $ d2v modalities image')
    .action(async (modality: string | undefined, options) => {
      const { modalities } = await import('./commands/modalities.js');
      await modalities(modality, options);
    });
}

function addConfig(program: Command): void {
  const command = program
    .command('config')
    .summary('print the resolved config, a comment per key')
    .description('Print the complete config that "d2v train" would use, as YAML with a comment per key.')
    .argument('[modality]', 'installed modality; may stand in the config instead')
    .addOption(modalitiesOption())
    .addOption(presetOption())
    .addOption(dataOption('as for train'));
  addConfigOptions(command)
    .option('--no-comments', 'values only')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      `
Examples:
  $ d2v config image --preset base > my.yaml      a file to edit, for "d2v train --config my.yaml"
  $ d2v config image --set model.depth=8 | less
  $ d2v config --modalities image,audio           sections of each, in one file`,
    )
    .action(async (modality: string | undefined, options) => {
      const { config } = await import('./commands/config.js');
      await config(modality, options);
    });
}

function addDoctor(program: Command): void {
  program
    .command('doctor')
    .summary('check this installation')
    .description('Check this installation: devices, threads, kernels and their speed, versions, plugins.')
    .option('--json', 'print JSON')
    .option('--seconds <s>', 'how long to measure the speed', positiveNumber, 1)
    .addOption(pluginOption())
    .action(async (options) => {
      const { doctor } = await import('./commands/doctor.js');
      process.exitCode = await doctor(options);
    });
}
