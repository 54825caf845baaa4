#include "tests/unit/dataplane/snapshot/control_plane.h"

#include <algorithm>
#include <catch2/catch_all.hpp>

#include "common/config/resource.h"
#include "common/subjects.h"
#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/proof.h"

namespace spillway {
namespace {

constexpr size_t kChunkBytes = 256;  // small, so that there are several

v1::Resource Model(const std::string& name) {
  v1::Resource resource;
  v1::Model& model = *resource.mutable_model();
  model.set_name(name);
  model.set_provider("mock");
  model.mutable_price()->set_input(250'000'000);
  model.mutable_price()->set_output(2'000'000'000);
  return resource;
}

}  // namespace

FakeControlPlane::FakeControlPlane(MemoryBus* bus, std::string cluster_id)
    : bus_(bus),
      signer_(Signer::FromFile(folder_.path() + "/sign.pem", true).value()),
      seal_key_(SealKey::FromFile(folder_.path() + "/seal.key", true).value()) {
  position.set_cluster_id(std::move(cluster_id));
  position.set_epoch(3);
  position.set_revision(10);
  position.set_digest(StateDigest().Bytes());
  if (bus_ != nullptr) {
    REQUIRE(bus_->EnsureStream({.name = std::string(subjects::kConfigStream),
                                .subjects = {std::string(subjects::kConfigAll)},
                                .messages_per_subject_max = 1,
                                .allow_direct = true}));
  }
  v1::Resource provider;
  provider.mutable_provider()->set_name("mock");
  provider.mutable_provider()->set_dialect(v1::DIALECT_OPENAI);
  provider.mutable_provider()->set_base_url("http://127.0.0.1:9100/v1");
  v1::Credential& credential = *provider.mutable_provider()->add_credentials();
  credential.set_name("main");
  credential.mutable_api_key()->set_reference("${env:MOCK_KEY}");
  *credential.mutable_api_key()->mutable_sealed() =
      seal_key_.Seal("sk-upstream", SealPlace("provider", "mock", "main"));
  Put(provider);
  Put(Model("small"));
  Put(Model("large"));
  v1::Resource route;
  route.mutable_route()->set_name("chat");
  route.mutable_route()->set_strategy(v1::Route::STRATEGY_PRIORITY);
  route.mutable_route()->add_targets()->set_model("small");
  route.mutable_route()->add_fallbacks("large");
  Put(route);
  v1::Resource organization;
  organization.mutable_organization()->set_name("acme");
  Put(organization);
  v1::Resource team;
  team.mutable_team()->set_name("support");
  team.mutable_team()->set_organization("acme");
  Put(team);
  PutKey("bot", "sk-bot");
  Commit();
}

v1::Resource KeyResource(const std::string& name, const std::string& secret) {
  v1::Resource resource;
  v1::Key& key = *resource.mutable_key();
  key.set_name(name);
  key.set_team("support");
  v1::KeySecret& stored = *key.add_secrets();
  stored.set_public_id("abcdefghijkl");
  stored.set_sha256(std::string(AsBytes(Sha256(secret))));
  return resource;
}

void FakeControlPlane::Put(const v1::Resource& resource) {
  const v1::Entry entry = config::ToEntry(resource);
  PutRaw(entry.kind(), entry.name(), entry.bytes());
}

void FakeControlPlane::PutRaw(v1::Kind kind, std::string name, std::string bytes) {
  const auto old = state_.find({kind, name});
  if (old != state_.end()) digest_.Subtract(kind, name, old->second);
  digest_.Add(kind, name, bytes);
  v1::Entry& entry = *staged_.add_upserts();
  entry.set_kind(kind);
  entry.set_name(name);
  entry.set_bytes(bytes);
  state_[{kind, std::move(name)}] = std::move(bytes);
}

void FakeControlPlane::Remove(v1::Kind kind, const std::string& name) {
  const auto old = state_.find({kind, name});
  if (old == state_.end()) return;
  digest_.Subtract(kind, name, old->second);
  state_.erase(old);
  v1::EntryName& removal = *staged_.add_removals();
  removal.set_kind(kind);
  removal.set_name(name);
}

void FakeControlPlane::PutKey(const std::string& name, const std::string& secret, bool revoked) {
  v1::Resource resource = KeyResource(name, secret);
  resource.mutable_key()->set_revoked(revoked);
  Put(resource);
}

v1::Delta FakeControlPlane::Commit() {
  v1::Delta delta = std::exchange(staged_, v1::Delta());
  *delta.mutable_base() = position;
  position.set_revision(position.revision() + 1);
  position.set_digest(digest_.Bytes());
  *delta.mutable_position() = position;
  return delta;
}

v1::Delta FakeControlPlane::CommitAndPublish() {
  v1::Delta delta = Commit();
  PublishDelta(delta);
  PublishLatest();
  return delta;
}

std::string FakeControlPlane::Sign(v1::Signed::Purpose purpose, const std::string& payload) const {
  return signer_.Sign(purpose, payload).SerializeAsString();
}

std::string FakeControlPlane::SignedDelta(const v1::Delta& delta) const {
  return Sign(v1::Signed::PURPOSE_DELTA, delta.SerializeAsString());
}

std::string FakeControlPlane::SignedLatest() const {
  v1::Latest latest;
  *latest.mutable_position() = position;
  latest.set_full_revision(full_revision);
  latest.set_fleet_size(fleet_size);
  return Sign(v1::Signed::PURPOSE_LATEST, latest.SerializeAsString());
}

std::vector<v1::Entry> FakeControlPlane::Entries() const {
  std::vector<v1::Entry> entries;
  for (const auto& [name, bytes] : state_) {
    v1::Entry& entry = entries.emplace_back();
    entry.set_kind(name.first);
    entry.set_name(name.second);
    entry.set_bytes(bytes);
  }
  return entries;
}

std::string FakeControlPlane::EntryList() const {
  v1::EntryList list;
  for (const v1::Entry& entry : Entries()) *list.add_entries() = entry;
  return list.SerializeAsString();
}

std::string FakeControlPlane::File() const {
  return RenderFile(SignedLatest(), Deflate(EntryList()));
}

v1::Manifest FakeControlPlane::MakeManifest(std::vector<std::string>& chunks) const {
  const std::string list = EntryList();
  const std::string compressed = Deflate(list);
  v1::Manifest manifest;
  *manifest.mutable_position() = position;
  manifest.set_bytes(static_cast<int64_t>(list.size()));
  manifest.set_compressed_bytes(static_cast<int64_t>(compressed.size()));
  manifest.set_entries(static_cast<int64_t>(state_.size()));
  for (size_t at = 0; at < compressed.size(); at += kChunkBytes) {
    chunks.push_back(compressed.substr(at, kChunkBytes));
    manifest.add_chunk_sha256(std::string(AsBytes(Sha256(chunks.back()))));
  }
  return manifest;
}

void FakeControlPlane::PublishDelta(const v1::Delta& delta) {
  REQUIRE(
      bus_->PublishToStream(subjects::Delta(delta.position().revision()), SignedDelta(delta), {}));
}

void FakeControlPlane::PublishLatest() {
  REQUIRE(bus_->PublishToStream(subjects::kLatest, SignedLatest(), {}));
}

void FakeControlPlane::PublishFull() {
  std::vector<std::string> chunks;
  const v1::Manifest manifest = MakeManifest(chunks);
  const int64_t revision = position.revision();
  for (size_t i = 0; i < chunks.size(); ++i)
    REQUIRE(bus_->PublishToStream(subjects::Chunk(revision, static_cast<int>(i)), chunks[i], {}));
  REQUIRE(bus_->PublishToStream(subjects::Manifest(revision),
                                Sign(v1::Signed::PURPOSE_MANIFEST, manifest.SerializeAsString()),
                                {}));
  full_revision = revision;
}

Verifier FakeControlPlane::verifier() const {
  return Verifier::FromFile(folder_.path() + "/sign.pem.pub").value();
}

BuildOptions OptionsOf(const FakeControlPlane& control_plane) {
  BuildOptions options;
  options.secrets.seal_key = &control_plane.seal_key();
  return options;
}

std::vector<EntryView> ViewsOf(const std::vector<v1::Entry>& entries) {
  std::vector<EntryView> views;
  views.reserve(entries.size());
  for (const v1::Entry& entry : entries)
    views.push_back({.kind = entry.kind(), .name = entry.name(), .bytes = entry.bytes()});
  return views;
}

const KeyMatch* FindSecret(const Snapshot& snapshot, std::string_view secret) {
  return snapshot.FindKey(Sha256(secret));
}

}  // namespace spillway
