export { type AtomicFile, openAtomic, writeAtomically } from './atomic-stream.js';
export { type ByteSource, fileSource, memorySource } from './byte-source.js';
export {
  bfloatToFloat,
  bytesToFloat32,
  elementSize,
  type FileDType,
  floatToBfloat,
  halfToFloat,
} from './dtypes.js';
export { readJsonl } from './jsonl.js';
export { NpyWriter, readNpy, writeNpy } from './npy.js';
export { openSafetensors, parseSafetensors, SafetensorsFile, type TensorInfo } from './safetensors.js';
export { SafetensorsRowWriter } from './safetensors-rows.js';
export { encodeSafetensors, type TensorEntry, writeSafetensors } from './safetensors-writer.js';
