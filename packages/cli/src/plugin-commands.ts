/**
 * Commands that modality plugins bring along. Their first words stand in the plugins' package.json, so that help lists
 * them without importing anything; a plugin is imported when one of its own commands is asked for.
 */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandArgument, CommandIo, CommandOption, ModalityCommand } from '@d2v/core';
import type { PluginInfo } from '@d2v/core/discovery';
import { Argument, type Command, Option } from 'commander';
import { CliError } from './failure.js';
import { collect, pluginOption } from './options.js';

const HEADING = 'Commands of installed modalities:';

/**
 * Adds the plugins' commands as far as the command line may need them: none if it begins with a command of ours, all of
 * them by name for the list in the help, the one that is called with everything in it.
 */
export async function addPluginCommands(program: Command, args: readonly string[]): Promise<void> {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const called = words[0] === 'help' ? words[1] : words[0];
  const ours = (name: string | undefined) => program.commands.some((command) => command.name() === name);
  if (ours(called) || args[0] === '-V' || args[0] === '--version') return;
  const named = pluginsNamed(args);
  for (const plugin of await plugins(named)) {
    for (const [name, summary] of Object.entries(plugin.commands)) {
      if (ours(name)) continue;
      const command = program.command(name).description(summary).helpGroup(HEADING);
      if (name === called) await fill(command, plugin, named);
    }
  }
}

/** Values of `--plugin`, before commander has looked at the command line. */
function pluginsNamed(args: readonly string[]): string[] {
  return args.flatMap((arg, i) => {
    if (arg.startsWith('--plugin=')) return [arg.slice('--plugin='.length)];
    const next = args[i + 1];
    return arg === '--plugin' && next !== undefined ? [next] : [];
  });
}

async function plugins(named: readonly string[]): Promise<PluginInfo[]> {
  const { discoverModalities, pluginIn } = await import('@d2v/core/discovery');
  const given = await Promise.all(named.map(pluginIn));
  const found = await discoverModalities({ from: [dirname(fileURLToPath(import.meta.url))] });
  return [...given.filter((plugin) => plugin !== undefined), ...found];
}

/** Imports the plugin and gives the command all that its code says. */
async function fill(top: Command, plugin: PluginInfo, named: string[]): Promise<void> {
  const { findModality } = await import('./commands/shared.js');
  const modality = await findModality(plugin.modality, { plugin: named });
  const mine = (modality.commands ?? []).filter(({ name }) => name.split(' ')[0] === top.name());
  if (mine.length === 0) {
    throw new CliError(
      `plugin ${plugin.package} lists the command "${top.name()}" in its package.json, but its code has none of that name`,
    );
  }
  for (const command of mine) define(nested(top, command.name.split(' ').slice(1)), command);
}

/** The command at a path of words below `top`, made where it is missing. */
function nested(top: Command, path: readonly string[]): Command {
  return path.reduce(
    (parent, name) => parent.commands.find((child) => child.name() === name) ?? parent.command(name),
    top,
  );
}

function define(command: Command, spec: ModalityCommand): void {
  const { description, arguments: args = [], options = [], examples = [], run } = spec;
  command.description(description).summary(description.split('\n')[0]!);
  for (const arg of args) command.addArgument(argument(arg));
  for (const one of options) command.addOption(option(one));
  command.addOption(pluginOption());
  if (examples.length > 0) {
    command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ d2v ${line}`).join('\n')}`);
  }
  command.action(async (...given: unknown[]) => {
    const values = given.slice(0, args.length) as (string | string[] | undefined)[];
    await run(Object.fromEntries(args.map(({ name }, i) => [name, values[i]])), command.opts(), io);
  });
}

function argument({ name, description, optional, variadic }: CommandArgument): Argument {
  const text = variadic ? `${name}...` : name;
  return new Argument(optional ? `[${text}]` : `<${text}>`, description);
}

function option({ flags, description, choices, required, repeatable, ...given }: CommandOption): Option {
  const result = new Option(flags, description);
  if (given.default !== undefined) result.default(given.default);
  if (choices) result.choices(choices);
  if (repeatable) result.argParser(collect);
  return result.makeOptionMandatory(required ?? false);
}

const io: CommandIo = {
  print: (line) => process.stdout.write(`${line}\n`),
  log: (line) => process.stderr.write(`${line}\n`),
};
