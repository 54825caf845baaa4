// Single events, page by page.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"
#include "controlplane/ledger/totals.h"

namespace spillway {
namespace {

constexpr int kPageDefault = 100;
constexpr int kPageMax = 1000;

constexpr std::array<std::string_view, 8> kEndNames = {"",
                                                       "finished",
                                                       "upstream_cut",
                                                       "upstream_error",
                                                       "upstream_stalled",
                                                       "client_left",
                                                       "unreachable",
                                                       "abandoned"};
constexpr std::array<std::string_view, 4> kSourceNames = {"", "provider", "estimated", "none"};

template <size_t N>
std::string NameIn(const std::array<std::string_view, N>& names, int value) {
  return value >= 0 && static_cast<size_t>(value) < N
             ? std::string(names[static_cast<size_t>(value)])
             : std::string();
}

void SetNames(const v1::Attribution& who, v1::LedgerEvent& event) {
  event.set_organization(who.organization());
  event.set_team(who.team());
  event.set_user(who.user());
  event.set_key(who.key());
  event.set_feature(who.feature());
  event.set_route(who.route());
  event.set_model(who.model());
  event.set_provider(who.provider());
  for (const v1::Tag& tag : who.tags()) {
    v1::EventTag& named = *event.add_tags();
    named.set_name(tag.name());
    named.set_value(tag.value());
  }
}

void SetAmounts(const ledger::Totals& totals, v1::LedgerEvent& event) {
  event.set_input_tokens(totals.input_tokens);
  event.set_output_tokens(totals.output_tokens);
  event.set_cached_input_tokens(totals.cached_input_tokens);
  event.set_reasoning_tokens(totals.reasoning_tokens);
  event.set_cache_write_5m_tokens(totals.cache_write_5m_tokens);
  event.set_cache_write_1h_tokens(totals.cache_write_1h_tokens);
  event.set_audio_input_tokens(totals.audio_input_tokens);
  event.set_audio_output_tokens(totals.audio_output_tokens);
  event.set_images(totals.images);
  event.set_cost_nanos(totals.cost_nanos);
}

v1::LedgerEvent EventOf(const ledger::EventId& id, const std::string& instance,
                        const v1::UsageRecord& record) {
  v1::LedgerEvent event;
  event.set_instance(instance);
  event.set_incarnation(ledger::UnpackIncarnation(id.packed));
  event.set_seq(id.seq);
  event.set_time_ms(id.time_ms);
  SetNames(ledger::AttributionOf(record), event);
  SetAmounts(ledger::TotalsOfEvent(record).value_or(ledger::Totals{}), event);
  if (record.has_aggregate()) {
    event.set_end("counted_while_full");
    return event;
  }
  const v1::Finished& finished =
      record.has_abandoned() ? record.abandoned().estimate() : record.finished();
  event.set_request_id(finished.request_id());
  event.set_attempt_id(finished.attempt_id());
  event.set_source(NameIn(kSourceNames, finished.source()));
  event.set_end(NameIn(kEndNames, finished.end()));
  event.set_http_status(finished.http_status());
  event.set_winner(finished.winner());
  event.set_fallback(finished.fallback());
  event.set_downgraded(finished.downgraded());
  event.set_unpriced(finished.unpriced());
  event.set_hold_nanos(std::max(finished.hold_nanos(), finished.cost_nanos()));
  event.set_service_tier(finished.usage().service_tier());
  event.set_stream(finished.stream());
  event.set_duration_us(finished.duration_us());
  return event;
}

// A page token is the last key of the page before, in hex.
std::optional<std::string> KeyOfToken(const std::string& token) {
  if (token.size() != 64) return {};
  const auto first = ledger::PackIncarnation(std::string_view(token).substr(0, 32));
  const auto second = ledger::PackIncarnation(std::string_view(token).substr(32));
  if (!first || !second) return {};
  return *first + *second;
}

}  // namespace

Result<v1::ListLedgerEventsResponse> Ledger::ListEvents(
    const v1::ListLedgerEventsRequest& request) const {
  const int page =
      request.page_size() <= 0 ? kPageDefault : std::min(request.page_size(), kPageMax);
  std::string from = ledger::HourPrefix(ledger::FiledMs(request.since_ms()));
  if (!request.page_token().empty()) {
    const auto key = KeyOfToken(request.page_token());
    if (!key)
      return Fail(ErrorCode::kInvalidRequest, "page_token is none that this server gave out",
                  "page_token");
    from = *key + '\0';  // the key behind it
  }
  v1::ListLedgerEventsResponse response;
  std::string last;
  bool more = false;
  SW_CHECK(rep_->store.Scan(
      Table::kLedgerEvents, {}, from, [&](std::string_view key, std::string_view value) {
        more = response.events_size() == page;
        if (more) return false;
        v1::UsageRecord record;
        const auto id = ledger::ReadEventKey(key);
        if (!id || !record.ParseFromArray(value.data(), static_cast<int>(value.size())))
          return true;
        last = key;
        const std::lock_guard lock(rep_->state_mutex);
        const auto mark = rep_->marks.find(std::string(id->packed));
        *response.add_events() =
            EventOf(*id, mark == rep_->marks.end() ? std::string() : mark->second.instance, record);
        return true;
      }));
  if (more) response.set_next_page_token(ledger::UnpackIncarnation(last));
  return response;
}

}  // namespace spillway
