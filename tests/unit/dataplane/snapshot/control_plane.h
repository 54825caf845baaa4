#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/crypto/sealing.h"
#include "common/crypto/signing.h"
#include "common/crypto/state_digest.h"
#include "dataplane/snapshot/build.h"
#include "spillway/v1/resources.pb.h"
#include "spillway/v1/snapshot.pb.h"
#include "tests/fakes/memory_bus.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {

// What a control plane does, as far as a data plane sees it: keeps a state, signs and publishes it.
// Begins with a small valid configuration: provider "mock", models "small" and "large", route
// "chat" (small, then large), organization "acme", team "support", key "bot" (secret "sk-bot").
class FakeControlPlane {
 public:
  explicit FakeControlPlane(MemoryBus* bus = nullptr, std::string cluster_id = "cluster-1");

  // Changes the state; nothing is published before Commit.
  void Put(const v1::Resource& resource);
  void PutRaw(v1::Kind kind, std::string name, std::string bytes);
  void Remove(v1::Kind kind, const std::string& name);
  void PutKey(const std::string& name, const std::string& secret, bool revoked = false);

  // The next revision: returns its delta, unsigned.
  v1::Delta Commit();
  // Commit, with everything published: delta, then Latest.
  v1::Delta CommitAndPublish();

  std::string Sign(v1::Signed::Purpose purpose, const std::string& payload) const;
  std::string SignedDelta(const v1::Delta& delta) const;
  std::string SignedLatest() const;
  std::string File() const;  // SnapshotFile of the current state
  v1::Manifest MakeManifest(std::vector<std::string>& chunks) const;
  std::string EntryList() const;
  std::vector<v1::Entry> Entries() const;

  void PublishDelta(const v1::Delta& delta);
  void PublishLatest();
  void PublishFull();  // and remembers it as the newest full one

  Verifier verifier() const;
  const SealKey& seal_key() const { return seal_key_; }
  v1::Position position;
  int64_t full_revision = 0;
  int64_t fleet_size = 2;

 private:
  TempFolder folder_;
  MemoryBus* bus_;
  Signer signer_;
  SealKey seal_key_;
  std::map<std::pair<v1::Kind, std::string>, std::string> state_;
  StateDigest digest_;
  v1::Delta staged_;
};

// Options with the seal key, as a data plane builds.
BuildOptions OptionsOf(const FakeControlPlane& control_plane);
std::vector<EntryView> ViewsOf(const std::vector<v1::Entry>& entries);
const KeyMatch* FindSecret(const Snapshot& snapshot, std::string_view secret);
v1::Resource KeyResource(const std::string& name, const std::string& secret);

}  // namespace spillway
