#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/metrics.h"
#include "dataplane/exchange/exchange.h"
#include "dataplane/exchange/timer_wheel.h"
#include "dataplane/telemetry/access_line.h"
#include "dataplane/telemetry/access_log.h"
#include "dataplane/telemetry/histogram.h"
#include "dataplane/telemetry/series.h"

namespace spillway {

// The counters and the access log of one loop. Record and the rest run on the loop's thread and
// take no lock, but when a label set is new; Append may run on any thread.
class TelemetryShard {
 public:
  // `log` may be nullptr (no access log); both outlive the shard.
  TelemetryShard(Loop& loop, AccessLog* log);
  ~TelemetryShard();

  // Once per request, when its answer has ended and x.record is complete.
  void Record(const Exchange& x);
  // Hands what is buffered to the log's writer.
  void FlushLog();

 private:
  friend class Telemetry;
  void Count(const Exchange& x, int64_t total_us);
  void CountSpend(const AccessRecord& record);
  void CountLimits(const AccessRecord& record);

  Loop& loop_;
  AccessLog* log_;
  std::string lines_;
  int64_t line_count_ = 0;
  bool flush_due_ = false;
  LogTime time_;
  Deadline flush_;

  RequestSeries requests_;
  SpendSeries spend_;
  EndSeries ends_;
  LimitSeries limits_;
  Histogram overhead_;
  Histogram first_token_;
  std::atomic<int64_t> fallbacks_{0};
  std::atomic<int64_t> request_bytes_{0};
  std::atomic<int64_t> response_bytes_{0};
};

// Every loop's shard, merged when operators scrape. Owned by main; outlives the pipelines that
// record into its shards and the registry's last scrape.
class Telemetry {
 public:
  // One shard per loop, in the loops' order. `log` may be nullptr.
  Telemetry(const std::vector<Loop*>& loops, std::unique_ptr<AccessLog> log);

  TelemetryShard& shard(int loop_index) { return *shards_[static_cast<size_t>(loop_index)]; }
  AccessLog* access_log() { return log_.get(); }
  // Any thread.
  void Append(MetricsText& text) const;

 private:
  void AppendRequests(MetricsText& text) const;
  void AppendLimits(MetricsText& text) const;
  void AppendSpend(MetricsText& text) const;

  std::unique_ptr<AccessLog> log_;
  std::vector<std::unique_ptr<TelemetryShard>> shards_;
};

}  // namespace spillway
