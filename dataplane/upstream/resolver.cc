#include "dataplane/upstream/resolver.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <optional>

#include "common/clock.h"
#include "common/config/host.h"
#include "dataplane/exchange/timer_wheel.h"

namespace spillway {
namespace {

namespace asio = boost::asio;
using TcpResolver = asio::ip::basic_resolver<asio::ip::tcp, LoopExecutor>;

constexpr size_t kAddressesMax = 16;

Result<Addresses> Permitted(const std::string& host, Addresses addresses) {
  const bool any = !addresses.empty();
  std::erase_if(addresses, IsForbidden);
  if (addresses.size() > kAddressesMax) addresses.resize(kAddressesMax);
  if (!addresses.empty()) return addresses;
  return Fail(ErrorCode::kUpstreamUnreachable,
              any ? "the name '" + host + "' resolves only to addresses that no provider may have"
                  : "the name '" + host + "' has no address");
}

Lookup SystemLookup(Loop& loop) {
  auto resolver = std::make_shared<TcpResolver>(loop.io.get_executor());
  return [resolver](const std::string& host, std::function<void(Result<Addresses>)> done) {
    resolver->async_resolve(host, "",
                            [host, done = std::move(done)](const boost::system::error_code& failed,
                                                           const auto& results) {
                              if (failed) {
                                done(Fail(ErrorCode::kUpstreamUnreachable,
                                          "cannot resolve '" + host + "': " + failed.message()));
                                return;
                              }
                              Addresses addresses;
                              for (const auto& result : results)
                                addresses.push_back(result.endpoint().address());
                              done(std::move(addresses));
                            });
  };
}

}  // namespace

Wakeup::Wakeup(Loop& loop) : timer_(loop.io.get_executor()) {}

Task<void> Wakeup::Sleep() {
  timer_.expires_at(std::chrono::steady_clock::time_point::max());
  co_await timer_.async_wait(asio::as_tuple(asio::deferred));
}

void Wakeup::Wake() { timer_.cancel(); }

struct Resolver::Entry {
  Addresses addresses;  // the last good answer
  int64_t fetched_ns = 0;
  std::optional<Error> failure;  // of the last lookup, when it failed
  int64_t failed_ns = 0;
  bool in_flight = false;
  int64_t asked_ns = 0;          // when the lookup in flight began
  std::vector<Wakeup*> waiters;  // until they have resumed: an entry with some is not dropped
  bool needed() const { return in_flight || !waiters.empty(); }
};

struct Resolver::State {
  ResolverLimits limits;
  std::map<std::string, Entry> entries;
};

Resolver::Resolver(Loop& loop, ResolverLimits limits)
    : Resolver(loop, limits, SystemLookup(loop)) {}

Resolver::Resolver(Loop& loop, ResolverLimits limits, Lookup lookup)
    : loop_(loop),
      state_(std::make_shared<State>(State{.limits = limits, .entries = {}})),
      lookup_(std::move(lookup)) {}

Resolver::~Resolver() = default;

void Resolver::Refresh(const std::string& host, Entry& entry) {
  entry.in_flight = true;
  entry.asked_ns = loop_.clock->MonotonicNs();
  const Clock& clock = *loop_.clock;
  lookup_(host, [state = std::weak_ptr<State>(state_), host, &clock](Result<Addresses> found) {
    const std::shared_ptr<State> alive = state.lock();
    if (!alive) return;
    Entry& done = alive->entries[host];
    done.in_flight = false;
    if (found) found = Permitted(host, *std::move(found));
    if (found) {
      done.addresses = *std::move(found);
      done.fetched_ns = clock.MonotonicNs();
      done.failure.reset();
    } else {
      done.failure = std::move(found).error();
      done.failed_ns = clock.MonotonicNs();
    }
    for (Wakeup* waiter : done.waiters) waiter->Wake();
  });
}

Task<Result<Addresses>> Resolver::Resolve(std::string host, Wakeup& wakeup) {
  boost::system::error_code not_numeric;
  const auto numeric = asio::ip::make_address(host, not_numeric);
  if (!not_numeric) co_return Permitted(host, {numeric});

  const ResolverLimits& limits = state_->limits;
  if (state_->entries.size() >= limits.hosts_max && !state_->entries.contains(host)) {
    std::erase_if(state_->entries, [](const auto& item) { return !item.second.needed(); });
  }
  Entry& entry = state_->entries[host];
  const int64_t now = loop_.clock->MonotonicNs();
  const int64_t age_ms = (now - entry.fetched_ns) / kNsPerMs;
  const bool known = !entry.addresses.empty() && age_ms < limits.stale_ms;
  const bool failed = entry.failure && now - entry.failed_ns < limits.failure_ms * kNsPerMs;
  if (known && age_ms < limits.fresh_ms) co_return entry.addresses;
  if (!failed && !entry.in_flight) Refresh(host, entry);
  if (known && age_ms < limits.aging_ms) co_return entry.addresses;

  Addresses old;
  if (known) old = entry.addresses;
  const int64_t left_ms = limits.patience_ms - (now - entry.asked_ns) / kNsPerMs;
  if (entry.in_flight && (!known || left_ms > 0)) {
    Deadline patience(*loop_.timers, [&wakeup] { wakeup.Wake(); });
    if (known) patience.SetAfterMs(left_ms);
    entry.waiters.push_back(&wakeup);
    co_await wakeup.Sleep();
    std::erase(entry.waiters, &wakeup);
  }
  if (!entry.in_flight && !entry.failure) co_return entry.addresses;
  if (known) co_return old;
  if (entry.in_flight) co_return Fail(ErrorCode::kCancelled, "waiting for DNS was given up");
  co_return std::unexpected(*entry.failure);
}

bool IsForbidden(const asio::ip::address& address) {
  if (address.is_v4()) return config::IsForbiddenAddress(address.to_v4().to_bytes());
  return config::IsForbiddenAddress(address.to_v6().to_bytes());
}

}  // namespace spillway
