#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace spillway {

// A folder of its own for one test; gone with it. (mkdtemp replaces the six X.)
class TempFolder {
 public:
  TempFolder() : path_((std::filesystem::temp_directory_path() / "spillway-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no folder for a test");
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string Path(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string Write(std::string_view name, std::string_view content) const {
    std::ofstream(Path(name), std::ios::binary) << content;
    return Path(name);
  }
  std::string Read(std::string_view name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // A file's permission bits; -1: there is none.
  int Mode(std::string_view name) const {
    struct stat status{};
    return ::stat(Path(name).c_str(), &status) == 0 ? static_cast<int>(status.st_mode & 0777) : -1;
  }

 private:
  std::string path_;
};

}  // namespace spillway
