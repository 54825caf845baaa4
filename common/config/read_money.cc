// Budgets, rate limits and where alerts go.
#include <algorithm>
#include <charconv>
#include <format>

#include "common/config/money_words.h"
#include "common/config/read_kinds.h"
#include "common/money.h"
#include "common/utc.h"

namespace spillway::config {
namespace {

std::optional<int32_t> WholeNumber(std::string_view text) {
  int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename Enum, size_t kCount>
std::optional<Enum> ReadWord(Section& section, std::string_view field,
                             const Words<Enum, kCount>& words) {
  const auto text = section.Text(field);
  if (!text) return std::nullopt;
  for (const auto& [word, value] : words) {
    if (*text == word) return value;
  }
  section.Refuse(field, *text, "must be " + Choices(words));
  return std::nullopt;
}

// An empty text would widen the scope to everybody.
std::string ReadScopeText(Section& section, std::string_view field) {
  auto text = section.Text(field);
  if (text && text->empty())
    section.Refuse(field, "", "must not be empty; leave it out to match every one");
  return std::move(text).value_or("");
}

void ReadTags(Section& section, google::protobuf::Map<std::string, std::string>& tags) {
  constexpr size_t kTagsMax = 8;
  const std::vector<const YamlNode*>& items = section.node().items;
  if (items.size() > 2 * kTagsMax)
    section.Refuse("", "", std::format("must be at most {} tags", kTagsMax));
  for (size_t i = 0; i + 1 < std::min(items.size(), 2 * kTagsMax); i += 2) {
    if (items[i]->type != YamlNode::Type::kScalar) continue;  // reported as no field name
    if (tags.contains(items[i]->text)) continue;              // the first one reported it
    tags[items[i]->text] = ReadScopeText(section, items[i]->text);
  }
}

void ReadScopeFields(Section& section, v1::Scope& scope) {
  scope.set_organization(ReadScopeText(section, "organization"));
  scope.set_team(ReadScopeText(section, "team"));
  scope.set_user(ReadScopeText(section, "user"));
  scope.set_key(ReadScopeText(section, "key"));
  scope.set_feature(ReadScopeText(section, "feature"));
  scope.set_route(ReadScopeText(section, "route"));
  scope.set_model(ReadScopeText(section, "model"));
  scope.set_provider(ReadScopeText(section, "provider"));
  scope.set_each(ReadScopeText(section, "each"));
  section.Inner("tags", [&](Section& tags) { ReadTags(tags, *scope.mutable_tags()); });
}

// Written even when it is everything: a forgotten scope would bind everybody.
void ReadScope(Section& section, v1::Scope& scope) {
  if (!section.Has("scope"))
    section.Refuse("scope", "",
                   "is required, such as {team: NAME} or {each: user}; {} is everything");
  section.Inner("scope", [&](Section& inner) { ReadScopeFields(inner, scope); });
}

// "day", or a number of hours: "24h".
void ReadWindow(Section& section, v1::Budget& budget) {
  if (!section.Has("window"))
    section.Refuse("window", "",
                   "is required: " + Choices(kWindowWords) + ", or hours such as 24h");
  const auto text = section.Text("window");
  if (!text) return;
  for (const auto& [word, value] : kWindowWords) {
    if (*text == word) return budget.set_window(value);
  }
  const auto hours = text->ends_with('h')
                         ? WholeNumber(std::string_view(*text).substr(0, text->size() - 1))
                         : std::nullopt;
  if (!hours || *hours <= 0) {
    section.Refuse("window", *text,
                   "must be " + Choices(kWindowWords) + ", or hours such as 24h for a rolling one");
    return;
  }
  budget.set_window(v1::WINDOW_ROLLING);
  budget.set_rolling_hours(*hours);
}

void ReadAlerts(Section& section, v1::Budget& budget) {
  const auto texts = section.Texts("alerts");
  if (!texts) return;
  for (const std::string& text : *texts) {
    if (const auto percent = WholeNumber(text)) {
      budget.add_alerts(*percent);
    } else {
      section.Refuse("alerts", text, "must be percentages of the limit, such as [50, 80, 95]");
    }
  }
}

void ReadOnExhausted(Section& section, v1::Budget& budget) {
  constexpr std::string_view kField = "on_exhausted";
  const YamlNode* node = section.Find(kField);
  if (node == nullptr) return;
  if (node->type == YamlNode::Type::kMap) {
    budget.set_on_exhausted(v1::ON_EXHAUSTED_DOWNGRADE);
    section.Inner(kField, [&](Section& inner) {
      if (auto name = inner.Text("downgrade")) budget.set_downgrade_to(*std::move(name));
    });
    return;
  }
  for (const auto& [word, value] : kOnExhaustedWords) {
    if (node->type == YamlNode::Type::kScalar && node->text == word)
      return budget.set_on_exhausted(value);
  }
  section.Refuse(kField, node->text,
                 std::format("must be {}, or {{downgrade: NAME}}", Choices(kOnExhaustedWords)));
}

void ReadRaise(Section& section, v1::Budget& budget) {
  if (!section.Has("usd")) section.Refuse("usd", "", "is required: an amount on top of the limit");
  if (!section.Has("until")) section.Refuse("until", "", "is required: the date it ends at");
  if (auto nanos = section.Parsed("usd", &ParseUsd)) {
    if (*nanos == 0) section.Refuse("usd", "0", "must be more than 0");
    budget.set_raise_nanos(*nanos);
  }
  if (auto ms = section.Parsed("until", &ParseUtc)) {
    if (*ms <= 0) section.Refuse("until", "", "must be after 1970-01-01");
    budget.set_raise_until_ms(*ms);
  }
}

// A file can freeze. That it says nothing, or no, must not undo what an operator did in a hurry.
void ReadFrozen(Section& section, v1::Budget& budget) {
  const auto frozen = section.Bool("frozen");
  if (!frozen) return;
  if (!*frozen && !section.reading().options.standalone) {
    section.Refuse("frozen", "false",
                   "must be true or left out: a file cannot lift a freeze, "
                   "`spillway budgets unfreeze` does");
  }
  budget.set_frozen(*frozen);
}

}  // namespace

void Read(Section& section, v1::Budget& budget) {
  ReadScope(section, *budget.mutable_scope());
  if (!section.Has("limit_usd")) section.Refuse("limit_usd", "", "is required: an amount in USD");
  if (auto nanos = section.Parsed("limit_usd", &ParseUsd)) budget.set_limit_nanos(*nanos);
  ReadWindow(section, budget);
  if (auto zone = section.Text("time_zone")) budget.set_time_zone(*std::move(zone));
  ReadAlerts(section, budget);
  if (auto sinks = section.Texts("notify"))
    budget.mutable_notify()->Assign(sinks->begin(), sinks->end());
  ReadOnExhausted(section, budget);
  if (auto value = ReadWord(section, "on_partition", kOnPartitionWords))
    budget.set_on_partition(*value);
  if (auto unheard = section.Bool("open_unheard")) budget.set_open_unheard(*unheard);
  if (auto value = ReadWord(section, "on_overrun", kOnOverrunWords)) budget.set_on_overrun(*value);
  section.Inner("raise", [&](Section& inner) { ReadRaise(inner, budget); });
  ReadFrozen(section, budget);
}

void Read(Section& section, v1::RateLimit& limit) {
  ReadScope(section, *limit.mutable_scope());
  if (auto count = ReadCount(section, "requests")) limit.set_requests(*count);
  if (auto count = ReadCount(section, "tokens")) limit.set_tokens(*count);
  if (auto count = ReadCount(section, "concurrent")) limit.set_concurrent(*count);
  if (auto value = ReadWord(section, "token_kind", kTokenKindWords)) limit.set_token_kind(*value);
  if (auto value = ReadWord(section, "per", kPeriodWords)) limit.set_per(*value);
}

void Read(Section& section, v1::AlertSink& sink) {
  if (!section.Has("kind")) section.Refuse("kind", "", "is required: " + Choices(kSinkWords));
  if (auto value = ReadWord(section, "kind", kSinkWords)) sink.set_kind(*value);
  if (!section.Has("url")) section.Refuse("url", "", "is required");
  ReadSecretInto(section, "url", *sink.mutable_url());
  if (section.Has("signing_secret"))
    ReadSecretInto(section, "signing_secret", *sink.mutable_signing_secret());
}

}  // namespace spillway::config
