#include "controlplane/alerts/alert_text.h"

#include <format>
#include <string_view>

#include "common/json.h"
#include "common/money.h"
#include "common/utc.h"
#include "controlplane/alerts/alert.h"

namespace spillway::alerts {
namespace {

std::string WindowText(const v1::Alert& alert) {
  const std::string from = FormatUtc(alert.window_start_ms()).substr(0, 16) + "Z";
  if (alert.window_end_ms() == 0) return "since " + from;
  return std::format("{} to {}", from, FormatUtc(alert.window_end_ms()).substr(0, 16) + "Z");
}

std::string Named(const v1::Alert& alert) {
  if (alert.subject().empty()) return std::format(R"(budget "{}")", alert.budget());
  return std::format(R"(budget "{}" for "{}")", alert.budget(), alert.subject());
}

// What Slack's own notation means something by; names come from outside.
std::string SlackEscaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

void TimeField(JsonWriter& json, std::string_view name, int64_t ms, bool known) {
  json.Key(name);
  if (known) {
    json.Value(FormatUtc(ms));
  } else {
    json.Null();
  }
}

}  // namespace

std::string SentenceOf(const v1::Alert& alert) {
  if (alert.type() == kTest) return "a test of this alert sink by its operators";
  if (alert.type() == kFrozen) {
    return std::format("budget \"{}\" is frozen: nothing is admitted under it until it is thawed",
                       alert.budget());
  }
  const std::string spent =
      std::format("{}: USD {} of {} spent", Named(alert), FormatUsd(alert.spent_nanos()),
                  FormatUsd(alert.limit_nanos()));
  if (alert.type() == kExhausted) return spent + ": it is exhausted";
  return std::format("{}, past {} %", spent, alert.threshold_percent());
}

std::string WebhookBody(const v1::Alert& alert) {
  std::string body;
  JsonWriter json(body);
  json.BeginObject()
      .Field("id", alert.id())
      .Field("type", alert.type())
      .Field("budget", alert.budget())
      .Field("subject", alert.subject())
      .Field("threshold_percent", alert.threshold_percent())
      .Field("spent_usd", FormatUsd(alert.spent_nanos()))
      .Field("limit_usd", FormatUsd(alert.limit_nanos()));
  const bool windowless = alert.type() == kTest || alert.type() == kFrozen;
  TimeField(json, "window_start", alert.window_start_ms(), !windowless);
  TimeField(json, "window_end", alert.window_end_ms(), !windowless && alert.window_end_ms() != 0);
  json.Field("at", FormatUtc(alert.at_ms())).Field("text", SentenceOf(alert)).EndObject();
  return body;
}

std::string SlackBody(const v1::Alert& alert) {
  const std::string sentence = SlackEscaped(SentenceOf(alert));
  const std::string text = "Spillway: " + sentence;
  std::string body;
  JsonWriter json(body);
  json.BeginObject().Field("text", text).Key("blocks").BeginArray();
  json.BeginObject().Field("type", "section").Key("text");
  json.BeginObject().Field("type", "mrkdwn").Field("text", "*Spillway* " + sentence).EndObject();
  json.EndObject();
  if (alert.type() != kTest && alert.type() != kFrozen) {
    json.BeginObject().Field("type", "context").Key("elements").BeginArray();
    json.BeginObject().Field("type", "plain_text").Field("text", WindowText(alert)).EndObject();
    json.EndArray().EndObject();
  }
  json.EndArray().EndObject();
  return body;
}

}  // namespace spillway::alerts
