/**
 * The sections of a run's config, but for `model`. Keys are the reference implementation's (fairseq) where they mean the
 * same, so a user who knows the original finds everything.
 *
 * Every key has a default and a description: `d2v config <modality>` prints them as comments.
 */
import { z } from 'zod';

const count = z.int().min(0);
const positive = z.int().min(1);
const fraction = z.number().min(0).max(1);

/** fairseq writes some scalars as lists of one (an element per epoch); take the only element. */
const single = <S extends z.ZodType>(schema: S) =>
  z.preprocess((value) => (Array.isArray(value) && value.length === 1 ? value[0] : value), schema);

export const commonSchema = z.strictObject({
  seed: z
    .int()
    .min(0)
    .default(1)
    .describe('everything random follows from it: initial weights, data order, masks, noise'),
  device: z.string().default('auto').describe('cpu, cuda (or cuda:1, ...), or auto (first GPU, else cpu)'),
  dtype: z
    .enum(['auto', 'f32', 'bf16'])
    .default('auto')
    .describe('activations: f32 or bf16; auto is bf16 on a GPU, else f32; weights and losses stay f32'),
  cuda_graphs: z
    .boolean()
    .default(false)
    .describe(
      'start the work of an update on a GPU as a whole; for small models, whose kernels take no longer than starting them',
    ),
  tf32: z
    .boolean()
    .default(false)
    .describe(
      'round operands of f32 matrix products to TF32 while a GPU trains: faster, good to three digits; nothing else changes',
    ),
  threads: count.default(0).describe('CPU threads of the kernels; 0 = all cores'),
  log_interval: positive.default(50).describe('updates between two lines of metrics'),
  tensorboard: z.boolean().default(true).describe('also write TensorBoard event files into the run folder'),
});

/** @param unit of lengths; undefined = samples have none */
export const batchLength = (unit: string | undefined) =>
  z
    .number()
    .gt(0)
    .nullable()
    .default(null)
    .describe(
      unit === undefined
        ? 'not for this modality: its samples have no lengths'
        : `longest batch in ${unit}, padding counted: samples of similar length share one; null = batch_size samples`,
    );

export const dataSchema = z.strictObject({
  path: z.string().nullable().default(null).describe('folder or file of samples; null = use dataset'),
  valid_path: z.string().nullable().default(null).describe('held-out samples; null = split off valid_share'),
  dataset: z.string().nullable().default(null).describe('a dataset by name, used when path is null'),
  dataset_options: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('options of the dataset, as "d2v data list" shows them, e.g. {splits: [train-clean-100]}'),
  valid_share: fraction
    .default(0.1)
    .describe('share held out for evaluation if the data has no split of its own'),
  limit: count.default(0).describe('use only so many training samples; 0 = all'),
  batch_size: positive
    .nullable()
    .default(32)
    .describe('most samples per forward pass (before clone_batch repeats them); null = batch_length alone'),
  batch_length: batchLength("the modality's unit"),
  num_workers: count
    .nullable()
    .default(null)
    .describe('loader threads; 0 = main thread, null = by the cores'),
  prefetch: positive.default(4).describe('batches ready or in the making per worker'),
  shuffle: z
    .enum(['samples', 'shards'])
    .default('samples')
    .describe(
      'order of an epoch: all samples mixed, or, for slow disks, shards of tar read from beginning to end, some at once',
    ),
  shuffle_shards: positive
    .default(16)
    .describe('with shuffle: shards, how many are read at once: the more, the better samples are mixed'),
  drop_last: z
    .boolean()
    .default(false)
    .describe('drop the rest of an epoch that fills no update; false = fill it from the next one'),
  max_bad_share: fraction
    .default(0.01)
    .describe('stop the run when more than this share of samples (and over 10) is damaged'),
  worker_timeout_seconds: z.number().gt(0).default(300).describe('a loader silent for so long is an error'),
  cache_dir: z
    .string()
    .nullable()
    .default(null)
    .describe('downloads and prepared data; null = the user cache folder'),
  offline: z
    .boolean()
    .default(false)
    .describe('never use the network; data that is not cached is then an error'),
});

export const optimizationSchema = z.strictObject({
  max_update: positive
    .nullable()
    .default(10_000)
    .describe('length of the run in updates, which schedules span; null = until another stop rule'),
  lr: single(z.number().min(0)).default(1e-3).describe('learning rate after warm-up'),
  clip_norm: z.number().min(0).default(0).describe('largest global gradient norm; 0 = no clipping'),
  update_freq: single(positive)
    .default(1)
    .describe('batches accumulated per update: equal to one batch of so many times the size or length'),
});

const optimizerGroupSchema = z.strictObject({
  match: z.string().describe('regular expression on the parameter name; the first group that matches wins'),
  lr_scale: z.number().min(0).default(1).describe('multiplies the learning rate'),
  weight_decay: z.number().min(0).nullable().default(null).describe('null = that of the optimizer'),
});

export const optimizerSchema = z.strictObject({
  name: z.enum(['adam']).default('adam').describe('adam, with decoupled weight decay'),
  adam_betas: z
    .tuple([fraction, fraction])
    .default([0.9, 0.999])
    .describe('decay of first and second moment'),
  adam_eps: z.number().gt(0).default(1e-8).describe('added to sqrt(v) before bias correction'),
  weight_decay: z.number().min(0).default(0).describe('decoupled, scaled by lr'),
  weight_decay_on_all: z
    .boolean()
    .default(false)
    .describe('also decay 1-D parameters, biases and ALiBi scales, as the original in fact does'),
  groups: z.array(optimizerGroupSchema).default([]).describe('list of {match, lr_scale, weight_decay}'),
});

export const lrSchedulerSchema = z.strictObject({
  name: z
    .enum(['cosine', 'tri_stage', 'polynomial', 'constant'])
    .default('cosine')
    .describe('shape after warm-up: cosine, tri_stage, polynomial or constant'),
  warmup_updates: count.default(0).describe('updates of linear warm-up (tri_stage: see warmup_steps)'),
  warmup_init_lr: z
    .number()
    .min(0)
    .nullable()
    .default(null)
    .describe('lr of the first update; null = min_lr'),
  min_lr: z.number().min(0).default(0).describe('cosine: lr at the end'),
  lr_period_updates: positive
    .nullable()
    .default(null)
    .describe('cosine: length of a period; null = to max_update'),
  t_mult: z.number().min(1).default(1).describe('cosine: each period is so many times the last'),
  lr_shrink: fraction.default(0.1).describe('cosine: lr of a period as a share of the last'),
  phase_ratio: z
    .tuple([fraction, fraction, fraction])
    .nullable()
    .default(null)
    .describe('tri_stage: shares of max_update for warm-up, hold, decay; null = the three counts below'),
  warmup_steps: count.default(0).describe('tri_stage: updates of warm-up'),
  hold_steps: count.default(0).describe('tri_stage: updates at full lr'),
  decay_steps: count.default(0).describe('tri_stage: updates of exponential decay'),
  init_lr_scale: fraction.default(0.01).describe('tri_stage: lr at the start as a share of lr'),
  final_lr_scale: fraction.default(0.01).describe('tri_stage: lr at the end as a share of lr'),
  end_learning_rate: z.number().min(0).default(0).describe('polynomial: lr at the end'),
  power: z.number().gt(0).default(1).describe('polynomial: exponent'),
  total_num_update: positive.nullable().default(null).describe('polynomial: last update; null = max_update'),
});

export const checkpointSchema = z.strictObject({
  save_interval_updates: count.default(1000).describe('updates between checkpoints; 0 = only at the end'),
  keep_interval_updates: positive.default(3).describe('checkpoints kept, besides the best one'),
  best_checkpoint_metric: z
    .string()
    .nullable()
    .default(null)
    .describe(
      'what chooses the best, e.g. eval/knn_top1; null = kNN with eval.interval_updates, else there is no best (the loss of data2vec may rise while features improve)',
    ),
  maximize_best_checkpoint_metric: z
    .boolean()
    .nullable()
    .default(null)
    .describe('whether larger is better; null = true for accuracies, false for losses'),
});

export const stopSchema = z.strictObject({
  max_seconds: z
    .number()
    .gt(0)
    .nullable()
    .default(null)
    .describe('wall time of the run, over resumes; null = off'),
  loss_threshold: z
    .number()
    .nullable()
    .default(null)
    .describe('stop when the mean loss is at or below (on a GPU one update later); null = off'),
  loss_window: positive.default(50).describe('updates that the mean loss of these rules is taken over'),
  plateau_patience: positive
    .nullable()
    .default(null)
    .describe('stop after so many updates without progress; null = off'),
  plateau_min_delta: z
    .number()
    .min(0)
    .default(0.001)
    .describe('smallest relative fall of the loss that is progress'),
  max_nonfinite: positive.default(10).describe('stop after so many updates in a row with a NaN or infinity'),
  collapse_after: count
    .default(5000)
    .describe('from this update on the run stops if a variance is below min_target_var or min_pred_var'),
});

export const evalSchema = z.strictObject({
  interval_updates: positive
    .nullable()
    .default(null)
    .describe('evaluate every so many updates; null = never'),
  data: z
    .string()
    .nullable()
    .default(null)
    .describe('labelled data to score with: a built-in dataset, file or folder; null = the training data'),
  data_options: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('keys of the data section that differ for eval.data, e.g. {label: parent}'),
  report: z
    .boolean()
    .nullable()
    .default(null)
    .describe('table and picture at the end of the run; null = if the data has labels'),
  knn: z.boolean().default(true).describe('k nearest neighbours on frozen features (weighted cosine)'),
  linear: z.boolean().default(false).describe('linear probe (logistic regression) on frozen features'),
  k: positive.default(20).describe('neighbours that vote'),
  train_samples: positive.default(2000).describe('most labelled samples to learn from'),
  valid_samples: positive.default(1000).describe('most held-out samples to score'),
  network: z.enum(['student', 'teacher']).default('teacher').describe('whose features: student or teacher'),
  pool: z
    .enum(['mean', 'grid', 'cls'])
    .default('mean')
    .describe(
      'mean over tokens; grid: a mean for each half of every axis (quarters of an image); cls: the extra token',
    ),
  layer: count
    .nullable()
    .default(null)
    .describe('output of this block, prenet included (0 = input of the first); null = the last'),
  batch_size: positive
    .nullable()
    .default(null)
    .describe('most samples per forward pass; null = data.batch_size'),
});
