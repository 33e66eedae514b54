export {
  type EvaluationData,
  type EvaluationRow,
  evaluateFeatures,
  type OpenEvaluationOptions,
  openEvaluationData,
} from './evaluate.js';
export { evaluationConfig } from './evaluation-config.js';
export { baselineExtractor, networkExtractor, tokenFeatures } from './extractors.js';
export type { Accuracy, FeatureMatrix } from './features.js';
export { type KnnOptions, knn } from './knn.js';
export { type FeatureExtractor, LabelledSet, type LabelledSetOptions } from './labelled-set.js';
export { type LinearProbeOptions, type LinearProbeResult, linearProbe } from './linear-probe.js';
export { type Report, type ReportOptions, reportTable, runReport } from './report.js';
export { formatTable, percent } from './table.js';
