#include "controlplane/alerts/sinks.h"

#include <optional>
#include <utility>

namespace spillway::alerts {

std::vector<std::string> ConfiguredSinks::Names() const {
  std::vector<std::string> names;
  config_.Read([&names](const ConfigStore::State& state) {
    for (auto at = state.lower_bound({v1::KIND_ALERT_SINK, std::string()});
         at != state.end() && at->first.first == v1::KIND_ALERT_SINK; ++at)
      names.push_back(at->first.second);
  });
  return names;
}

Result<SinkTarget> ConfiguredSinks::Find(const std::string& name) const {
  const std::optional<StoredEntry> entry = config_.Find(v1::KIND_ALERT_SINK, name);
  v1::AlertSink sink;
  if (!entry) return Fail(ErrorCode::kNotFound, "there is no alert_sink/" + name);
  if (!sink.ParseFromString(entry->bytes))
    return Fail(ErrorCode::kCorrupt, "alert_sink/" + name + " cannot be read");
  SinkTarget target{.name = name, .kind = sink.kind(), .url = {}, .signing_secret = {}};
  if (!sink.url().has_sealed())
    return Fail(ErrorCode::kNotFound, "alert_sink/" + name + " has no url value");
  SW_TRY(target.url, seal_key_.Unseal(sink.url().sealed(), SealPlace("alert_sink", name, "url")));
  if (sink.signing_secret().has_sealed()) {
    SW_TRY(target.signing_secret,
           seal_key_.Unseal(sink.signing_secret().sealed(),
                            SealPlace("alert_sink", name, "signing_secret")));
  }
  return target;
}

}  // namespace spillway::alerts
