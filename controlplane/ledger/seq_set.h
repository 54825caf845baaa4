#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace spillway {

// A set of sequence numbers as inclusive ranges; as small as it has holes. A value, not
// thread-safe.
class SeqSet {
 public:
  bool Contains(int64_t seq) const;
  void Add(int64_t from, int64_t to);
  void Remove(int64_t seq);
  // Takes everything up to and with `upto` out.
  void RemoveUpto(int64_t upto);
  // The parts of [from, to] that are not in the set.
  std::vector<std::pair<int64_t, int64_t>> Holes(int64_t from, int64_t to) const;

  size_t ranges() const { return ranges_.size(); }
  bool empty() const { return ranges_.empty(); }
  int64_t last() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }
  const std::map<int64_t, int64_t>& map() const { return ranges_; }

 private:
  std::map<int64_t, int64_t> ranges_;  // from -> to; neither touching nor overlapping
};

}  // namespace spillway
