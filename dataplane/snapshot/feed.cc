#include "dataplane/snapshot/feed.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "common/log.h"
#include "common/subjects.h"
#include "dataplane/snapshot/feed_core.h"

namespace spillway {
namespace {

constexpr size_t kPushesMax = 4'096;
constexpr size_t kPushBytesMax = size_t{64} << 20;
constexpr auto kGoodbyeWait = std::chrono::seconds(2);

// What other threads hand to the feed's. Shared with the bus's callbacks, which may outlive the
// feed.
class Inbox {
 public:
  struct Batch {
    std::deque<std::string> pushes;
    bool connected = false;
    bool lost = false;  // pushes were thrown away: ask for the latest
    bool draining = false;
    bool goodbye = false;
    bool stop = false;
  };

  void Push(std::string bytes) {
    const std::lock_guard lock(mutex_);
    if (batch_.pushes.size() >= kPushesMax || bytes_ + bytes.size() > kPushBytesMax) {
      batch_.lost = true;
    } else {
      bytes_ += bytes.size();
      batch_.pushes.push_back(std::move(bytes));
    }
    wake_.notify_one();
  }
  void Set(bool Batch::* flag) {
    const std::lock_guard lock(mutex_);
    batch_.*flag = true;
    wake_.notify_one();
  }
  Batch Take(int64_t wait_ns) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::nanoseconds(std::max<int64_t>(wait_ns, 0)), [this] {
      return !batch_.pushes.empty() || batch_.connected || batch_.lost || batch_.draining ||
             batch_.goodbye || batch_.stop;
    });
    bytes_ = 0;
    return std::exchange(batch_, Batch{});
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  Batch batch_;
  size_t bytes_ = 0;
};

}  // namespace

struct SnapshotFeed::Rep {
  std::unique_ptr<FeedCore> core;
  const Clock* clock = nullptr;
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::unique_ptr<Bus::Subscription> subscription;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable said_goodbye;
  bool goodbye_done = false;

  void Run() {
    CrashMarker::PrepareThread();
    core->Boot();
    while (true) {
      Inbox::Batch batch = inbox->Take(core->NextDueNs() - clock->MonotonicNs());
      for (std::string& bytes : batch.pushes) core->OnPush(std::move(bytes));
      if (batch.connected || batch.lost) core->OnConnected();
      if (batch.draining) core->SetDraining();
      if (batch.goodbye) SayGoodbye();
      if (batch.stop) return;
      core->Tick();
    }
  }

  void SayGoodbye() {
    core->Goodbye();
    const std::lock_guard lock(mutex);
    goodbye_done = true;
    said_goodbye.notify_all();
  }
};

SnapshotFeed::SnapshotFeed(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

SnapshotFeed::~SnapshotFeed() { Stop(); }

Result<std::unique_ptr<SnapshotFeed>> SnapshotFeed::Start(FeedOptions options, FeedHooks hooks,
                                                          Bus* bus, const Clock& clock,
                                                          CrashMarker* marker) {
  auto rep = std::make_unique<Rep>();
  rep->clock = &clock;
  SW_TRY(rep->core, FeedCore::Create(std::move(options), std::move(hooks), bus, clock, marker));
  if (bus != nullptr) {
    auto subscribed = bus->Subscribe(
        subjects::kDeltas,
        [inbox = rep->inbox](const BusMessage& message) { inbox->Push(message.payload); });
    if (!subscribed)
      return std::unexpected(std::move(subscribed).error().Within("configuration deltas"));
    rep->subscription = *std::move(subscribed);
    bus->OnConnected([inbox = rep->inbox] { inbox->Set(&Inbox::Batch::connected); });
  }
  rep->thread = std::thread([raw = rep.get()] { raw->Run(); });
  return std::unique_ptr<SnapshotFeed>(new SnapshotFeed(std::move(rep)));
}

FeedStatus SnapshotFeed::status() const { return rep_->core->status(); }

void SnapshotFeed::AppendMetrics(MetricsText& out) const { spillway::AppendMetrics(status(), out); }

void SnapshotFeed::SetDraining() { rep_->inbox->Set(&Inbox::Batch::draining); }

void SnapshotFeed::Goodbye() {
  rep_->inbox->Set(&Inbox::Batch::goodbye);
  std::unique_lock lock(rep_->mutex);
  rep_->said_goodbye.wait_for(lock, kGoodbyeWait,
                              [this] { return rep_->goodbye_done || !rep_->thread.joinable(); });
}

void SnapshotFeed::Stop() {
  if (!rep_->thread.joinable()) return;
  rep_->subscription.reset();
  rep_->inbox->Set(&Inbox::Batch::stop);
  rep_->thread.join();
  rep_->core->Stop();
}

}  // namespace spillway
