#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/error.h"
#include "dataplane/exchange/loop.h"

namespace spillway {

using Addresses = std::vector<boost::asio::ip::address>;

// Something to sleep on until somebody calls Wake. Cold paths only: it is a timer without a time.
class Wakeup {
 public:
  explicit Wakeup(Loop& loop);
  Task<void> Sleep();  // until the next Wake
  void Wake();

 private:
  boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>
      timer_;
};

// Looks a name up, without the cache, and calls `done` on the loop, possibly at once.
using Lookup =
    std::function<void(const std::string& host, std::function<void(Result<Addresses>)> done)>;

struct ResolverLimits {
  int64_t fresh_ms = 30'000;   // an answer is used without asking again
  int64_t aging_ms = 300'000;  // and this long while a new one is asked for
  // Still older, a new answer is waited for, but no longer than patience_ms counted from when it
  // was asked for: the old one serves while asking fails or hangs.
  int64_t stale_ms = int64_t{12} * 3'600'000;
  int64_t patience_ms = 500;
  int64_t failure_ms = 1'000;  // a failure is remembered
  size_t hosts_max = 1'024;
};

// Names to addresses for one loop: cached and refreshed in the background, so that a name in use
// makes no request wait, a long unused one is not where it was hours ago, and all survive hours
// without DNS. Lookups run in Asio's resolver
// thread. What no provider may have (config::IsForbiddenAddress: clouds' metadata, multicast, ...)
// is never handed out. Loop thread only; outlives its calls.
class Resolver {
 public:
  explicit Resolver(Loop& loop, ResolverLimits limits = {});  // asks the system (getaddrinfo)
  Resolver(Loop& loop, ResolverLimits limits, Lookup lookup);
  ~Resolver();

  // At least one address. kUpstreamUnreachable; kCancelled when `wakeup` was woken by somebody
  // else.
  Task<Result<Addresses>> Resolve(std::string host, Wakeup& wakeup);

 private:
  struct Entry;
  struct State;
  void Refresh(const std::string& host, Entry& entry);

  Loop& loop_;
  // Shared with lookups in flight, which may end after the resolver.
  std::shared_ptr<State> state_;
  Lookup lookup_;
};

// config::IsForbiddenAddress of it.
bool IsForbidden(const boost::asio::ip::address& address);

}  // namespace spillway
