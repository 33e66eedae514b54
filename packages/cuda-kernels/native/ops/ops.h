// The ops as JavaScript calls them: each reads and checks its arguments and calls the backend. One file per family.
#pragma once

#include "../args.h"

namespace d2v::ops {

using Fn = Napi::Value (*)(Op&);

// memory.cc
Napi::Value empty(Op&);
Napi::Value zeros(Op&);
Napi::Value full(Op&);
Napi::Value fromArray(Op&);
Napi::Value toArray(Op&);
Napi::Value item(Op&);
Napi::Value copy_(Op&);
Napi::Value cast(Op&);
Napi::Value fill_(Op&);
Napi::Value write_(Op&);
Napi::Value bytes(Op&);
Napi::Value writeBytes_(Op&);
Napi::Value view(Op&);
Napi::Value readLater(Op&);
Napi::Value normal_(Op&);
Napi::Value uniform_(Op&);

// gemm.cc
Napi::Value linear(Op&);
Napi::Value linearGradInput(Op&);
Napi::Value linearGradWeight_(Op&);
Napi::Value matmul(Op&);

// norm.cc
Napi::Value layerNorm(Op&);
Napi::Value layerNormBackward(Op&);

// attention.cc
Napi::Value attention(Op&);
Napi::Value attentionBackward(Op&);

// conv.cc
Napi::Value conv(Op&);
Napi::Value convGradInput(Op&);
Napi::Value convGradWeight_(Op&);
Napi::Value patchify(Op&);
Napi::Value unpatchify(Op&);

// tokens.cc
Napi::Value gatherTokens(Op&);
Napi::Value gatherTokensBackward(Op&);
Napi::Value restoreTokens(Op&);
Napi::Value restoreTokensBackward(Op&);
Napi::Value repeatRows(Op&);
Napi::Value repeatRowsBackward(Op&);
Napi::Value slice(Op&);
Napi::Value sliceBackward(Op&);
Napi::Value concat(Op&);
Napi::Value transpose(Op&);
Napi::Value embedding(Op&);
Napi::Value embeddingGrad_(Op&);

// targets.cc
Napi::Value accumulateTarget_(Op&);
Napi::Value instanceNorm(Op&);
Napi::Value maskedLoss(Op&);
Napi::Value featureStd(Op&);
Napi::Value crossEntropy(Op&);

// elementwise.cc
Napi::Value add(Op&);
Napi::Value sub(Op&);
Napi::Value mul(Op&);
Napi::Value scale(Op&);
Napi::Value scale_(Op&);
Napi::Value axpy_(Op&);
Napi::Value scaleRows(Op&);
Napi::Value unary(Op&);
Napi::Value unaryBackward(Op&);
Napi::Value dropout(Op&);
Napi::Value softmax(Op&);
Napi::Value softmaxBackward(Op&);
Napi::Value logSoftmax(Op&);

// reduce.cc
Napi::Value sumTo(Op&);
Napi::Value sum(Op&);
Napi::Value sumSquares(Op&);
Napi::Value meanTokens(Op&);
Napi::Value meanTokensBackward(Op&);

// optimizer.cc
Napi::Value gradControl(Op&);
Napi::Value adam_(Op&);
Napi::Value ema_(Op&);

// system.cc
Napi::Value deviceInfo(Op&);
Napi::Value cudaGemmLibrary(Op&);
Napi::Value setTf32(Op&);
Napi::Value gemmReport(Op&);
Napi::Value asynchronous(Op&);
Napi::Value setThreads(Op&);
Napi::Value memoryStats(Op&);
Napi::Value resetPeakMemory(Op&);
Napi::Value emptyCache(Op&);
Napi::Value synchronize(Op&);
Napi::Value recordGraph(Op&);
Napi::Value startGraph(Op&);
Napi::Value graphStats(Op&);
Napi::Value scopeBegin(Op&);
Napi::Value scopeEnd(Op&);
Napi::Value keep(Op&);
Napi::Value profileStart(Op&);
Napi::Value profileStop(Op&);
Napi::Value profileReport(Op&);

}  // namespace d2v::ops
