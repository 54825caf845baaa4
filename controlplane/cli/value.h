#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace spillway::cli {

// What `-o json` and `-o yaml` print: a tree whose fields keep their order. A value.
class Value {
 public:
  using List = std::vector<Value>;
  using Fields = std::vector<std::pair<std::string, Value>>;

  Value() : node_(Fields()) {}
  Value(bool value) : node_(value) {}                    // NOLINT(google-explicit-constructor)
  Value(int64_t value) : node_(value) {}                 // NOLINT(google-explicit-constructor)
  Value(std::string value) : node_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Value(std::string_view value)
      : node_(std::string(value)) {}                       // NOLINT(google-explicit-constructor)
  Value(const char* value) : node_(std::string(value)) {}  // NOLINT(google-explicit-constructor)
  Value(List value) : node_(std::move(value)) {}           // NOLINT(google-explicit-constructor)

  // Of an object: appends a field; returns the object.
  Value& Set(std::string name, Value value);
  // {"items": [...]}
  static Value Items(List items);

  std::string ToJson() const;
  std::string ToYaml() const;

 private:
  friend class JsonPrinter;
  friend class YamlPrinter;
  std::variant<bool, int64_t, std::string, List, Fields> node_;
};

// A message with the names of its proto file: snake_case, integers as numbers, enums as their
// lower-case names, fields without presence always there,
// but for empty bytes (what was redacted). Beside each `..._nanos` stands the same
// money as an exact decimal, `..._usd`; prices (per million tokens) likewise.
Value ValueOf(const google::protobuf::Message& message);

}  // namespace spillway::cli
