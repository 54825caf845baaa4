#include <algorithm>
#include <array>

#include "common/config/form.h"
#include "common/config/load.h"
#include "common/config/resource.h"
#include "common/json.h"

namespace spillway::config {
namespace {

// Words that some reader of YAML takes for something else than text.
bool IsKeyword(std::string_view text) {
  constexpr std::array<std::string_view, 9> kKeywords = {"true", "false", "yes", "no", "on",
                                                         "off",  "null",  "y",   "n"};
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::ranges::contains(kKeywords, lower);
}

// Begins with a letter and holds nothing that means something in YAML; the rest is quoted.
bool IsBare(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.empty() || !letter(text.front()) || text.back() == ':' || IsKeyword(text)) return false;
  return std::ranges::all_of(text, [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || std::string_view("._:/-").contains(c);
  });
}

// A JSON string is a YAML string.
void AppendText(std::string& out, std::string_view text) {
  if (IsBare(text)) {
    out += text;
  } else {
    AppendJsonString(out, text);
  }
}

// Writes the fields of one map; the caller has written what stands before the first one.
class Renderer {
 public:
  explicit Renderer(std::string& out) : out_(out) {}

  void Fields(const FormFields& fields, size_t indent) {
    bool first = true;
    for (const FormField& field : fields) {
      if (!first) out_.append(indent, ' ');
      first = false;
      AppendText(out_, field.name);
      out_ += ':';
      std::visit([&](const auto& value) { Value(value, indent); }, field.value);
    }
  }

  void Items(const std::vector<FormFields>& items, size_t indent) {
    for (const FormFields& item : items) {
      out_.append(indent, ' ').append("- ");
      Fields(item, indent + 2);
      if (item.empty()) out_ += "{}\n";
    }
  }

 private:
  void Value(const Plain& plain, size_t) { out_.append(" ").append(plain.text).append("\n"); }

  void Value(const Quotable& text, size_t) {
    out_ += ' ';
    AppendText(out_, text.text);
    out_ += '\n';
  }

  void Value(const PlainList& list, size_t) {
    out_ += " [";
    for (size_t i = 0; i < list.texts.size(); ++i)
      out_.append(i > 0 ? ", " : "").append(list.texts[i]);
    out_ += "]\n";
  }

  void Value(const std::vector<std::string>& texts, size_t) {
    out_ += " [";
    for (size_t i = 0; i < texts.size(); ++i) {
      if (i > 0) out_ += ", ";
      AppendText(out_, texts[i]);
    }
    out_ += "]\n";
  }

  void Value(const FormFields& fields, size_t indent) {
    out_ += '\n';
    out_.append(indent + 2, ' ');
    Fields(fields, indent + 2);
  }

  void Value(const std::vector<FormFields>& items, size_t indent) {
    out_ += items.empty() ? " []\n" : "\n";
    Items(items, indent + 2);
  }

  std::string& out_;
};

}  // namespace

std::string RenderYaml(const std::vector<v1::Resource>& resources) {
  std::string out;
  for (const v1::Kind kind : AllKinds()) {
    std::vector<FormFields> forms;
    for (const v1::Resource& resource : resources) {
      if (KindOf(resource) == kind) forms.push_back(FormOf(resource));
    }
    if (forms.empty()) continue;
    out.append(NameOf(kind)).append("s:\n");
    Renderer(out).Items(forms, 2);
  }
  return out;
}

}  // namespace spillway::config
