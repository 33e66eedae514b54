// Compares ops of the CUDA backend with the CPU backend's. Header only; one program per family of ops:
//
//   int main(int argc, char** argv) {
//     Harness h(argc, argv);
//     for (DType t : kFloats) {
//       for (int64_t n : {1, 7, 1000}) {
//         h.check("scale", t, {n}, [&](Side& s) {
//           const In x = s.in(n);
//           const Out y = s.out(n);
//           s.backend.scale(x, 0.3, y, n);
//         });
//       }
//     }
//     return h.finish();
//   }
//
// The body runs once on each side. It asks for its tensors in the same order, and gets the same numbers (f32 on the CPU,
// `t` on the GPU, rounded before so that both see the same values). After it, what it wrote is compared by
// max |difference| / max |expected|, tensor by tensor, and what it only reads must be as before. On the GPU every tensor
// stands between guards, outputs begin as NaN, and the body runs twice: with tensors at multiples of 256 bytes, and with all
// of them one element further, as views may be (`aligned()` leaves that out).
//
// Arguments: words; only ops whose name contains one of them run. A table comes last.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../cuda/cuda_backend.h"
#include "../parallel.h"
#include "../tensor.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace d2v::test {

constexpr DType kFloats[] = {DType::F32, DType::BF16};

/// splitmix64.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Nearly normal: four uniform numbers added up, of mean 0 and deviation 1. The largest tests take billions.
  double normal() {
    const uint64_t z = next();
    const uint64_t sum = (z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48);
    return (static_cast<double>(sum) - 131070) * (1.7320508075688772 / 65536);
  }

 private:
  uint64_t state_;
};

inline uint16_t roundBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
inline float widenBf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// Whether the "GPU" is this program. Asked once: a real one takes its time to answer.
inline bool onEmulator() {
  static const bool emulated = cuda::propertiesOf(0).name == "emulated";
  return emulated;
}

/// Where a body runs: a backend and tensors for it.
class Side {
 public:
  Side(Backend& backend, bool gpu, DType dtype, int offset, cuda::Stream stream)
      : backend(backend), dtype(gpu ? dtype : DType::F32), gpu_(gpu), rounding_(dtype), offset_(offset), stream_(stream) {}
  ~Side() {
    for (Tensor& t : tensors_) {
      openGuards(t);
      if (gpu_) cuda::release(t.memory);
      else std::free(t.memory);
    }
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  Backend& backend;
  const DType dtype;  // of In and Out on this side

  // --- inputs; random ones are normal unless a range is given
  In in(int64_t n) { return {floats(n, rounding_, normals(n), Use::Read), dtype}; }
  In in(int64_t n, double lo, double hi) { return {floats(n, rounding_, uniforms(n, lo, hi), Use::Read), dtype}; }
  In in(const std::vector<float>& values) { return {floats(size(values), rounding_, values, Use::Read), dtype}; }
  /// f32 on both sides.
  const float* f32(int64_t n) { return f32(normals(n)); }
  const float* f32(int64_t n, double lo, double hi) { return f32(uniforms(n, lo, hi)); }
  const float* f32(const std::vector<float>& values) {
    return static_cast<const float*>(floats(size(values), DType::F32, values, Use::Read));
  }
  const int32_t* ints(const std::vector<int32_t>& values) { return plain(values, Kind::I32); }
  const int64_t* longs(const std::vector<int64_t>& values) { return plain(values, Kind::I64); }
  const uint8_t* bytes(const std::vector<uint8_t>& values) { return plain(values, Kind::U8); }
  const double* doubles(const std::vector<double>& values) { return plain(values, Kind::F64); }
  /// Random integers in [lo, hi).
  const int32_t* ints(int64_t n, int32_t lo, int32_t hi) {
    std::vector<int32_t> values(static_cast<size_t>(n));
    for (auto& v : values) v = lo + static_cast<int32_t>(numbers_.uniform() * (hi - lo));
    return ints(values);
  }

  // --- outputs: compared afterwards. They begin as NaN, or, for `+=`, as random numbers
  Out out(int64_t n) { return {floats(n, rounding_, nans(n), Use::Write), dtype}; }
  Out inout(int64_t n) { return {floats(n, rounding_, normals(n), Use::Write), dtype}; }
  float* f32Out(int64_t n) { return static_cast<float*>(floats(n, DType::F32, nans(n), Use::Write)); }
  float* f32InOut(int64_t n) { return static_cast<float*>(floats(n, DType::F32, normals(n), Use::Write)); }
  float* f32InOut(int64_t n, double lo, double hi) {
    return static_cast<float*>(floats(n, DType::F32, uniforms(n, lo, hi), Use::Write));
  }
  double* f64Out(int64_t n) { return static_cast<double*>(add(n * 8, 8, Kind::F64, Use::Write, nullptr)); }
  int32_t* intsOut(int64_t n) { return static_cast<int32_t*>(add(n * 4, 4, Kind::I32, Use::Write, nullptr)); }
  uint8_t* bytesOut(int64_t n) { return static_cast<uint8_t*>(add(n, 1, Kind::U8, Use::Write, nullptr)); }
  /// What a method returned: compared like an output.
  void result(double value) { results_.push_back(value); }

  /// A random number that is the same on both sides.
  double random() { return numbers_.uniform(); }

  // --- for Harness
  /// Outputs, then results, as f64; inputs and guards are checked. Throws std::runtime_error where one was written to.
  std::vector<std::vector<double>> collect() {
    std::vector<std::vector<double>> all;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const Tensor& t = tensors_[i];
      const std::vector<unsigned char> now = download(t);
      const auto size = static_cast<size_t>(t.bytes);
      const auto begin = static_cast<size_t>(t.begin);
      for (size_t at = 0; at < now.size(); at = at + 1 == begin ? begin + size : at + 1) {
        if (now[at] != kGuardByte) {
          const int64_t where = static_cast<int64_t>(at) - t.begin;
          throw std::runtime_error("byte " + std::to_string(where) + " of tensor " + std::to_string(i) + " (" +
                                   std::to_string(t.bytes) + " bytes) was written: outside of it");
        }
      }
      if (t.use == Use::Read) {
        if (std::memcmp(now.data() + begin, t.before.data(), size) != 0) {
          throw std::runtime_error("tensor " + std::to_string(i) + " is an input and was changed");
        }
        continue;
      }
      all.push_back(widen(t, now.data() + begin));
    }
    if (!results_.empty()) all.push_back(results_);
    return all;
  }

 private:
  enum class Use { Read, Write };
  enum class Kind { F32, BF16, I32, I64, U8, F64 };
  struct Tensor {
    void* memory;
    int64_t begin, bytes;  // of the elements within the memory
    Kind kind;
    Use use;
    std::vector<unsigned char> before;
  };
  static constexpr int64_t kGuard = 256;
  static constexpr unsigned char kGuardByte = 0xa5;

  static int64_t size(const std::vector<float>& v) { return static_cast<int64_t>(v.size()); }
  std::vector<float> normals(int64_t n) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = static_cast<float>(numbers_.normal());
    return v;
  }
  std::vector<float> uniforms(int64_t n, double lo, double hi) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = static_cast<float>(lo + (hi - lo) * numbers_.uniform());
    return v;
  }
  static std::vector<float> nans(int64_t n) { return std::vector<float>(static_cast<size_t>(n), NAN); }

  /// f32 or, on the GPU and where `rounding` says so, bf16. The CPU gets the rounded values.
  void* floats(int64_t n, DType rounding, std::vector<float> values, Use use) {
    std::vector<uint16_t> rounded;
    if (rounding == DType::BF16) {
      rounded.resize(values.size());
      for (size_t i = 0; i < values.size(); ++i) {
        rounded[i] = roundBf16(values[i]);
        values[i] = widenBf16(rounded[i]);
      }
    }
    if (gpu_ && rounding == DType::BF16) return add(n * 2, 2, Kind::BF16, use, rounded.data());
    return add(n * 4, 4, Kind::F32, use, values.data());
  }
  template <typename T>
  const T* plain(const std::vector<T>& values, Kind kind) {
    return static_cast<const T*>(add(static_cast<int64_t>(values.size() * sizeof(T)), sizeof(T), kind, Use::Read,
                                     values.data()));
  }

  /// Memory with guards on both sides that holds `values`, or 0xff bytes (NaN) if there are none.
  void* add(int64_t bytes, int64_t element, Kind kind, Use use, const void* values) {
    Tensor t{nullptr, kGuard + offset_ * element, bytes, kind, use, {}};
    std::vector<unsigned char> whole(static_cast<size_t>(t.begin + bytes + kGuard), kGuardByte);
    if (values != nullptr) std::memcpy(whole.data() + t.begin, values, static_cast<size_t>(bytes));
    else std::memset(whole.data() + t.begin, 0xff, static_cast<size_t>(bytes));
    t.before.assign(whole.begin() + t.begin, whole.begin() + t.begin + bytes);
    t.memory = gpu_ ? cuda::allocate(whole.size()) : std::malloc(whole.size());
    if (t.memory == nullptr) throw std::runtime_error("out of memory");
    tensors_.push_back(t);
    if (gpu_) {
      cuda::copy(t.memory, whole.data(), whole.size(), stream_);
      cuda::synchronize(stream_);
    } else {
      std::memcpy(t.memory, whole.data(), whole.size());
    }
    // With AddressSanitizer also reads of the guards are errors. (Of GPU memory, compute-sanitizer reports them.)
    unsigned char* const data = static_cast<unsigned char*>(t.memory) + t.begin;
    if (hostMemory()) {
      ASAN_POISON_MEMORY_REGION(t.memory, static_cast<size_t>(t.begin));
      ASAN_POISON_MEMORY_REGION(data + bytes, static_cast<size_t>(kGuard));
    }
    return data;
  }
  /// The tensor's memory can be looked at from here: the CPU's, and the emulator's.
  bool hostMemory() const {
    return !gpu_ || onEmulator();
  }
  void openGuards(const Tensor& t) const {
    if (hostMemory()) ASAN_UNPOISON_MEMORY_REGION(t.memory, static_cast<size_t>(t.begin + t.bytes + kGuard));
  }
  std::vector<unsigned char> download(const Tensor& t) const {
    std::vector<unsigned char> now(static_cast<size_t>(t.begin + t.bytes + kGuard));
    openGuards(t);
    if (gpu_) {
      cuda::copy(now.data(), t.memory, now.size(), stream_);
      cuda::synchronize(stream_);
    } else {
      std::memcpy(now.data(), t.memory, now.size());
    }
    return now;
  }
  static std::vector<double> widen(const Tensor& t, const unsigned char* data) {
    std::vector<double> v;
    const auto read = [&](auto zero, auto&& convert) {
      using T = decltype(zero);
      v.resize(static_cast<size_t>(t.bytes) / sizeof(T));
      for (size_t i = 0; i < v.size(); ++i) {
        T x;
        std::memcpy(&x, data + i * sizeof(T), sizeof(T));
        v[i] = convert(x);
      }
    };
    const auto number = [](auto x) { return static_cast<double>(x); };
    switch (t.kind) {
      case Kind::F32: read(float(), number); break;
      case Kind::BF16: read(uint16_t(), [](uint16_t x) { return static_cast<double>(widenBf16(x)); }); break;
      case Kind::I32: read(int32_t(), number); break;
      case Kind::I64: read(int64_t(), number); break;
      case Kind::U8: read(uint8_t(), number); break;
      case Kind::F64: read(double(), number); break;
    }
    return v;
  }

  const bool gpu_;
  const DType rounding_;
  const int offset_;
  const cuda::Stream stream_;
  Numbers numbers_{42};
  std::vector<Tensor> tensors_;
  std::vector<double> results_;
};

class Harness {
 public:
  Harness(int argc, char** argv) : words_(argv + 1, argv + argc) {
    Obstacle why;
    if (cuda::deviceCount(&why) == 0) {
      std::printf("no GPU: %s: %s\n", why.problem.c_str(), why.remedy.c_str());
      std::exit(1);
    }
    setThreadCount(1);
    cpu_ = makeCpuDevice();
    memory_ = cuda::makeDeviceAllocator(0);
    gpu_ = std::make_unique<cuda::CudaBackend>(0, *memory_);
    stream_ = cuda::createStream();
  }
  ~Harness() {
    cuda::destroyStream(stream_);
    gpu_.reset();
  }

  /// Largest relative error of the checks from here on.
  void tolerance(double f32, double bf16) {
    f32_ = f32;
    bf16_ = bf16;
  }
  /// Tensors of the checks from here on begin at multiples of 256 bytes only.
  void aligned(bool only = true) { alignedOnly_ = only; }

  /// Runs a body on both sides and compares. `shape` is for the report.
  void check(const std::string& op, DType t, const std::vector<int64_t>& shape, const std::function<void(Side&)>& body) {
    if (!words_.empty() && std::none_of(words_.begin(), words_.end(), [&](const std::string& word) {
          return op.find(word) != std::string::npos;
        })) {
      return;
    }
    Row& row = rowOf(op);
    for (int offset = 0; offset <= (alignedOnly_ ? 0 : 1); ++offset) {
      ++row.checks;
      std::string problem;
      try {
        problem = compare(row, t, offset, body);
      } catch (const std::exception& error) {
        problem = error.what();
      }
      if (problem.empty()) continue;
      ++row.failures;
      std::printf("FAILED %s %s [", op.c_str(), nameOf(t));
      for (size_t i = 0; i < shape.size(); ++i) std::printf(i ? ", %lld" : "%lld", static_cast<long long>(shape[i]));
      std::printf("]%s: %s\n", offset > 0 ? ", one element further" : "", problem.c_str());
    }
  }

  /// Prints the table; the program's exit code.
  int finish() {
    int failures = 0;
    std::printf("%-28s %7s %10s %10s\n", "op", "checks", "f32", "bf16");
    for (const Row& row : rows_) {
      std::printf("%-28s %7d %10s %10s%s\n", row.op.c_str(), row.checks, text(row.worst[0]).c_str(),
                  text(row.worst[1]).c_str(), row.failures ? "   FAILED" : "");
      failures += row.failures;
    }
    if (failures > 0) std::printf("%d checks failed\n", failures);
    if (rows_.empty()) std::printf("nothing to check\n");
    return failures > 0 || rows_.empty();
  }

 private:
  struct Row {
    std::string op;
    int checks = 0, failures = 0;
    double worst[2] = {-1, -1};  // f32, bf16
  };

  static std::string text(double error) {
    char buffer[32];
    if (error < 0) return "";
    std::snprintf(buffer, sizeof buffer, "%.1e", error);
    return buffer;
  }
  Row& rowOf(const std::string& op) {
    for (Row& row : rows_) {
      if (row.op == op) return row;
    }
    rows_.push_back({});
    rows_.back().op = op;
    return rows_.back();
  }

  /// What is wrong, or nothing.
  std::string compare(Row& row, DType t, int offset, const std::function<void(Side&)>& body) {
    Side cpu(*cpu_->backend, false, t, 0, nullptr), gpu(*gpu_, true, t, offset, stream_);
    body(cpu);
    body(gpu);
    gpu_->synchronize();
    const auto expected = cpu.collect(), got = gpu.collect();
    if (expected.size() != got.size()) return "the two sides made different outputs";
    if (!onEmulator() && offset == 0) {  // on the host every run is alike
      Side again(*gpu_, true, t, offset, stream_);
      body(again);
      gpu_->synchronize();
      if (!sameBits(got, again.collect())) return "two runs on the GPU differ";
    }
    const double limit = t == DType::BF16 ? bf16_ : f32_;
    double& worst = row.worst[t == DType::BF16];
    for (size_t k = 0; k < expected.size(); ++k) {
      size_t at = 0;
      const double error = relativeError(expected[k], got[k], at);
      worst = std::max(worst, error);
      if (!(error <= limit)) {
        char message[200];
        std::snprintf(message, sizeof message,
                      "output %zu differs by %.2e (at most %.0e); element %zu of %zu is %.9g, expected %.9g", k, error,
                      limit, at, got[k].size(), got[k][at], expected[k][at]);
        return message;
      }
    }
    return "";
  }

  static bool sameBits(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
    for (size_t k = 0; k < a.size(); ++k) {
      if (std::memcmp(a[k].data(), b[k].data(), a[k].size() * sizeof(double)) != 0) return false;
    }
    return true;
  }

  /// max |a - b| / max |a|; infinite where one is NaN or infinite and the other is something else. `at`: the worst place.
  static double relativeError(const std::vector<double>& a, const std::vector<double>& b, size_t& at) {
    double most = 1e-30, difference = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) {
        if (std::isfinite(a[i])) most = std::max(most, std::abs(a[i]));
        continue;
      }
      if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
        at = i;
        return INFINITY;
      }
      most = std::max(most, std::abs(a[i]));
      if (std::abs(a[i] - b[i]) > difference) {
        difference = std::abs(a[i] - b[i]);
        at = i;
      }
    }
    return difference / most;
  }

  std::vector<std::string> words_;
  std::shared_ptr<Device> cpu_;
  std::unique_ptr<Allocator> memory_;
  std::unique_ptr<cuda::CudaBackend> gpu_;
  cuda::Stream stream_ = nullptr;
  std::vector<Row> rows_;
  double f32_ = 1e-5, bf16_ = 1e-2;
  bool alignedOnly_ = false;
};

}  // namespace d2v::test
