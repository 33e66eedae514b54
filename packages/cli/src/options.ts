/** Options that several commands share. Values stay text: the config's schema reads and checks them. */
import { type Command, InvalidArgumentError, Option } from 'commander';

/** Collects an option that may be given several times. */
export const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

/** A whole number of at least `least`. */
export const wholeNumber = (least: number) => (text: string) => {
  const value = Number(text);
  if (!/^-?\d+$/.test(text.trim()) || value < least) {
    throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
  }
  return value;
};

/** A number above 0. */
export const positiveNumber = (text: string) => {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
};

export const pluginOption = () =>
  new Option(
    '--plugin <path|name>',
    'a modality plugin that is not a dependency of this folder (repeatable)',
  ).argParser(collect);

export const presetOption = () =>
  new Option('-p, --preset <name>', 'starting point, e.g. tiny; see "d2v modalities <name>"');

export const modalitiesOption = () =>
  new Option('-m, --modalities <names>', 'several, for one model of them all, e.g. image,audio,text');

export const dataOption = (meaning: string) =>
  new Option(
    '-d, --data <path|dataset>',
    `${meaning}; of several modalities each its own: image=photos/ (repeatable)`,
  ).argParser(collect);

export const setOption = (meaning = 'one setting by its full key (repeatable)') =>
  new Option('-s, --set <key=value>', meaning).argParser(collect);

/** `--config` and `--set`, which take every setting that has no flag of its own. */
export function addConfigOptions(command: Command): Command {
  return command
    .showHelpAfterError(
      '(add --help for what there is; any setting goes by its key, as in --set data.field=text: see "d2v config")',
    )
    .addOption(
      new Option('-c, --config <file>', 'settings as YAML (repeatable; later ones win)').argParser(collect),
    )
    .addOption(setOption());
}

/** Which features: network, layer, pool. */
export function addFeatureOptions(command: Command): Command {
  return command
    .addOption(new Option('--network <which>', 'whose features').choices(['student', 'teacher']))
    .addOption(
      new Option(
        '--layer <n>',
        'output of this block: 1 is the first, 0 its input (default: the last)',
      ).argParser(wholeNumber(0)),
    );
}
