#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace spillway::openai {

// Finds keys that occur twice in one object, over the objects that are open at the moment. Small
// objects are searched as they come; larger ones are sorted once when they close, so that a body of
// a million keys costs n log n and no choice of keys costs more. Reused from body to body by one
// thread.
class JsonKeys {
 public:
  static constexpr size_t kSearchedMax = 32;
  static constexpr size_t kKeysMax = 1'000'000;  // of all open objects

  void Reset();
  // An object begins.
  void Open();
  // A key of the innermost object, unescaped, valid until that object closes and followed by 8
  // readable bytes. False: it was there before, or kKeysMax is reached.
  bool Add(std::string_view key);
  bool full() const { return keys_.size() >= kKeysMax; }
  // The innermost object ends. False: two of its keys are the same.
  bool Close();
  // Keeps an unescaped key until the innermost object closes; the view suits Add.
  std::string_view Store(std::string key);

 private:
  struct Key {
    uint64_t print;  // equal keys have equal prints
    const char* text;
    uint32_t size;
    std::string_view view() const { return {text, size}; }
  };
  struct Object {
    size_t keys_begin;
    size_t stored_begin;
  };
  static uint64_t Print(std::string_view key);

  std::vector<Key> keys_;
  std::vector<Object> objects_;
  std::deque<std::string> stored_;
};

}  // namespace spillway::openai
