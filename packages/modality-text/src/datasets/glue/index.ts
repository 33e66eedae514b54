/** GLUE's tasks as datasets: `glue-cola`, `glue-mnli`, ... */
import { defineDataset, type ManagedDataset, z } from '@d2v/core';
import { prepareGlueTask } from './prepare.js';
import { GLUE_TASKS, type GlueTask } from './tasks.js';

export interface GlueDataset extends ManagedDataset<Record<string, never>> {
  /** Whether its texts come in pairs. */
  paired: boolean;
}

/** A task as a dataset. Tests give it files of their own. */
export function glueDataset(task: GlueTask): GlueDataset {
  const description = (split: string, file: string) => ({
    description: `${file}${split.startsWith('test') ? ', without labels' : ''}`,
    ...(split.startsWith('test') && { default: false }),
  });
  const dataset = defineDataset<Record<string, never>>({
    name: `glue-${task.name}`,
    version: 1,
    description: `GLUE ${task.description}`,
    license: task.license,
    size: task.size,
    homepage: 'https://gluebenchmark.com',
    terms: [
      `A task of GLUE, ${task.license}.`,
      'Each task has its own license and makers; see https://gluebenchmark.com/tasks.',
      `Cite: ${task.cite};`,
      'Wang et al.: GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding, 2019',
    ].join('\n'),
    options: z.strictObject({}),
    splits: Object.fromEntries(
      Object.entries(task.splits).map(([split, { file }]) => [split, description(split, file)]),
    ),
    files: () => task.files,
    prepare: (context) => prepareGlueTask(task, context),
  });
  return { ...dataset, paired: Object.values(task.splits).some(({ columns }) => columns.pair !== undefined) };
}

export const glueDatasets: readonly GlueDataset[] = GLUE_TASKS.map(glueDataset);
