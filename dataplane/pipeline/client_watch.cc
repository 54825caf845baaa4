#include "dataplane/pipeline/client_watch.h"

namespace spillway {

ClientWatch::ClientWatch(Loop& loop, ResponseWriter& out, OnDisconnect policy,
                         const PipelineLimits& limits)
    : out_(out), policy_(policy), limits_(limits), start_(*loop.timers, [this] { Start(); }) {
  start_.SetAfterMs(limits.watch_client_after_ms);
}

ClientWatch::~ClientWatch() {
  if (watching_) out_.WatchClient(nullptr);
}

void ClientWatch::Guard(UpstreamCall* call) {
  call_ = call;
  if (left_) EndCall();
}

void ClientWatch::Start() {
  watching_ = true;
  out_.WatchClient([this] { OnLeft(); });
}

void ClientWatch::OnLeft() {
  if (left_) return;
  left_ = true;
  EndCall();
}

void ClientWatch::EndCall() {
  if (call_ == nullptr) return;
  if (policy_ == OnDisconnect::kDrain) {
    call_->LimitTotal(limits_.drain_ms_max);
  } else {
    call_->Cancel();
  }
}

}  // namespace spillway
