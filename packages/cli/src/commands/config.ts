import { findModality, type PluginOptions } from './shared.js';

interface ConfigOptions extends PluginOptions {
  preset?: string;
  data?: string;
  config?: string[];
  set?: string[];
  comments: boolean;
}

/** `d2v config`: prints the resolved config. */
export async function config(name: string, options: ConfigOptions): Promise<void> {
  const { configToYaml, dataLayer, readYamlLayer, resolveConfig, runConfigSchema } = await import(
    '@d2v/core'
  );
  const modality = await findModality(name, options);
  const layers = await Promise.all((options.config ?? []).map(readYamlLayer));
  if (options.data !== undefined) layers.push(await dataLayer(modality, options.data, '--data'));
  const resolved = resolveConfig({ modality, preset: options.preset, layers, set: options.set });
  process.stdout.write(configToYaml(runConfigSchema(modality), resolved, { comments: options.comments }));
}
