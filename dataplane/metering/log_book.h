#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/metering/replay.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// One incarnation's journal, as far as it is synced.
struct IncarnationLog {
  std::string incarnation;
  std::string folder;
  bool live = false;                       // its last segment is being written
  bool closed = true;                      // else nothing of a dead one is freed
  std::vector<SegmentSpan> segments = {};  // in order
  int64_t last_seq = 0;                    // synced and readable
  int64_t published_upto = 0;
  int64_t committed_upto = 0;
  int64_t freeable_upto = 0;
};

// Which records lie where, and how far each incarnation's were published, committed and may be
// freed. Thread-safe; marks only grow.
class LogBook {
 public:
  void Add(IncarnationLog log);
  // A segment of the live incarnation became readable up to `span.last_seq`.
  void Extend(const std::string& incarnation, const SegmentSpan& span);

  void MarkPublished(const std::string& incarnation, int64_t upto);
  void MarkCommitted(const std::string& incarnation, int64_t upto, int64_t freeable_upto);

  // The segment that holds `seq`, or the first one behind it.
  std::optional<SegmentSpan> Locate(const std::string& incarnation, int64_t seq) const;
  std::vector<IncarnationLog> Heads() const;  // in the order of Add, without their segments
  // Counts changes of marks, so that the owner knows when to write them down.
  int64_t version() const;

  // Segments whose records may all be freed, without taking them out; never the one being written.
  std::vector<SegmentSpan> Freeable(const std::string& incarnation) const;
  void Remove(const std::string& incarnation, const std::string& path);
  // Forgets dead incarnations without segments; returns them.
  std::vector<IncarnationLog> TakeEmpty();

 private:
  IncarnationLog* FindLocked(const std::string& incarnation);
  const IncarnationLog* FindLocked(const std::string& incarnation) const;

  mutable std::mutex mutex_;
  std::vector<IncarnationLog> logs_;
  int64_t version_ = 0;
};

}  // namespace spillway
