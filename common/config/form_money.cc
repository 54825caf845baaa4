// Budgets, rate limits, alert sinks and prices as a file writes them.
#include <algorithm>
#include <format>
#include <map>

#include "common/config/form_builder.h"
#include "common/config/money_words.h"
#include "common/money.h"

namespace spillway::config {
namespace {

void AddRates(const v1::Price& price, FormBuilder& form) {
  const auto add = [&form](std::string name, bool present, int64_t nanos) {
    if (present) form.Word(std::move(name), FormatUsd(nanos));
  };
  add("input", price.has_input(), price.input());
  add("output", price.has_output(), price.output());
  add("cached_input", price.has_cached_input(), price.cached_input());
  add("cache_write_5m", price.has_cache_write_5m(), price.cache_write_5m());
  add("cache_write_1h", price.has_cache_write_1h(), price.cache_write_1h());
  add("reasoning", price.has_reasoning(), price.reasoning());
  add("audio_input", price.has_audio_input(), price.audio_input());
  add("audio_output", price.has_audio_output(), price.audio_output());
  add("image", price.has_image(), price.image());
  add("request", price.has_request(), price.request());
}

void AddSteps(const v1::Price& price, FormBuilder& form) {
  AddRates(price, form);
  std::vector<FormFields> steps;
  for (const v1::LongContextPrice& step : price.long_context()) {
    FormBuilder fields;
    fields.Number("above", step.above_input_tokens());
    AddRates(step.price(), fields);
    steps.push_back(fields.Take());
  }
  if (!steps.empty()) form.List("long_context", std::move(steps));
}

FormFields TierForm(const v1::TierPrice& tier) {
  FormBuilder form;
  form.Number("percent", tier.percent());
  AddSteps(tier.price(), form);
  return form.Take();
}

// Without a field it is everything, which must be written all the same.
FormFields ScopeForm(const v1::Scope& scope) {
  FormBuilder tags;
  const std::map<std::string, std::string> sorted(scope.tags().begin(), scope.tags().end());
  for (const auto& [name, value] : sorted) tags.Text(name, value);
  FormFields fields = FormBuilder()
                          .Text("organization", scope.organization())
                          .Text("team", scope.team())
                          .Text("user", scope.user())
                          .Text("key", scope.key())
                          .Text("feature", scope.feature())
                          .Text("route", scope.route())
                          .Text("model", scope.model())
                          .Text("provider", scope.provider())
                          .Inner("tags", tags.Take())
                          .Text("each", scope.each())
                          .Take();
  if (fields.empty()) return FormBuilder().Word("scope", "{}").Take();
  return FormBuilder().Inner("scope", std::move(fields)).Take();
}

FormFields OnExhaustedForm(const v1::Budget& budget) {
  FormBuilder form;
  if (budget.on_exhausted() == v1::ON_EXHAUSTED_DOWNGRADE) {
    form.Inner("on_exhausted", FormBuilder().Text("downgrade", budget.downgrade_to()).Take());
  } else {
    form.Word("on_exhausted", WordOf(kOnExhaustedWords, budget.on_exhausted()));
  }
  return form.Take();
}

FormFields AlertsForm(const v1::Budget& budget) {
  if (budget.alerts().empty()) return {};
  PlainList alerts;
  for (const int32_t percent : budget.alerts()) alerts.texts.push_back(std::to_string(percent));
  FormFields fields;
  fields.push_back({"alerts", std::move(alerts)});
  return fields;
}

std::string Usd(int64_t nanos) { return nanos == 0 ? std::string() : FormatUsd(nanos); }

FormFields UnknownForm(const v1::PriceBook& book) {
  if (book.unknown() != v1::UNKNOWN_PRICE_DEFAULT)
    return FormBuilder().Word("unknown", WordOf(kUnknownPriceWords, book.unknown())).Take();
  return FormBuilder()
      .Inner("unknown", FormBuilder().Inner("default", PriceForm(book.default_price())).Take())
      .Take();
}

}  // namespace

FormFields PriceForm(const v1::Price& price) {
  FormBuilder form;
  AddSteps(price, form);
  FormBuilder tiers;
  for (const v1::TierPrice& tier : price.tiers()) tiers.Inner(tier.tier(), TierForm(tier));
  return form.Inner("tiers", tiers.Take()).Take();
}

FormFields Form(const v1::Budget& budget) {
  return FormBuilder()
      .Text("name", budget.name())
      .Add(ScopeForm(budget.scope()))
      .Word("limit_usd", FormatUsd(budget.limit_nanos()))
      .Word("window", budget.window() == v1::WINDOW_ROLLING
                          ? std::format("{}h", budget.rolling_hours())
                          : WordOf(kWindowWords, budget.window()))
      .Text("time_zone", budget.time_zone())
      .Add(AlertsForm(budget))
      .Texts("notify", budget.notify())
      .Add(OnExhaustedForm(budget))
      .Word("on_partition", WordOf(kOnPartitionWords, budget.on_partition()))
      .Flag("open_unheard", budget.open_unheard())
      .Word("on_overrun", WordOf(kOnOverrunWords, budget.on_overrun()))
      .Inner("raise", FormBuilder()
                          .Word("usd", Usd(budget.raise_nanos()))
                          .Word("until", DateText(budget.raise_until_ms()))
                          .Take())
      .Flag("frozen", budget.frozen())
      .Take();
}

FormFields Form(const v1::RateLimit& limit) {
  return FormBuilder()
      .Text("name", limit.name())
      .Add(ScopeForm(limit.scope()))
      .Number("requests", limit.requests())
      .Number("tokens", limit.tokens())
      .Word("token_kind", WordOf(kTokenKindWords, limit.token_kind()))
      .Number("concurrent", limit.concurrent())
      .Word("per", WordOf(kPeriodWords, limit.per()))
      .Take();
}

FormFields Form(const v1::AlertSink& sink) {
  FormBuilder form;
  form.Text("name", sink.name())
      .Word("kind", WordOf(kSinkWords, sink.kind()))
      .Add(SecretForm("url", sink.url().reference()));
  if (!sink.signing_secret().reference().empty())
    form.Add(SecretForm("signing_secret", sink.signing_secret().reference()));
  return form.Take();
}

FormFields Form(const v1::PriceBook& book) {
  FormBuilder models;
  for (const v1::PriceBookEntry& entry : book.models()) {
    models.Inner(entry.model(), FormBuilder()
                                    .Add(PriceForm(entry.price()))
                                    .Number("output_tokens_max", entry.output_tokens_max())
                                    .Take());
  }
  return FormBuilder()
      .Text("name", book.name())
      .Text("dated", book.dated())
      .Add(UnknownForm(book))
      .Inner("models", models.Take())
      .Take();
}

}  // namespace spillway::config
