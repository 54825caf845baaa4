// What budgets, rate limits, alert sinks and price books show by themselves.
#include <algorithm>
#include <array>
#include <format>
#include <set>

#include "common/config/base_url.h"
#include "common/config/field_check.h"
#include "common/money.h"
#include "common/window.h"

namespace spillway::config {
namespace {

constexpr Nanos kLimitMax = Nanos{1'000'000'000} * Nanos{1'000'000'000};
constexpr int64_t kCountMax = 1'000'000'000'000;
constexpr int64_t kConcurrentMax = 1'000'000;
constexpr int kAlertsMax = 16;
constexpr int32_t kPercentMax = 1000;
constexpr int kNotifyMax = 16;
constexpr int kTagsMax = 8;
constexpr size_t kTagBytesMax = 64;
constexpr size_t kLabelBytesMax = 128;
constexpr size_t kIdBytesMax = 192;
constexpr size_t kModelBytesMax = 256;
constexpr int kBookModelsMax = 10'000;
constexpr std::string_view kTagPrefix = "tag:";

// The checks of one resource.
class MoneyCheck : public FieldCheck {
 public:
  using FieldCheck::FieldCheck;

  void Check(const v1::Budget& budget);
  void Check(const v1::RateLimit& limit);
  void Check(const v1::AlertSink& sink);
  void Check(const v1::PriceBook& book);

 private:
  void CheckScope(const v1::Scope& scope);
  void Each(const v1::Scope& scope);
  void Tags(const v1::Scope& scope);
  void Limit(const v1::Budget& budget);
  void Window(const v1::Budget& budget);
  void Alerts(const v1::Budget& budget);
  void Policies(const v1::Budget& budget);
  void Entries(const v1::PriceBook& book);
};

void MoneyCheck::CheckScope(const v1::Scope& scope) {
  for (const std::string* name : {&scope.organization(), &scope.team(), &scope.key(),
                                  &scope.route(), &scope.model(), &scope.provider()}) {
    if (!name->empty()) Name("scope", *name);
  }
  Text("scope.user", scope.user(), kLabelBytesMax);
  Text("scope.feature", scope.feature(), kLabelBytesMax);
  Tags(scope);
  Each(scope);
}

void MoneyCheck::Tags(const v1::Scope& scope) {
  AtMost("scope.tags", static_cast<int>(scope.tags_size()), kTagsMax);
  for (const auto& [name, value] : scope.tags()) {
    if (name.empty() || value.empty() || !IsCleanText(name, kTagBytesMax) ||
        !IsCleanText(value, kTagBytesMax)) {
      Refuse("scope.tags", "",
             "names and values must be 1 to 64 bytes of UTF-8 without control characters");
    }
  }
}

void MoneyCheck::Each(const v1::Scope& scope) {
  const std::string_view each = scope.each();
  if (each.empty()) return;
  bool named = false;
  if (each.starts_with(kTagPrefix)) {
    const std::string tag(each.substr(kTagPrefix.size()));
    if (tag.empty() || !IsCleanText(tag, kTagBytesMax))
      Refuse("scope.each", each, "must name a tag of 1 to 64 bytes, such as tag:project");
    named = scope.tags().contains(tag);
  } else {
    const std::array<std::pair<std::string_view, const std::string*>, 8> dimensions = {
        {{"organization", &scope.organization()},
         {"team", &scope.team()},
         {"user", &scope.user()},
         {"key", &scope.key()},
         {"feature", &scope.feature()},
         {"route", &scope.route()},
         {"model", &scope.model()},
         {"provider", &scope.provider()}}};
    const auto found =
        std::ranges::find(dimensions, each, [](const auto& row) { return row.first; });
    if (found == dimensions.end()) {
      return Refuse("scope.each", each,
                    "must be organization, team, user, key, feature, route, model, provider or "
                    "tag:NAME");
    }
    named = !found->second->empty();
  }
  if (named) Refuse("scope.each", each, "must not be named in the same scope too");
}

void MoneyCheck::Check(const v1::Budget& budget) {
  Name("name", budget.name());
  Text("id", budget.id(), kIdBytesMax);
  CheckScope(budget.scope());
  Limit(budget);
  Window(budget);
  Alerts(budget);
  Policies(budget);
}

void MoneyCheck::Limit(const v1::Budget& budget) {
  if (budget.limit_nanos() < 1 || budget.limit_nanos() > kLimitMax) {
    Refuse("limit_usd", FormatUsd(budget.limit_nanos()),
           "must be more than 0 and at most 1000000000 USD; `frozen: true` admits nothing");
  }
  if (budget.raise_nanos() < 0 || budget.raise_nanos() > kLimitMax) {
    Refuse("raise.usd", FormatUsd(budget.raise_nanos()),
           "must be more than 0 and at most 1000000000 USD");
  }
  const int64_t until = budget.raise_until_ms();
  if (until < 0 || until >= kYear10000Ms)
    Refuse("raise.until", std::to_string(until), "must be a date from 1970 to 9999");
  if ((budget.raise_nanos() != 0) != (until != 0))
    Refuse("raise", "", "needs both usd and until: a raise ends by itself");
}

void MoneyCheck::Window(const v1::Budget& budget) {
  const bool rolling = budget.window() == v1::WINDOW_ROLLING;
  if (!v1::Window_IsValid(budget.window()) || budget.window() == v1::WINDOW_UNSPECIFIED) {
    Refuse("window", budget.window() == 0 ? "" : std::to_string(budget.window()),
           "is required: day, week, month, lifetime, or hours such as 24h");
  }
  if (rolling && (budget.rolling_hours() < 1 || budget.rolling_hours() > kRollingHoursMax)) {
    Refuse("window", std::format("{}h", budget.rolling_hours()),
           std::format("must be from 1h to {}h", kRollingHoursMax));
  }
  if (!rolling && budget.rolling_hours() != 0)
    Refuse("window", std::to_string(budget.rolling_hours()), "hours belong to a rolling window");
  if (budget.time_zone().empty()) return;
  if (rolling || budget.window() == v1::WINDOW_LIFETIME)
    Refuse("time_zone", budget.time_zone(), "has no meaning for a rolling or lifetime window");
  if (const auto known = CheckTimeZone(budget.time_zone()); !known)
    Refuse("time_zone", budget.time_zone(), known.error().message);
}

void MoneyCheck::Alerts(const v1::Budget& budget) {
  AtMost("alerts", budget.alerts_size(), kAlertsMax);
  std::set<int32_t> thresholds;
  for (const int32_t percent : budget.alerts()) {
    Range("alerts", percent, 1, kPercentMax);
    if (!thresholds.insert(percent).second)
      Refuse("alerts", std::to_string(percent), "must not be given twice");
  }
  AtMost("notify", budget.notify_size(), kNotifyMax);
  std::set<std::string_view> sinks;
  for (const std::string& sink : budget.notify()) {
    if (!sinks.insert(sink).second) Refuse("notify", sink, "must not be given twice");
  }
}

void MoneyCheck::Policies(const v1::Budget& budget) {
  if (!v1::OnExhausted_IsValid(budget.on_exhausted()))
    Refuse("on_exhausted", std::to_string(budget.on_exhausted()),
           "must be reject, warn or downgrade");
  if (!v1::OnPartition_IsValid(budget.on_partition()))
    Refuse("on_partition", std::to_string(budget.on_partition()), "must be open, leased or closed");
  if (!v1::OnOverrun_IsValid(budget.on_overrun()))
    Refuse("on_overrun", std::to_string(budget.on_overrun()), "must be finish or cap");
  const bool downgrade = budget.on_exhausted() == v1::ON_EXHAUSTED_DOWNGRADE;
  if (downgrade && budget.downgrade_to().empty())
    Refuse("on_exhausted.downgrade", "", "is required: the name of a model or route");
  if (!downgrade && !budget.downgrade_to().empty())
    Refuse("on_exhausted.downgrade", budget.downgrade_to(), "must be absent without a downgrade");
  const bool open = budget.on_partition() == v1::ON_PARTITION_OPEN ||
                    budget.on_partition() == v1::ON_PARTITION_UNSPECIFIED;
  if (budget.open_unheard() && !open)
    Refuse("open_unheard", "true", "has a meaning with on_partition: open only");
}

void MoneyCheck::Check(const v1::RateLimit& limit) {
  Name("name", limit.name());
  CheckScope(limit.scope());
  Range("requests", limit.requests(), 0, kCountMax);
  Range("tokens", limit.tokens(), 0, kCountMax);
  Range("concurrent", limit.concurrent(), 0, kConcurrentMax);
  if (limit.requests() == 0 && limit.tokens() == 0 && limit.concurrent() == 0)
    Refuse("requests", "", "is required, or tokens, or concurrent: what is limited");
  if (!v1::TokenKind_IsValid(limit.token_kind()))
    Refuse("token_kind", std::to_string(limit.token_kind()), "must be total, input or output");
  if (limit.token_kind() != v1::TOKEN_KIND_UNSPECIFIED && limit.tokens() == 0)
    Refuse("token_kind", "", "has a meaning with tokens only");
  if (!v1::Period_IsValid(limit.per()))
    Refuse("per", std::to_string(limit.per()), "must be second, minute, hour or day");
  const bool by_time = limit.requests() != 0 || limit.tokens() != 0;
  if (by_time && limit.per() == v1::PERIOD_UNSPECIFIED)
    Refuse("per", "", "is required: second, minute, hour or day");
  if (!by_time && limit.concurrent() != 0 && limit.per() != v1::PERIOD_UNSPECIFIED)
    Refuse("per", "", "has no meaning for concurrent requests");
}

void MoneyCheck::Check(const v1::AlertSink& sink) {
  Name("name", sink.name());
  if (sink.kind() == v1::AlertSink::KIND_UNSPECIFIED || !v1::AlertSink::Kind_IsValid(sink.kind()))
    Refuse("kind", "", "is required: webhook or slack");
  CheckSecret("url", sink.url());
  // Never repeated: an address of this kind holds a token.
  if (!sink.url().plaintext().empty()) {
    if (const auto good = CheckAlertUrl(sink.url().plaintext()); !good)
      Refuse("url", sink.url().reference(), good.error().message);
  }
  if (sink.has_signing_secret()) CheckSecret("signing_secret", sink.signing_secret());
}

void MoneyCheck::Check(const v1::PriceBook& book) {
  Name("name", book.name());
  Text("dated", book.dated(), kLabelBytesMax);
  if (!v1::UnknownPrice_IsValid(book.unknown()))
    Refuse("unknown", std::to_string(book.unknown()), "must be refuse, allow or a default price");
  if (book.unknown() == v1::UNKNOWN_PRICE_DEFAULT) {
    CheckPrice("unknown.default", book.default_price());
  } else if (book.has_default_price()) {
    Refuse("unknown.default", "", "must be absent without the policy of a default price");
  }
  Entries(book);
}

void MoneyCheck::Entries(const v1::PriceBook& book) {
  AtMost("models", book.models_size(), kBookModelsMax);
  std::set<std::string_view> models;
  for (const v1::PriceBookEntry& entry : book.models()) {
    const std::string field = std::format("models.{}", entry.model());
    if (entry.model().empty() || !IsCleanText(entry.model(), kModelBytesMax))
      Refuse("models", "", "names must be 1 to 256 bytes of UTF-8 without control characters");
    if (!models.insert(entry.model()).second) Refuse(field, "", "must not be given twice");
    CheckPrice(field, entry.price());
    Range(field + ".output_tokens_max", entry.output_tokens_max(), 0, kOutputTokensMax);
  }
}

}  // namespace

void CheckMoneyFields(const v1::Resource& resource, size_t index, Findings& findings) {
  MoneyCheck check(index, findings);
  if (resource.has_budget()) check.Check(resource.budget());
  if (resource.has_rate_limit()) check.Check(resource.rate_limit());
  if (resource.has_alert_sink()) check.Check(resource.alert_sink());
  if (resource.has_price_book()) check.Check(resource.price_book());
}

}  // namespace spillway::config
