#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace spillway {

// Appends `text` as a JSON string with its quotes. The output is ASCII-safe for terminals and log
// collectors: control characters (C0, DEL, C1) and U+2028/2029 are escaped, bytes that are no UTF-8
// become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);

// Writes one JSON text piece by piece: access logs, error bodies, debug pages, the CLI's output.
// Commas are placed by itself; that Begin and End match and that a Key stands before every value of
// an object is the caller's part. Not thread-safe; `out` must outlive it.
//
//   JsonWriter(out).BeginObject().Field("id", id).Key("tags").BeginArray().Value("a").EndArray()
//       .EndObject();
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view name);

  JsonWriter& Value(std::string_view text);
  JsonWriter& Value(const char* text) { return Value(std::string_view(text)); }
  JsonWriter& Value(const std::string& text) { return Value(std::string_view(text)); }
  JsonWriter& Value(bool value);
  JsonWriter& Value(double value);  // the shortest exact form; null when it is not finite
  template <std::signed_integral T>
  JsonWriter& Value(T value) {
    return Integer(value);
  }
  template <std::unsigned_integral T>
  JsonWriter& Value(T value) {
    return UnsignedInteger(value);
  }
  JsonWriter& Null();
  // `json` is a complete JSON value already.
  JsonWriter& Raw(std::string_view json);

  // Key and Value in one.
  template <typename T>
  JsonWriter& Field(std::string_view name, const T& value) {
    return Key(name).Value(value);
  }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  JsonWriter& Integer(int64_t value);
  JsonWriter& UnsignedInteger(uint64_t value);
  void Separate();

  std::string& out_;
  bool comma_ = false;  // the next key or value follows a complete one
};

}  // namespace spillway
