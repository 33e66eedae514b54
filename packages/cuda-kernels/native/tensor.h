// Shapes, devices and tensors. No Node-API here.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>

#include "backend.h"
#include "storage.h"

namespace d2v {

constexpr int kMaxRank = 8;

struct Shape {
  int rank = 0;
  std::array<int64_t, kMaxRank> dims{};

  Shape() = default;
  Shape(std::initializer_list<int64_t> list) {
    for (int64_t d : list) dims[static_cast<size_t>(rank++)] = d;
  }
  /// Negative counts from the end.
  int64_t operator[](int i) const { return dims[static_cast<size_t>(i < 0 ? rank + i : i)]; }
  int64_t& operator[](int i) { return dims[static_cast<size_t>(i < 0 ? rank + i : i)]; }
  void push(int64_t d) { dims[static_cast<size_t>(rank++)] = d; }
  bool operator==(const Shape& o) const;
  bool operator!=(const Shape& o) const { return !(*this == o); }
  /// Product of dims [from, to).
  int64_t product(int from, int to) const;
  int64_t product() const { return product(0, rank); }
  /// Product of all but the last dimension.
  int64_t rows() const { return product(0, rank - 1); }
  /// "[2, 3]"
  std::string text() const;
};

/// A backend and the memory it works in.
struct Device {
  std::string name;
  std::unique_ptr<Allocator> memory;
  std::unique_ptr<Backend> backend;  // destroyed before the memory
};

/// The devices of this machine; "cpu" is the first.
std::shared_ptr<Device> makeCpuDevice();

/// Smallest and largest element of the i32 values in bytes [begin, end) of a storage.
struct IndexRange {
  int64_t begin, end;
  int32_t min, max;
};

struct Storage {
  Storage(std::shared_ptr<Device> device, size_t bytes)
      : device(std::move(device)), bytes(bytes), data(this->device->memory->allocate(bytes)) {}
  ~Storage() { device->memory->release(data, bytes); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::shared_ptr<Device> device;
  size_t bytes;
  void* data;
  bool counted = false;  // among the memory outside of scopes
  /// What is known of values that came from the host. Whatever else writes i32 values must reset it.
  std::optional<IndexRange> indices;
};

/// A contiguous piece of a storage. Copies share it.
struct Tensor {
  std::shared_ptr<Storage> storage;
  Shape shape;
  DType dtype = DType::F32;
  int64_t size = 0;    // elements
  int64_t offset = 0;  // bytes into the storage

  static Tensor empty(const std::shared_ptr<Device>& device, const Shape& shape, DType dtype);

  void* data() const { return static_cast<char*>(storage->data) + offset; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data());
  }
  size_t bytes() const { return static_cast<size_t>(size) * sizeOf(dtype); }
  const std::shared_ptr<Device>& device() const { return storage->device; }
  bool overlaps(const Tensor& o) const;
  /// The range of a part of the storage that holds this tensor, or null if it is not known.
  const IndexRange* knownRange() const;
};

}  // namespace d2v
