// Budget accounts in the journal: written by hand, summed, closed, never lost.
#include "dataplane/metering/account_charges.h"

#include <set>

#include "dataplane/metering/standalone_totals.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

using Accounts = std::vector<std::shared_ptr<const std::string>>;
using Sums = std::map<std::pair<std::string, std::string>, Nanos>;

v1::Account AccountOf(const std::string& budget, const std::string& subject = {}) {
  v1::Account account;
  account.set_budget_id(budget);
  account.set_subject(subject);
  account.set_window_start_s(1'767'225'600);
  return account;
}

std::shared_ptr<const std::string> Bytes(const std::string& budget,
                                         const std::string& subject = {}) {
  return std::make_shared<const std::string>(AccountOf(budget, subject).SerializeAsString());
}

AttemptInfo Budgeted(const Accounts& accounts, Nanos reserved) {
  AttemptInfo info = SampleAttempt();
  info.accounts = accounts;
  info.reserved = reserved;
  return info;
}

std::map<std::string, Nanos> ChargesOf(const v1::Closed& closed) {
  std::map<std::string, Nanos> charges;
  for (const v1::AccountCharge& charge : closed.accounts())
    charges[charge.account().budget_id()] += charge.charged();
  return charges;
}

TEST_CASE("every new field is the one protobuf writes") {
  const std::vector<std::pair<std::string, std::string>> tags = {{"app", "web"}, {"env", "prod"}};
  const std::string attribution = EncodeAttribution({.team = "t", .tags = tags});
  const std::string joined = JoinAccounts(Accounts{Bytes("a"), Bytes("b", "alice")});
  RecordBuffer buffer;
  EncodeFinished(5,
                 {.started_seq = 3,
                  .attribution = attribution,
                  .usage = {.input = 1,
                            .output = 2,
                            .cached_input = 3,
                            .reasoning = 4,
                            .cache_write_5m = 5,
                            .cache_write_1h = 6,
                            .audio_input = 7,
                            .audio_output = 8,
                            .images = 9},
                  .cost = 10,
                  .source = v1::USAGE_SOURCE_ESTIMATED,
                  .service_tier = "priority",
                  .accounts = joined,
                  .holder = "h2",
                  .hold = 11,
                  .unpriced = true,
                  .fallback = true,
                  .downgraded = true},
                 buffer);
  v1::UsageRecord want;
  want.set_time_ms(5);
  v1::Finished& finished = *want.mutable_finished();
  finished.set_started_seq(3);
  finished.set_attempt(1);
  finished.mutable_attribution()->set_team("t");
  for (const auto& [name, value] : tags) {
    v1::Tag& tag = *finished.mutable_attribution()->add_tags();
    tag.set_name(name);
    tag.set_value(value);
  }
  v1::Usage& usage = *finished.mutable_usage();
  usage.set_input_tokens(1);
  usage.set_output_tokens(2);
  usage.set_cached_input_tokens(3);
  usage.set_reasoning_tokens(4);
  usage.set_cache_write_5m_tokens(5);
  usage.set_cache_write_1h_tokens(6);
  usage.set_audio_input_tokens(7);
  usage.set_audio_output_tokens(8);
  usage.set_images(9);
  usage.set_service_tier("priority");
  finished.set_cost_nanos(10);
  finished.set_source(v1::USAGE_SOURCE_ESTIMATED);
  *finished.add_accounts() = AccountOf("a");
  *finished.add_accounts() = AccountOf("b", "alice");
  finished.set_hold_nanos(11);
  finished.set_unpriced(true);
  finished.set_fallback(true);
  finished.set_downgraded(true);
  finished.set_holder("h2");
  CHECK(std::string(buffer.view()) == want.SerializeAsString());

  EncodeStarted(6,
                {.attribution = attribution,
                 .reserved = 100,
                 .accounts = joined,
                 .holder = "h2",
                 .likely = 40},
                buffer);
  v1::UsageRecord started;
  REQUIRE(started.ParseFromArray(buffer.view().data(), static_cast<int>(buffer.view().size())));
  CHECK(started.SerializeAsString() == buffer.view());
  CHECK(started.started().accounts_size() == 2);
  CHECK(started.started().accounts(1).subject() == "alice");
  CHECK(started.started().likely_nanos() == 40);
  CHECK(started.started().holder() == "h2");
}

TEST_CASE("the largest record there can be fits, whatever it is made of") {
  const std::string endless(100'000, 'x');
  std::vector<std::pair<std::string, std::string>> tags(20, {endless, std::string(9'999, '\xff')});
  const std::string attribution = EncodeAttribution({.organization = endless,
                                                     .team = endless,
                                                     .user = endless,
                                                     .key = endless,
                                                     .feature = endless,
                                                     .route = endless,
                                                     .model = endless,
                                                     .provider = endless,
                                                     .tags = tags});
  const std::string joined =
      JoinAccounts(Accounts(500, Bytes(std::string(64, 'b'), std::string(256, 's'))));
  CHECK(joined.size() <= kAccountsBytesMax);
  constexpr int64_t kMost = INT64_MIN;  // the longest varint
  const TokenUsage usage{kMost, kMost, kMost, kMost, kMost, kMost, kMost, kMost, kMost};
  RecordBuffer buffer;
  EncodeFinished(kMost,
                 {.started_seq = kMost,
                  .request_id = std::string_view(endless).substr(0, kIdBytesMax),
                  .attempt_id = std::string_view(endless).substr(0, kIdBytesMax),
                  .attempt = INT32_MIN,
                  .attribution = attribution,
                  .usage = usage,
                  .cost = kMost,
                  .http_status = INT32_MIN,
                  .duration_us = kMost,
                  .first_token_us = kMost,
                  .service_tier = endless,
                  .accounts = joined,
                  .holder = std::string_view(endless).substr(0, kIdBytesMax),
                  .hold = kMost},
                 buffer);
  CHECK(buffer.view().size() + kSeqFieldBytesMax <= kRecordBytesMax);
  v1::UsageRecord parsed;
  REQUIRE(parsed.ParseFromArray(buffer.view().data(), static_cast<int>(buffer.view().size())));
  CHECK(parsed.finished().attribution().tags_size() == static_cast<int>(kTagsMax));
  CHECK(parsed.finished().attribution().tags(0).name().size() == kTagBytesMax);
  CHECK(parsed.finished().accounts_size() >= 24);
}

TEST_CASE("what records charge is read without parsing them") {
  v1::UsageRecord finished;
  *finished.mutable_finished()->add_accounts() = AccountOf("a");
  *finished.mutable_finished()->add_accounts() = AccountOf("b");
  finished.mutable_finished()->set_hold_nanos(7);
  v1::UsageRecord abandoned;
  *abandoned.mutable_abandoned()->mutable_estimate() = finished.finished();
  abandoned.mutable_abandoned()->mutable_estimate()->set_holder("h2");
  v1::UsageRecord aggregate;
  v1::AccountCharge& charge = *aggregate.mutable_aggregate()->add_accounts();
  *charge.mutable_account() = AccountOf("a");
  charge.set_charged(30);
  v1::UsageRecord started;
  *started.mutable_started()->add_accounts() = AccountOf("a");
  started.mutable_started()->set_reserved_nanos(1'000);
  AccountCharges sums;
  for (const v1::UsageRecord* record : {&finished, &abandoned, &aggregate, &started})
    sums.AddRecord(record->SerializeAsString());
  sums.AddRecord("\xff garbage");
  CHECK(Sums(sums.sums().begin(), sums.sums().end()) == Sums{{{"", *Bytes("a")}, 37},
                                                             {{"", *Bytes("b")}, 7},
                                                             {{"h2", *Bytes("a")}, 7},
                                                             {{"h2", *Bytes("b")}, 7}});
}

TEST_CASE("what an attempt holds for budgets while its truth is not known") {
  struct Case {
    const char* name;
    v1::UsageSource source;
    bool budgeted;
    std::optional<Nanos> extended;
    Nanos want;
  };
  constexpr Nanos kCost = 100'000 + 2'000 + 60'000;
  const Case kCases[] = {
      {"the provider said it", v1::USAGE_SOURCE_PROVIDER, true, {}, kCost},
      {"estimated: what was reserved", v1::USAGE_SOURCE_ESTIMATED, true, {}, 500'000},
      {"estimated after an extension", v1::USAGE_SOURCE_ESTIMATED, true, 700'000, 700'000},
      {"estimated above it", v1::USAGE_SOURCE_ESTIMATED, true, 10, kCost},
      {"estimated without a budget", v1::USAGE_SOURCE_ESTIMATED, false, {}, kCost},
      {"nothing consumed", v1::USAGE_SOURCE_NONE, true, {}, 0},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      const TempFolder folder;
      const ManualClock clock;
      auto opened = OpenJournal(folder.path(), clock, SmallJournal());
      Meter meter(*opened.journal, clock);
      const Accounts accounts = test.budgeted ? Accounts{Bytes("a")} : Accounts{};
      AttemptOutcome outcome = SampleOutcome();
      outcome.source = test.source;
      outcome.reserved = test.extended;
      const AttemptCharge charge =
          std::move(*meter.Start(Budgeted(accounts, 500'000))).Finish(outcome);
      CHECK(charge.cost == (test.source == v1::USAGE_SOURCE_NONE ? 0 : kCost));
      CHECK(charge.hold == test.want);
      opened.journal->RunOnce();
      const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
      CHECK(records[1].started().reserved_nanos() == (test.budgeted ? 500'000 : 200'000));
      CHECK(records[1].started().likely_nanos() == (test.budgeted ? 200'000 : 0));
      CHECK(records[2].finished().hold_nanos() == test.want);
      CHECK(records[2].finished().accounts_size() == (test.budgeted ? 1 : 0));
    }
  }
}

TEST_CASE("after a kill accounts close at what was charged and what orphans had reserved") {
  const TempFolder folder;
  const ManualClock clock;
  const Accounts accounts = {Bytes("a"), Bytes("b")};
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    Journal& journal = *opened.journal;
    first = journal.incarnation();
    Meter meter(journal, clock);
    // Far more than the journal keeps: what is freed stays in the sums.
    for (int i = 0; i < 1'000; ++i) {
      std::move(*meter.Start(Budgeted(accounts, 500'000))).Finish(SampleOutcome());
      if (i % 20 != 0) continue;
      journal.RunOnce();
      journal.MarkCommitted(first, journal.stats().records, {});
      journal.RunOnce();
    }
    REQUIRE(journal.Read(first, 1, INT64_MAX, 1)->front().seq > 1'000);
    // Killed in the middle of a call.
    const std::string joined = JoinAccounts(accounts);
    RecordBuffer record;
    EncodeStarted(clock.WallMs(),
                  {.attempt_id = "orphan",
                   .attribution = EncodeAttribution({.team = "t"}),
                   .reserved = 500'000,
                   .accounts = joined,
                   .likely = 200'000},
                  record);
    REQUIRE(journal.Append(record.view(), Journal::Kind::kStarted).has_value());
  }
  const Nanos spent = Nanos{1'000} * 162'000 + 500'000;
  Sums seen;
  auto options = SmallJournal();
  SECTION("by the journal alone") {}
  SECTION("with a say of the budgets") {
    options.final_charges = [&](const std::string& of, const AccountCharges& charged) {
      CHECK(of == folder.path() + "/journal/" + first);
      seen = Sums(charged.sums().begin(), charged.sums().end());
      return charged.ToClosed();
    };
  }
  auto opened = OpenJournal(folder.path(), clock, options);
  const auto records = ReadAll(*opened.journal, first);
  const v1::UsageRecord& abandoned = records[records.size() - 2];
  REQUIRE(abandoned.has_abandoned());
  CHECK(abandoned.abandoned().estimate().cost_nanos() == 200'000);
  CHECK(abandoned.abandoned().estimate().hold_nanos() == 500'000);
  CHECK(abandoned.abandoned().estimate().accounts_size() == 2);
  REQUIRE(records.back().has_closed());
  CHECK(records.back().closed().last_seq() == records.back().seq());
  CHECK(ChargesOf(records.back().closed()) ==
        std::map<std::string, Nanos>{{"a", spent}, {"b", spent}});
  if (options.final_charges)
    CHECK(seen == Sums{{{"", *Bytes("a")}, spent}, {{"", *Bytes("b")}, spent}});
}

TEST_CASE("accounts that fill more than a record close in several, all of one name") {
  const TempFolder folder;
  const ManualClock clock;
  v1::Closed own;
  v1::Closed other;
  other.set_holder("h0");
  for (int i = 0; i < 2'000; ++i) {
    v1::AccountCharge& charge = *own.add_accounts();
    *charge.mutable_account() = AccountOf("b" + std::to_string(i), std::string(40, 's'));
    charge.set_charged(i);
  }
  *other.add_accounts() = own.accounts(5);
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    opened.journal->AppendClosed({own, other});
    CHECK_FALSE(Meter(*opened.journal, clock).Start(SampleAttempt()).has_value());
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  CHECK(opened.journal->stats().lost == 0);
  const auto records = ReadAll(*opened.journal, first);
  REQUIRE(records.size() > 5);
  std::map<std::string, int> accounts;
  for (const v1::UsageRecord& record : records) {
    if (record.has_hello()) continue;
    REQUIRE(record.has_closed());
    CHECK(record.closed().last_seq() == records.back().seq());
    accounts[record.closed().holder()] += record.closed().accounts_size();
  }
  CHECK(accounts == std::map<std::string, int>{{"", 2'000}, {"h0", 1}});
  CHECK(records.back().closed().holder().empty());
}

TEST_CASE("killed between the parts of its end, a journal is closed again") {
  const TempFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    v1::UsageRecord part;
    part.mutable_closed()->set_last_seq(9);
    REQUIRE(opened.journal->Append(part.SerializeAsString(), Journal::Kind::kOther).has_value());
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const auto records = ReadAll(*opened.journal, first);
  REQUIRE(records.size() == 3);
  CHECK(records.back().closed().last_seq() == 3);
}

TEST_CASE("while the journal is full, accounts are counted, too") {
  const TempFolder folder;
  const ManualClock clock;
  auto options = SmallJournal();
  options.bytes_max = 128 * 1024;
  auto opened = OpenJournal(folder.path(), clock, options);
  Journal& journal = *opened.journal;
  Meter meter(journal, clock);
  std::map<std::string, Nanos> want;
  for (int i = 0; i < 1'500; ++i) {
    const std::string budget = "b" + std::to_string(i % 300);
    const Accounts accounts = {Bytes(budget, std::string(60, 's'))};
    want[budget] +=
        std::move(*meter.Start(Budgeted(accounts, 500'000))).Finish(SampleOutcome()).hold;
    journal.RunOnce();
  }
  CHECK(journal.full());
  std::map<int64_t, v1::UsageRecord> seen;
  for (int i = 0; i < 20; ++i) {
    journal.RunOnce();
    for (auto& record : ReadAll(journal, journal.incarnation())) seen[record.seq()] = record;
    journal.MarkCommitted(journal.incarnation(), journal.stats().records, {});
    journal.RunOnce();
  }
  CHECK_FALSE(journal.full());
  std::map<std::string, Nanos> got;
  for (const auto& [seq, record] : seen) {
    for (const v1::Account& account : record.finished().accounts())
      got[account.budget_id()] += record.finished().hold_nanos();
    for (const v1::AccountCharge& charge : record.aggregate().accounts())
      got[charge.account().budget_id()] += charge.charged();
  }
  CHECK(got == want);
}

TEST_CASE("alone, what accounts were charged outlives journal and process") {
  const TempFolder folder;
  ManualClock clock;
  auto options = SmallJournal();
  options.standalone = true;
  options.bytes_max = 192 * 1024;
  const Accounts accounts = {Bytes("a", "alice")};
  for (int life = 0; life < 3; ++life) {
    auto opened = OpenJournal(folder.path(), clock, options);
    Meter meter(*opened.journal, clock);
    for (int i = 0; i < 700; ++i) {
      std::move(*meter.Start(Budgeted(accounts, 500'000))).Finish(SampleOutcome());
      if (i % 10 == 0) opened.journal->RunOnce();
    }
  }
  const auto totals = ReadUsage(folder.path());
  REQUIRE(totals.has_value());
  REQUIRE(totals->accounts_size() == 1);
  CHECK(totals->accounts(0).account().subject() == "alice");
  CHECK(totals->accounts(0).charged() == Nanos{2'100} * 162'000);
}

}  // namespace
}  // namespace spillway
