/** What tests of plugins import: `@d2v/core/testing`. Needs vitest. */

export { makeTar, type TarFile } from '../datasets/__fixtures__/archives.js';
export { type Letters, type LettersContent, lettersWith } from '../datasets/__fixtures__/letters.js';
export { makeZip, type ZipFile } from '../datasets/__fixtures__/zip.js';
export { describeModality } from './conformance.js';
export type { ConformanceData } from './conformance-setup.js';
export { describeOp, expectClose, type OpCase, presentDevices } from './describe-op.js';
export { type Fault, FaultServer, type SeenRequest } from './fault-server.js';
export { type GradcheckOptions, gradcheck, type InputSpec } from './gradcheck.js';
export { Nd } from './nd.js';
