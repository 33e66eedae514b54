// The functions of cuBLASLt that we call, found at run time: the library has 500 MiB, and the addon must load and the
// sources must compile without it. Its interface is stable from version 12 on; where its header is there when this is
// compiled, cublaslt.cc checks every number below against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "driver.h"

namespace d2v::cuda::lt {

using Handle = struct HandleData*;
using Layout = struct LayoutData*;
using Description = struct DescriptionData*;
using Preference = struct PreferenceData*;

struct Algorithm {
  uint64_t data[8];
};
struct Candidate {
  Algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

constexpr int kSuccess = 0, kInvalid = 7, kNotSupported = 15;
constexpr int kFloat = 0, kBf16 = 14;          // cudaDataType
constexpr int kCompute = 68, kComputeTf32 = 77;  // f32 accumulation; operands rounded to tf32

enum LayoutAttribute : int { kBatchCount = 5, kBatchStride = 6 };
enum DescriptionAttribute : int {
  kTransA = 3,
  kTransB = 4,
  kEpilogue = 7,
  kBiasPointer = 8,
  kAuxPointer = 11,
  kAuxRow = 12,  // leading dimension
};
enum Epilogue : int {
  kNone = 1,
  kBias = 4,
  kGelu = 32,
  kGeluBias = 36,
  kGeluAux = 160,
  kGeluAuxBias = 164,
  kGeluSlope = 192,
  kColumnSumsB = 512,
};
enum PreferenceAttribute : int {
  kWorkspace = 1,
  kReductions = 3,
  kAlignmentA = 5,
  kAlignmentB = 6,
  kAlignmentC = 7,
  kAlignmentD = 8,
};
/// How the parts of a product that is split along k are added: not at all, or in f32 by a pass of its own over the
/// workspace. The third way adds in the output, in the order in which blocks happen to finish.
constexpr uint32_t kReduceInWorkspace = 2;

struct Api {
  size_t (*version)();
  const char* (*statusName)(int);
  int (*create)(Handle*);
  int (*destroy)(Handle);
  int (*layoutCreate)(Layout*, int type, uint64_t rows, uint64_t columns, int64_t leading);
  int (*layoutDestroy)(Layout);
  int (*layoutSet)(Layout, int attribute, const void* value, size_t bytes);
  int (*descriptionCreate)(Description*, int compute, int scale);
  int (*descriptionDestroy)(Description);
  int (*descriptionSet)(Description, int attribute, const void* value, size_t bytes);
  int (*preferenceCreate)(Preference*);
  int (*preferenceDestroy)(Preference);
  int (*preferenceSet)(Preference, int attribute, const void* value, size_t bytes);
  int (*heuristic)(Handle, Description, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Candidate*,
                   int* found);
  int (*matmul)(Handle, Description, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, size_t bytes, Stream);
  std::string file;  // where it was found
};

/// Finds and loads the library, once per process. Throws Error with what was searched and how to install it.
const Api& load();

}  // namespace d2v::cuda::lt
