#include "dataplane/telemetry/telemetry.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "dataplane/telemetry/access_line.h"

namespace spillway {
namespace {

constexpr int64_t kFlushAfterMs = 200;

// The series of all shards by label set, in a stable order.
template <size_t N>
using Sums = std::map<std::array<std::string, N>, int64_t>;

template <size_t N, typename Values>
void AddTo(Sums<N>& sums, const SeriesTable<N, Values>& table,
           std::atomic<int64_t> Values::* value) {
  table.ForEach([&](const std::array<std::string, N>& labels, const Values& values) {
    sums[labels] += (values.*value).load(std::memory_order_relaxed);
  });
}

template <size_t N>
MetricsText::Labels Named(const std::array<std::string_view, N>& names,
                          const std::array<std::string, N>& values) {
  MetricsText::Labels labels;
  for (size_t i = 0; i < N; ++i) labels.emplace_back(names[i], values[i]);
  return labels;
}

constexpr std::array<std::string_view, 3> kSpendLabels = {"route", "model", "provider"};

// For people and dashboards only; sums are kept in nano-dollars.
double Dollars(int64_t nanos) { return static_cast<double>(nanos) / 1e9; }

}  // namespace

TelemetryShard::TelemetryShard(Loop& loop, AccessLog* log)
    : loop_(loop), log_(log), flush_(*loop.timers, [this] {
        flush_due_ = false;
        FlushLog();
      }) {
  if (log_ != nullptr) lines_.reserve(AccessLog::kBlockBytes + 4096);
}

TelemetryShard::~TelemetryShard() { FlushLog(); }

void TelemetryShard::Record(const Exchange& x) {
  const int64_t total_us = (loop_.clock->MonotonicNs() - x.accepted_ns) / 1000;
  Count(x, total_us);
  if (log_ == nullptr) return;
  AppendAccessLine(lines_, time_.Format(loop_.clock->WallMs()), x.request_id, x.record, total_us);
  ++line_count_;
  if (lines_.size() >= AccessLog::kBlockBytes) {
    FlushLog();
  } else if (!flush_due_) {
    flush_due_ = true;
    flush_.SetAfterMs(kFlushAfterMs);
  }
}

void TelemetryShard::FlushLog() {
  if (line_count_ == 0) return;
  log_->Hand(lines_, std::exchange(line_count_, 0));
  lines_.reserve(AccessLog::kBlockBytes + 4096);
}

void TelemetryShard::Count(const Exchange& x, int64_t total_us) {
  const AccessRecord& record = x.record;
  char digits[12];
  const char* end = std::to_chars(digits, digits + sizeof digits, record.status).ptr;
  Bump(requests_.Find({record.route, record.provider, {digits, end}, record.refusal}).requests);
  if (record.attempts > 0) {
    CountSpend(record);
    overhead_.Observe(total_us - record.upstream_us);
  }
  CountLimits(record);
  if (record.first_token_us > 0) first_token_.Observe(record.first_token_us);
  if (record.stream && !record.end.empty()) Bump(ends_.Find({record.end}).requests);
  if (record.fallback) Bump(fallbacks_);
  Bump(request_bytes_, record.request_bytes);
  Bump(response_bytes_, record.response_bytes);
}

void TelemetryShard::CountSpend(const AccessRecord& record) {
  SpendValues& spend = spend_.Find({record.route, record.model, record.provider});
  Bump(spend.attempts, record.attempts);
  Bump(spend.input_tokens, record.usage.input);
  Bump(spend.output_tokens, record.usage.output);
  Bump(spend.cached_input_tokens, record.usage.cached_input);
  Bump(spend.reasoning_tokens, record.usage.reasoning);
  Bump(spend.cache_write_5m_tokens, record.usage.cache_write_5m);
  Bump(spend.cache_write_1h_tokens, record.usage.cache_write_1h);
  Bump(spend.audio_input_tokens, record.usage.audio_input);
  Bump(spend.audio_output_tokens, record.usage.audio_output);
  Bump(spend.images, record.usage.images);
  Bump(spend.cost_nanos, record.cost);
}

void TelemetryShard::CountLimits(const AccessRecord& record) {
  if (!record.limit.empty()) {
    const bool admitted = !record.downgraded.empty() && record.attempts > 0;
    Bump(limits_.Find({record.limit, admitted ? "downgraded" : "refused"}).requests);
  }
  if (!record.budget_warning.empty())
    Bump(limits_.Find({"budget/" + record.budget_warning, "warned"}).requests);
}

Telemetry::Telemetry(const std::vector<Loop*>& loops, std::unique_ptr<AccessLog> log)
    : log_(std::move(log)) {
  for (Loop* loop : loops) shards_.push_back(std::make_unique<TelemetryShard>(*loop, log_.get()));
}

void Telemetry::Append(MetricsText& text) const {
  AppendRequests(text);
  AppendLimits(text);
  AppendSpend(text);
  HistogramSum overhead;
  HistogramSum first_token;
  int64_t fallbacks = 0;
  int64_t request_bytes = 0;
  int64_t response_bytes = 0;
  for (const auto& shard : shards_) {
    overhead.Add(shard->overhead_);
    first_token.Add(shard->first_token_);
    fallbacks += shard->fallbacks_.load(std::memory_order_relaxed);
    request_bytes += shard->request_bytes_.load(std::memory_order_relaxed);
    response_bytes += shard->response_bytes_.load(std::memory_order_relaxed);
  }
  overhead.Append(text, "spillway_overhead_seconds",
                  "Time a request spent in the gateway, waiting for providers not counted.");
  first_token.Append(text, "spillway_time_to_first_token_seconds",
                     "From a complete request head to the first byte of the answer.");
  text.Family("spillway_fallbacks_total", "counter",
              "Requests answered by another than the first target.");
  text.Sample("spillway_fallbacks_total", {}, fallbacks);
  text.Family("spillway_request_bytes_total", "counter", "Request body bytes received.");
  text.Sample("spillway_request_bytes_total", {}, request_bytes);
  text.Family("spillway_response_bytes_total", "counter", "Response body bytes sent.");
  text.Sample("spillway_response_bytes_total", {}, response_bytes);
  text.Family("spillway_access_log_dropped_total", "counter",
              "Access log lines dropped because the file could not keep up or be written.");
  text.Sample("spillway_access_log_dropped_total", {},
              log_ == nullptr ? int64_t{0} : log_->lines_dropped());
}

void Telemetry::AppendRequests(MetricsText& text) const {
  Sums<4> requests;
  Sums<1> ends;
  for (const auto& shard : shards_) {
    AddTo(requests, shard->requests_, &RequestValues::requests);
    AddTo(ends, shard->ends_, &RequestValues::requests);
  }
  text.Family("spillway_requests_total", "counter",
              "Requests by route, answering provider, status sent and refusal code.");
  for (const auto& [labels, count] : requests) {
    text.Sample("spillway_requests_total",
                Named<4>({"route", "provider", "status", "code"}, labels), count);
  }
  text.Family("spillway_streams_total", "counter", "Streamed answers by how they ended.");
  for (const auto& [labels, count] : ends) {
    text.Sample("spillway_streams_total", Named<1>({"end"}, labels), count);
  }
}

void Telemetry::AppendLimits(MetricsText& text) const {
  Sums<2> limits;
  for (const auto& shard : shards_) AddTo(limits, shard->limits_, &RequestValues::requests);
  text.Family(
      "spillway_limited_requests_total", "counter",
      "Requests that a budget or rate limit refused, sent to a cheaper route (downgraded), or "
      "let pass although it is at its end (warned).");
  for (const auto& [labels, count] : limits) {
    text.Sample("spillway_limited_requests_total", Named<2>({"limit", "action"}, labels), count);
  }
}

void Telemetry::AppendSpend(MetricsText& text) const {
  const auto sum = [this](std::atomic<int64_t> SpendValues::* value) {
    Sums<3> sums;
    for (const auto& shard : shards_) AddTo(sums, shard->spend_, value);
    return sums;
  };
  text.Family("spillway_attempts_total", "counter", "Calls to providers.");
  for (const auto& [labels, count] : sum(&SpendValues::attempts)) {
    text.Sample("spillway_attempts_total", Named<3>(kSpendLabels, labels), count);
  }
  text.Family(
      "spillway_tokens_total", "counter",
      "Tokens charged; cached_input, cache_write_* and audio_input are part of input, reasoning "
      "and audio_output part of output. images: images, not tokens.");
  struct Kind {
    std::string_view type;
    std::atomic<int64_t> SpendValues::* value;
    bool rare = false;  // most models have none of it: left out while zero
  };
  const Kind kinds[] = {{"input", &SpendValues::input_tokens},
                        {"output", &SpendValues::output_tokens},
                        {"cached_input", &SpendValues::cached_input_tokens},
                        {"reasoning", &SpendValues::reasoning_tokens},
                        {"cache_write_5m", &SpendValues::cache_write_5m_tokens, true},
                        {"cache_write_1h", &SpendValues::cache_write_1h_tokens, true},
                        {"audio_input", &SpendValues::audio_input_tokens, true},
                        {"audio_output", &SpendValues::audio_output_tokens, true},
                        {"images", &SpendValues::images, true}};
  for (const Kind& kind : kinds) {
    for (const auto& [values, count] : sum(kind.value)) {
      if (kind.rare && count == 0) continue;
      MetricsText::Labels labels = Named<3>(kSpendLabels, values);
      labels.emplace_back("type", kind.type);
      text.Sample("spillway_tokens_total", labels, count);
    }
  }
  const Sums<3> cost = sum(&SpendValues::cost_nanos);
  text.Family("spillway_cost_nanos_total", "counter", "Cost charged, in nano-dollars (exact).");
  for (const auto& [labels, nanos] : cost) {
    text.Sample("spillway_cost_nanos_total", Named<3>(kSpendLabels, labels), nanos);
  }
  text.Family("spillway_cost_usd_total", "counter", "Cost charged, in dollars.");
  for (const auto& [labels, nanos] : cost) {
    text.Sample("spillway_cost_usd_total", Named<3>(kSpendLabels, labels), Dollars(nanos));
  }
}

}  // namespace spillway
