#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/error.h"
#include "dataplane/exchange/timer_wheel.h"
#include "dataplane/server/address_counts.h"
#include "dataplane/server/inbox.h"
#include "dataplane/server/transport.h"

namespace spillway {

// One downstream connection: its transport, the bytes received, one deadline and the look-out for a
// client that leaves. Shared, because the look-out's wait may outlast the session. Loop thread
// only.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Loop& loop, Transport transport);

  Transport& transport() { return transport_; }
  Inbox& inbox() { return inbox_; }

  enum class ReadEnd { kOk, kAgain, kClosed, kTimedOut };
  // Reads what is there; `total`: see Inbox::Space. Never kTimedOut.
  ReadEnd TryReadInbox(size_t total = 1);
  // Waits until something arrived. Never kAgain.
  Task<ReadEnd> ReadInbox(size_t total = 1);
  // The same into other memory; `bytes` says how many.
  Task<ReadEnd> ReadTo(std::span<char> space, size_t& bytes);
  // Waits without holding a buffer. kOk: there is something to read, or the end.
  Task<ReadEnd> WaitReadable();

  enum class WriteEnd { kDone, kBlocked, kFailed };
  // Writes what the socket takes; `pieces` is what is left.
  WriteEnd TryWrite(std::span<iovec>& pieces);
  // Writes the rest; fails (kCancelled) when the client left or took nothing for `stall_ms`.
  Task<Result<void>> WriteRest(std::span<iovec> pieces, int64_t stall_ms);

  // After the time waits end with kTimedOut. Arm again or Disarm replaces it.
  void Arm(int64_t ms);
  // The same when fewer than `bytes_min` bytes arrived in any window of `ms`.
  void ArmRate(int64_t ms, int64_t bytes_min);
  void Disarm() { deadline_.Clear(); }

  // See ResponseWriter::WatchClient.
  void Watch(std::function<void()> gone);

  // Sends our end, then reads and drops what the client still sends, within bounds: closing with
  // unread bytes would reset the connection before the client has read the answer.
  Task<void> Linger();
  void Close();
  // Closes under a running session, which then ends.
  void Kill();
  bool killed() const { return killed_; }

  bool idle = false;                          // waits for the first byte of a request
  std::optional<AddressCounts::Place> place;  // when addresses are limited
  Connection* previous = nullptr;             // the loop's list of connections
  Connection* next = nullptr;

 private:
  Task<bool> WaitFor(Transport::Io wanted);
  void OnDue();
  void StartWatch();
  void OnWatched(bool cancelled);

  Loop& loop_;
  Transport transport_;
  Inbox inbox_;
  Deadline deadline_;
  bool timed_out_ = false;
  bool killed_ = false;
  bool watching_ = false;  // a wait of Watch is outstanding
  int64_t rate_window_ms_ = 0;
  int64_t rate_bytes_min_ = 0;
  int64_t received_in_window_ = 0;
  std::function<void()> gone_;
};

}  // namespace spillway
