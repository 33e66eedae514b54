#include "tensor.h"

namespace d2v {

bool Shape::operator==(const Shape& o) const {
  if (rank != o.rank) return false;
  for (int i = 0; i < rank; ++i) {
    if ((*this)[i] != o[i]) return false;
  }
  return true;
}

int64_t Shape::product(int from, int to) const {
  int64_t n = 1;
  for (int i = from; i < to; ++i) n *= (*this)[i];
  return n;
}

std::string Shape::text() const {
  std::string s = "[";
  for (int i = 0; i < rank; ++i) s += (i ? ", " : "") + std::to_string((*this)[i]);
  return s + "]";
}

Tensor Tensor::empty(const std::shared_ptr<Device>& device, const Shape& shape, DType dtype) {
  Tensor t;
  t.shape = shape;
  t.dtype = dtype;
  t.size = shape.product();
  t.storage = std::make_shared<Storage>(device, t.bytes());
  return t;
}

bool Tensor::overlaps(const Tensor& o) const {
  if (storage != o.storage) return false;
  const int64_t end = offset + static_cast<int64_t>(bytes()), otherEnd = o.offset + static_cast<int64_t>(o.bytes());
  return offset < otherEnd && o.offset < end;
}

const IndexRange* Tensor::knownRange() const {
  const auto& known = storage->indices;
  const bool inside = known && known->begin <= offset && offset + static_cast<int64_t>(bytes()) <= known->end;
  return inside ? &*known : nullptr;
}

}  // namespace d2v
