#include "dataplane/metering/log_book.h"

#include <algorithm>
#include <utility>

namespace spillway {

IncarnationLog* LogBook::FindLocked(const std::string& incarnation) {
  const auto at = std::ranges::find(logs_, incarnation, &IncarnationLog::incarnation);
  return at == logs_.end() ? nullptr : &*at;
}

const IncarnationLog* LogBook::FindLocked(const std::string& incarnation) const {
  const auto at = std::ranges::find(logs_, incarnation, &IncarnationLog::incarnation);
  return at == logs_.end() ? nullptr : &*at;
}

void LogBook::Add(IncarnationLog log) {
  const std::lock_guard lock(mutex_);
  logs_.push_back(std::move(log));
}

void LogBook::Extend(const std::string& incarnation, const SegmentSpan& span) {
  const std::lock_guard lock(mutex_);
  IncarnationLog* log = FindLocked(incarnation);
  if (log == nullptr) return;
  if (log->segments.empty() || log->segments.back().path != span.path)
    log->segments.push_back(span);
  else
    log->segments.back().last_seq = span.last_seq;
  log->last_seq = span.last_seq;
}

void LogBook::MarkPublished(const std::string& incarnation, int64_t upto) {
  const std::lock_guard lock(mutex_);
  IncarnationLog* log = FindLocked(incarnation);
  if (log == nullptr || upto <= log->published_upto) return;
  log->published_upto = std::min(upto, log->last_seq);
  ++version_;
}

void LogBook::MarkCommitted(const std::string& incarnation, int64_t upto, int64_t freeable_upto) {
  const std::lock_guard lock(mutex_);
  IncarnationLog* log = FindLocked(incarnation);
  if (log == nullptr) return;
  // A mark above what was ever synced here is not about these records.
  upto = std::min(upto, log->last_seq);
  freeable_upto = std::min(freeable_upto, upto);
  if (upto <= log->committed_upto && freeable_upto <= log->freeable_upto) return;
  log->committed_upto = std::max(log->committed_upto, upto);
  log->published_upto = std::max(log->published_upto, upto);
  log->freeable_upto = std::max(log->freeable_upto, freeable_upto);
  ++version_;
}

std::optional<SegmentSpan> LogBook::Locate(const std::string& incarnation, int64_t seq) const {
  const std::lock_guard lock(mutex_);
  const IncarnationLog* log = FindLocked(incarnation);
  if (log == nullptr) return {};
  const auto at = std::ranges::lower_bound(log->segments, seq, {}, &SegmentSpan::last_seq);
  if (at == log->segments.end()) return {};
  return *at;
}

std::vector<IncarnationLog> LogBook::Heads() const {
  const std::lock_guard lock(mutex_);
  std::vector<IncarnationLog> heads;
  heads.reserve(logs_.size());
  for (const IncarnationLog& log : logs_)
    heads.push_back({.incarnation = log.incarnation,
                     .folder = log.folder,
                     .live = log.live,
                     .last_seq = log.last_seq,
                     .published_upto = log.published_upto,
                     .committed_upto = log.committed_upto,
                     .freeable_upto = log.freeable_upto});
  return heads;
}

int64_t LogBook::version() const {
  const std::lock_guard lock(mutex_);
  return version_;
}

std::vector<SegmentSpan> LogBook::Freeable(const std::string& incarnation) const {
  const std::lock_guard lock(mutex_);
  std::vector<SegmentSpan> spans;
  const IncarnationLog* log = FindLocked(incarnation);
  if (log == nullptr || (!log->live && !log->closed)) return spans;
  const size_t keep = log->live ? 1 : 0;
  for (size_t i = 0;
       i + keep < log->segments.size() && log->segments[i].last_seq <= log->freeable_upto; ++i)
    spans.push_back(log->segments[i]);
  return spans;
}

void LogBook::Remove(const std::string& incarnation, const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (IncarnationLog* log = FindLocked(incarnation); log != nullptr)
    std::erase_if(log->segments, [&path](const SegmentSpan& span) { return span.path == path; });
}

std::vector<IncarnationLog> LogBook::TakeEmpty() {
  const std::lock_guard lock(mutex_);
  std::vector<IncarnationLog> empty;
  std::erase_if(logs_, [&empty](IncarnationLog& log) {
    if (log.live || !log.segments.empty()) return false;
    empty.push_back(std::move(log));
    return true;
  });
  return empty;
}

}  // namespace spillway
