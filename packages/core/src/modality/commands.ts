/**
 * Commands that a modality adds to the `d2v` program, e.g. `d2v tokenizer train`. A command is data and a function; how
 * command lines are parsed stays the program's business.
 */

/** Values of arguments and options by name: texts as the user wrote them, lists where several are allowed. */
export type CommandValues = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

export interface CommandArgument {
  /** Lower case words joined by dashes. */
  name: string;
  description: string;
  /** Default: needed. */
  optional?: boolean;
  /** The last argument may stand for several; its value is then a list. */
  variadic?: boolean;
}

export interface CommandOption {
  /** `-o, --out <file>` with a value, `--lower-case` without. Its value's name is the long one in camel case. */
  flags: string;
  description: string;
  default?: string;
  /** Default: optional. */
  required?: boolean;
  choices?: readonly string[];
  /** May be given several times; its value is then a list. */
  repeatable?: boolean;
}

/** Where a command writes. */
export interface CommandIo {
  /** A line of the result, to standard output. */
  print(line: string): void;
  /** A line about the progress, to standard error. */
  log(line: string): void;
}

export interface ModalityCommand {
  /**
   * Words after `d2v`, e.g. `tokenizer train`. The first one is listed under `d2v.commands` in the plugin's package.json
   * with a line about it, so that `d2v --help` shows it without importing the plugin.
   */
  name: string;
  /** The first line is the summary. */
  description: string;
  arguments?: readonly CommandArgument[];
  options?: readonly CommandOption[];
  /** Command lines without the `d2v` in front. */
  examples?: readonly string[];
  /** @throws D2vError with one line and the remedy for what a user can mend */
  run(args: CommandValues, options: CommandValues, io: CommandIo): Promise<void>;
}

const WORDS = /^[a-z][a-z0-9-]*( [a-z][a-z0-9-]*)*$/;

/** Checks a plugin's commands; `fail` throws. */
export function checkCommands(commands: readonly ModalityCommand[], fail: (what: string) => never): void {
  for (const { name, run, arguments: args = [] } of commands) {
    if (!WORDS.test(name)) fail(`command "${name}" must be lower case words`);
    if (typeof run !== 'function') fail(`command "${name}" has no function run`);
    const variadic = args.findIndex((arg) => arg.variadic);
    if (variadic >= 0 && variadic < args.length - 1)
      fail(`command "${name}": only its last argument is variadic`);
  }
  const twice = commands.find(({ name }, i) => commands.findIndex((other) => other.name === name) < i);
  if (twice) fail(`command "${twice.name}" is there twice`);
}
