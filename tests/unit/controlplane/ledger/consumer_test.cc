#include "controlplane/ledger/consumer.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "common/clock.h"
#include "common/subjects.h"
#include "controlplane/ledger/resend_watch.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

// A ledger's consumer beside a bus, driven round by round; what it sends is kept.
class ConsumerTest {
 public:
  explicit ConsumerTest(const LedgerOptions& options = {}) : options_(options) { Start(1); }

  void Start(int64_t epoch) {
    consumer.reset();
    opened.ledger.reset();
    opened.store.reset();
    opened = OpenLedger(folder.path(), options_);
    const LedgerConsumerOptions options{
        .epoch = epoch, .fetch_max = 16, .fetch_timeout_ms = 0, .threaded = false};
    consumer = std::make_unique<LedgerConsumer>(
        bus, *opened.ledger, clock, options,
        [this](v1::Instruction word) { sent.push_back(std::move(word)); });
    consumer->RunOnce();
  }
  void Publish(const v1::UsageRun& run, const std::string& as = {}) {
    const std::string instance = as.empty() ? run.instance() : as;
    REQUIRE(bus.PublishToStream(subjects::Usage(instance), run.SerializeAsString(), {}));
  }
  // Rounds until nothing new comes, with time passing.
  void Settle(int64_t ms = 0) {
    for (int i = 0; i < 100; ++i) {
      const int applied = consumer->RunOnce();
      if (applied == 0 && i > 1) break;
    }
    clock.AdvanceMs(ms);
  }
  std::optional<int64_t> MarkSent(const std::string& incarnation) const {
    std::optional<int64_t> upto;
    for (const v1::Instruction& word : sent)
      for (const v1::IncarnationMark& mark : word.marks())
        if (mark.incarnation() == incarnation) upto = mark.committed_upto();
    return upto;
  }
  std::vector<v1::Resend> Asked() const {
    std::vector<v1::Resend> ranges;
    for (const v1::Instruction& word : sent)
      ranges.insert(ranges.end(), word.resend().begin(), word.resend().end());
    return ranges;
  }
  v1::Heartbeat Beat(const UsageSource& source, int64_t published, int64_t committed) const {
    v1::Heartbeat heartbeat;
    heartbeat.set_instance(source.instance());
    v1::JournalState& state = *heartbeat.add_journals();
    state.set_incarnation(source.incarnation());
    state.set_last_seq(source.last_seq());
    state.set_published_upto(published);
    state.set_committed_upto(committed);
    return heartbeat;
  }

 private:
  LedgerOptions options_;

 public:
  TempFolder folder;
  ManualClock clock;
  MemoryBus bus;
  OpenedLedger opened;
  std::unique_ptr<LedgerConsumer> consumer;
  std::vector<v1::Instruction> sent;
};

UsageSource Source(int attempts, char digit = 'a') {
  UsageSource source("dp-1", digit);
  for (int i = 0; i < attempts; ++i) source.Run({.cost = 10});
  return source;
}

TEST_CASE("what is in the stream is applied, marked and not applied again after a restart") {
  ConsumerTest test;
  const UsageSource source = Source(50);
  std::minstd_rand random(1);
  for (const v1::UsageRun& run : source.Runs(random)) test.Publish(run);
  test.Settle(200);
  test.Settle();
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 500);
  CHECK(test.MarkSent(source.incarnation()) == 101);
  CHECK(test.sent.back().epoch() == 1);
  const int64_t messages = test.consumer->stats().messages;
  test.Start(2);
  test.Settle();
  CHECK(test.consumer->stats().messages == 0);
  CHECK(messages > 0);
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 500);
  CHECK(test.consumer->stats().lag_messages == 0);
}

TEST_CASE("a message in another's name is refused, as is garbage") {
  ConsumerTest test;
  const UsageSource source = Source(3);
  test.Publish(source.All(), "dp-2");
  REQUIRE(test.bus.PublishToStream(subjects::Usage("dp-1"), "\xff\xff", {}));
  test.Settle();
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 0);
  CHECK(test.consumer->stats().refused == 2);
}

TEST_CASE("everything delivered twice counts once") {
  ConsumerTest test;
  test.bus.DeliverTwice(true);
  const UsageSource source = Source(20);
  test.Publish(source.All());
  test.Publish(source.All());
  test.Settle();
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 200);
}

TEST_CASE("a gap that stays is asked for, again and again but ever more rarely") {
  ConsumerTest test;
  const UsageSource source = Source(30);
  test.Publish(source.Records(1, 10));
  test.Publish(source.Records(21, 30));
  test.Settle(600);
  test.Settle(600);
  CHECK(test.Asked().empty());  // it may still be on its way
  for (int i = 0; i < 4; ++i) test.Settle(600);
  REQUIRE(test.Asked().size() == 1);
  CHECK(test.Asked()[0].from_seq() == 11);
  CHECK(test.Asked()[0].to_seq() == 20);
  for (int i = 0; i < 100; ++i) test.Settle(600);
  const size_t in_a_minute = test.Asked().size();
  CHECK(in_a_minute >= 3);
  CHECK(in_a_minute <= 12);
  test.Publish(source.Records(11, 20));
  for (int i = 0; i < 100; ++i) test.Settle(600);
  CHECK(test.Asked().size() == in_a_minute);
}

TEST_CASE("a lost tail shows in the heartbeat and is asked for") {
  ConsumerTest test;
  const UsageSource source = Source(30);
  test.Publish(source.Records(1, 40));
  test.Settle();
  test.consumer->OnHeartbeat(test.Beat(source, 61, 0));
  for (int i = 0; i < 6; ++i) test.Settle(600);
  REQUIRE_FALSE(test.Asked().empty());
  CHECK(test.Asked()[0].from_seq() == 41);
  CHECK(test.Asked()[0].to_seq() == 61);
  test.Publish(source.Records(41, 61));
  test.Settle();
  CHECK(test.opened.ledger->Missing().empty());
}

TEST_CASE("a whole incarnation that never arrived shows in the heartbeat") {
  ConsumerTest test;
  const UsageSource source = Source(5);
  test.consumer->OnHeartbeat(test.Beat(source, 11, 0));
  for (int i = 0; i < 6; ++i) test.Settle(600);
  REQUIRE_FALSE(test.Asked().empty());
  CHECK(test.Asked()[0].from_seq() == 1);
  CHECK(test.Asked()[0].to_seq() == 11);
}

TEST_CASE("a heartbeat that has not heard of its marks is told again") {
  ConsumerTest test;
  const UsageSource source = Source(10);
  test.Publish(source.All());
  test.Settle();
  test.sent.clear();
  test.consumer->OnHeartbeat(test.Beat(source, 21, 5));
  CHECK(test.MarkSent(source.incarnation()) == 21);
  test.sent.clear();
  test.consumer->OnHeartbeat(test.Beat(source, 21, 21));
  CHECK(test.sent.empty());
}

TEST_CASE("marks of a complete incarnation are told as long as it is named") {
  ConsumerTest test;
  UsageSource source = Source(2);
  source.Add([](v1::UsageRecord& record) { record.mutable_closed()->set_last_seq(6); });
  test.Publish(source.All());
  test.Settle();
  test.sent.clear();
  test.consumer->OnHeartbeat(test.Beat(source, 6, 0));
  CHECK(test.MarkSent(source.incarnation()) == 6);
}

TEST_CASE("a new stream is read from its beginning, and everybody is asked for what is missing") {
  ConsumerTest test;
  const UsageSource source = Source(30);
  test.Publish(source.Records(1, 20));
  test.Settle();
  test.sent.clear();
  SECTION("deleted under the consumer") { test.bus.WipeStream(subjects::kUsageStream); }
  SECTION("the server lost everything") { test.bus.WipeServer(); }
  test.Settle(1100);
  test.Settle(1100);
  test.Settle();
  CHECK(test.bus.HasStream(subjects::kUsageStream));
  CHECK(test.consumer->stats().stream_changes == 1);
  REQUIRE_FALSE(test.Asked().empty());
  CHECK(test.Asked()[0].from_seq() == 21);
  CHECK(test.Asked()[0].to_seq() == INT64_MAX);
  test.Publish(source.Records(21, source.last_seq()));
  test.Settle();
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 300);
}

TEST_CASE("a stream lost while the control plane was down is noticed at its start") {
  ConsumerTest test;
  const UsageSource source = Source(30);
  test.Publish(source.Records(1, 20));
  test.Settle();
  test.consumer.reset();
  test.bus.WipeServer();
  test.sent.clear();
  test.Start(2);
  test.Settle();
  CHECK(test.consumer->stats().stream_changes == 1);
  CHECK(test.Asked().size() == 1);
  test.Publish(source.Records(15, source.last_seq()));
  test.Settle();
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 300);
}

TEST_CASE("committed usage is purged, uncommitted is not") {
  ConsumerTest test;
  const UsageSource source = Source(10);
  test.Publish(source.Records(1, 10));
  test.Settle(11'000);
  test.Settle();
  CHECK(test.bus.Messages(subjects::kUsageStream).empty());
  test.bus.Disconnect();
  const auto other = test.bus.Client();
  REQUIRE(other->PublishToStream(subjects::Usage("dp-1"),
                                 source.Records(11, 21).SerializeAsString(), {}));
  test.Settle(11'000);
  test.Settle();
  CHECK(other->Messages(subjects::kUsageStream).size() == 1);
  test.bus.Reconnect();
  test.Settle();
  CHECK(TotalOf(*test.opened.ledger).cost_nanos() == 100);
}

TEST_CASE("with backups on the stream is kept up to the last backup") {
  ConsumerTest test({.backups = true});
  const UsageSource source = Source(10);
  test.Publish(source.Records(1, 10));
  test.Settle(11'000);
  test.Settle(11'000);
  CHECK(test.bus.Messages(subjects::kUsageStream).size() == 1);
  REQUIRE(test.opened.ledger->BackUp(test.folder.path() + "/backups", kTestHourMs));
  test.Settle(11'000);
  CHECK(test.bus.Messages(subjects::kUsageStream).empty());
}

TEST_CASE("retirement is said with the marks") {
  ConsumerTest test;
  const UsageSource source = Source(2);
  test.Publish(source.All());
  test.Settle();
  test.sent.clear();
  test.consumer->OnRetired("dp-1");
  REQUIRE(test.sent.size() == 1);
  CHECK(test.sent[0].retired());
  CHECK(test.MarkSent(source.incarnation()) == 5);
}

TEST_CASE("the consumer of an earlier epoch is deleted") {
  ConsumerTest test;
  test.Publish(Source(1).All());
  test.Settle();
  test.Start(2);
  test.Settle();
  // One that still existed would go on behind what it had acknowledged.
  const auto fetched = [&test](const char* name) {
    auto consumer = test.bus.Consume({.stream = std::string(subjects::kUsageStream), .name = name});
    REQUIRE(consumer.has_value());
    return (*consumer)->Fetch(10, 0)->size();
  };
  test.Publish(Source(2).All());
  test.Settle();
  CHECK(fetched("ledger-1") == 2);
  CHECK(fetched("ledger-2") == 0);
}

TEST_CASE("own thread: what is published arrives") {
  const TempFolder folder;
  MemoryBus bus;
  auto opened = OpenLedger(folder.path());
  std::mutex mutex;
  std::condition_variable arrived;
  int64_t upto = 0;
  const LedgerConsumer consumer(bus, *opened.ledger, SystemClock(),
                                {.epoch = 1, .fetch_timeout_ms = 50},
                                [&](const v1::Instruction& word) {
                                  const std::lock_guard lock(mutex);
                                  for (const auto& mark : word.marks())
                                    upto = std::max(upto, mark.committed_upto());
                                  arrived.notify_all();
                                });
  const UsageSource source = Source(20);
  REQUIRE(bus.EnsureStream({.name = std::string(subjects::kUsageStream),
                            .subjects = {std::string(subjects::kUsageAll)}}));
  REQUIRE(bus.PublishToStream(subjects::Usage("dp-1"), source.All().SerializeAsString(), {}));
  std::unique_lock lock(mutex);
  CHECK(arrived.wait_for(lock, std::chrono::seconds(20), [&] { return upto == 41; }));
}

TEST_CASE("gaps are watched one by one") {
  ledger::ResendWatch watch(1000, 8000, 1);
  ledger::ResendWatch::Ranges missing;
  v1::Resend range;
  range.set_incarnation("i");
  range.set_from_seq(5);
  range.set_to_seq(9);
  missing["dp"].push_back(range);
  constexpr int64_t kMs = 1'000'000;
  CHECK(watch.Due(missing, 0, 0).empty());
  CHECK(watch.Due(missing, 900 * kMs, 800 * kMs).empty());
  CHECK(watch.Due(missing, 1100 * kMs, 0).empty());  // the stream has not been drained since
  CHECK(watch.Due(missing, 1200 * kMs, 1 * kMs).size() == 1);
  CHECK(watch.Due(missing, 1300 * kMs, 1 * kMs).empty());
  CHECK(watch.Due(missing, 4000 * kMs, 1 * kMs).size() == 1);
  CHECK(watch.Due({}, 5000 * kMs, 1 * kMs).empty());
  CHECK(watch.watched() == 0);
  CHECK(watch.Due(missing, 6000 * kMs, 1 * kMs).empty());  // seen anew
  // A stream that never drains does not hide a gap for ever.
  CHECK(watch.Due(missing, 17'000 * kMs, 1 * kMs).size() == 1);
}

}  // namespace
}  // namespace spillway
