// Bytes as configuration for a data plane. The first byte chooses what the rest is; where a real
// message would carry a signature or a digest, a test's own key signs and the digest is made to
// fit, so that the fuzzer reaches what stands behind them. Nothing may crash, and what is refused
// may leave no trace on the snapshot in force.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <print>
#include <string>

#include "common/config/resource.h"
#include "common/crypto/sealing.h"
#include "common/crypto/signing.h"
#include "common/crypto/state_digest.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/lineage.h"
#include "dataplane/snapshot/proof.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {

void Require(bool good, const char* what) {
  if (good) return;
  std::println(stderr, "{}", what);
  std::abort();
}

SnapshotLimits Limits() {
  SnapshotLimits limits;
  limits.bytes_max = 4 << 20;
  limits.delta_bytes_max = 4 << 20;
  limits.compressed_bytes_max = 4 << 20;
  return limits;
}

// A key pair of its own and a base snapshot with one of everything.
class Fixture {
 public:
  Fixture() {
    const TempFolder folder;
    signer_ = Signer::FromFile(folder.Path("sign"), true).value();
    reader_ = std::make_unique<ProofReader>(Verifier::FromFile(folder.Path("sign.pub")).value(),
                                            Limits());
    seal_key_ = SealKey::FromFile(folder.Path("seal"), true).value();
    options_ = {.secrets = {.seal_key = &*seal_key_, .plaintext = true}, .limits = Limits()};
    BuildBase();
  }

  void Run(uint8_t mode, std::string input) {
    switch (mode % 7) {
      case 0:
        return FuzzDelta(std::move(input));
      case 1:
        return FuzzEntries(input);
      case 2:
        return FuzzFile(input);
      case 3:
        return FuzzSigned(std::move(input));
      case 4:
        return FuzzPayload(v1::Signed::PURPOSE_MANIFEST, std::move(input));
      case 5:
        return FuzzPayload(v1::Signed::PURPOSE_LATEST, std::move(input));
      default:
        (void)Inflate(input, 1 << 20);
    }
  }

 private:
  static v1::Position PositionOf(const StateDigest& digest, int64_t revision) {
    v1::Position position;
    position.set_cluster_id("fuzz");
    position.set_epoch(1);
    position.set_revision(revision);
    position.set_digest(digest.Bytes());
    return position;
  }

  static StateDigest DigestOf(const std::vector<EntryView>& entries) {
    StateDigest digest;
    for (const EntryView& entry : entries) digest.Add(entry.kind, entry.name, entry.bytes);
    return digest;
  }

  void BuildBase() {
    v1::Resource provider;
    provider.mutable_provider()->set_name("p");
    provider.mutable_provider()->set_dialect(v1::DIALECT_OPENAI);
    provider.mutable_provider()->set_base_url("http://h/v1");
    v1::Resource model;
    model.mutable_model()->set_name("m");
    model.mutable_model()->set_provider("p");
    model.mutable_model()->mutable_price()->set_input(1);
    v1::Resource route;
    route.mutable_route()->set_name("r");
    route.mutable_route()->set_strategy(v1::Route::STRATEGY_PRIORITY);
    route.mutable_route()->add_targets()->set_model("m");
    v1::Resource organization;
    organization.mutable_organization()->set_name("o");
    v1::Resource team;
    team.mutable_team()->set_name("t");
    team.mutable_team()->set_organization("o");
    v1::Resource key;
    key.mutable_key()->set_name("k");
    key.mutable_key()->set_team("t");
    key.mutable_key()->add_routes("r");
    key.mutable_key()->add_secrets()->set_sha256(std::string(AsBytes(Sha256("secret"))));
    for (const v1::Resource& resource : {provider, model, route, organization, team, key})
      *list_.add_entries() = config::ToEntry(resource);
    std::vector<EntryView> views;
    for (const v1::Entry& entry : list_.entries())
      views.push_back({.kind = entry.kind(), .name = entry.name(), .bytes = entry.bytes()});
    base_ = Build(views, PositionOf(DigestOf(views), 1), options_).value();
  }

  // The base is what it was, whatever was tried on it.
  void CheckBase() const {
    StateDigest digest;
    ForEachEntry(*base_,
                 [&](const EntryView& entry) { digest.Add(entry.kind, entry.name, entry.bytes); });
    Require(digest.Bytes() == base_->position().digest(), "the base changed");
    const KeyMatch* match = base_->FindKey(Sha256("secret"));
    Require(match != nullptr && match->key->name == "k" && !match->key->revoked,
            "the base's key changed");
    Require(base_->FindRoute("r") != nullptr, "the base's route is gone");
  }

  static void CheckWhole(const Snapshot& snapshot) {
    StateDigest digest;
    ForEachEntry(snapshot,
                 [&](const EntryView& entry) { digest.Add(entry.kind, entry.name, entry.bytes); });
    Require(digest.Bytes() == snapshot.position().digest(),
            "accepted with another digest than its entries'");
    for (const auto& route : snapshot.routes()) {
      Require(!route->targets.empty(), "a route without targets");
      for (const TargetSpec& target : route->targets)
        Require(target.model != nullptr && target.model->provider != nullptr,
                "a target without provider");
    }
  }

  void FitDigest(v1::Delta& delta) const {
    std::map<std::pair<int, std::string>, std::string> bytes;
    StateDigest digest = StateDigest::FromBytes(base_->position().digest());
    for (const v1::Entry& entry : list_.entries())
      bytes[{entry.kind(), entry.name()}] = entry.bytes();
    const auto take = [&](v1::Kind kind, const std::string& name) {
      const auto found = bytes.find({kind, name});
      if (found == bytes.end()) return;
      digest.Subtract(kind, name, found->second);
      bytes.erase(found);
    };
    for (const v1::EntryName& entry : delta.removals()) take(entry.kind(), entry.name());
    for (const v1::Entry& entry : delta.upserts()) {
      take(entry.kind(), entry.name());
      digest.Add(entry.kind(), entry.name(), entry.bytes());
      bytes[{entry.kind(), entry.name()}] = entry.bytes();
    }
    *delta.mutable_base() = base_->position();
    *delta.mutable_position() = PositionOf(digest, 2);
  }

  void FuzzDelta(std::string input) {
    v1::Delta delta;
    if (!delta.ParseFromString(input))
      return FuzzPayload(v1::Signed::PURPOSE_DELTA, std::move(input));
    FitDigest(delta);
    auto proven = reader_->ReadDelta(
        signer_.Sign(v1::Signed::PURPOSE_DELTA, delta.SerializeAsString()).SerializeAsString());
    if (!proven) return CheckBase();
    Lineage lineage;
    lineage.deltas.push_back(*std::move(proven));
    LineageRules rules;
    const auto built = Materialize(lineage, base_.get(), options_, rules);
    if (built) CheckWhole(*built->snapshot);
    // The same, held back: only its revocations count.
    rules.quarantined = [](int64_t) { return true; };
    const auto held = Materialize(lineage, base_.get(), options_, rules);
    Require(held && held->snapshot == nullptr, "a quarantined revision was built");
    const SnapshotPtr restricted = RestrictAll(base_, held->restrictions);
    Require(restricted->key_count() == base_->key_count(), "a restriction lost or made a key");
    CheckBase();
  }

  void FuzzEntries(const std::string& input) {
    const auto entries = ParseEntryList(input, Limits());
    if (!entries) return CheckBase();
    const auto built = Build(*entries, PositionOf(DigestOf(*entries), 2), options_);
    if (!built) return CheckBase();
    CheckWhole(**built);
    const std::string list = SerializeEntries(**built);
    const auto again = ParseEntryList(list, Limits());
    Require(again && Build(*again, (*built)->position(), options_).has_value(), "not read back");
  }

  void FuzzFile(const std::string& input) {
    const auto state = reader_->ReadFile(input);
    // Without our key nothing can be proven; the entries behind a good proof are tried here.
    Require(!state.has_value(), "a file was accepted that nobody signed");
    v1::Latest latest;
    *latest.mutable_position() = base_->position();
    const std::string proof =
        signer_.Sign(v1::Signed::PURPOSE_LATEST, latest.SerializeAsString()).SerializeAsString();
    if (const auto signed_state = reader_->ReadFile(RenderFile(proof, input))) {
      const auto entries = ParseEntryList(signed_state->entries, Limits());
      if (entries) (void)Build(*entries, signed_state->position, options_);
    }
    CheckBase();
  }

  void FuzzSigned(std::string input) {
    Require(!reader_->ReadPosition(input).has_value(),
            "a position was accepted that nobody signed");
    Require(!reader_->ReadDelta(std::move(input)).has_value(),
            "a delta was accepted that nobody signed");
  }

  void FuzzPayload(v1::Signed::Purpose purpose, std::string input) {
    const std::string bytes = signer_.Sign(purpose, std::move(input)).SerializeAsString();
    (void)reader_->ReadLatest(bytes);
    (void)reader_->ReadManifest(bytes);
    (void)reader_->ReadPosition(bytes);
    (void)reader_->ReadDelta(bytes);
  }

  Signer signer_;
  std::unique_ptr<ProofReader> reader_;
  std::optional<SealKey> seal_key_;
  BuildOptions options_;
  v1::EntryList list_;
  SnapshotPtr base_;
};

}  // namespace
}  // namespace spillway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static spillway::Fixture fixture;
  if (size == 0) return 0;
  fixture.Run(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
