#include <algorithm>
#include <vector>

#include "controlplane/control_plane.h"

namespace spillway {
namespace {

void Gauge(MetricsText& text, std::string_view name, std::string_view help, int64_t value) {
  text.Family(name, "gauge", help);
  text.Sample(name, {}, value);
}

void Counter(MetricsText& text, std::string_view name, std::string_view help, int64_t value) {
  text.Family(name, "counter", help);
  text.Sample(name, {}, value);
}

}  // namespace

void ControlPlane::Collect(MetricsText& text) {
  const Publisher::Status published = publisher_->status();
  const NatsBus::Counts bus = bus_->counts();
  Gauge(text, "spillway_controlplane_epoch", "Epoch held; 0: none.", epoch_->value());
  Gauge(text, "spillway_controlplane_revision", "Newest committed revision.",
        config_->position().revision());
  Gauge(text, "spillway_controlplane_published_revision", "Newest revision on NATS.",
        published.published_revision);
  Gauge(text, "spillway_controlplane_full_revision", "Revision of the newest full snapshot.",
        published.full_revision);
  Counter(text, "spillway_controlplane_deltas_total", "Deltas published.", published.deltas);
  Counter(text, "spillway_controlplane_fulls_total", "Full snapshots published.", published.fulls);
  Counter(text, "spillway_controlplane_publish_failures_total",
          "Rounds of the publisher that failed, NATS being away included.", published.failures);
  Gauge(text, "spillway_controlplane_writable", "1: configuration may be changed.",
        gate_->Check() ? 1 : 0);
  Gauge(text, "spillway_controlplane_store_writable", "0: the disk is full or failed.",
        store_->Writable() ? 1 : 0);
  Gauge(text, "spillway_controlplane_fleet_connected", "Data planes heard within 6 s.",
        fleet_->connected());
  Gauge(text, "spillway_controlplane_fleet_expected", "Data planes counted on.", fleet_->size());
  Gauge(text, "spillway_bus_connected", "1: connected to NATS.",
        bus_->state() == BusState::kConnected ? 1 : 0);
  Counter(text, "spillway_bus_connects_total", "Connections made to NATS.",
          static_cast<int64_t>(bus.connects));
  ledger_->Collect(text);
  lease_desk_->Collect(text);
  std::vector<v1::Budget> budgets;
  for (const auto& [id, budget] : *Budgets()) budgets.push_back(budget);
  std::ranges::sort(budgets, {}, &v1::Budget::name);
  budget_report_->Collect(budgets, text);
  Counter(text, "spillway_budget_charges_refused_total",
          "Charges of usage records that name no possible account.", account_charges_->refused());
  alerts_->Collect(text);
  const std::lock_guard lock(consumer_mutex_);
  if (consumer_ != nullptr) consumer_->Collect(text);
}

}  // namespace spillway
