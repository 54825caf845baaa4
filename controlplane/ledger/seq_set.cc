#include "controlplane/ledger/seq_set.h"

#include <algorithm>
#include <iterator>

namespace spillway {

bool SeqSet::Contains(int64_t seq) const {
  const auto behind = ranges_.upper_bound(seq);
  return behind != ranges_.begin() && std::prev(behind)->second >= seq;
}

void SeqSet::Add(int64_t from, int64_t to) {
  if (from > to) return;
  auto at = ranges_.upper_bound(from);
  if (at != ranges_.begin() && std::prev(at)->second >= from - 1) at = std::prev(at);
  while (at != ranges_.end() && at->first <= to + 1) {
    from = std::min(from, at->first);
    to = std::max(to, at->second);
    at = ranges_.erase(at);
  }
  ranges_.emplace(from, to);
}

void SeqSet::Remove(int64_t seq) {
  const auto behind = ranges_.upper_bound(seq);
  if (behind == ranges_.begin()) return;
  const auto at = std::prev(behind);
  const auto [from, to] = *at;
  if (to < seq) return;
  ranges_.erase(at);
  if (from < seq) ranges_.emplace(from, seq - 1);
  if (seq < to) ranges_.emplace(seq + 1, to);
}

void SeqSet::RemoveUpto(int64_t upto) {
  while (!ranges_.empty() && ranges_.begin()->first <= upto) {
    const int64_t to = ranges_.begin()->second;
    ranges_.erase(ranges_.begin());
    if (to > upto) ranges_.emplace(upto + 1, to);
  }
}

std::vector<std::pair<int64_t, int64_t>> SeqSet::Holes(int64_t from, int64_t to) const {
  std::vector<std::pair<int64_t, int64_t>> holes;
  auto at = ranges_.upper_bound(from);
  if (at != ranges_.begin() && std::prev(at)->second >= from) from = std::prev(at)->second + 1;
  for (; from <= to && at != ranges_.end() && at->first <= to; ++at) {
    if (from < at->first) holes.emplace_back(from, at->first - 1);
    from = at->second + 1;
  }
  if (from <= to) holes.emplace_back(from, to);
  return holes;
}

}  // namespace spillway
