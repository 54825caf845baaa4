// The whole path of usage in one process: Meter, Journal, Shipper, bus, Consumer, Ledger. Both
// planes meet here as they do in production: over messages alone.
#include <catch2/catch_all.hpp>

#include "common/clock.h"
#include "common/crypto/signing.h"
#include "common/money.h"
#include "common/subjects.h"
#include "controlplane/ledger/consumer.h"
#include "dataplane/metering/journal.h"
#include "dataplane/metering/meter.h"
#include "dataplane/metering/shipper.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

struct Truth {
  int64_t finished = 0;
  Nanos cost = 0;
};

// One data plane that can be restarted, or dropped as by a kill.
class DataPlane {
 public:
  DataPlane(std::string path, MemoryBus& bus, const Verifier& verifier, const Clock& clock)
      : path_(std::move(path)), bus_(bus), verifier_(verifier), clock_(clock) {
    Start();
  }
  void Start() {
    shipper.reset();
    journal.reset();
    dir_.reset();
    auto dir = DataDir::Open(path_, "dp-1");
    if (!dir) FAIL(dir.error().message);
    dir_ = std::make_unique<DataDir>(std::move(*dir));
    auto made = Journal::Open(
        *dir_,
        {.version = "test", .bytes_max = 8 << 20, .segment_bytes = 64 << 10, .threaded = false},
        clock_);
    if (!made) FAIL(made.error().message);
    journal = std::move(*made);
    shipper = std::make_unique<Shipper>(*journal, bus_, verifier_, clock_,
                                        ShipperOptions{.threaded = false});
    shipper->RunOnce();
  }
  void Call(std::minstd_rand& random, Truth& truth) {
    Meter meter(*journal, clock_);
    const auto upto = [&random](int64_t max) {
      return std::uniform_int_distribution<int64_t>(0, max)(random);
    };
    const std::string key = "key-" + std::to_string(upto(20));
    auto attempt = meter.Start({.request_id = "r",
                                .attempt_id = "a",
                                .team = "support",
                                .key = key,
                                .model = "gpt",
                                .price = SimplePrice(250'000'000, 2'000'000'000, 25'000'000),
                                .estimate = {.input = upto(1000), .output = 100}});
    REQUIRE(attempt.has_value());
    truth.cost += std::move(*attempt)
                      .Finish({.usage = {.input = upto(5000), .output = upto(500)},
                               .source = v1::USAGE_SOURCE_PROVIDER,
                               .end = v1::END_FINISHED,
                               .http_status = 200,
                               .winner = true})
                      .cost;
    ++truth.finished;
  }
  v1::Heartbeat Beat() const {
    v1::Heartbeat heartbeat;
    heartbeat.set_instance("dp-1");
    for (v1::JournalState& state : shipper->States()) *heartbeat.add_journals() = std::move(state);
    return heartbeat;
  }

  std::unique_ptr<Journal> journal;
  std::unique_ptr<Shipper> shipper;

 private:
  std::string path_;
  MemoryBus& bus_;
  const Verifier& verifier_;
  const Clock& clock_;
  std::unique_ptr<DataDir> dir_;
};

class ControlPlane {
 public:
  ControlPlane(std::string path, MemoryBus& bus, const Signer& signer, const Clock& clock)
      : path_(std::move(path)), bus_(bus), signer_(signer), clock_(clock) {
    Start();
  }
  void Start() {
    consumer.reset();
    opened.ledger.reset();
    opened.store.reset();
    opened = OpenLedger(path_);
    consumer = std::make_unique<LedgerConsumer>(
        bus_, *opened.ledger, clock_,
        LedgerConsumerOptions{.epoch = ++epoch_, .fetch_timeout_ms = 0, .threaded = false},
        [this](const v1::Instruction& word) {
          const v1::Signed message =
              signer_.Sign(v1::Signed::PURPOSE_INSTRUCTION, word.SerializeAsString());
          static_cast<void>(
              bus_.Publish(subjects::Instruction(word.instance()), message.SerializeAsString()));
        });
    consumer->RunOnce();
  }

  OpenedLedger opened;
  std::unique_ptr<LedgerConsumer> consumer;

 private:
  std::string path_;
  MemoryBus& bus_;
  const Signer& signer_;
  const Clock& clock_;
  int64_t epoch_ = 0;
};

TEST_CASE("what was metered is in the ledger to the nano-dollar, whatever fails in between") {
  const TempFolder folder;
  auto signer = Signer::FromFile(folder.path() + "/control.key", true);
  REQUIRE(signer.has_value());
  const auto verifier = Verifier::FromFile(folder.path() + "/control.key.pub");
  REQUIRE(verifier.has_value());
  ManualClock clock;
  MemoryBus bus;
  const auto data_bus = bus.Client();
  ControlPlane control(folder.path(), bus, *signer, clock);
  DataPlane data(folder.path() + "/dp", *data_bus, *verifier, clock);
  std::minstd_rand random(Catch::getSeed());
  const auto upto = [&random](int64_t max) {
    return std::uniform_int_distribution<int64_t>(0, max)(random);
  };
  Truth truth;
  int64_t beat_ms = 0;
  const auto turn = [&](bool faults) {
    data.journal->RunOnce();
    data.shipper->RunOnce();
    control.consumer->RunOnce();
    data.shipper->RunOnce();
    clock.AdvanceMs(50);
    beat_ms += 50;
    if (beat_ms >= 2000) {
      beat_ms = 0;
      control.consumer->OnHeartbeat(data.Beat());
    }
    if (!faults) return;
    switch (upto(60)) {
      case 0:
        data_bus->Disconnect();
        break;
      case 1:
        data_bus->DropAcks(static_cast<int>(upto(5)));
        break;
      case 2:
        data_bus->FailPublishes(static_cast<int>(upto(5)));
        break;
      case 3:
        bus.Disconnect();
        break;
      case 4: {
        const auto messages = bus.Messages(subjects::kUsageStream);
        if (!messages.empty())
          bus.DropMessages(subjects::kUsageStream, messages.back().stream_seq - 1,
                           messages.back().stream_seq);
        break;
      }
      case 5:
        bus.WipeStream(subjects::kUsageStream);
        break;
      case 6:
        control.Start();
        break;
      case 7:
        data.Start();
        break;
      case 8:
        bus.DeliverTwice(upto(1) == 0);
        break;
      default:
        data_bus->Reconnect();
        bus.Reconnect();
    }
  };
  for (int i = 0; i < 3000; ++i) {
    for (int64_t calls = upto(3); calls > 0; --calls) data.Call(random, truth);
    turn(true);
  }
  // Healed: heartbeats and resends bring what is still missing.
  data_bus->Reconnect();
  bus.Reconnect();
  const auto finished = [&] {
    return data.shipper->Flush(0).uncommitted_records == 0 &&
           control.opened.ledger->Missing().empty();
  };
  for (int i = 0; i < 5000 && !finished(); ++i) turn(false);
  CHECK(data.shipper->Flush(0).uncommitted_records == 0);
  const v1::SpendRow total = TotalOf(*control.opened.ledger);
  CHECK(total.attempts() == truth.finished);
  CHECK(total.cost_nanos() == truth.cost);
  CHECK(total.estimated_nanos() == 0);
  CHECK(control.opened.ledger->open_started() == 0);
  CHECK(control.opened.ledger->ListGaps()->gaps().empty());
  CheckVerified(*control.opened.ledger);
  // Everything committed is freed: of the journal only the live incarnation is left.
  data.journal->RunOnce();
  CHECK(data.shipper->States().size() == 1);
  CHECK(truth.finished > 3000);
}

}  // namespace
}  // namespace spillway
