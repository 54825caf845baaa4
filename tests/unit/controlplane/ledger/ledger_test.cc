#include "controlplane/ledger/ledger.h"

#include <algorithm>
#include <functional>

#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

using Attempt = UsageSource::Attempt;

TEST_CASE("runs in any order, doubled, lost and sent again add up exactly") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  std::minstd_rand random(Catch::getSeed());
  const auto upto = [&random](int64_t max) {
    return std::uniform_int_distribution<int64_t>(0, max)(random);
  };
  std::vector<UsageSource> sources;
  sources.reserve(4);
  for (int i = 0; i < 4; ++i)
    sources.emplace_back("dp-" + std::to_string(i), static_cast<char>('a' + i));
  for (UsageSource& source : sources) {
    std::vector<std::pair<int64_t, Attempt>> open;
    for (int i = 0; i < 3000; ++i) {
      const Attempt attempt{.team = "team-" + std::to_string(upto(4)),
                            .key = "key-" + std::to_string(upto(9)),
                            .time_ms = kTestHourMs + upto(int64_t{6} * 3'600'000),
                            .cost = upto(1'000'000'000),
                            .input = upto(5000)};
      open.emplace_back(source.Start(attempt), attempt);
      while (open.size() > 20 || (i == 2999 && !open.empty())) {
        const auto at = open.begin() + upto(static_cast<int64_t>(open.size()) - 1);
        source.Finish(at->first, at->second);
        open.erase(at);
      }
    }
  }
  std::vector<v1::UsageRun> stream;
  int64_t cost = 0;
  int64_t attempts = 0;
  std::map<std::string, int64_t> by_team;
  for (const UsageSource& source : sources) {
    for (v1::UsageRun& run : source.Runs(random)) {
      if (upto(9) == 0) continue;  // lost
      if (upto(9) == 0) stream.push_back(run);
      stream.push_back(std::move(run));
    }
    cost += source.cost();
    attempts += source.attempts();
    for (const auto& [team, spent] : source.by_team()) by_team[team] += spent;
  }
  REQUIRE(stream.size() > 1500);
  std::ranges::shuffle(stream, random);
  for (size_t at = 0; at < stream.size();) {
    const size_t size = std::min<size_t>(stream.size() - at, static_cast<size_t>(1 + upto(30)));
    Apply(*opened.ledger, {stream.begin() + static_cast<ptrdiff_t>(at),
                           stream.begin() + static_cast<ptrdiff_t>(at + size)});
    at += size;
    if (upto(60) == 0) {
      opened.ledger.reset();
      opened.store.reset();
      opened = OpenLedger(folder.path());
    }
  }
  CHECK(TotalOf(*opened.ledger).cost_nanos() < cost);
  // What is missing is known, and is sent again until nothing is.
  for (int round = 0; round < 200; ++round) {
    std::vector<v1::UsageRun> again;
    for (const auto& [instance, ranges] : opened.ledger->Missing()) {
      const auto source = std::ranges::find(sources, instance, &UsageSource::instance);
      for (const v1::Resend& range : ranges) {
        REQUIRE(range.to_seq() <= source->last_seq());
        again.push_back(source->Records(range.from_seq(), range.to_seq()));
      }
    }
    // A lost tail is known from heartbeats only.
    for (const UsageSource& source : sources)
      opened.ledger->NoteKnown(source.instance(), source.incarnation(), source.last_seq());
    if (again.empty() && round > 0) break;
    Apply(*opened.ledger, again);
  }
  const v1::SpendRow total = TotalOf(*opened.ledger);
  CHECK(total.cost_nanos() == cost);
  CHECK(total.attempts() == attempts);
  CHECK(total.requests() == attempts);
  CHECK(total.estimated_nanos() == 0);
  CHECK(opened.ledger->open_started() == 0);
  CHECK(opened.ledger->ListGaps()->gaps().empty());
  v1::QuerySpendRequest request;
  request.add_by(v1::DIMENSION_TEAM);
  const auto spend = opened.ledger->QuerySpend(request);
  REQUIRE(spend.has_value());
  std::map<std::string, int64_t> got;
  for (const v1::SpendRow& row : spend->rows()) got[row.values(0)] = row.cost_nanos();
  CHECK(got == by_team);
  CHECK(std::ranges::is_sorted(spend->rows(), std::greater<>(), &v1::SpendRow::cost_nanos));
  CheckVerified(*opened.ledger);
  // Everything once more changes nothing.
  for (const UsageSource& source : sources)
    CHECK(Apply(*opened.ledger, {source.All()}).records == 0);
  CHECK(TotalOf(*opened.ledger).cost_nanos() == cost);
}

TEST_CASE("a record with a wrong checksum is counted, not applied, and still awaited") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  source.Run({.cost = 7});
  v1::UsageRun run = source.All();
  (*run.mutable_records(2))[3] ^= 1;
  const auto applied = Apply(*opened.ledger, {run});
  CHECK(applied.bad == 1);
  CHECK(applied.records == 2);
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 0);
  const auto missing = opened.ledger->Missing();
  REQUIRE(missing.contains("dp-1"));
  CHECK(missing.at("dp-1")[0].from_seq() == 3);
  CHECK(missing.at("dp-1")[0].to_seq() == 3);
  Apply(*opened.ledger, {source.Records(3, 3)});
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 7);
  CHECK(opened.ledger->Missing().empty());
}

TEST_CASE("malformed runs are refused whole") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  source.Run({});
  Apply(*opened.ledger, {source.Records(1, 1)});
  struct Case {
    const char* name;
    std::function<void(v1::UsageRun&)> spoil;
  };
  const Case kCases[] = {
      {"no instance", [](auto& run) { run.clear_instance(); }},
      {"an endless instance", [](auto& run) { run.set_instance(std::string(65, 'x')); }},
      {"an incarnation that is none", [](auto& run) { run.set_incarnation("zz"); }},
      {"another instance's incarnation", [](auto& run) { run.set_instance("dp-2"); }},
      {"seq 0", [](auto& run) { run.set_first_seq(0); }},
      {"negative seq", [](auto& run) { run.set_first_seq(-4); }},
      {"a seq beyond all bounds", [](auto& run) { run.set_first_seq(INT64_MAX); }},
      {"a checksum short", [](auto& run) { run.mutable_crc32c()->RemoveLast(); }},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      v1::UsageRun run = source.All();
      test.spoil(run);
      CHECK(Apply(*opened.ledger, {run}).records == 0);
      CHECK(TotalOf(*opened.ledger).cost_nanos() == 0);
    }
  }
}

TEST_CASE("intact records that say nothing we know are listed, not asked for for ever") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  v1::UsageRun run;
  run.set_instance("dp-1");
  run.set_incarnation(std::string(32, 'a'));
  run.set_first_seq(1);
  v1::UsageRecord wrong_seq;
  wrong_seq.set_seq(77);
  wrong_seq.mutable_hello();
  v1::UsageRecord no_body;
  no_body.set_seq(2);
  for (const std::string& bytes :
       {wrong_seq.SerializeAsString(), no_body.SerializeAsString(), std::string("\xff\xff")}) {
    run.add_records(bytes);
    run.add_crc32c(Crc32c(bytes));
  }
  Apply(*opened.ledger, {run});
  CHECK(opened.ledger->Missing().empty());
  const auto gaps = opened.ledger->ListGaps();
  REQUIRE(gaps->gaps_size() == 1);
  CHECK(gaps->gaps(0).lost());
  CHECK(gaps->gaps(0).from_seq() == 1);
  CHECK(gaps->gaps(0).to_seq() == 3);
}

TEST_CASE("an estimate counts until the truth arrives, then by the difference, in any order") {
  // Records: 1 hello, 2 started, 3 abandoned at 3000, 4 finished at 1000.
  UsageSource source("dp-1", 'a');
  const Attempt attempt{.cost = 1000, .reserved = 3000};
  const int64_t started = source.Start(attempt);
  source.Abandon(started, attempt);
  source.Finish(started, attempt);
  std::vector<int64_t> order = {1, 2, 3, 4};
  int orders = 0;
  do {
    DYNAMIC_SECTION("order " << order[0] << order[1] << order[2] << order[3]) {
      const TempFolder folder;
      auto opened = OpenLedger(folder.path());
      for (const int64_t seq : order) {
        Apply(*opened.ledger, {source.Records(seq, seq)});
        CheckVerified(*opened.ledger);
      }
      const v1::SpendRow total = TotalOf(*opened.ledger);
      CHECK(total.cost_nanos() == 1000);
      CHECK(total.estimated_nanos() == 0);
      CHECK(total.attempts() == 1);
      CHECK(opened.ledger->open_started() == 0);
    }
    ++orders;
  } while (std::ranges::next_permutation(order).found);
  CHECK(orders == 24);
}

TEST_CASE("all of it in one batch gives the same") {
  UsageSource source("dp-1", 'a');
  const Attempt attempt{.cost = 1000, .reserved = 3000};
  const int64_t started = source.Start(attempt);
  source.Abandon(started, attempt);
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  SECTION("the estimate alone") {
    Apply(*opened.ledger, {source.All()});
    CHECK(TotalOf(*opened.ledger).cost_nanos() == 3000);
    CHECK(TotalOf(*opened.ledger).estimated_nanos() == 3000);
    CHECK(TotalOf(*opened.ledger).requests() == 1);
  }
  SECTION("and its replacement") {
    source.Finish(started, attempt);
    Apply(*opened.ledger, {source.All()});
    CHECK(TotalOf(*opened.ledger).cost_nanos() == 1000);
  }
  CheckVerified(*opened.ledger);
  CHECK(opened.ledger->open_started() == 0);
}

TEST_CASE("an estimate is taken back from the hour it was counted in") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  Attempt attempt{.time_ms = kTestHourMs, .cost = 1000, .reserved = 3000};
  const int64_t started = source.Start(attempt);
  source.Abandon(started, attempt);
  attempt.time_ms = kTestHourMs + int64_t{2} * 3'600'000;
  source.Finish(started, attempt);
  Apply(*opened.ledger, {source.Records(1, 3)});
  Apply(*opened.ledger, {source.Records(4, 4)});
  v1::QuerySpendRequest request;
  request.add_by(v1::DIMENSION_HOUR);
  const auto spend = opened.ledger->QuerySpend(request);
  REQUIRE(spend->rows_size() == 1);
  CHECK(spend->rows(0).values(0) == "2026-01-01T02:00:00Z");
  CheckVerified(*opened.ledger);
}

TEST_CASE("retiring an instance settles its open attempts; a late end replaces them") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource one("dp-1", 'a');
  UsageSource two("dp-1", 'b');
  UsageSource other("dp-2", 'c');
  const Attempt attempt{.cost = 10, .reserved = 500};
  const int64_t late = one.Start(attempt);
  two.Start(attempt);
  two.Run(attempt);
  other.Start(attempt);
  Apply(*opened.ledger, {one.All(), two.All(), other.All()});
  CHECK(opened.ledger->open_started() == 3);
  SECTION("a refused commit changes nothing") {
    const auto failed = opened.ledger->Retire(
        "dp-1", [](WriteBatch) { return Result<void>(Fail(ErrorCode::kNotFound, "no")); });
    CHECK_FALSE(failed.has_value());
    CHECK(opened.ledger->open_started() == 3);
    CHECK(TotalOf(*opened.ledger).cost_nanos() == 10);
  }
  SECTION("settled") {
    const auto retired = opened.ledger->Retire("dp-1");
    REQUIRE(retired.has_value());
    CHECK(retired->orphans_settled() == 2);
    CHECK(retired->estimated_nanos() == 1000);
    CHECK(opened.ledger->open_started() == 1);
    CHECK(TotalOf(*opened.ledger).cost_nanos() == 1010);
    CHECK(opened.ledger->Retire("dp-1")->orphans_settled() == 0);
    CheckVerified(*opened.ledger);
    one.Finish(late, attempt);
    one.Abandon(late, attempt);  // said by a replay as well: settled already
    Apply(*opened.ledger, {one.Records(3, 4)});
    CHECK(TotalOf(*opened.ledger).cost_nanos() == 520);
    CheckVerified(*opened.ledger);
  }
}

TEST_CASE("what a retired data plane left in the stream settles as it arrives") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource known("dp-1", 'a');
  UsageSource heard("dp-1", 'b');  // by heartbeat alone: nothing of it is applied yet
  UsageSource reborn("dp-1", 'c');
  const Attempt attempt{.cost = 10, .reserved = 500};
  Apply(*opened.ledger, {known.All()});
  opened.ledger->NoteKnown("dp-1", heard.incarnation(), 2);
  REQUIRE(opened.ledger->Retire("dp-1"));
  const bool reopened = GENERATE(false, true);
  if (reopened) {
    opened.ledger.reset();
    opened.store.reset();
    opened = OpenLedger(folder.path());
  }
  const int64_t late = known.Start(attempt);
  known.Run(attempt);
  heard.Start(attempt);
  reborn.Start(attempt);
  Apply(*opened.ledger, {known.Records(2, 4), heard.All(), reborn.All()});
  CHECK(opened.ledger->open_started() == 1);  // of the new life
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 1010);
  CheckVerified(*opened.ledger);
  known.Finish(late, attempt);  // the truth replaces the estimate
  Apply(*opened.ledger, {known.Records(5, 5)});
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 520);
  CheckVerified(*opened.ledger);
}

TEST_CASE("an open attempt that outgrew its estimate is settled at what it last held") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  const int64_t open = source.Start({.reserved = 500});
  const int64_t ended = source.Start({.cost = 10, .reserved = 500});
  source.Outgrow(open, {.reserved = 700});
  source.Outgrow(ended, {.reserved = 800});
  source.Finish(ended, {.cost = 10});
  source.Outgrow(ended, {.reserved = 900});  // cannot be: an end stays an end
  const bool batched = GENERATE(true, false);
  if (batched) {
    Apply(*opened.ledger, {source.All()});
  } else {
    for (int64_t seq = 1; seq <= source.last_seq(); ++seq)
      Apply(*opened.ledger, {source.Records(seq, seq)});
  }
  CHECK(opened.ledger->open_started() == 1);
  const auto retired = opened.ledger->Retire("dp-1");
  REQUIRE(retired.has_value());
  CHECK(retired->orphans_settled() == 1);
  CHECK(retired->estimated_nanos() == 700);
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 710);
  CheckVerified(*opened.ledger);
}

TEST_CASE("lost ranges close the gap, stay listed, and yield to the record itself") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  for (int i = 0; i < 5; ++i) source.Run({.cost = 100});
  source.Add([](v1::UsageRecord& record) {
    record.mutable_lost()->set_from_seq(4);
    record.mutable_lost()->set_to_seq(7);
  });
  const int64_t last =
      source.Add([](v1::UsageRecord& record) { record.mutable_closed()->set_last_seq(13); });
  // 5 (the end of the second attempt) had arrived before; 4, 6 and 7 had not.
  Apply(*opened.ledger, {source.Records(1, 3), source.Records(5, 5), source.Records(8, last)});
  CHECK(opened.ledger->Missing().empty());
  const auto marks = opened.ledger->MarksOf("dp-1", std::vector<std::string>{source.incarnation()});
  REQUIRE(marks.size() == 1);
  CHECK(marks[0].committed_upto() == last);
  auto gaps = opened.ledger->ListGaps();
  REQUIRE(gaps->gaps_size() == 2);
  CHECK(gaps->gaps(0).from_seq() == 4);
  CHECK(gaps->gaps(0).to_seq() == 4);
  CHECK(gaps->gaps(1).from_seq() == 6);
  CHECK(gaps->gaps(1).to_seq() == 7);
  CHECK(gaps->gaps(1).lost());
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 400);
  // The stream delivers hours late what the disk had lost.
  CHECK(Apply(*opened.ledger, {source.Records(6, 7)}).records == 2);
  CHECK(Apply(*opened.ledger, {source.Records(6, 7)}).records == 0);
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 500);
  Apply(*opened.ledger, {source.Records(4, 4)});
  CHECK(opened.ledger->ListGaps()->gaps().empty());
  CHECK(opened.ledger->open_started() == 0);
  CheckVerified(*opened.ledger);
}

TEST_CASE("what was only summed up counts too, and ends what it names") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'a');
  const int64_t started = source.Start({});
  source.Add([&](v1::UsageRecord& record) {
    v1::Aggregate& aggregate = *record.mutable_aggregate();
    UsageSource::Name({.team = "t"}, *aggregate.mutable_attribution());
    aggregate.mutable_usage()->set_input_tokens(77);
    aggregate.set_cost_nanos(900);
    aggregate.set_estimated_nanos(100);
    aggregate.set_requests(3);
    aggregate.set_attempts(4);
    aggregate.add_ended_started(started);
  });
  SECTION("in order") { Apply(*opened.ledger, {source.All()}); }
  SECTION("the sum first") {
    Apply(*opened.ledger, {source.Records(3, 3)});
    Apply(*opened.ledger, {source.Records(1, 2)});
  }
  const v1::SpendRow total = TotalOf(*opened.ledger);
  CHECK(total.cost_nanos() == 900);
  CHECK(total.estimated_nanos() == 100);
  CHECK(total.requests() == 3);
  CHECK(total.attempts() == 4);
  CHECK(total.input_tokens() == 77);
  CHECK(opened.ledger->open_started() == 0);
  CheckVerified(*opened.ledger);
}

TEST_CASE("a Hello tells how far its predecessor went") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path());
  UsageSource source("dp-1", 'b');
  source.Add([](v1::UsageRecord& record) {
    record.mutable_hello()->set_predecessor(std::string(32, 'a'));
    record.mutable_hello()->set_predecessor_last_seq(9);
  });
  Apply(*opened.ledger, {source.All()});
  const auto missing = opened.ledger->Missing();
  REQUIRE(missing.contains("dp-1"));
  CHECK(missing.at("dp-1")[0].incarnation() == std::string(32, 'a'));
  CHECK(missing.at("dp-1")[0].to_seq() == 9);
}

TEST_CASE("too many holes are left for later, and nothing is lost by it") {
  const TempFolder folder;
  auto opened = OpenLedger(folder.path(), {.ranges_max = 3});
  UsageSource source("dp-1", 'a');
  for (int i = 0; i < 20; ++i) source.Run({.cost = 1});
  for (int64_t seq = source.last_seq(); seq >= 1; seq -= 2)
    Apply(*opened.ledger, {source.Records(seq, seq)});
  CHECK(TotalOf(*opened.ledger).cost_nanos() < 20);
  for (int i = 0; i < 50; ++i) {
    const auto missing = opened.ledger->Missing();
    if (missing.empty()) break;
    for (const v1::Resend& range : missing.at("dp-1"))
      Apply(*opened.ledger, {source.Records(range.from_seq(), range.to_seq())});
  }
  CHECK(TotalOf(*opened.ledger).cost_nanos() == 20);
  CheckVerified(*opened.ledger);
}

}  // namespace
}  // namespace spillway
