#include "controlplane/cli/spend_rows.h"

#include <algorithm>
#include <array>
#include <format>

#include "common/money.h"
#include "controlplane/cli/csv.h"
#include "controlplane/cli/table.h"

namespace spillway::cli {
namespace {

constexpr std::string_view kTagPrefix = "tag:";
constexpr std::array<std::pair<std::string_view, v1::Dimension>, 11> kDimensions{
    {{"organization", v1::DIMENSION_ORGANIZATION},
     {"team", v1::DIMENSION_TEAM},
     {"user", v1::DIMENSION_USER},
     {"key", v1::DIMENSION_KEY},
     {"feature", v1::DIMENSION_FEATURE},
     {"model", v1::DIMENSION_MODEL},
     {"route", v1::DIMENSION_ROUTE},
     {"provider", v1::DIMENSION_PROVIDER},
     {"hour", v1::DIMENSION_HOUR},
     {"day", v1::DIMENSION_DAY},
     {"month", v1::DIMENSION_MONTH}}};

struct Number {
  std::string_view name;
  int64_t (v1::SpendRow::*get)() const;
  void (v1::SpendRow::*set)(int64_t);
};
#define SW_NUMBER(Name) \
  Number { #Name, &v1::SpendRow::Name, &v1::SpendRow::set_##Name }
constexpr std::array kNumbers = {
    SW_NUMBER(requests),
    SW_NUMBER(attempts),
    SW_NUMBER(input_tokens),
    SW_NUMBER(output_tokens),
    SW_NUMBER(cached_input_tokens),
    SW_NUMBER(reasoning_tokens),
    SW_NUMBER(cost_nanos),
    SW_NUMBER(estimated_nanos),
    SW_NUMBER(retries),
    SW_NUMBER(retry_nanos),
    SW_NUMBER(fallbacks),
    SW_NUMBER(fallback_nanos),
    SW_NUMBER(disconnects),
    SW_NUMBER(disconnect_nanos),
    SW_NUMBER(estimated_attempts),
    SW_NUMBER(unpriced_attempts),
    SW_NUMBER(downgrades),
    SW_NUMBER(cache_write_5m_tokens),
    SW_NUMBER(cache_write_1h_tokens),
    SW_NUMBER(audio_input_tokens),
    SW_NUMBER(audio_output_tokens),
    SW_NUMBER(images),
};
constexpr std::array kOpenNumbers = {SW_NUMBER(open_attempts), SW_NUMBER(open_reserved_nanos)};
#undef SW_NUMBER

Answer<v1::Dimension> DimensionNamed(std::string_view name) {
  const auto* row = std::ranges::find(kDimensions, name, [](const auto& r) { return r.first; });
  if (row != kDimensions.end()) return row->second;
  return FailUsage(std::format("\"{}\" is nothing to group by; there are {}, and tag:NAME", name,
                               Joined(DimensionNames(), ", ")));
}

// Calls `take(name, value, money)` for each number.
template <typename Take>
void ForEachNumber(const v1::SpendRow& row, bool with_open, const Take& take) {
  const auto one = [&](const Number& number) {
    take(number.name, (row.*number.get)(), number.name.ends_with("_nanos"));
  };
  for (const Number& number : kNumbers) one(number);
  if (!with_open) return;
  for (const Number& number : kOpenNumbers) one(number);
}

std::string UsdName(std::string_view nanos_name) {
  return std::string(nanos_name.substr(0, nanos_name.size() - 5)) + "usd";
}

}  // namespace

std::vector<std::string> DimensionNames() {
  std::vector<std::string> names;
  names.reserve(kDimensions.size());
  for (const auto& [name, dimension] : kDimensions) names.emplace_back(name);
  return names;
}

Answer<void> AddDimension(const std::string& name, v1::QuerySpendRequest& request) {
  if (name.starts_with(kTagPrefix) && name.size() > kTagPrefix.size()) {
    request.add_by(v1::DIMENSION_TAG);
    request.add_tags(name.substr(kTagPrefix.size()));
    return {};
  }
  SW_TRY(const v1::Dimension dimension, DimensionNamed(name));
  request.add_by(dimension);
  return {};
}

Answer<void> AddCondition(const std::string& condition, v1::QuerySpendRequest& request) {
  const size_t equals = condition.find('=');
  if (equals == std::string::npos) {
    return FailUsage(std::format(
        "--where {}: write DIMENSION=VALUE, such as team=support or tag:env=prod", condition));
  }
  const std::string name = condition.substr(0, equals);
  const std::string value = condition.substr(equals + 1);
  if (name.starts_with(kTagPrefix) && name.size() > kTagPrefix.size()) {
    (*request.mutable_where_tags())[name.substr(kTagPrefix.size())] = value;
    return {};
  }
  SW_TRY(const v1::Dimension dimension, DimensionNamed(name));
  (*request.mutable_where())[dimension] = value;
  return {};
}

bool UsesTags(const v1::QuerySpendRequest& request) {
  return request.tags_size() > 0 || request.where_tags_size() > 0;
}

bool ReadsEvents(const v1::QuerySpendRequest& request) {
  return request.from_events() || UsesTags(request);
}

std::vector<std::pair<std::string, std::string>> NumbersOf(const v1::SpendRow& row,
                                                           bool with_open) {
  std::vector<std::pair<std::string, std::string>> numbers;
  ForEachNumber(row, with_open, [&](std::string_view name, int64_t value, bool money) {
    numbers.emplace_back(name, std::to_string(value));
    if (money) numbers.emplace_back(UsdName(name), FormatUsd(value));
  });
  return numbers;
}

Value RowValue(const v1::SpendRow& row, const std::vector<std::string>& by, bool with_open) {
  Value value;
  for (int i = 0; i < row.values_size() && i < static_cast<int>(by.size()); ++i)
    value.Set(by[static_cast<size_t>(i)], row.values(i));
  ForEachNumber(row, with_open, [&](std::string_view name, int64_t number, bool money) {
    value.Set(std::string(name), number);
    if (money) value.Set(UsdName(name), FormatUsd(number));
  });
  value.Set("partial", row.partial());
  return value;
}

std::string RowsCsv(const v1::QuerySpendResponse& response, const std::vector<std::string>& by,
                    bool with_open) {
  std::vector<std::string> headings = by;
  for (const auto& [name, value] : NumbersOf(v1::SpendRow(), with_open)) headings.push_back(name);
  Csv csv(headings);
  for (const v1::SpendRow& row : response.rows()) {
    std::vector<std::string> cells(row.values().begin(), row.values().end());
    cells.resize(by.size());
    for (const auto& [name, value] : NumbersOf(row, with_open)) cells.push_back(value);
    csv.Row(cells);
  }
  return csv.text();
}

std::string Heading(std::string name) {
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return name;
}

v1::SpendRow SumOf(const v1::QuerySpendResponse& response) {
  v1::SpendRow sum;
  const auto add = [&sum](const v1::SpendRow& row, const Number& number) {
    (sum.*number.set)((sum.*number.get)() + (row.*number.get)());
  };
  for (const v1::SpendRow& row : response.rows()) {
    for (const Number& number : kNumbers) add(row, number);
    for (const Number& number : kOpenNumbers) add(row, number);
    sum.set_partial(sum.partial() || row.partial());
  }
  return sum;
}

std::string ShareText(int64_t part, int64_t whole) {
  if (whole <= 0) return "-";
  const auto tenths =
      static_cast<int64_t>((static_cast<__int128>(part) * 1000 + whole / 2) / whole);
  return std::format("{}.{} %", tenths / 10, tenths % 10);
}

}  // namespace spillway::cli
