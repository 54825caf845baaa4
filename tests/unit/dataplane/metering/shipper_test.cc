#include "dataplane/metering/shipper.h"

#include <filesystem>
#include <set>

#include "common/crypto/crc32c.h"
#include "common/subjects.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

// A data plane's journal and shipper beside a bus with the usage stream, driven round by round.
class ShipperTest {
 public:
  explicit ShipperTest(const ShipperOptions& options = Manual()) : options_(options) {
    auto made = Signer::FromFile(keys_.path() + "/control.key", true);
    if (!made) FAIL(made.error().message);
    signer_ = std::make_unique<Signer>(std::move(*made));
    auto verifier = Verifier::FromFile(keys_.path() + "/control.key.pub");
    if (!verifier) FAIL(verifier.error().message);
    verifier_ = std::make_unique<Verifier>(std::move(*verifier));
    MakeStream();
    Start();
  }
  static ShipperOptions Manual() { return {.threaded = false}; }

  void MakeStream() {
    REQUIRE(bus.EnsureStream({.name = std::string(subjects::kUsageStream),
                              .subjects = {std::string(subjects::kUsageAll)},
                              .discard_new = true}));
  }
  void Start() {
    opened = OpenJournal(folder_.path(), clock, SmallJournal());
    shipper = std::make_unique<Shipper>(*opened.journal, bus, *verifier_, clock, options_);
    shipper->RunOnce();  // listens
  }
  void Stop() {
    shipper.reset();
    opened.journal.reset();
    opened.dir.reset();
  }
  void Attempts(int n) { RunAttempts(*opened.journal, clock, n); }
  // One turn of everything, and some time.
  void Turn(int64_t ms = 10) {
    opened.journal->RunOnce();
    shipper->RunOnce();
    shipper->RunOnce();
    clock.AdvanceMs(ms);
  }
  v1::Instruction Word(int64_t epoch) const {
    v1::Instruction instruction;
    instruction.set_epoch(epoch);
    instruction.set_instance("dp-1");
    return instruction;
  }
  void Instruct(const v1::Instruction& instruction) {
    const v1::Signed message =
        signer_->Sign(v1::Signed::PURPOSE_INSTRUCTION, instruction.SerializeAsString());
    REQUIRE(bus.Publish(subjects::Instruction("dp-1"), message.SerializeAsString()));
  }
  void Commit(const std::string& incarnation, int64_t upto, int64_t epoch = 1) {
    v1::Instruction word = Word(epoch);
    word.add_marks()->set_incarnation(incarnation);
    word.mutable_marks(0)->set_committed_upto(upto);
    Instruct(word);
  }
  void AskAgain(const std::string& incarnation, int64_t from, int64_t to) {
    v1::Instruction word = Word(1);
    word.add_resend()->set_incarnation(incarnation);
    word.mutable_resend(0)->set_from_seq(from);
    word.mutable_resend(0)->set_to_seq(to);
    Instruct(word);
  }
  // The seqs of an incarnation that the stream holds, with how often.
  std::map<int64_t, int> InStream(const std::string& incarnation) const {
    std::map<int64_t, int> seqs;
    for (const BusMessage& message : bus.Messages(subjects::kUsageStream)) {
      v1::UsageRun run;
      REQUIRE(run.ParseFromString(message.payload));
      REQUIRE(message.subject == subjects::Usage(run.instance()));
      REQUIRE(message.payload.size() <= 64 * 1024);
      if (run.incarnation() != incarnation) continue;
      REQUIRE(run.records_size() == run.crc32c_size());
      for (int i = 0; i < run.records_size(); ++i) {
        v1::UsageRecord record;
        REQUIRE(record.ParseFromString(run.records(i)));
        REQUIRE(record.seq() == run.first_seq() + i);
        REQUIRE(Crc32c(run.records(i)) == run.crc32c(i));
        ++seqs[record.seq()];
      }
    }
    return seqs;
  }
  std::string incarnation() const { return opened.journal->incarnation(); }
  v1::JournalState State() const { return shipper->States().back(); }

 private:
  TempFolder folder_;
  TempFolder keys_;
  ShipperOptions options_;
  std::unique_ptr<Signer> signer_;
  std::unique_ptr<Verifier> verifier_;

 public:
  ManualClock clock;
  MemoryBus bus;
  OpenedJournal opened;
  std::unique_ptr<Shipper> shipper;
};

TEST_CASE("records are shipped in runs of at most 64 KB, each once") {
  ShipperTest test;
  test.Attempts(400);
  test.Turn();
  CHECK(test.InStream(test.incarnation()).size() == 801);
  CHECK(test.bus.Messages(subjects::kUsageStream).size() >= 3);
  CHECK(test.State().published_upto() == 801);
  CHECK(test.State().committed_upto() == 0);
  test.Turn();
  CHECK(test.bus.Messages(subjects::kUsageStream).size() <= 10);
}

TEST_CASE("an acknowledgement frees nothing, a committed mark does") {
  ShipperTest test;
  for (int i = 0; i < 20; ++i) {
    test.Attempts(30);
    test.Turn();
  }
  const int64_t before = test.opened.journal->stats().bytes;
  test.Turn();
  CHECK(test.opened.journal->stats().bytes == before);
  test.Commit(test.incarnation(), 1201);
  test.Turn();
  test.Turn();
  CHECK(test.opened.journal->stats().bytes < before);
  CHECK(test.State().committed_upto() == 1201);
}

TEST_CASE("what failed or found no answer is sent again, and the stream keeps one copy") {
  struct Case {
    const char* name;
    std::function<void(MemoryBus&)> fault;
  };
  const Case kCases[] = {
      {"refused before it was stored", [](MemoryBus& bus) { bus.FailPublishes(5); }},
      {"stored, the acknowledgement lost", [](MemoryBus& bus) { bus.DropAcks(5); }},
  };
  for (const Case& row : kCases) {
    DYNAMIC_SECTION(row.name) {
      ShipperTest test;
      row.fault(test.bus);
      test.Attempts(500);
      for (int i = 0; i < 20; ++i) test.Turn(5000);
      const auto seqs = test.InStream(test.incarnation());
      CHECK(seqs.size() == 1001);
      for (const auto& [seq, times] : seqs) REQUIRE(times == 1);
      CHECK(test.State().published_upto() == 1001);
    }
  }
}

TEST_CASE("what cannot be read at the moment is sent when it can") {
  ShipperTest test;
  const std::string journal = test.opened.dir->journal_path();
  test.bus.FailPublishes(1'000);
  test.Attempts(100);
  test.Turn();
  REQUIRE(test.InStream(test.incarnation()).size() == 1);  // Hello, before
  test.bus.FailPublishes(0);
  std::filesystem::rename(journal, journal + ".away");
  for (int i = 0; i < 5; ++i) {
    test.clock.AdvanceMs(5'000);
    test.shipper->RunOnce();
  }
  std::filesystem::rename(journal + ".away", journal);
  CHECK(test.State().published_upto() == 1);
  for (int i = 0; i < 5; ++i) test.Turn(5000);
  CHECK(test.InStream(test.incarnation()).size() == 201);
  CHECK(test.State().published_upto() == 201);
}

TEST_CASE("nothing is published while the bus is away, everything after") {
  ShipperTest test;
  test.bus.Disconnect();
  test.Attempts(100);
  for (int i = 0; i < 5; ++i) test.Turn();
  CHECK(test.State().published_upto() == 1);  // Hello, before
  CHECK(test.State().last_seq() == 201);
  test.bus.Reconnect();
  for (int i = 0; i < 5; ++i) test.Turn(5000);
  CHECK(test.InStream(test.incarnation()).size() == 201);
}

TEST_CASE("the number of unacknowledged runs is bounded") {
  ShipperTest test({.in_flight_max = 2, .threaded = false});
  test.bus.HoldAcks(true);
  const size_t before = test.bus.Messages(subjects::kUsageStream).size();
  test.Attempts(1500);
  for (int i = 0; i < 10; ++i) test.Turn();
  CHECK(test.bus.Messages(subjects::kUsageStream).size() == before + 2);
  test.bus.HoldAcks(false);
  test.bus.FlushAcks();
  for (int i = 0; i < 10; ++i) test.Turn();
  CHECK(test.InStream(test.incarnation()).size() == 3001);
}

TEST_CASE("a range that is asked for comes again, under another message id") {
  ShipperTest test;
  test.Attempts(200);
  test.Turn();
  test.AskAgain(test.incarnation(), 100, 150);
  test.Turn();
  test.Turn();
  const auto seqs = test.InStream(test.incarnation());
  for (const auto& [seq, times] : seqs) REQUIRE(times == (seq >= 100 && seq <= 150 ? 2 : 1));
}

TEST_CASE("asking for everything after the stream was lost brings everything") {
  ShipperTest test;
  test.Attempts(300);
  test.Turn();
  test.bus.WipeStream(subjects::kUsageStream);
  test.MakeStream();
  test.AskAgain(test.incarnation(), 1, INT64_MAX);
  for (int i = 0; i < 5; ++i) test.Turn();
  CHECK(test.InStream(test.incarnation()).size() == 601);
}

TEST_CASE("a restart ships the earlier incarnations too, from where they stood") {
  ShipperTest test;
  test.Attempts(50);
  test.Turn();
  const std::string first = test.incarnation();
  test.bus.Disconnect();
  test.Attempts(50);
  test.Turn();
  test.Stop();
  test.bus.Reconnect();
  test.Start();
  for (int i = 0; i < 3; ++i) test.Turn();
  const auto seqs = test.InStream(first);
  CHECK(seqs.size() == 202);  // with Hello and Closed
  for (const auto& [seq, times] : seqs) REQUIRE(times == 1);
  CHECK(test.InStream(test.incarnation()).size() == 1);
  test.Commit(first, 202);
  test.Turn();
  test.Turn();
  CHECK(test.shipper->States().size() == 1);
}

TEST_CASE(
    "instructions are obeyed only with a good signature, for this instance, of no lower epoch") {
  ShipperTest test;
  test.Attempts(10);
  test.Turn();
  test.Commit(test.incarnation(), 3, 5);
  test.Turn();
  REQUIRE(test.State().committed_upto() == 3);
  SECTION("a lower epoch") { test.Commit(test.incarnation(), 21, 4); }
  SECTION("another instance") {
    v1::Instruction word = test.Word(9);
    word.set_instance("dp-2");
    word.add_marks()->set_incarnation(test.incarnation());
    word.mutable_marks(0)->set_committed_upto(21);
    test.Instruct(word);
  }
  SECTION("another signer") {
    const TempFolder keys;
    const auto signer = Signer::FromFile(keys.path() + "/other.key", true);
    REQUIRE(signer.has_value());
    v1::Instruction word = test.Word(9);
    word.add_marks()->set_incarnation(test.incarnation());
    word.mutable_marks(0)->set_committed_upto(21);
    const auto message = signer->Sign(v1::Signed::PURPOSE_INSTRUCTION, word.SerializeAsString());
    REQUIRE(test.bus.Publish(subjects::Instruction("dp-1"), message.SerializeAsString()));
  }
  SECTION("garbage") {
    REQUIRE(test.bus.Publish(subjects::Instruction("dp-1"), "\xff\xff garbage"));
  }
  test.Turn();
  CHECK(test.State().committed_upto() == 3);
  CHECK(test.opened.journal->highest_epoch() == 5);
  test.Commit(test.incarnation(), 4, 5);
  test.Turn();
  CHECK(test.State().committed_upto() == 4);
}

TEST_CASE("a higher epoch is remembered over a restart") {
  ShipperTest test;
  test.Commit(test.incarnation(), 1, 9);
  test.Turn();
  test.Stop();
  test.Start();
  test.Attempts(1);
  test.Turn();
  test.Commit(test.incarnation(), 3, 8);
  test.Turn();
  CHECK(test.State().committed_upto() == 0);
}

TEST_CASE("retirement is noticed") {
  ShipperTest test;
  v1::Instruction word = test.Word(2);
  word.set_retired(true);
  test.Instruct(word);
  test.Turn();
  CHECK(test.shipper->retired());
  test.Instruct(test.Word(2));  // an ordinary word does not take it back
  test.Turn();
  CHECK(test.shipper->retired());
}

TEST_CASE("a flush waits for the ledger, or says how much stays") {
  ShipperTest test;
  test.Attempts(10);
  const Shipper::Flushed stays = test.shipper->Flush(0);
  CHECK(stays.uncommitted_records == 21);
  test.Turn();
  CHECK(test.shipper->Flush(0).unshipped_records == 0);
  test.Commit(test.incarnation(), 21);
  const Shipper::Flushed done = test.shipper->Flush(1000);
  CHECK(done.uncommitted_records == 0);
}

TEST_CASE("an acknowledgement after the shipper's end does no harm") {
  ShipperTest test;
  test.bus.HoldAcks(true);
  test.Attempts(10);
  test.Turn();
  test.shipper.reset();
  test.bus.FlushAcks();
  CHECK(test.bus.subscriptions() == 0);
}

TEST_CASE("resends are not queued twice for the same range") {
  ShipperTest test;
  test.Attempts(200);
  test.Turn();
  test.bus.HoldAcks(true);
  for (int i = 0; i < 5; ++i) test.AskAgain(test.incarnation(), 1, 100);
  test.Turn();
  test.bus.HoldAcks(false);
  test.bus.FlushAcks();
  test.Turn();
  CHECK(test.InStream(test.incarnation()).at(50) == 2);
}

}  // namespace
}  // namespace spillway
