#include "dataplane/snapshot/quarantine.h"

#include <format>
#include <sstream>

#include "common/durable_file.h"
#include "dataplane/snapshot/checked_text.h"

namespace spillway {
namespace {

constexpr int64_t kFileBytesMax = int64_t{64} * 1024;

}  // namespace

Quarantine Quarantine::Load(const std::string& path) {
  Quarantine quarantine;
  const auto file = durable::ReadFile(path, kFileBytesMax);
  if (!file) return quarantine;
  const auto content = CheckedContent(*file);
  if (!content) return quarantine;
  std::istringstream lines(*content);
  std::string word;
  while (lines >> word) {
    int64_t revision = 0;
    if (word == "counted") {
      lines >> quarantine.counted_id_;
    } else if (word == "proven" && lines >> revision) {
      quarantine.proven_.insert(revision);
    } else if (word == "crashed" && lines >> revision) {
      lines >> quarantine.crashes_[revision];
    }
  }
  return quarantine;
}

std::string Quarantine::Render() const {
  std::string content = std::format("counted {}\n", counted_id_);
  for (const int64_t revision : proven_) content += std::format("proven {}\n", revision);
  for (const auto& [revision, count] : crashes_)
    content += std::format("crashed {} {}\n", revision, count);
  return WithChecksum(std::move(content));
}

bool Quarantine::Count(const CrashRecord& crash, int64_t window_ms) {
  if (crash.id == counted_id_) return false;
  counted_id_ = crash.id;
  if (crash.revision <= 0 || crash.after_ms > window_ms || IsProven(crash.revision)) return false;
  const int count = ++crashes_[crash.revision];
  while (crashes_.size() > kRememberedMax) crashes_.erase(crashes_.begin());
  return count == kCrashesMax;
}

bool Quarantine::Contains(int64_t revision) const {
  const auto found = crashes_.find(revision);
  return found != crashes_.end() && found->second >= kCrashesMax;
}

std::vector<int64_t> Quarantine::revisions() const {
  std::vector<int64_t> revisions;
  for (const auto& [revision, count] : crashes_)
    if (count >= kCrashesMax) revisions.push_back(revision);
  return revisions;
}

void Quarantine::Forget() {
  crashes_.clear();
  proven_.clear();
}

void Quarantine::MarkProven(int64_t revision) {
  crashes_.erase(revision);
  proven_.insert(revision);
  while (proven_.size() > kRememberedMax) proven_.erase(proven_.begin());
}

}  // namespace spillway
