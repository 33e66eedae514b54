/**
 * The text plugin with datasets whose archives a test has made: what is published of them is in the file that the environment
 * variable `D2V_TEST_PUBLISHED` names. Everything else is as in the plugin itself, also in the loader's threads.
 */
import { readFileSync } from 'node:fs';
import text, { GLUE_TASKS, glueDataset, openWebTextWith } from '@d2v/modality-text';

const { archive, glue } = JSON.parse(readFileSync(process.env.D2V_TEST_PUBLISHED, 'utf8'));
const tasks = GLUE_TASKS.filter(({ name }) => Object.hasOwn(glue, name)).map((task) =>
  glueDataset({ ...task, files: glue[task.name] }),
);

export default {
  ...text,
  moduleUrl: import.meta.url,
  datasets: {
    ...text.datasets,
    openwebtext: openWebTextWith(archive),
    ...Object.fromEntries(tasks.map((dataset) => [dataset.name, dataset])),
  },
};
