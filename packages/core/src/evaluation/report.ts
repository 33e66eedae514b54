/**
 * The report at the end of a run: what pretraining has gained, as a table (untrained network, the modality's plain
 * baseline, pretrained network) and as a picture of what the tokens' features have learned to tell apart.
 */
import { basename, join } from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { Data2Vec } from '../data2vec/model.js';
import type { Assets, DataSource, Modality, Sample } from '../modality/contract.js';
import { writeFileAtomic } from '../training/atomic-file.js';
import { type EvaluationData, type EvaluationRow, evaluateFeatures, openEvaluationData } from './evaluate.js';
import { baselineExtractor, networkExtractor, tokenFeatures } from './extractors.js';
import { formatTable, percent } from './table.js';

export interface ReportOptions {
  runDir: string;
  /** As the modality sees it, see `viewOf`. */
  config: RunConfig;
  modality: Modality;
  /** Behind the names of the files, e.g. `-image`, in a run of several modalities. */
  suffix?: string;
  /** The pretrained network. */
  model: Data2Vec;
  device?: string;
  /** Those of the pretrained network, see `LoadedModel.assets`. */
  assets?: Assets;
  /** Data given in the program instead of the config's. */
  open?: (split: 'train' | 'valid') => Promise<DataSource>;
  log?(message: string): void;
}

export interface Report {
  /** One row each: untrained, the baseline if the modality has one, pretrained. */
  rows: EvaluationRow[];
  /** The rows as text. */
  table: string;
  /** What was asked of the features, in words; empty if the data has no classes. */
  task: string;
  /** Files written, as paths. */
  files: string[];
}

const PREVIEW_SAMPLES = 16;
/** Rows of other classes looked through for a picture of many classes. */
const PREVIEW_POOL = 256;

/**
 * Scores kNN and linear probe on held-out data and writes `report.json` and, if the modality can draw, `preview.png`
 * into the run folder.
 * @returns null if the data has no classes
 */
export async function runReport(options: ReportOptions): Promise<Report | null> {
  const { modality, config, model, runDir, device = 'cpu' } = options;
  const { open, log, assets, suffix = '' } = options;
  const data = await openEvaluationData(modality, config, { open, log, assets });
  try {
    const files: string[] = [];
    let rows: EvaluationRow[] = [];
    let table = '';
    let task = '';
    const labelled = (data.valid.classes?.length ?? 0) > 1;
    if (labelled) {
      rows = await scoreAll(options, data, device);
      table = reportTable(rows);
      // The name of a folder may be its path, which is nobody's business.
      task = `${data.valid.classes!.length} classes of ${basename(data.valid.name)}, on held-out samples`;
      const json = join(runDir, `report${suffix}.json`);
      await writeFileAtomic(json, `${JSON.stringify(reportJson(rows, task, config), null, 2)}\n`);
      files.push(json);
    }
    if (modality.preview) {
      const samples = await previewSamples(data);
      const batch = modality.collate(samples, config.data);
      const features = tokenFeatures(model, modality.name, batch, config.eval);
      const png = join(runDir, `preview${suffix}.png`);
      await writeFileAtomic(png, await modality.preview({ samples, features, data: config.data }));
      files.push(png);
    }
    return labelled || files.length > 0 ? { rows, table, task, files } : null;
  } finally {
    await data.close();
  }
}

async function scoreAll(
  options: ReportOptions,
  data: EvaluationData,
  device: string,
): Promise<EvaluationRow[]> {
  const { modality, config, model } = options;
  const untrained = Data2Vec.create({
    config: config.model,
    modalities: [modality],
    seed: config.common.seed,
    device,
    pretraining: false,
  });
  try {
    const baseline = baselineExtractor(modality);
    const extractors = [
      networkExtractor('untrained network', untrained, modality.name, config.eval),
      ...(baseline ? [baseline] : []),
      networkExtractor('pretrained network', model, modality.name, config.eval),
    ];
    return await evaluateFeatures(extractors, data, { ...config.eval, knn: true, linear: true }, device);
  } finally {
    untrained.dispose();
  }
}

/** The rows as a table; top-5 only where it says something. */
export function reportTable(rows: readonly EvaluationRow[]): string {
  const methods = (['knn', 'linear'] as const).filter((method) => rows.some((row) => row[method]));
  const heading = { knn: 'kNN', linear: 'linear probe' };
  const header = ['features', ...methods.flatMap((method) => [`${heading[method]} top-1`, 'top-5'])];
  const body = rows.map((row) => [
    row.name,
    ...methods.flatMap((method) => {
      const accuracy = row[method];
      return accuracy ? [percent(accuracy.top1), percent(accuracy.top5)] : ['', ''];
    }),
  ]);
  return formatTable([header, ...body]);
}

function reportJson(rows: readonly EvaluationRow[], task: string, config: RunConfig) {
  const { network, pool, layer, k, train_samples, valid_samples } = config.eval;
  return {
    modality: config.modality,
    preset: config.preset,
    task,
    eval: { network, pool, layer, k, train_samples, valid_samples },
    rows,
  };
}

/** Held-out samples of as many different classes as there are. */
async function previewSamples(data: EvaluationData): Promise<Sample[]> {
  const groups = new Map<number, Sample[]>();
  let seen = 0;
  for await (const samples of data.valid.batches(false)) {
    for (const sample of samples) {
      const key = sample.label ?? 0;
      groups.set(key, [...(groups.get(key) ?? []), sample]);
    }
    seen += samples.length;
    if (seen >= PREVIEW_POOL) break;
  }
  const chosen: Sample[] = [];
  const queues = [...groups.entries()].sort(([a], [b]) => a - b).map(([, queue]) => queue);
  for (let round = 0; chosen.length < Math.min(PREVIEW_SAMPLES, seen); round++) {
    chosen.push(...queues.flatMap((queue) => queue[round] ?? []));
  }
  return chosen.slice(0, PREVIEW_SAMPLES);
}
