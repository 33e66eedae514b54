// Finds libcublasLt: where $D2V_CUBLASLT says, on the loader's path, in the CUDA toolkit, in Python's packages (the wheels
// nvidia-cublas and nvidia-cublas-cu12, which PyTorch brings too).
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <vector>

#include "../errors.h"
#include "cublaslt_api.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace d2v::cuda::lt {

namespace {

namespace fs = std::filesystem;

#if defined(_WIN32)
const char* const kNames[] = {"cublasLt64_13.dll", "cublasLt64_12.dll"};
constexpr char kPathSeparator = ';';
void* openLibrary(const std::string& file) { return reinterpret_cast<void*>(LoadLibraryA(file.c_str())); }
void* find(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(library), name));
}
std::string lastError() { return "error " + std::to_string(GetLastError()); }
#else
const char* const kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
constexpr char kPathSeparator = ':';
void* openLibrary(const std::string& file) { return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL); }
void* find(void* library, const char* name) { return dlsym(library, name); }
std::string lastError() {
  const char* text = dlerror();
  return text == nullptr ? "unknown error" : text;
}
#endif

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The folders in `parent` whose names begin with `prefix`; none if there is no such parent.
std::vector<fs::path> foldersIn(const fs::path& parent, const std::string& prefix) {
  std::vector<fs::path> found;
  std::error_code none;
  for (fs::directory_iterator i(parent, none), end; !none && i != end; i.increment(none)) {
    if (i->path().filename().string().rfind(prefix, 0) == 0) found.push_back(i->path());
  }
  return found;
}

/// Folders of Python packages that belong to an environment's or an installation's root.
void addPythonPackages(const fs::path& root, std::vector<fs::path>& folders) {
  for (const fs::path& python : foldersIn(root / "lib", "python3")) {
    folders.push_back(python / "site-packages");
    folders.push_back(python / "dist-packages");
  }
  folders.push_back(root / "Lib" / "site-packages");
}

std::vector<fs::path> pythonPackages() {
  std::vector<fs::path> folders;
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (!variable(name).empty()) addPythonPackages(variable(name), folders);
  }
  std::istringstream path(variable("PATH"));
  for (std::string entry; std::getline(path, entry, kPathSeparator);) {
    std::error_code none;
    for (const char* program : {"python3", "python", "python.exe"}) {
      const fs::path file = fs::path(entry) / program;
      if (!fs::exists(file, none)) continue;
      addPythonPackages(fs::path(entry).parent_path(), folders);  // an environment links to its interpreter
      const fs::path real = fs::canonical(file, none);
      if (!none) addPythonPackages(real.parent_path().parent_path(), folders);
    }
  }
  if (!variable("HOME").empty()) addPythonPackages(fs::path(variable("HOME")) / ".local", folders);
  return folders;
}

/// Folders that may hold the library, in the order in which they are tried.
std::vector<fs::path> libraryFolders() {
  std::vector<fs::path> folders;
  for (const std::string& toolkit : {variable("CUDA_PATH"), variable("CUDA_HOME"), std::string("/usr/local/cuda")}) {
    if (toolkit.empty()) continue;
    folders.push_back(fs::path(toolkit) / "lib64");
    folders.push_back(fs::path(toolkit) / "lib");
    folders.push_back(fs::path(toolkit) / "bin");
  }
  for (const fs::path& packages : pythonPackages()) {
    for (const char* folder : {"cu13", "cu12", "cublas"}) {
      folders.push_back(packages / "nvidia" / folder / "lib");
      folders.push_back(packages / "nvidia" / folder / "bin");
    }
  }
  return folders;
}

// Errors end in ": <remedy>".
constexpr const char* kRemedy =
    "install it with `pip install nvidia-cublas`, or as libcublas-13-0 from NVIDIA's apt repository (CUDA toolkits contain it "
    "too), or set D2V_CUBLASLT to the file";
constexpr const char* kVariableRemedy = "name a libcublasLt of CUDA 12 or 13 that can be loaded, or unset D2V_CUBLASLT";

void* search(std::string& file) {
  file = variable("D2V_CUBLASLT");
  if (!file.empty()) {
    if (void* library = openLibrary(file)) return library;
    throw Error("D2V_CUDA", "D2V_CUBLASLT=" + file + " cannot be loaded (" + lastError() + "): " + kVariableRemedy);
  }
  std::string broken;
  for (const char* name : kNames) {
    file = name;
    if (void* library = openLibrary(file)) return library;
  }
  for (const fs::path& folder : libraryFolders()) {
    for (const char* name : kNames) {
      std::error_code none;
      if (!fs::exists(folder / name, none)) continue;
      file = (folder / name).string();
      if (void* library = openLibrary(file)) return library;
      broken += "; " + lastError();
    }
  }
  throw Error("D2V_CUDA",
              std::string("cuBLASLt, which does the GPU's matrix products, was not found (") + kNames[0] + " or " +
                  kNames[1] + " on the loader's path, in the CUDA toolkit and in Python's packages" + broken + "): " +
                  kRemedy);
}

Api open() {
  Api api{};
  void* library = search(api.file);
  const auto bind = [&](auto& function, const char* name) {
    void* symbol = find(library, name);
    if (symbol == nullptr) throw Error("D2V_CUDA", api.file + " has no " + name + ": " + kRemedy);
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  bind(api.version, "cublasLtGetVersion");
  bind(api.statusName, "cublasLtGetStatusName");
  bind(api.create, "cublasLtCreate");
  bind(api.destroy, "cublasLtDestroy");
  bind(api.layoutCreate, "cublasLtMatrixLayoutCreate");
  bind(api.layoutDestroy, "cublasLtMatrixLayoutDestroy");
  bind(api.layoutSet, "cublasLtMatrixLayoutSetAttribute");
  bind(api.descriptionCreate, "cublasLtMatmulDescCreate");
  bind(api.descriptionDestroy, "cublasLtMatmulDescDestroy");
  bind(api.descriptionSet, "cublasLtMatmulDescSetAttribute");
  bind(api.preferenceCreate, "cublasLtMatmulPreferenceCreate");
  bind(api.preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  bind(api.preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
  bind(api.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  bind(api.matmul, "cublasLtMatmul");
  return api;
}

}  // namespace

const Api& load() {
  static std::mutex mutex;
  static Api* api = nullptr;  // for the life of the process, as the library
  const std::lock_guard<std::mutex> lock(mutex);
  if (api == nullptr) api = new Api(open());
  return *api;
}

}  // namespace d2v::cuda::lt
