// Errors that become JavaScript errors with a `code`.
#pragma once

#include <stdexcept>
#include <string>

namespace d2v {

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* code;
};

/// Something given by the caller is wrong: type, shape, dtype, device, range.
struct ArgumentError : Error {
  explicit ArgumentError(const std::string& message) : Error("D2V_ARGUMENT", message) {}
};

struct DisposedError : Error {
  explicit DisposedError(const std::string& message) : Error("D2V_DISPOSED", message) {}
};

struct OutOfMemory : Error {
  explicit OutOfMemory(const std::string& message) : Error("D2V_OUT_OF_MEMORY", message) {}
};

/// "3.5 GiB", for messages.
std::string formatBytes(unsigned long long bytes);

}  // namespace d2v
