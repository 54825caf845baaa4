#include <random>
#include <utility>

#include "controlplane/publish/published.h"
#include "tests/unit/controlplane/publish/control_plane.h"

namespace spillway {
namespace {

template <typename Rows>
std::string Render(const v1::Position& position, int64_t fleet, const Rows& rows) {
  std::string text = "revision " + std::to_string(position.revision()) + " epoch " +
                     std::to_string(position.epoch()) + " fleet " + std::to_string(fleet) + ":";
  size_t bytes = 0;
  for (const auto& [key, value] : rows) {
    if (rows.size() <= 12) text += " " + key.second + "=" + value;
    bytes += key.second.size() + value.size();
  }
  if (rows.size() > 12)
    text += " " + std::to_string(rows.size()) + " rows, " + std::to_string(bytes);
  return text;
}

}  // namespace

ControlPlane::ControlPlane(Bus& bus, std::string folder) : bus_(bus), folder_(std::move(folder)) {
  signer = Signer::FromFile(folder_ + "/signing.key", true).value();
  verifier = Verifier::FromFile(folder_ + "/signing.key.pub").value();
  options.check_interval_ms = 50;
  options.retry_ms = 10;
  options.publish_timeout_ms = 1'000;
  store = Store::Open({.path = folder_ + "/db"}).value();
  config = ConfigStore::Open(*store).value();
  gate = std::make_unique<WriteGate>(*store);
}

ControlPlane::~ControlPlane() { Stop(); }

void ControlPlane::Start(RestoreChoice restore) {
  options.restore = restore;
  epoch =
      std::make_unique<Epoch>(bus_, *store, *gate, [this](const std::string&) { fenced = true; });
  publisher =
      std::make_unique<Publisher>(Publisher::Parts{.bus = bus_,
                                                   .config = *config,
                                                   .epoch = *epoch,
                                                   .gate = *gate,
                                                   .signer = *signer,
                                                   .verifier = *verifier,
                                                   .clock = SystemClock(),
                                                   .fleet_size = [this] { return fleet.load(); }},
                                  options);
  config->OnCommit([this](const CommittedRevision& revision) { publisher->Notify(revision); });
  publisher->Start();
}

void ControlPlane::Stop() {
  if (publisher == nullptr) return;
  config->OnCommit([](const auto&) {});
  publisher->Stop();
  publisher.reset();
  epoch.reset();
}

int64_t ControlPlane::Set(const std::string& name, std::optional<std::string> bytes) {
  const auto decide = [&](const auto&) -> Result<std::optional<ConfigChange>> {
    ConfigChange change;
    if (bytes) {
      v1::Entry& entry = change.upserts.emplace_back();
      entry.set_kind(v1::KIND_KEY);
      entry.set_name(name);
      entry.set_bytes(*bytes);
    } else {
      v1::EntryName& gone = change.removals.emplace_back();
      gone.set_kind(v1::KIND_KEY);
      gone.set_name(name);
    }
    return change;
  };
  const int64_t under = std::max(
      {int64_t{1}, config->position().epoch(), epoch == nullptr ? int64_t{0} : epoch->value()});
  return config->Transact(under, SystemClock().WallMs(), decide).value();
}

int64_t ControlPlane::SetMany(const std::string& prefix, int n, size_t size) {
  std::mt19937 random(static_cast<unsigned>(config->position().revision()));
  const auto decide = [&](const auto&) -> Result<std::optional<ConfigChange>> {
    ConfigChange change;
    for (int i = 0; i < n; ++i) {
      v1::Entry& entry = change.upserts.emplace_back();
      entry.set_kind(v1::KIND_KEY);
      entry.set_name(prefix + "-" + std::to_string(i));
      std::string bytes(size, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      entry.set_bytes(bytes);
    }
    return change;
  };
  const int64_t under = std::max(
      {int64_t{1}, config->position().epoch(), epoch == nullptr ? int64_t{0} : epoch->value()});
  return config->Transact(under, SystemClock().WallMs(), decide).value();
}

bool ControlPlane::Published(int64_t revision, int64_t timeout_ms) {
  return publisher->WaitPublished(revision, timeout_ms);
}

std::string BootedState(Bus& bus, const Verifier& verifier, const std::string& cluster_id) {
  const auto published = ReadLatest(bus, verifier, cluster_id);
  if (!published) return published.error().message;
  if (!published->latest) return "nothing";
  const auto state = ReadState(bus, verifier, *published->latest);
  if (!state) return state.error().message;
  return Render(published->latest->position(), published->latest->fleet_size(), *state);
}

std::string WantedState(const ControlPlane& plane) {
  v1::Position position = plane.config->position();
  position.set_epoch(plane.epoch->value());
  std::map<EntryKey, std::string> rows;
  plane.config->Read([&](const ConfigStore::State& state) {
    for (const auto& [key, stored] : state) rows[key] = stored.bytes;
  });
  return Render(position, plane.fleet.load(), rows);
}

}  // namespace spillway
