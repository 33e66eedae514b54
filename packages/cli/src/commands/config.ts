import { chooseModalities, type ModalityOptions } from './shared.js';

interface ConfigOptions extends ModalityOptions {
  preset?: string;
  data?: string[];
  set?: string[];
  comments: boolean;
}

/** `d2v config`: prints the resolved config; what follows from the data stands in comments, so that a file of it fits other data. */
export async function config(name: string | undefined, options: ConfigOptions): Promise<void> {
  const { configToYaml, dataLayer, derivedKeys, readYamlLayer, resolveConfig, runConfigSchema } =
    await import('@d2v/core');
  const modalities = await chooseModalities(name, options);
  const layers = await Promise.all((options.config ?? []).map(readYamlLayer));
  if (options.data !== undefined) layers.push(await dataLayer(modalities, options.data, '--data'));
  const given = { modalities, preset: options.preset, layers, set: options.set };
  const text = configToYaml(runConfigSchema(modalities), resolveConfig(given), {
    comments: options.comments,
    derived: derivedKeys(given),
  });
  process.stdout.write(text);
}
