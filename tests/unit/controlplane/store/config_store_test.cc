#include "controlplane/store/config_store.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "common/crypto/state_digest.h"
#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

constexpr v1::Kind kKey = v1::KIND_KEY;

struct ConfigFixture {
  TempFolder folder;
  std::unique_ptr<Store> store;
  std::unique_ptr<ConfigStore> config;
  ConfigFixture() { Open(); }
  void Open() {
    config.reset();
    store.reset();
    store = Store::Open({.path = folder.path()}).value();
    auto opened = ConfigStore::Open(*store);
    INFO((opened ? "" : opened.error().message));
    REQUIRE(opened);
    config = *std::move(opened);
  }
  // nullopt as a value removes.
  int64_t Commit(const std::map<std::string, std::optional<std::string>>& rows, int64_t epoch = 1) {
    const auto revision =
        config->Transact(epoch, 1'000, [&](const auto&) -> Result<std::optional<ConfigChange>> {
          ConfigChange change{.author = "alice", .summary = "test"};
          for (const auto& [name, bytes] : rows) {
            if (bytes) {
              v1::Entry& entry = change.upserts.emplace_back();
              entry.set_kind(kKey);
              entry.set_name(name);
              entry.set_bytes(*bytes);
            } else {
              v1::EntryName& gone = change.removals.emplace_back();
              gone.set_kind(kKey);
              gone.set_name(name);
            }
          }
          return change;
        });
    REQUIRE(revision);
    return *revision;
  }
  std::map<std::string, std::string> Rows() const {
    std::map<std::string, std::string> rows;
    config->Read([&](const ConfigStore::State& state) {
      for (const auto& [key, stored] : state) rows[key.second] = stored.bytes;
    });
    return rows;
  }
};

std::string DigestOf(const std::map<std::string, std::string>& rows) {
  StateDigest digest;
  for (const auto& [name, bytes] : rows) digest.Add(kKey, name, bytes);
  return digest.Bytes();
}

std::map<std::string, std::string> Names(const std::map<EntryKey, std::string>& state) {
  std::map<std::string, std::string> rows;
  for (const auto& [key, bytes] : state) rows[key.second] = bytes;
  return rows;
}

}  // namespace

TEST_CASE("a fresh store has revision 0, the empty digest and a cluster of its own") {
  ConfigFixture fixture;
  const v1::Position position = fixture.config->position();
  CHECK(position.revision() == 0);
  CHECK(position.digest() == StateDigest().Bytes());
  CHECK(position.cluster_id().size() == 32);
  CHECK(position.cluster_id() == fixture.config->cluster_id());
  const std::string id = fixture.config->cluster_id();
  fixture.Open();
  CHECK(fixture.config->cluster_id() == id);
  ConfigFixture other;
  CHECK(other.config->cluster_id() != id);
}

TEST_CASE("a transaction is a revision, and what changes nothing is none") {
  ConfigFixture fixture;
  std::vector<CommittedRevision> heard;
  fixture.config->OnCommit([&](const CommittedRevision& revision) { heard.push_back(revision); });
  CHECK(fixture.Commit({{"a", "1"}, {"b", "2"}}) == 1);
  CHECK(fixture.Commit({{"a", "1"}}) == 1);           // as it was
  CHECK(fixture.Commit({{"c", std::nullopt}}) == 1);  // was not there
  CHECK(fixture.Commit({{"a", "3"}, {"b", std::nullopt}}, 2) == 2);
  const auto nothing = fixture.config->Transact(
      2, 0, [](const auto&) -> Result<std::optional<ConfigChange>> { return std::nullopt; });
  CHECK(nothing.value() == 2);
  CHECK(fixture.Rows() == std::map<std::string, std::string>{{"a", "3"}});
  CHECK(fixture.config->Find(kKey, "a")->revision == 2);
  CHECK_FALSE(fixture.config->Find(kKey, "b"));

  REQUIRE(heard.size() == 2);
  CHECK(heard[0].base.revision() == 0);
  CHECK(heard[1].base.digest() == heard[0].position.digest());
  CHECK(heard[1].position.digest() == DigestOf({{"a", "3"}}));
  CHECK(heard[1].position.epoch() == 2);
  REQUIRE(heard[1].upserts.size() == 1);
  CHECK(heard[1].upserts[0].bytes() == "3");
  REQUIRE(heard[1].removals.size() == 1);
  CHECK(heard[1].removals[0].name() == "b");
}

TEST_CASE("what may not be committed is refused and changes nothing") {
  ConfigFixture fixture;
  fixture.Commit({{"a", "1"}}, 5);
  const auto add_nameless = [](const auto&) -> Result<std::optional<ConfigChange>> {
    ConfigChange change;
    change.upserts.emplace_back().set_kind(kKey);
    return change;
  };
  const auto refuse = [](const auto&) -> Result<std::optional<ConfigChange>> {
    return Fail(ErrorCode::kInvalidConfig, "no");
  };
  struct Row {
    const char* name;
    int64_t epoch;
    ConfigStore::Decide decide;
    ErrorCode want;
  };
  const Row rows[] = {{"an epoch that is over", 4, refuse, ErrorCode::kStale},
                      {"no epoch", 0, refuse, ErrorCode::kUnavailable},
                      {"the decision", 5, refuse, ErrorCode::kInvalidConfig},
                      {"no name", 5, add_nameless, ErrorCode::kInvalidRequest}};
  for (const Row& row : rows) {
    INFO(row.name);
    const auto outcome = fixture.config->Transact(row.epoch, 0, row.decide);
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().code == row.want);
  }
  CHECK(fixture.config->position().revision() == 1);
}

TEST_CASE("history tells every state, what followed, and who did it") {
  ConfigFixture fixture;
  std::mt19937 random(7);
  std::vector<std::map<std::string, std::string>> states{{}};
  for (int i = 1; i <= 60; ++i) {
    std::map<std::string, std::optional<std::string>> rows;
    for (int j = 0; j < 3; ++j) {
      const std::string name = "k" + std::to_string(random() % 12);
      rows[name] = random() % 3 == 0 ? std::nullopt : std::optional(std::to_string(random()));
    }
    rows["always"] = std::to_string(i);
    fixture.Commit(rows, i);
    states.push_back(fixture.Rows());
    if (i % 20 == 0) fixture.Open();
  }
  CHECK(fixture.config->position().digest() == DigestOf(states.back()));
  for (const int64_t revision : {0, 1, 17, 59, 60}) {
    INFO(revision);
    const auto state = fixture.config->StateAt(revision);
    REQUIRE(state);
    CHECK(Names(*state) == states[static_cast<size_t>(revision)]);
  }
  CHECK(fixture.config->StateAt(61).error().code == ErrorCode::kNotFound);
  CHECK(fixture.config->StateAt(-1).error().code == ErrorCode::kNotFound);

  // Replaying what followed a revision on top of it leads to the present.
  for (const int64_t from : {0, 30, 59, 60}) {
    INFO(from);
    const auto revisions = fixture.config->RevisionsAfter(from);
    REQUIRE(revisions);
    REQUIRE(revisions->size() == static_cast<size_t>(60 - from));
    auto rows = states[static_cast<size_t>(from)];
    for (const CommittedRevision& revision : *revisions) {
      CHECK(revision.base.digest() == DigestOf(rows));
      for (const auto& gone : revision.removals) rows.erase(gone.name());
      for (const auto& entry : revision.upserts) rows[entry.name()] = entry.bytes();
      CHECK(revision.position.digest() == DigestOf(rows));
      CHECK(revision.position.epoch() == revision.position.revision());
      CHECK(revision.base.epoch() == revision.base.revision());
    }
    CHECK(rows == states.back());
  }
  const auto listed = fixture.config->ListRevisions(3);
  REQUIRE(listed);
  REQUIRE(listed->size() == 3);
  CHECK(listed->at(0).revision() == 60);
  CHECK(listed->at(2).revision() == 58);
  CHECK(listed->at(0).author() == "alice");
  CHECK(listed->at(0).committed_at_ms() == 1'000);
  CHECK(fixture.config->ListRevisions(0)->size() == 50);
}

TEST_CASE("a revision can be made above another history's") {
  ConfigFixture fixture;
  fixture.Commit({{"a", "1"}});
  const auto keep = [](const auto&) -> Result<std::optional<ConfigChange>> {
    return ConfigChange{.summary = "went on"};
  };
  CHECK(fixture.config->TransactAbove(10, 3, 0, keep).value() == 11);
  CHECK(fixture.config->TransactAbove(5, 3, 0, keep).value() == 12);
  fixture.Open();
  CHECK(fixture.config->position().revision() == 12);
  CHECK(fixture.config->position().digest() == DigestOf({{"a", "1"}}));
  CHECK(fixture.Commit({{"b", "2"}}, 3) == 13);
  CHECK(Names(fixture.config->StateAt(11).value()) ==
        std::map<std::string, std::string>{{"a", "1"}});
  CHECK(fixture.config->StateAt(7).error().code == ErrorCode::kNotFound);
  const auto revisions = fixture.config->RevisionsAfter(5).value();
  REQUIRE(revisions.size() == 3);
  CHECK(revisions[0].base.revision() == 1);
  CHECK(revisions[0].position.revision() == 11);
}

TEST_CASE("a state that does not match its digest is not opened") {
  ConfigFixture fixture;
  fixture.Commit({{"a", "1"}, {"b", "2"}});
  std::string row_key(1, static_cast<char>(kKey));
  row_key += "a";
  auto row = fixture.store->Get(Table::kResources, row_key).value().value();
  row.back() ^= 1;
  WriteBatch batch;
  batch.Put(Table::kResources, row_key, row);
  const auto written = fixture.store->Write(std::move(batch));
  REQUIRE(written);
  const auto refused = ConfigStore::Open(*fixture.store);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kCorrupt);
  CHECK(refused.error().message.find("digest at revision 1") != std::string::npos);
}

TEST_CASE("writers on several threads make a chain, and the listener hears it in order") {
  ConfigFixture fixture;
  std::vector<int64_t> heard;
  fixture.config->OnCommit(
      [&](const CommittedRevision& revision) { heard.push_back(revision.position.revision()); });
  std::vector<std::thread> writers;
  std::atomic<int> failed{0};
  writers.reserve(4);
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 20; ++i) {
        const auto decide = [&](const ConfigStore::State& state) {
          ConfigChange change;
          v1::Entry& entry = change.upserts.emplace_back();
          entry.set_kind(kKey);
          entry.set_name("w" + std::to_string(writer) + "-" + std::to_string(i));
          entry.set_bytes(std::to_string(state.size()));
          return Result<std::optional<ConfigChange>>(change);
        };
        if (!fixture.config->Transact(1, 0, decide)) ++failed;
        fixture.config->Find(kKey, "w0-0");
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(failed == 0);
  REQUIRE(heard.size() == 80);
  for (size_t i = 0; i < heard.size(); ++i) CHECK(heard[i] == static_cast<int64_t>(i) + 1);
  fixture.Open();
  CHECK(fixture.Rows().size() == 80);
}

TEST_CASE("100,000 keys load at once and one key does not cost them all") {
  ConfigFixture fixture;
  std::map<std::string, std::optional<std::string>> rows;
  for (int i = 0; i < 100'000; ++i) rows["key-" + std::to_string(i)] = std::string(120, 'x');
  fixture.Commit(rows);
  const auto since = [](auto began) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 began)
        .count();
  };
  auto began = std::chrono::steady_clock::now();
  fixture.Open();
  const auto load_ms = since(began);
  began = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) fixture.Commit({{"key-7", std::to_string(i)}});
  const auto commits_ms = since(began);
  // Printed, not judged: a timing never fails a test.
  WARN("load " << load_ms << " ms, 20 one-key revisions " << commits_ms << " ms");
  CHECK(fixture.Rows().size() == 100'000);
}

}  // namespace spillway
