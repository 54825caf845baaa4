#include "dataplane/snapshot/status.h"

#include "common/crypto/sha256.h"
#include "common/json.h"

namespace spillway {
namespace {

double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000.0; }

void AppendGauge(MetricsText& out, std::string_view name, std::string_view help, int64_t value) {
  out.Family(name, "gauge", help);
  out.Sample(name, {}, value);
}

void AppendAges(const FeedStatus& status, MetricsText& out) {
  out.Family("spillway_snapshot_age_seconds", "gauge",
             "Time since the active revision was activated.");
  out.Sample("spillway_snapshot_age_seconds", {}, Seconds(status.age_ms));
  if (status.unconfirmed_ms < 0) return;
  out.Family("spillway_snapshot_unconfirmed_seconds", "gauge",
             "Time since the control plane's word last confirmed that nothing newer exists.");
  out.Sample("spillway_snapshot_unconfirmed_seconds", {}, Seconds(status.unconfirmed_ms));
}

}  // namespace

void AppendMetrics(const FeedStatus& status, MetricsText& out) {
  AppendGauge(out, "spillway_snapshot_ready", "1 once a good snapshot from any source is loaded.",
              status.ready ? 1 : 0);
  AppendGauge(out, "spillway_snapshot_revision", "Active revision.", status.position.revision());
  AppendGauge(out, "spillway_snapshot_epoch", "Epoch of the active revision.",
              status.position.epoch());
  AppendGauge(out, "spillway_snapshot_keys", "API keys in the active snapshot.", status.keys);
  AppendGauge(out, "spillway_snapshot_routes", "Routes and models in the active snapshot.",
              status.routes);
  AppendAges(status, out);
  out.Family("spillway_snapshot_source", "gauge", "Where the active snapshot came from.");
  for (const std::string_view source : {"nats", "disk", "seed", "file"})
    out.Sample("spillway_snapshot_source", {{"source", source}}, status.source == source ? 1 : 0);
  out.Family("spillway_snapshot_refused_total", "counter",
             "Snapshots and deltas refused, by reason.");
  for (int i = 0; i < kRefusalClasses; ++i) {
    out.Sample("spillway_snapshot_refused_total",
               {{"reason", NameOf(static_cast<RefusalClass>(i))}}, status.refused[i]);
  }
  AppendGauge(out, "spillway_snapshot_quarantined", "Revisions that crashed this instance twice.",
              static_cast<int64_t>(status.quarantined.size()));
  if (status.source == "file") return;  // standalone: no bus, nothing kept on disk
  AppendGauge(out, "spillway_snapshot_disk_revision", "Newest revision safe on disk.",
              status.disk_revision);
  out.Family("spillway_snapshot_disk_failures_total", "counter",
             "Snapshot writes to disk that failed.");
  out.Sample("spillway_snapshot_disk_failures_total", {}, status.disk_failures);
  out.Family("spillway_bus_state", "gauge", "State of the connection to NATS.");
  for (const std::string_view state : {"connecting", "connected", "closed", "none"})
    out.Sample("spillway_bus_state", {{"state", state}}, status.bus_state == state ? 1 : 0);
}

std::string RenderJson(const FeedStatus& status) {
  std::string out;
  JsonWriter json(out);
  json.BeginObject().Field("ready", status.ready).Field("reason", status.reason);
  json.Field("source", status.source).Field("cluster_id", status.position.cluster_id());
  json.Field("epoch", status.position.epoch()).Field("revision", status.position.revision());
  json.Field("digest", HexOf(status.position.digest()));
  json.Field("activated_at_ms", status.activated_at_ms).Field("age_ms", status.age_ms);
  json.Field("unconfirmed_ms", status.unconfirmed_ms).Field("keys", status.keys);
  json.Field("routes", status.routes).Field("fleet_size", status.fleet_size);
  json.Key("refused").BeginObject();
  for (int i = 0; i < kRefusalClasses; ++i)
    json.Field(NameOf(static_cast<RefusalClass>(i)), status.refused[i]);
  json.EndObject();
  json.Key("last_refusal").BeginObject().Field("revision", status.refused_revision);
  json.Field("reason", status.refused_reason).EndObject();
  json.Key("quarantined").BeginArray();
  for (const int64_t revision : status.quarantined) json.Value(revision);
  json.EndArray().Field("restricted", status.restricted).Field("bus", status.bus_state);
  json.Field("disk_revision", status.disk_revision).Field("disk_failures", status.disk_failures);
  json.EndObject();
  return out;
}

}  // namespace spillway
