#include "tests/mockprovider/call_ledger.h"

#include <algorithm>

#include "common/json.h"

namespace spillway::mock {
namespace {

void AppendLine(const Call& call, std::string& out) {
  const int64_t output = call.output_tokens.load();
  const int64_t reasoning = std::min(call.reasoning_most, output);
  JsonWriter(out)
      .BeginObject()
      .Field("attempt_id", call.attempt_id)
      .Field("model", call.model)
      .Field("key", call.key)
      .Field("input_tokens", call.input_tokens.load())
      .Field("output_tokens", output)
      .Field("cached", call.cached.load())
      .Field("cache_write", call.cache_write)
      .Field("audio_input", call.audio_input)
      .Field("reasoning", reasoning)
      .Field("audio_output", std::min(call.audio_output_most, output - reasoning))
      .Field("service_tier", call.service_tier)
      .Field("status", call.status.load())
      .Field("stream", call.stream)
      .Field("finished", call.finished.load())
      .Field("cut_by_caller", call.cut_by_caller.load())
      .Field("tokens_sent", call.tokens_sent.load())
      .EndObject();
  out += '\n';
}

void WriteTotals(JsonWriter& json, const Totals& totals) {
  json.Field("requests", totals.requests)
      .Field("input_tokens", totals.input_tokens)
      .Field("output_tokens", totals.output_tokens)
      .Field("cut_by_caller", totals.cut_by_caller);
}

void Add(const Totals& more, Totals& totals) {
  totals.requests += more.requests;
  totals.input_tokens += more.input_tokens;
  totals.output_tokens += more.output_tokens;
  totals.cut_by_caller += more.cut_by_caller;
}

}  // namespace

void LedgerShard::Open(const std::shared_ptr<Call>& call) {
  if (!keep_calls_) return;
  const std::lock_guard lock(mutex_);
  calls_.push_back(call);
}

void LedgerShard::Close(const Call& call) {
  const std::lock_guard lock(mutex_);
  Totals& totals = totals_[{call.model, call.key}];
  Add({.requests = 1,
       .input_tokens = call.input_tokens,
       .output_tokens = call.output_tokens,
       .cut_by_caller = call.cut_by_caller ? 1 : 0},
      totals);
}

void LedgerShard::AppendLines(std::string& out) const {
  const std::lock_guard lock(mutex_);
  for (const auto& call : calls_) AppendLine(*call, out);
}

void LedgerShard::AddTotals(std::map<Key, Totals>& totals) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, more] : totals_) Add(more, totals[key]);
}

void LedgerShard::Clear() {
  const std::lock_guard lock(mutex_);
  calls_.clear();
  totals_.clear();
}

CallLedger::CallLedger(int shards, bool keep_calls) {
  for (int i = 0; i < shards; ++i) shards_.push_back(std::make_unique<LedgerShard>(keep_calls));
}

std::string CallLedger::RenderLines() const {
  std::string out;
  for (const auto& shard : shards_) shard->AppendLines(out);
  return out;
}

std::string CallLedger::RenderStats() const {
  std::map<LedgerShard::Key, Totals> totals;
  for (const auto& shard : shards_) shard->AddTotals(totals);
  std::string out;
  JsonWriter json(out);
  json.BeginObject().Key("calls").BeginArray();
  Totals sum;
  for (const auto& [key, part] : totals) {
    json.BeginObject().Field("model", key.first).Field("key", key.second);
    WriteTotals(json, part);
    json.EndObject();
    Add(part, sum);
  }
  json.EndArray().Key("total").BeginObject();
  WriteTotals(json, sum);
  json.EndObject().EndObject();
  return out + "\n";
}

void CallLedger::Clear() {
  for (const auto& shard : shards_) shard->Clear();
}

std::string KeyLabel(std::string_view api_key) {
  if (api_key.size() < 8) return api_key.empty() ? "none" : "short";
  return "..." + std::string(api_key.substr(api_key.size() - 4));
}

}  // namespace spillway::mock
