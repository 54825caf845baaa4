// Delivering alerts: one at a time, each sink at its own pace.
#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "common/log.h"
#include "controlplane/alerts/alert_text.h"
#include "controlplane/alerts/alerts.h"
#include "controlplane/alerts/signature.h"

namespace spillway::alerts {
namespace {

constexpr int kFailuresMax = 20;  // beyond it the delay is the longest anyway

bool IsDelivered(int status) { return status >= 200 && status < 300; }

std::string WhyNot(const Result<int>& answer) {
  if (!answer) return answer.error().message;
  const bool redirect = *answer >= 300 && *answer < 400;
  return "it answered " + std::to_string(*answer) + (redirect ? ", and is not followed" : "");
}

}  // namespace

Result<int> Alerts::PostTo(const SinkTarget& sink, const v1::Alert& alert) const {
  const std::string body =
      sink.kind == v1::AlertSink::KIND_SLACK ? SlackBody(alert) : WebhookBody(alert);
  const int64_t timestamp_s = parts_.clock.WallMs() / 1000;
  SinkPost post{.url = sink.url.Reveal(), .body = body, .headers = {}};
  post.headers.emplace_back("x-spillway-delivery", alert.id());
  post.headers.emplace_back("x-spillway-timestamp", std::to_string(timestamp_s));
  if (!sink.signing_secret.empty()) {
    post.headers.emplace_back("x-spillway-signature",
                              SignatureOf(sink.signing_secret.Reveal(), timestamp_s, body));
  }
  return parts_.poster.Post(post);
}

// Doubles with each failure; half of it is chance, so that sinks of many clusters do not meet.
int64_t Alerts::Backoff(int failures) {
  const int doublings = std::clamp(failures - 1, 0, kFailuresMax);
  const int64_t whole =
      std::min(options_.retry_first_ms << doublings, std::max<int64_t>(options_.retry_max_ms, 1));
  return whole / 2 + std::uniform_int_distribution<int64_t>(0, whole / 2)(random_);
}

void Alerts::Settle(const v1::Alert& alert, v1::AlertDelivery& delivery,
                    const Result<int>& answer) {
  const int64_t now_ms = parts_.clock.WallMs();
  const bool done = answer && IsDelivered(*answer);
  const bool gone = !answer && answer.error().code == ErrorCode::kNotFound;
  delivery.set_attempts(delivery.attempts() + 1);
  delivery.set_last_error(done ? "" : WhyNot(answer));
  const bool late = now_ms - alert.at_ms() >= options_.give_up_ms;
  const int64_t again_ms = now_ms + Backoff(delivery.attempts());
  if (done || gone || late) {
    delivery.set_state(std::string(done ? kDelivered : kGivenUp));
    delivery.set_delivered_at_ms(done ? now_ms : 0);
    delivery.set_next_attempt_ms(0);
  } else {
    delivery.set_next_attempt_ms(again_ms);
  }
  const std::lock_guard lock(mutex_);
  SinkState& sink = sinks_[delivery.sink()];
  sink.delivered += done ? 1 : 0;
  sink.given_up += !done && (gone || late) ? 1 : 0;
  sink.failed += done ? 0 : 1;
  sink.failures = done ? 0 : sink.failures + 1;
  // A sink that is down is not asked once for each alert that waits for it.
  sink.resume_ms = done || gone ? 0 : again_ms;
}

// False: nothing can be kept, so nothing more may be sent now.
bool Alerts::DeliverOne(v1::Alert& alert, v1::AlertDelivery& delivery) {
  const Result<SinkTarget> sink = parts_.sinks.Find(delivery.sink());
  const Result<int> answer =
      sink ? PostTo(*sink, alert) : Result<int>(std::unexpected(sink.error()));
  if (stopping() && !answer) return false;  // cut by the end, which says nothing about the sink
  Settle(alert, delivery, answer);
  if (delivery.state() != kDelivered) {
    log::Warn("an alert was not delivered", {{"sink", delivery.sink()},
                                             {"id", alert.id()},
                                             {"attempts", delivery.attempts()},
                                             {"state", delivery.state()},
                                             {"error", delivery.last_error()}});
  }
  // Sent and not kept is sent again: the receiver knows it by its id.
  const Result<void> kept = book_->Put(std::span(&alert, 1));
  if (!kept) log::Warn("a delivery cannot be kept", {{"error", kept.error().message}});
  return kept.has_value();
}

int64_t Alerts::DueMs(const v1::AlertDelivery& delivery) {
  const std::lock_guard lock(mutex_);
  return std::max(delivery.next_attempt_ms(), sinks_[delivery.sink()].resume_ms);
}

// A clock that was set back must not hold an alert up for longer than a retry.
bool Alerts::IsDue(int64_t due_ms) const {
  const int64_t wait_ms = due_ms - parts_.clock.WallMs();
  return wait_ms <= 0 || wait_ms > options_.retry_max_ms;
}

int64_t Alerts::Deliver() {
  int64_t next_ms = std::numeric_limits<int64_t>::max();
  const auto due = [&](const v1::AlertDelivery& delivery) {
    const int64_t due_ms = DueMs(delivery);
    if (IsDue(due_ms)) return true;
    next_ms = std::min(next_ms, due_ms);
    return false;
  };
  int budget = options_.deliveries_per_turn;
  const auto alerts_max = static_cast<size_t>(budget);
  std::vector<v1::Alert> alerts = book_->Due(alerts_max, due);
  for (v1::Alert& alert : alerts) {
    for (v1::AlertDelivery& delivery : *alert.mutable_deliveries()) {
      if (delivery.state() != kPending) continue;
      if (stopping()) return next_ms;
      // Asked again: its sink may have failed since.
      if (!due(delivery)) continue;
      const int64_t now_ms = parts_.clock.WallMs();
      if (budget-- == 0) return now_ms;
      if (!DeliverOne(alert, delivery)) return now_ms + options_.retry_first_ms;
      if (delivery.state() == kPending) next_ms = std::min(next_ms, delivery.next_attempt_ms());
    }
  }
  // As many as were asked for: there may be more.
  return alerts.size() == alerts_max ? parts_.clock.WallMs() : next_ms;
}

Result<v1::TestAlertSinkResponse> Alerts::Test(const v1::TestAlertSinkRequest& request) const {
  SW_TRY(const SinkTarget sink, parts_.sinks.Find(request.sink()));
  v1::Alert alert;
  alert.set_type(std::string(kTest));
  alert.set_at_ms(parts_.clock.WallMs());
  alert.set_id(IdOf(alert));
  const int64_t begin_ns = parts_.clock.MonotonicNs();
  const Result<int> answer = PostTo(sink, alert);
  v1::TestAlertSinkResponse response;
  response.set_delivered(answer && IsDelivered(*answer));
  if (answer) response.set_http_status(*answer);
  if (!response.delivered()) response.set_error(WhyNot(answer));
  response.set_elapsed_us((parts_.clock.MonotonicNs() - begin_ns) / 1000);
  return response;
}

void Alerts::Collect(MetricsText& text) const {
  const int64_t pending = book_->pending();
  const std::lock_guard lock(mutex_);
  text.Family("spillway_alerts_decided_total", "counter", "Budget alerts decided.");
  text.Sample("spillway_alerts_decided_total", {}, decided_);
  text.Family("spillway_alerts_pending", "gauge", "Alerts that wait for a sink.");
  text.Sample("spillway_alerts_pending", {}, pending);
  const auto family = [&](std::string_view name, std::string_view type, std::string_view help,
                          const auto& value) {
    text.Family(name, type, help);
    for (const auto& [sink, state] : sinks_) text.Sample(name, {{"sink", sink}}, value(state));
  };
  family("spillway_alerts_delivered_total", "counter", "Deliveries that a sink took.",
         [](const SinkState& sink) { return sink.delivered; });
  family("spillway_alerts_failed_total", "counter", "Attempts to deliver that failed.",
         [](const SinkState& sink) { return sink.failed; });
  family("spillway_alerts_given_up_total", "counter",
         "Deliveries given up after 24 h, or because their sink is gone.",
         [](const SinkState& sink) { return sink.given_up; });
  family("spillway_alerts_sink_failing", "gauge", "1: the last delivery to this sink failed.",
         [](const SinkState& sink) { return int64_t{sink.failures > 0 ? 1 : 0}; });
}

}  // namespace spillway::alerts
