#include "dataplane/metering/open_tracker.h"

#include <filesystem>
#include <set>

#include "common/durable_file.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

constexpr int64_t kDayS = int64_t{24} * 3'600;

std::set<int64_t> WindowsOf(const FreedCharges& freed) {
  std::set<int64_t> starts;
  for (const auto& [key, charged] : freed.charges.sums()) {
    v1::Account account;
    REQUIRE(account.ParseFromString(key.second));
    starts.insert(account.window_start_s());
  }
  return starts;
}

TEST_CASE("charges of windows that nobody asks for any more are dropped, others are kept") {
  const TempFolder folder;
  const ManualClock clock;
  const int64_t now_s = clock.WallMs() / 1000;
  // Running, of last month and its late askers, long over, without end.
  const std::set<int64_t> kept = {now_s, now_s - 61 * kDayS, 0};
  std::set<int64_t> charged = kept;
  charged.insert(now_s - 65 * kDayS);
  OpenTracker tracker(folder.path(), std::string(32, 'a'));
  v1::UsageRecord record;
  v1::Finished& finished = *record.mutable_finished();
  for (const int64_t start_s : charged) finished.add_accounts()->set_window_start_s(start_s);
  finished.set_hold_nanos(7);
  const std::string bytes = record.SerializeAsString();
  tracker.Follow({.seq = 1, .crc32c = 0, .record = bytes});
  REQUIRE(tracker.Carry({}, clock.WallMs()).has_value());
  const auto freed = LoadFreedCharges(folder.path());
  REQUIRE(freed.has_value());
  CHECK(freed->upto_seq == 1);
  CHECK(WindowsOf(*freed) == kept);
}

TEST_CASE("charges that cannot be read are set aside and keep no process from starting") {
  const TempFolder folder;
  const ManualClock clock;
  std::string charges;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    charges = opened.journal->folder() + "/charges";
    RunAttempts(*opened.journal, clock, 20);
  }
  SECTION("damaged") { REQUIRE(durable::WriteFile(charges, "\xff\xff garbage").has_value()); }
  SECTION("larger than a file that is read whole") {
    REQUIRE(durable::WriteFile(charges, "").has_value());
    std::filesystem::resize_file(charges, (uintmax_t{256} << 20) + 1);
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  CHECK_FALSE(std::filesystem::exists(charges));
  CHECK(std::filesystem::exists(charges + ".damaged"));
  CHECK(opened.journal->stats().lost == 0);
}

}  // namespace
}  // namespace spillway
