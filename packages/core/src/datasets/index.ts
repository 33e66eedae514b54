export { compressionOf, decompress, plainOf, readPlain } from './archives/decompress.js';
export { extractEntries } from './archives/extract.js';
export { ArchiveError, type ArchiveLimits } from './archives/limits.js';
export {
  type ParquetOptions,
  type ParquetRow,
  parquetRowCount,
  parquetRowGroups,
  readParquet,
} from './archives/parquet.js';
export { type ArchiveEntry, type ReadTarOptions, readTar } from './archives/tar.js';
export { readZip } from './archives/zip.js';
export { defineDataset, isManaged } from './define.js';
export {
  type Downloaded,
  type DownloadRequest,
  type DownloadSettings,
  download,
} from './download/download.js';
export { listHubFiles } from './download/hub.js';
export { RateLimiter } from './download/rate-limit.js';
export { joinUrl, shownUrl } from './download/url.js';
export { datasetFolder } from './folder/folder.js';
export { HashedFile } from './folder/hashed-file.js';
export { ensureDataset, openDataset } from './open.js';
export { datasetOptionList, flagOf, readOption, splitNames } from './options.js';
export { downloadDataset, prepareDataset } from './prepare.js';
export { removeDataset } from './remove.js';
export { findShards, isShardRange } from './shards/find.js';
export { findShardParts, type ShardPaths } from './shards/parts.js';
export { type OpenShardsOptions, TarShards } from './shards/tar-shards.js';
export { type ShardPlace, type ShardSample, ShardWriter } from './shards/writer.js';
export { type DatasetStats, datasetStats } from './stats.js';
export type {
  Checksums,
  Counts,
  DatasetAccess,
  DatasetEvent,
  DatasetFile,
  DatasetOptions,
  DatasetSplitInfo,
  FilesContext,
  ManagedDataset,
  PrepareContext,
  PreparedStep,
  ReadyDataset,
  StepOutput,
} from './types.js';
export { type VerifyReport, verifyDataset } from './verify.js';
