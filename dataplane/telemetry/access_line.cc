#include "dataplane/telemetry/access_line.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>

#include "common/json.h"

namespace spillway {
namespace {

void PutDigits(char* at, int64_t value, int digits) {
  for (int i = digits - 1; i >= 0; --i) {
    at[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

bool IsPlain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
}

// `name` comes with its quotes, comma and colon.
void AppendText(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += name;
  if (!std::ranges::all_of(value, IsPlain)) return AppendJsonString(out, value);
  out += '"';
  out += value;
  out += '"';
}

void AppendNumber(std::string& out, std::string_view name, int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out += name;
  out.append(digits, end);
}

// Kinds of tokens that most requests have none of.
void AppendRare(std::string& out, std::string_view name, int64_t value) {
  if (value != 0) AppendNumber(out, name, value);
}

void AppendFlag(std::string& out, std::string_view name, bool value) {
  out += name;
  out += value ? "true" : "false";
}

}  // namespace

std::string_view LogTime::Format(int64_t wall_ms) {
  const int64_t second = wall_ms / 1000;
  if (second != second_) {
    second_ = second;
    const std::chrono::sys_seconds point{std::chrono::seconds(second)};
    const auto day = std::chrono::floor<std::chrono::days>(point);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(point - day);
    std::memcpy(text_, "0000-00-00T00:00:00.000Z", 24);
    PutDigits(text_, static_cast<int>(date.year()), 4);
    PutDigits(text_ + 5, static_cast<unsigned>(date.month()), 2);
    PutDigits(text_ + 8, static_cast<unsigned>(date.day()), 2);
    PutDigits(text_ + 11, clock.hours().count(), 2);
    PutDigits(text_ + 14, clock.minutes().count(), 2);
    PutDigits(text_ + 17, clock.seconds().count(), 2);
  }
  PutDigits(text_ + 20, wall_ms % 1000, 3);
  return {text_, 24};
}

void AppendAccessLine(std::string& out, std::string_view time, std::string_view request_id,
                      const AccessRecord& record, int64_t duration_us) {
  AppendText(out, "{\"time\":", time);
  AppendText(out, ",\"request_id\":", request_id);
  AppendText(out, ",\"key\":", record.key);
  AppendText(out, ",\"organization\":", record.organization);
  AppendText(out, ",\"team\":", record.team);
  AppendText(out, ",\"user\":", record.user);
  AppendText(out, ",\"feature\":", record.feature);
  AppendText(out, ",\"route\":", record.route);
  AppendText(out, ",\"model\":", record.model);
  AppendText(out, ",\"provider\":", record.provider);
  AppendNumber(out, ",\"status\":", record.status);
  AppendText(out, ",\"refusal\":", record.refusal);
  AppendText(out, ",\"limit\":", record.limit);
  AppendText(out, ",\"downgraded\":", record.downgraded);
  AppendText(out, ",\"budget_warning\":", record.budget_warning);
  AppendNumber(out, ",\"attempts\":", record.attempts);
  AppendFlag(out, ",\"fallback\":", record.fallback);
  AppendFlag(out, ",\"stream\":", record.stream);
  AppendText(out, ",\"end\":", record.end);
  AppendNumber(out, ",\"input_tokens\":", record.usage.input);
  AppendNumber(out, ",\"output_tokens\":", record.usage.output);
  AppendNumber(out, ",\"cached_input_tokens\":", record.usage.cached_input);
  AppendNumber(out, ",\"reasoning_tokens\":", record.usage.reasoning);
  AppendRare(out, ",\"cache_write_5m_tokens\":", record.usage.cache_write_5m);
  AppendRare(out, ",\"cache_write_1h_tokens\":", record.usage.cache_write_1h);
  AppendRare(out, ",\"audio_input_tokens\":", record.usage.audio_input);
  AppendRare(out, ",\"audio_output_tokens\":", record.usage.audio_output);
  AppendRare(out, ",\"images\":", record.usage.images);
  AppendText(out, ",\"usage_source\":", record.usage_source);
  AppendNumber(out, ",\"cost_nanos\":", record.cost);
  AppendNumber(out, ",\"duration_us\":", duration_us);
  AppendNumber(out, ",\"upstream_us\":", record.upstream_us);
  AppendNumber(out, ",\"first_token_us\":", record.first_token_us);
  AppendNumber(out, ",\"request_bytes\":", record.request_bytes);
  AppendNumber(out, ",\"response_bytes\":", record.response_bytes);
  AppendNumber(out, ",\"revision\":", record.revision);
  out += "}\n";
}

}  // namespace spillway
