#include <catch2/catch_all.hpp>
#include <fstream>

#include "dataplane/snapshot/checked_text.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/entry_list.h"
#include "dataplane/snapshot/proof.h"
#include "dataplane/snapshot/refusal.h"
#include "tests/unit/dataplane/snapshot/control_plane.h"

namespace spillway {
namespace {

TEST_CASE("entry lists are read as protobuf writes them, and written as protobuf reads them") {
  const FakeControlPlane cp;
  const std::string list = cp.EntryList();
  const auto entries = ParseEntryList(list, {});
  REQUIRE(entries);
  std::string again;
  for (const EntryView& entry : *entries) AppendEntry(entry, again);
  CHECK(again == list);
  v1::EntryList parsed;
  REQUIRE(parsed.ParseFromString(again));
  CHECK(parsed.entries_size() == 7);
}

TEST_CASE("entry lists: fields of later versions are skipped, damage is refused") {
  const std::string good = FakeControlPlane().EntryList();
  SnapshotLimits limits;
  SECTION("an unknown field") {
    const auto entries = ParseEntryList(good + "\x7a\x03xyz", limits);
    REQUIRE(entries);
    CHECK(entries->size() == 7);
  }
  SECTION("cut off anywhere: refused, or shorter at an entry's end") {
    size_t refused = 0;
    for (size_t size = 0; size < good.size(); ++size) {
      const auto entries = ParseEntryList(std::string_view(good).substr(0, size), limits);
      if (!entries) ++refused;
      if (entries) CHECK(entries->size() < 7);
    }
    CHECK(refused == good.size() - 7);
  }
  SECTION("too many") {
    limits.entries_max = 6;
    const auto entries = ParseEntryList(good, limits);
    REQUIRE_FALSE(entries);
    CHECK(ClassOf(entries.error()) == RefusalClass::kOversized);
  }
  SECTION("too large") {
    limits.bytes_max = static_cast<int64_t>(good.size()) - 1;
    CHECK_FALSE(ParseEntryList(good, limits));
  }
  SECTION("a length beyond the end") {
    CHECK_FALSE(ParseEntryList("\x0a\xff\xff\xff\xff\x0f", limits));
  }
}

TEST_CASE("inflating stops at the cap") {
  const std::string zeros(1'000'000, '\0');
  const std::string frame = Deflate(zeros);
  CHECK(frame.size() < 1'000);
  REQUIRE(Inflate(frame, 1'000'000));
  CHECK(*Inflate(frame, 1'000'000) == zeros);
  struct Row {
    std::string_view name;
    std::string frame;
    int64_t bytes_max;
    RefusalClass want;
  };
  const auto row = GENERATE_COPY(values<Row>({
      {"declares more", frame, 999'999, RefusalClass::kOversized},
      {"cut off", frame.substr(0, frame.size() - 1), 1'000'000, RefusalClass::kCorrupt},
      {"followed by more", frame + "x", 1'000'000, RefusalClass::kCorrupt},
      {"no zstd", "hello, this is no frame", 100, RefusalClass::kCorrupt},
      {"nothing", "", 100, RefusalClass::kCorrupt},
  }));
  INFO(row.name);
  const auto inflated = Inflate(row.frame, row.bytes_max);
  REQUIRE_FALSE(inflated);
  CHECK(NameOf(ClassOf(inflated.error())) == NameOf(row.want));
}

TEST_CASE("an empty frame is an empty text") {
  const auto inflated = Inflate(Deflate(""), 0);
  REQUIRE(inflated);
  CHECK(inflated->empty());
}

TEST_CASE("only what the control plane signed for that purpose is opened") {
  FakeControlPlane cp;
  const FakeControlPlane stranger;
  cp.PutKey("new", "sk-new");
  const v1::Delta delta = cp.Commit();
  const std::string payload = delta.SerializeAsString();
  const ProofReader reader(cp.verifier(), {});
  REQUIRE(reader.ReadDelta(cp.SignedDelta(delta)));
  REQUIRE(reader.ReadLatest(cp.SignedLatest()));

  v1::Signed flipped;
  REQUIRE(flipped.ParseFromString(cp.SignedDelta(delta)));
  flipped.mutable_payload()->back() ^= 1;
  v1::Signed zstd_claimed;
  REQUIRE(zstd_claimed.ParseFromString(cp.SignedDelta(delta)));
  zstd_claimed.set_zstd(true);
  v1::Delta no_base = delta;
  no_base.clear_base();
  v1::Delta no_cluster = delta;
  no_cluster.mutable_position()->set_cluster_id("a b");
  struct Row {
    std::string_view name;
    std::string bytes;
    RefusalClass want;
  };
  const std::vector<Row> rows = {
      {"another signer", stranger.SignedDelta(delta), RefusalClass::kSignature},
      {"another purpose", cp.Sign(v1::Signed::PURPOSE_LATEST, payload), RefusalClass::kSignature},
      {"one bit flipped", flipped.SerializeAsString(), RefusalClass::kSignature},
      {"cut off", cp.SignedDelta(delta).substr(0, 40), RefusalClass::kCorrupt},
      {"not compressed after all", zstd_claimed.SerializeAsString(), RefusalClass::kCorrupt},
      {"no delta inside", cp.Sign(v1::Signed::PURPOSE_DELTA, "\xff\xff"), RefusalClass::kCorrupt},
      {"no base", cp.SignedDelta(no_base), RefusalClass::kCorrupt},
      {"no cluster", cp.SignedDelta(no_cluster), RefusalClass::kCorrupt},
      {"nothing", "", RefusalClass::kSignature},
      {"oversized", std::string((16 << 20) + 1, 'x'), RefusalClass::kOversized},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto read = reader.ReadDelta(row.bytes);
    REQUIRE_FALSE(read);
    CHECK(NameOf(ClassOf(read.error())) == NameOf(row.want));
  }
}

TEST_CASE("a compressed delta is opened, a bomb is not") {
  FakeControlPlane cp;
  cp.PutKey("new", "sk-new");
  const v1::Delta delta = cp.Commit();
  const TempFolder folder;
  const Signer signer = Signer::FromFile(folder.path() + "/k", true).value();
  SnapshotLimits limits;
  limits.delta_bytes_max = 100'000;
  const ProofReader reader(Verifier::FromFile(folder.path() + "/k.pub").value(), limits);
  const auto sign = [&](const std::string& payload) {
    return signer.Sign(v1::Signed::PURPOSE_DELTA, payload, /*zstd=*/true).SerializeAsString();
  };
  CHECK(reader.ReadDelta(sign(Deflate(delta.SerializeAsString()))));
  const auto bomb = reader.ReadDelta(sign(Deflate(std::string(1'000'000, 'a'))));
  REQUIRE_FALSE(bomb);
  CHECK(ClassOf(bomb.error()) == RefusalClass::kOversized);
}

TEST_CASE("a snapshot file is read back, or refused wherever it is damaged") {
  const FakeControlPlane cp;
  const ProofReader reader(cp.verifier(), {});
  const std::string good = cp.File();
  const auto state = reader.ReadFile(good);
  REQUIRE(state);
  CHECK(state->entries == cp.EntryList());
  CHECK(state->position.revision() == cp.position.revision());
  for (size_t size = 0; size < good.size(); size += 7)
    CHECK_FALSE(reader.ReadFile(good.substr(0, size)));
  size_t accepted = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    if (reader.ReadFile(flipped)) ++accepted;
  }
  CHECK(accepted == 0);
}

TEST_CASE("checksums find damage") {
  const std::string checked = WithChecksum("a b\nc\n");
  CHECK(*CheckedContent(checked) == "a b\nc\n");
  for (size_t i = 0; i < checked.size(); ++i) {
    std::string damaged = checked;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    CHECK_FALSE(CheckedContent(damaged));
  }
  CHECK_FALSE(CheckedContent("short"));
}

}  // namespace
}  // namespace spillway
