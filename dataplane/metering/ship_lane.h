#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace spillway {

// A run of consecutive records on its way. A retry carries the same records under the same id, so
// that the stream drops the second copy; a run asked for again has an id of its own.
struct ShipRun {
  uint64_t id = 0;  // of this process
  int64_t first_seq = 0;
  int64_t last_seq = 0;
  std::string message_id;
  bool resend = false;
  bool in_flight = false;
  int tries = 0;
  int64_t retry_at_ns = 0;
};

// What one incarnation still has to send: the books of the shipper, without any sending. Not
// thread-safe.
class ShipLane {
 public:
  explicit ShipLane(int64_t published_upto)
      : published_upto_(published_upto), next_seq_(published_upto + 1) {}

  // The first seq never sent.
  int64_t next_seq() const { return next_seq_; }
  // Everything up to it was acknowledged by the stream, or cannot be read.
  int64_t published_upto() const { return published_upto_; }

  ShipRun& AddFresh(uint64_t id, int64_t first_seq, int64_t last_seq, std::string message_id);
  ShipRun& AddResend(uint64_t id, int64_t first_seq, int64_t last_seq, std::string message_id);
  ShipRun* Find(uint64_t id);
  void Acknowledge(uint64_t id);
  void Fail(uint64_t id, int64_t retry_at_ns);
  // A failed run whose time has come.
  ShipRun* Due(int64_t now_ns);
  // Committed records need no sending, whatever became of their runs.
  void Committed(int64_t upto);
  // A run that cannot be read any more (freed meanwhile).
  void Abandon(uint64_t id) { Acknowledge(id); }

  // Asked for by the control plane. Ranges already waiting or on their way are not queued again.
  void WantResend(int64_t from_seq, int64_t to_seq);
  struct Range {
    int64_t from_seq = 0;
    int64_t to_seq = 0;
  };
  std::optional<Range> FrontResend() const;
  // Takes [.., upto] off the front range.
  void ResentUpto(int64_t upto);
  size_t runs() const { return runs_.size(); }
  size_t resend_runs() const { return resend_runs_; }

 private:
  static constexpr size_t kResendRangesMax = 1024;
  std::map<uint64_t, ShipRun> runs_;                // unacknowledged
  std::deque<std::pair<uint64_t, int64_t>> fresh_;  // run ids in order with their last seq
  std::deque<Range> resends_;
  size_t resend_runs_ = 0;
  int64_t published_upto_;
  int64_t next_seq_;
};

}  // namespace spillway
