import { chooseModalities, type ModalityOptions } from './shared.js';

interface ConfigOptions extends ModalityOptions {
  preset?: string;
  data?: string[];
  set?: string[];
  comments: boolean;
}

/** `d2v config`: prints the resolved config. */
export async function config(name: string | undefined, options: ConfigOptions): Promise<void> {
  const { configToYaml, dataLayer, readYamlLayer, resolveConfig, runConfigSchema } = await import(
    '@d2v/core'
  );
  const modalities = await chooseModalities(name, options);
  const layers = await Promise.all((options.config ?? []).map(readYamlLayer));
  if (options.data !== undefined) layers.push(await dataLayer(modalities, options.data, '--data'));
  const resolved = resolveConfig({ modalities, preset: options.preset, layers, set: options.set });
  process.stdout.write(configToYaml(runConfigSchema(modalities), resolved, { comments: options.comments }));
}
