/** The text modality: tokens of byte-pair encodings. */
import { defineModality } from '@d2v/core';
import { bagOfTokens } from './baseline.js';
import { collateText } from './collate.js';
import { textConfigSchema } from './config.js';
import { isTextName } from './corpus/files.js';
import { textDataSchema } from './data-config.js';
import { datasets } from './datasets/index.js';
import { TextEncoder } from './encoder.js';
import { openTextInputs } from './inputs.js';
import { openTextData } from './open.js';
import { jointPresets, presets } from './presets.js';
import { suggestSettings } from './suggest.js';
import { trainTokenizer } from './tokenizer-command.js';

/** For tests, which serve files of their own: the same datasets with other files than the published ones. */
export { glueDataset } from './datasets/glue/index.js';
export { GLUE_TASKS, type GlueTask } from './datasets/glue/tasks.js';
export { openWebTextWith } from './datasets/openwebtext/index.js';

export default defineModality({
  name: 'text',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: textConfigSchema,
  dataSchema: textDataSchema,
  presets,
  jointPresets,
  defaultPreset: 'tiny',
  supports: { padding: true, labels: true },
  sizeUnit: 'tokens',
  pathKeys: ['tokenizer'],
  createEncoder: (context) => new TextEncoder(context),
  openData: openTextData,
  openInputs: openTextInputs,
  accepts: isTextName,
  collate: collateText,
  datasets,
  suggest: suggestSettings,
  baseline: { name: 'bag of BPE tokens', features: bagOfTokens },
  commands: [trainTokenizer],
});
