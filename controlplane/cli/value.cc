#include "controlplane/cli/value.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "common/crypto/sha256.h"
#include "common/json.h"
#include "common/money.h"

namespace spillway::cli {

Value& Value::Set(std::string name, Value value) {
  std::get<Fields>(node_).emplace_back(std::move(name), std::move(value));
  return *this;
}

Value Value::Items(List items) {
  Value value;
  value.Set("items", std::move(items));
  return value;
}

class JsonPrinter {
 public:
  std::string Print(const Value& value) {
    Write(value, 0);
    out_ += '\n';
    return std::move(out_);
  }

 private:
  void Write(const Value& value, int depth) {
    std::visit([&](const auto& node) { WriteNode(node, depth); }, value.node_);
  }
  void WriteNode(bool node, int) { out_ += node ? "true" : "false"; }
  void WriteNode(int64_t node, int) { out_ += std::to_string(node); }
  void WriteNode(const std::string& node, int) { AppendJsonString(out_, node); }
  void WriteNode(const Value::List& node, int depth) {
    if (node.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (size_t i = 0; i < node.size(); ++i) {
      NewLine(i, depth + 1);
      Write(node[i], depth + 1);
    }
    NewLine(0, depth);
    out_ += ']';
  }
  void WriteNode(const Value::Fields& node, int depth) {
    if (node.empty()) {
      out_ += "{}";
      return;
    }
    out_ += '{';
    for (size_t i = 0; i < node.size(); ++i) {
      NewLine(i, depth + 1);
      AppendJsonString(out_, node[i].first);
      out_ += ": ";
      Write(node[i].second, depth + 1);
    }
    NewLine(0, depth);
    out_ += '}';
  }
  void NewLine(size_t index, int depth) {
    out_ += index == 0 ? "\n" : ",\n";
    out_.append(static_cast<size_t>(depth) * 2, ' ');
  }

  std::string out_;
};

// Block style; strings are double-quoted (every JSON string is a YAML one), so that no value can be
// taken for another type.
class YamlPrinter {
 public:
  std::string Print(const Value& value) {
    WriteBlock(value, 0);
    return std::move(out_);
  }

 private:
  static bool IsBlock(const Value& value) {
    const auto* list = std::get_if<Value::List>(&value.node_);
    const auto* fields = std::get_if<Value::Fields>(&value.node_);
    return (list != nullptr && !list->empty()) || (fields != nullptr && !fields->empty());
  }

  void WriteBlock(const Value& value, size_t depth) {
    if (const auto* fields = std::get_if<Value::Fields>(&value.node_)) {
      WriteFields(*fields, depth, false);
    } else if (const auto* list = std::get_if<Value::List>(&value.node_)) {
      for (const Value& item : *list) WriteItem(item, depth);
    } else {
      WriteScalar(value);
    }
  }

  void WriteItem(const Value& item, size_t depth) {
    out_.append(depth * 2, ' ');
    out_ += "- ";
    const auto* fields = std::get_if<Value::Fields>(&item.node_);
    if (fields != nullptr && !fields->empty()) {
      WriteFields(*fields, depth + 1, true);
    } else {
      WriteScalar(item);
    }
  }

  void WriteFields(const Value::Fields& fields, size_t depth, bool behind_dash) {
    for (size_t i = 0; i < fields.size(); ++i) {
      if (i != 0 || !behind_dash) out_.append(depth * 2, ' ');
      out_ += fields[i].first + ":";
      if (IsBlock(fields[i].second)) {
        out_ += '\n';
        WriteBlock(fields[i].second, depth + 1);
      } else {
        out_ += ' ';
        WriteScalar(fields[i].second);
      }
    }
  }

  void WriteScalar(const Value& value) {
    if (const auto* text = std::get_if<std::string>(&value.node_)) {
      AppendJsonString(out_, *text);
    } else if (const auto* number = std::get_if<int64_t>(&value.node_)) {
      out_ += std::to_string(*number);
    } else if (const auto* flag = std::get_if<bool>(&value.node_)) {
      out_ += *flag ? "true" : "false";
    } else {
      out_ += std::holds_alternative<Value::List>(value.node_) ? "[]" : "{}";
    }
    out_ += '\n';
  }

  std::string out_;
};

std::string Value::ToJson() const { return JsonPrinter().Print(*this); }
std::string Value::ToYaml() const { return YamlPrinter().Print(*this); }

namespace {

namespace pb = google::protobuf;

// KIND_MODEL -> "model": without what the names of one enum have in common.
std::string EnumText(const pb::EnumDescriptor& type, int number) {
  const pb::EnumValueDescriptor* value = type.FindValueByNumber(number);
  if (value == nullptr) return std::to_string(number);
  constexpr std::string_view kUnset = "UNSPECIFIED";
  const std::string& zero = type.FindValueByNumber(0)->name();
  std::string text = value->name();
  if (text == zero) return "";
  const size_t prefix = zero.ends_with(kUnset) ? zero.size() - kUnset.size() : 0;
  if (text.starts_with(zero.substr(0, prefix))) text.erase(0, prefix);
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// One element of a repeated field, or a single field (index -1).
Value ScalarOf(const pb::Message& message, const pb::FieldDescriptor& field, int index) {
  const pb::Reflection& r = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return one ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_INT32:
      return int64_t{one ? r.GetInt32(message, &field)
                         : r.GetRepeatedInt32(message, &field, index)};
    case pb::FieldDescriptor::CPPTYPE_INT64:
      return int64_t{one ? r.GetInt64(message, &field)
                         : r.GetRepeatedInt64(message, &field, index)};
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(*field.enum_type(), one ? r.GetEnumValue(message, &field)
                                              : r.GetRepeatedEnumValue(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      return ValueOf(one ? r.GetMessage(message, &field)
                         : r.GetRepeatedMessage(message, &field, index));
    default: {
      std::string text =
          one ? r.GetString(message, &field) : r.GetRepeatedString(message, &field, index);
      return field.type() == pb::FieldDescriptor::TYPE_BYTES ? HexOf(text) : text;
    }
  }
}

bool IsMoney(const pb::FieldDescriptor& field) {
  return field.cpp_type() == pb::FieldDescriptor::CPPTYPE_INT64 && !field.is_repeated() &&
         (field.name().ends_with("_nanos") || field.containing_type()->name() == "Price");
}

// A digest or sealed value that the server kept to itself.
bool IsRedacted(const pb::Message& message, const pb::FieldDescriptor& field) {
  return field.type() == pb::FieldDescriptor::TYPE_BYTES && !field.is_repeated() &&
         message.GetReflection()->GetString(message, &field).empty();
}

void SetMoney(Value& value, const pb::FieldDescriptor& field, int64_t nanos) {
  std::string stem = field.name();
  if (stem.ends_with("_nanos")) stem.erase(stem.size() - 6);
  value.Set(stem + "_nanos", nanos).Set(stem + "_usd", FormatUsd(nanos));
}

// A map of texts, in the order of its names.
Value MapOf(const pb::Message& message, const pb::FieldDescriptor& field) {
  const pb::Reflection& reflection = *message.GetReflection();
  std::map<std::string, Value> sorted;
  for (int n = 0; n < reflection.FieldSize(message, &field); ++n) {
    const pb::Message& entry = reflection.GetRepeatedMessage(message, &field, n);
    const pb::Descriptor& type = *entry.GetDescriptor();
    sorted[entry.GetReflection()->GetString(entry, type.map_key())] =
        ScalarOf(entry, *type.map_value(), -1);
  }
  Value value;
  for (auto& [name, held] : sorted) value.Set(name, std::move(held));
  return value;
}

}  // namespace

Value ValueOf(const pb::Message& message) {
  Value value;
  const pb::Descriptor& type = *message.GetDescriptor();
  const pb::Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::FieldDescriptor& field = *type.field(i);
    if (IsRedacted(message, field)) continue;
    if (field.is_map()) {
      value.Set(field.name(), MapOf(message, field));
    } else if (field.is_repeated()) {
      Value::List list;
      for (int n = 0; n < reflection.FieldSize(message, &field); ++n) {
        list.push_back(ScalarOf(message, field, n));
      }
      value.Set(field.name(), std::move(list));
    } else if (!field.has_presence() || reflection.HasField(message, &field)) {
      if (IsMoney(field)) {
        SetMoney(value, field, reflection.GetInt64(message, &field));
      } else {
        value.Set(field.name(), ScalarOf(message, field, -1));
      }
    }
  }
  return value;
}

}  // namespace spillway::cli
