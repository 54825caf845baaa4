#include "common/config/load.h"

#include <algorithm>
#include <filesystem>
#include <format>
#include <fstream>
#include <map>

#include "common/config/read_resource.h"
#include "common/config/resource.h"
#include "common/config/section.h"
#include "common/config/violations.h"
#include "common/config/yaml_tree.h"

namespace spillway::config {
namespace {

constexpr size_t kFilesMax = 1000;
constexpr uintmax_t kFileBytesMax = uintmax_t{16} << 20;

const std::vector<std::pair<v1::Kind, std::string>>& Sections() {
  static const auto sections = [] {
    std::vector<std::pair<v1::Kind, std::string>> named;
    for (const v1::Kind kind : AllKinds())
      named.emplace_back(kind, std::string(NameOf(kind)) + "s");
    return named;
  }();
  return sections;
}

void ReadSection(v1::Kind kind, const YamlNode& list, Reading& reading, Unvalidated& config) {
  for (size_t i = 0; i < list.items.size(); ++i) {
    auto resource = ReadResource(kind, *list.items[i], i, reading);
    if (!resource) continue;
    config.resources.push_back(*std::move(resource));
    config.places.push_back(reading.PlaceOf(*list.items[i]));
  }
}

void ReadDocument(const YamlNode& root, Reading& reading, Unvalidated& config) {
  if (root.type == YamlNode::Type::kNull) return;
  const std::string file(reading.file_name);
  if (root.type != YamlNode::Type::kMap) {
    reading.violations.Add(file, "", "",
                           "must be a map of sections such as providers, models, keys");
    return;
  }
  Section document(reading, root, file);
  for (const auto& [kind, name] : Sections()) {
    const YamlNode* list = document.Find(name);
    if (list == nullptr || list->type == YamlNode::Type::kNull) continue;
    if (list->type == YamlNode::Type::kSequence) {
      ReadSection(kind, *list, reading, config);
    } else {
      document.Refuse(name, "", "must be a list");
    }
  }
  document.Finish();
}

// Each resource once, over all files; says where the first one stands.
void RefuseDuplicates(const Unvalidated& config, ViolationList& violations) {
  std::map<std::pair<v1::Kind, std::string_view>, size_t> seen;
  for (size_t i = 0; i < config.resources.size(); ++i) {
    const v1::Resource& resource = config.resources[i];
    const auto [first, fresh] = seen.try_emplace({KindOf(resource), NameOf(resource)}, i);
    if (fresh) continue;
    violations.Add(std::format("{}/{}", NameOf(KindOf(resource)), NameOf(resource)), "name", "",
                   std::format("is declared twice ({} and {})", config.places[first->second],
                               config.places[i]));
  }
}

// Without the check for duplicates, which is made once over all files.
void LoadInto(std::string_view text, std::string_view file_name, const LoadOptions& options,
              Unvalidated& config, ViolationList& violations) {
  const auto tree = ParseYaml(text);
  if (!tree) {
    violations.Add(file_name, "", "", tree.error().message);
    return;
  }
  Reading reading{.file_name = file_name, .options = options, .violations = violations};
  for (const YamlNode* root : tree->roots) ReadDocument(*root, reading, config);
}

std::unexpected<Error> Absent(const std::string& path, std::string_view why) {
  return Fail(ErrorCode::kUnavailable, std::format("{}: {}", path, why));
}

bool IsYamlFile(const std::filesystem::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  std::error_code error;
  return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml")) &&
         entry.is_regular_file(error);
}

Result<std::vector<std::string>> FilesOf(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error || !std::filesystem::exists(status))
    return Absent(path, "there is no such file or folder");
  if (!std::filesystem::is_directory(status)) return std::vector{path};
  std::vector<std::string> files;
  std::filesystem::directory_iterator entries(path, error);
  if (error) return Absent(path, error.message());
  for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    if (error) return Absent(path, error.message());
    if (IsYamlFile(*entries)) files.push_back(entries->path().string());
    if (files.size() > kFilesMax)
      return Fail(ErrorCode::kInvalidConfig, path + ": holds more than 1,000 YAML files");
  }
  if (files.empty()) return Absent(path, "the folder holds no *.yaml or *.yml file");
  std::ranges::sort(files);
  return files;
}

Result<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Absent(path, "cannot be opened");
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return Absent(path, "cannot be read");
  // One byte over the limit is enough for the parser to refuse it.
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

}  // namespace

LoadResult LoadYaml(std::string_view text, std::string_view file_name, const LoadOptions& options) {
  LoadResult result;
  ViolationList violations;
  LoadInto(text, file_name, options, result.config, violations);
  RefuseDuplicates(result.config, violations);
  result.violations = std::move(violations).Take();
  return result;
}

Result<LoadResult> LoadPaths(const std::vector<std::string>& paths, const LoadOptions& options) {
  LoadResult result;
  ViolationList violations;
  for (const std::string& path : paths) {
    SW_TRY(const std::vector<std::string> files, FilesOf(path));
    for (const std::string& file : files) {
      SW_TRY(const std::string text, ReadText(file));
      LoadInto(text, file, options, result.config, violations);
    }
  }
  RefuseDuplicates(result.config, violations);
  result.violations = std::move(violations).Take();
  return result;
}

}  // namespace spillway::config
