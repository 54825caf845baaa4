#include "dataplane/server/server.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdio>
#include <latch>
#include <string>
#include <utility>

#include "common/log.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/server/connection.h"
#include "dataplane/server/listener.h"
#include "dataplane/server/loop_state.h"
#include "dataplane/server/tls_context.h"

namespace spillway {
namespace {

constexpr auto kSuperviseEvery = std::chrono::milliseconds(250);
constexpr int kTlsCheckEvery = 8;  // rounds of the supervisor
constexpr int64_t kKillGraceMs = 2'000;

int64_t ResidentBytes() {
  long long size = 0;
  long long resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  const int fields = std::fscanf(file, "%lld %lld", &size, &resident);
  std::fclose(file);
  return fields == 2 ? resident * ::sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

struct Server::TlsHolder {
  std::unique_ptr<TlsContext> context;
};

struct Server::Shard {
  Shard(const Clock& clock, const SessionLimits& limits, const std::atomic<bool>& shedding)
      : loop(clock),
        state{.loop = loop, .limits = limits, .shedding = shedding, .on_session_end = {}} {}

  Loop loop;
  LoopState state;
  int listen_fd = -1;
  std::unique_ptr<Listener> listener;
  std::thread thread;
};

Server::Server(ServerOptions options, const Clock& clock)
    : options_(std::move(options)), clock_(clock), addresses_(options_.connections_per_address) {}

Result<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, const Clock& clock) {
  std::unique_ptr<Server> server(new Server(options, clock));
  SW_CHECK(server->Bind());
  return server;
}

Result<void> Server::Bind() {
  if (options_.tls_cert_file.empty() != options_.tls_key_file.empty()) {
    return Fail(ErrorCode::kInvalidConfig, "--tls-cert and --tls-key belong together");
  }
  tls_ = std::make_unique<TlsHolder>();
  if (!options_.tls_cert_file.empty()) {
    SW_TRY(tls_->context, TlsContext::Load(options_.tls_cert_file, options_.tls_key_file));
  }
  int threads = options_.threads;
  if (threads <= 0) threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  SW_TRY(ListenSockets sockets, BindAll(options_.listen, threads));
  port_ = sockets.port;
  for (int i = 0; i < threads; ++i) {
    auto shard = std::make_unique<Shard>(clock_, options_.limits, shedding_);
    shard->loop.index = i;
    shard->listen_fd = sockets.fds[static_cast<size_t>(i)];
    shard->state.on_session_end = [this] { OnSessionEnd(); };
    loop_pointers_.push_back(&shard->loop);
    shards_.push_back(std::move(shard));
  }
  return {};
}

Server::~Server() { Stop(); }

void Server::Start(const std::vector<Pipeline*>& pipelines) {
  for (size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[i];
    shard.state.pipeline = pipelines[i];
    shard.listener = std::make_unique<Listener>(shard.state, std::exchange(shard.listen_fd, -1),
                                                tls_->context.get(), connections_,
                                                options_.connections_max, addresses_);
    shard.listener->Start();
    shard.thread = std::thread([this, &shard] { RunLoop(shard); });
  }
  supervisor_ = std::thread([this] { Supervise(); });
}

void Server::RunLoop(Shard& shard) {
  ::pthread_setname_np(::pthread_self(), ("loop-" + std::to_string(shard.loop.index)).c_str());
  if (options_.on_thread_start) options_.on_thread_start();
  const auto guard = boost::asio::make_work_guard(shard.loop.io);
  shard.loop.io.run();
}

void Server::PostAll(const std::function<void(Shard&)>& function) {
  for (const auto& shard : shards_) {
    boost::asio::post(shard->loop.io, [function, target = shard.get()] { function(*target); });
  }
}

void Server::SetSnapshot(const std::shared_ptr<const Snapshot>& snapshot) {
  PostAll([this, snapshot](Shard& shard) {
    auto replaced = std::exchange(shard.loop.snapshot, snapshot);
    if (replaced == nullptr) {
      loops_with_snapshot_.fetch_add(1, std::memory_order_release);
    } else {
      Retire(std::move(replaced));
    }
  });
}

void Server::Retire(std::shared_ptr<const Snapshot> snapshot) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(retired_, snapshot) == retired_.end()) {
    retired_.push_back(std::move(snapshot));
  }
}

// On the supervisor's thread: those that no loop and no request uses any more.
void Server::FreeRetired() {
  std::vector<std::shared_ptr<const Snapshot>> unused;
  const std::lock_guard lock(mutex_);
  for (auto& snapshot : retired_) {
    if (snapshot.use_count() == 1) unused.push_back(std::move(snapshot));
  }
  std::erase(retired_, nullptr);
}

void Server::OnSessionEnd() {
  if (connections_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  if (!draining_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void Server::BeginDrain() {
  draining_.store(true, std::memory_order_release);
  std::latch stopped(static_cast<std::ptrdiff_t>(shards_.size()));
  PostAll([&stopped](Shard& shard) {
    shard.state.draining = true;
    shard.listener->Stop();
    for (Connection* connection = shard.state.connections; connection != nullptr;
         connection = connection->next) {
      if (connection->idle) connection->Arm(shard.state.limits.idle_draining_ms);
    }
    stopped.count_down();
  });
  stopped.wait();
}

bool Server::AwaitDrained(int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                           [this] { return connections_.load(std::memory_order_acquire) == 0; });
}

void Server::Stop() {
  if (std::exchange(stopped_, true)) return;
  const bool started = supervisor_.joinable();
  if (started) {
    if (!draining_.load()) BeginDrain();
    PostAll([](Shard& shard) {
      for (Connection* connection = shard.state.connections; connection != nullptr;) {
        Connection* next = connection->next;
        connection->Kill();
        connection = next;
      }
    });
    if (!AwaitDrained(kKillGraceMs)) {
      log::Warn("connections did not end in time", {{"connections", connections_.load()}});
    }
  }
  for (const auto& shard : shards_) {
    shard->loop.io.stop();
    if (shard->thread.joinable()) shard->thread.join();
    // Frames of sessions that did not end go now, while the pipelines are alive.
    shard->loop.io.DropPending();
    if (shard->listen_fd >= 0) ::close(shard->listen_fd);
  }
  if (!started) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  supervisor_.join();
}

// Watches memory and the certificate's files, off the loops: both read files.
void Server::Supervise() {
  for (int round = 0;; ++round) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, kSuperviseEvery, [this] { return stop_; })) return;
    }
    FreeRetired();
    const int64_t resident = ResidentBytes();
    resident_bytes_.store(resident, std::memory_order_relaxed);
    const bool shed = options_.memory_bytes_max > 0 && resident > options_.memory_bytes_max;
    if (shed != shedding_.exchange(shed)) {
      log::Warn(
          shed ? "memory limit reached: new requests are refused" : "below the memory limit again",
          {{"resident_bytes", resident}});
    }
    if (tls_->context == nullptr || round % kTlsCheckEvery != 0) continue;
    const Result<bool> reloaded = tls_->context->ReloadIfChanged();
    if (!reloaded) {
      log::Warn("the new certificate is not used", {{"reason", reloaded.error().message}});
    } else if (*reloaded) {
      log::Info("the listener's certificate was read again");
    }
  }
}

void Server::Append(MetricsText& text) const {
  const auto sum = [this](std::atomic<int64_t> LoopCounters::* counter) {
    int64_t total = 0;
    for (const auto& shard : shards_) {
      total += (shard->state.counters.*counter).load(std::memory_order_relaxed);
    }
    return total;
  };
  const auto append = [&](std::string_view name, std::string_view type, std::string_view help,
                          int64_t value) {
    text.Family(name, type, help);
    text.Sample(name, {}, value);
  };
  append("spillway_connections_open", "gauge", "Client connections open now.",
         sum(&LoopCounters::connections));
  append("spillway_connections_total", "counter", "Client connections accepted.",
         sum(&LoopCounters::connections_total));
  append("spillway_streams_open", "gauge", "Streamed answers under way now.",
         sum(&LoopCounters::streams));
  append("spillway_shed_total", "counter",
         "Connections and requests refused because of a process limit.",
         sum(&LoopCounters::shed_total));
  append("spillway_accept_failures_total", "counter",
         "Accepting paused because descriptors or memory ran out.",
         sum(&LoopCounters::accept_failures));
  append("spillway_tls_handshake_failures_total", "counter",
         "TLS handshakes that did not complete.", sum(&LoopCounters::handshake_failures));
  append("spillway_resident_bytes", "gauge", "Resident memory of the process.",
         resident_bytes_.load(std::memory_order_relaxed));
  append("spillway_draining", "gauge", "1 while the process finishes its last requests.",
         int64_t{draining_.load(std::memory_order_relaxed)});
}

}  // namespace spillway
