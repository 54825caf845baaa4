#include <algorithm>

#include "dataplane/metering/journal_state.h"

namespace spillway {
namespace {

constexpr int64_t kRateWindowNs = 60'000'000'000;

// Bytes per hour over the last minute; 0: nothing was appended.
template <typename Samples>
double HourlyBytes(const Samples& samples) {
  if (samples.size() < 2) return 0;
  const auto& last = samples.back();
  const auto first = std::ranges::find_if(samples, [&](const auto& sample) {
    return last.monotonic_ns - sample.monotonic_ns <= kRateWindowNs;
  });
  const double hours = static_cast<double>(last.monotonic_ns - first->monotonic_ns) / 3.6e12;
  return hours <= 0 ? 0 : static_cast<double>(last.bytes - first->bytes) / hours;
}

}  // namespace

Journal::Stats Journal::stats() const {
  const Rep& rep = *rep_;
  Stats stats{.bytes = rep.disk_bytes,
              .bytes_max = rep.options.bytes_max,
              .counted_ends = rep.counted_ends,
              .refused = rep.refused,
              .lost = rep.lost,
              .abandoned = rep.abandoned,
              .sync_failures = rep.sync_failures};
  int64_t room = 0;
  {
    const std::lock_guard lock(rep.append_mutex);
    stats.records = rep.next_seq - 1;
    stats.full = rep.full;
    room = rep.RoomToCome();
  }
  const std::lock_guard lock(rep.samples_mutex);
  const int64_t now_ms = rep.clock.WallMs();
  for (const IncarnationLog& log : rep.book.Heads()) {
    const int64_t last_seq = log.live ? stats.records : log.last_seq;
    stats.unshipped += last_seq - log.published_upto;
    stats.uncommitted += last_seq - log.committed_upto;
    if (last_seq == log.committed_upto) continue;
    int64_t since_ms = now_ms;
    if (log.live) {
      const auto sample = std::ranges::find_if(
          rep.samples, [&](const auto& at) { return at.last_seq > log.committed_upto; });
      if (sample != rep.samples.end()) since_ms = sample->wall_ms;
    } else if (const auto span = rep.book.Locate(log.incarnation, log.committed_upto + 1); span) {
      since_ms = span->created_ms;
    }
    stats.oldest_age_ms = std::max(stats.oldest_age_ms, now_ms - since_ms);
  }
  const double hourly = HourlyBytes(rep.samples);
  if (hourly > 0) stats.hours_left = static_cast<double>(room) / hourly;
  return stats;
}

void Journal::Collect(MetricsText& text) const {
  const Stats now = stats();
  const auto put = [&text](std::string_view name, std::string_view type, std::string_view help,
                           int64_t value) {
    text.Family(name, type, help);
    text.Sample(name, {}, value);
  };
  put("spillway_journal_bytes", "gauge", "Disk taken by the usage journal.", now.bytes);
  put("spillway_journal_bytes_max", "gauge", "What it may take.", now.bytes_max);
  put("spillway_journal_full", "gauge", "1 while there is no space for new records.",
      now.full ? 1 : 0);
  put("spillway_journal_records_total", "counter", "Usage records journalled.", now.records);
  put("spillway_journal_unshipped_records", "gauge", "Records the stream has not acknowledged.",
      now.unshipped);
  put("spillway_journal_uncommitted_records", "gauge", "Records the ledger has not committed.",
      now.uncommitted);
  put("spillway_journal_oldest_record_age_ms", "gauge", "Age of the oldest uncommitted record.",
      now.oldest_age_ms);
  put("spillway_journal_counted_ends_total", "counter", "Attempts counted in memory while full.",
      now.counted_ends);
  put("spillway_journal_refused_total", "counter", "Attempts refused while full.", now.refused);
  put("spillway_journal_lost_records_total", "counter", "Records found unreadable at start.",
      now.lost);
  put("spillway_journal_abandoned_attempts_total", "counter",
      "Attempts of dead processes settled at start.", now.abandoned);
  put("spillway_journal_sync_failures_total", "counter", "Failed fdatasync calls.",
      now.sync_failures);
  text.Family("spillway_journal_hours_left", "gauge",
              "Until the journal is full at the last minute's rate; -1: not filling.");
  text.Sample("spillway_journal_hours_left", {}, now.hours_left);
}

}  // namespace spillway
