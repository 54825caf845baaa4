#include "dataplane/dialect/json_keys.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace spillway::openai {
namespace {

constexpr size_t kKeysKept = 1 << 14;  // more than any honest body has open at a time
constexpr uint64_t kMix = 0x9e3779b97f4a7c15;

uint64_t Load8(const char* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace

void JsonKeys::Reset() {
  keys_.clear();
  objects_.clear();
  stored_.clear();
  if (keys_.capacity() > kKeysKept) keys_.shrink_to_fit();
}

void JsonKeys::Open() { objects_.push_back({keys_.size(), stored_.size()}); }

// The bytes themselves for keys up to 8 bytes: nothing to collide. Longer ones are told apart by
// their ends and length; what collides is compared in full.
uint64_t JsonKeys::Print(std::string_view key) {
  if (key.empty()) return 0;
  const char* const text = key.begin();
  if (key.size() <= 8) {
    const uint64_t kept = ~uint64_t{0} >> (8 * (8 - key.size()));
    const uint64_t bytes = Load8(text);
    return std::endian::native == std::endian::little ? bytes & kept
                                                      : bytes >> (8 * (8 - key.size()));
  }
  const uint64_t last = Load8(text + key.size() - 8);
  return (Load8(text) * kMix) ^ std::rotl(last, 21) ^ (key.size() * kMix);
}

bool JsonKeys::Add(std::string_view key) {
  if (keys_.size() >= kKeysMax) return false;
  const Key fresh{Print(key), key.data(), static_cast<uint32_t>(key.size())};
  const size_t begin = objects_.back().keys_begin;
  if (keys_.size() - begin < kSearchedMax) {
    for (size_t i = begin; i < keys_.size(); ++i) {
      if (keys_[i].print == fresh.print && keys_[i].view() == key) return false;
    }
  }
  keys_.push_back(fresh);
  return true;
}

bool JsonKeys::Close() {
  const Object object = objects_.back();
  objects_.pop_back();
  const auto begin = keys_.begin() + static_cast<std::ptrdiff_t>(object.keys_begin);
  bool distinct = true;
  if (keys_.size() - object.keys_begin > kSearchedMax) {
    std::sort(begin, keys_.end(), [](const Key& a, const Key& b) {
      return a.print != b.print ? a.print < b.print : a.view() < b.view();
    });
    const auto twin = std::adjacent_find(begin, keys_.end(), [](const Key& a, const Key& b) {
      return a.print == b.print && a.view() == b.view();
    });
    distinct = twin == keys_.end();
  }
  keys_.erase(begin, keys_.end());
  while (stored_.size() > object.stored_begin) stored_.pop_back();
  return distinct;
}

std::string_view JsonKeys::Store(std::string key) {
  const size_t size = key.size();
  key.append(8, '\0');
  return std::string_view(stored_.emplace_back(std::move(key))).substr(0, size);
}

}  // namespace spillway::openai
