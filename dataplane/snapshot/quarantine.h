#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/error.h"
#include "dataplane/snapshot/crash_marker.h"

namespace spillway {

// Which revisions crashed this instance, and which ran a whole trial here. Two crashes quarantine a
// revision that never ran one. A value; whoever owns it saves it.
class Quarantine {
 public:
  static constexpr int kCrashesMax = 2;

  // A missing or damaged file is an empty quarantine: rather try a revision twice more than refuse
  // to start.
  static Quarantine Load(const std::string& path);
  // Whole or not at all.
  std::string Render() const;

  // Counts what an earlier process left, once; true when that quarantined its revision.
  bool Count(const CrashRecord& crash, int64_t window_ms);
  bool Contains(int64_t revision) const;
  std::vector<int64_t> revisions() const;

  // It ran a whole trial here: crashes no longer count against it.
  void MarkProven(int64_t revision);
  // The numbers stand for other revisions from now on.
  void Forget();
  bool IsProven(int64_t revision) const { return proven_.contains(revision); }

 private:
  static constexpr size_t kRememberedMax = 64;

  std::map<int64_t, int> crashes_;
  std::set<int64_t> proven_;
  uint64_t counted_id_ = 0;
};

}  // namespace spillway
