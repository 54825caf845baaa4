#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/load.h"
#include "common/config/violations.h"
#include "common/config/yaml_tree.h"
#include "common/error.h"

namespace spillway::config {

// One file while it is read. Lives as long as its Sections.
struct Reading {
  std::string_view file_name;
  const LoadOptions& options;
  ViolationList& violations;

  std::string PlaceOf(const YamlNode& node) const;  // "gateway.yaml:12"
};

// One map of the file while it is read. Every field asked for counts as known; Finish reports the
// others. What is wrong becomes a violation with its line, and the getter answers nullopt.
// A null value (`team:` with nothing behind it) is a violation like any other wrong type.
class Section {
 public:
  // `path` is "" for the resource itself, else "timeouts", "targets[2]", ...
  Section(Reading& reading, const YamlNode& map, std::string resource, std::string path = {});

  // The value as written; nullptr: absent.
  const YamlNode* Find(std::string_view field);
  // Is it there? Does not make it known.
  bool Has(std::string_view field) const;

  std::optional<std::string> Text(std::string_view field);
  std::optional<std::vector<std::string>> Texts(std::string_view field);
  std::optional<bool> Bool(std::string_view field);
  std::optional<int64_t> Integer(std::string_view field);
  // By one of the parsers whose errors say "must be ...": ParseUsd, ParseDurationMs, ParseUtc.
  using Parser = Result<int64_t> (*)(std::string_view);
  std::optional<int64_t> Parsed(std::string_view field, Parser parse);

  // Calls `read` with the map under `field`, when there is one. Its unknown fields are reported.
  using Read = std::function<void(Section&)>;
  void Inner(std::string_view field, const Read& read);
  // The same for each map of a list.
  void Each(std::string_view field, const Read& read);
  // The same for each map under a name of the file's own choosing, in the order
  // written; at most 20,000.
  using ReadNamed = std::function<void(const std::string& name, Section&)>;
  void EachNamed(std::string_view field, const ReadNamed& read);

  // Reports `field`; `value` is never a secret.
  void Refuse(std::string_view field, std::string_view value, std::string_view allowed);
  void Finish();

  const YamlNode& node() const { return map_; }
  Reading& reading() { return reading_; }

 private:
  const YamlNode* Scalar(std::string_view field);
  // Refuse, for one of many names: without looking for its line among all of them.
  void RefuseAt(int line, std::string_view field, std::string_view value, std::string_view allowed);
  void RefuseUnknown(const YamlNode& key);
  std::string PathOf(std::string_view field) const;
  int LineOf(std::string_view field) const;

  Reading& reading_;
  const YamlNode& map_;
  std::string resource_;
  std::string path_;
  std::vector<std::string_view> known_;
};

}  // namespace spillway::config
