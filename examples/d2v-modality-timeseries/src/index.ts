/** A modality for time series: the whole plugin at a glance. */
import { defineModality } from '@d2v/core';
import { seriesBaseline } from './baseline.js';
import { collateSeries } from './collate.js';
import { timeseriesConfigSchema, timeseriesDataSchema } from './config.js';
import { openFiles, openTimeseries } from './data.js';
import { TimeseriesEncoder } from './encoder.js';
import { presets } from './presets.js';
import { WAVEFORMS } from './waveforms.js';
import { writeCommand } from './write-command.js';

export default defineModality({
  name: 'timeseries',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: timeseriesConfigSchema,
  dataSchema: timeseriesDataSchema,
  presets,
  supports: { labels: true, padding: true },
  sizeUnit: 'steps',
  createEncoder: (context) => new TimeseriesEncoder(context),
  openData: openTimeseries,
  openInputs: openFiles,
  accepts: (file) => /\.(csv|tsv)$/i.test(file),
  collate: collateSeries,
  datasets: {
    waveforms: {
      description: `generated signals of ${WAVEFORMS.length} shapes (${WAVEFORMS.join(', ')}) in noise`,
      license: 'CC0-1.0',
      size: 'made on the fly: 5000 series of 160 to 256 values, nothing to download',
    },
  },
  baseline: { name: 'raw values', features: seriesBaseline },
  commands: [writeCommand],
});
