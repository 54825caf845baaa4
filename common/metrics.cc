#include "common/metrics.h"

#include <cmath>

#include "common/number_text.h"

namespace spillway {
namespace {

// The text format escapes backslash and line feed everywhere, and quotes in label values.
void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (c == '"' && quotes)) {
      out.append({'\\', c});
    } else {
      out += c;
    }
  }
}

void AppendName(std::string& out, std::string_view name, const MetricsText::Labels& labels) {
  out += name;
  if (!labels.empty()) {
    char separator = '{';
    for (const auto& [label, value] : labels) {
      out += separator;
      out.append(label).append("=\"");
      AppendEscaped(out, value, /*quotes=*/true);
      out += '"';
      separator = ',';
    }
    out += '}';
  }
  out += ' ';
}

}  // namespace

void MetricsText::Family(std::string_view name, std::string_view type, std::string_view help) {
  text_.append("# HELP ").append(name).append(" ");
  AppendEscaped(text_, help, /*quotes=*/false);
  text_.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}

void MetricsText::Sample(std::string_view name, const Labels& labels, double value) {
  AppendName(text_, name, labels);
  if (std::isnan(value)) {
    text_ += "NaN";
  } else if (std::isinf(value)) {
    text_ += value > 0 ? "+Inf" : "-Inf";
  } else {
    AppendNumber(text_, value);
  }
  text_ += '\n';
}

void MetricsText::Sample(std::string_view name, const Labels& labels, int64_t value) {
  AppendName(text_, name, labels);
  AppendNumber(text_, value);
  text_ += '\n';
}

void MetricsRegistry::Add(Source source) {
  const std::lock_guard lock(mutex_);
  sources_.push_back(std::move(source));
}

std::string MetricsRegistry::Scrape() const {
  std::vector<Source> sources;
  {
    const std::lock_guard lock(mutex_);
    sources = sources_;
  }
  MetricsText text;
  for (const Source& source : sources) source(text);
  return std::move(text).Take();
}

}  // namespace spillway
