/**
 * The audio plugin with datasets whose archives a test has made: what is published of them is in the file that the environment
 * variable `D2V_TEST_PUBLISHED` names. Everything else is as in the plugin itself, also in the loader's threads.
 */
import { readFileSync } from 'node:fs';
import audio, { librispeechWith, speechCommandsWith } from '@d2v/modality-audio';

const published = JSON.parse(readFileSync(process.env.D2V_TEST_PUBLISHED, 'utf8'));

export default {
  ...audio,
  moduleUrl: import.meta.url,
  datasets: {
    ...audio.datasets,
    librispeech: librispeechWith(published.librispeech, 200_000),
    'speech-commands': speechCommandsWith(published.speechCommands, 200_000),
  },
};
