#pragma once

#include "dataplane/exchange/exchange.h"
#include "dataplane/exchange/loop.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/upstream/call.h"

namespace spillway {

// Looks for the client's departure while a provider is waited for, and ends (or bounds) the call
// then. Looking begins a little later than the call: it costs a system call, and most answers are
// there before. Lives in the coroutine that waits; loop thread only.
class ClientWatch {
 public:
  ClientWatch(Loop& loop, ResponseWriter& out, OnDisconnect policy, const PipelineLimits& limits);
  ~ClientWatch();
  ClientWatch(const ClientWatch&) = delete;
  ClientWatch& operator=(const ClientWatch&) = delete;

  // The call to end; nullptr: none at the moment.
  void Guard(UpstreamCall* call);
  // The same for a departure noticed otherwise: a write failed.
  void OnLeft();
  bool left() const { return left_; }

 private:
  void Start();
  void EndCall();

  ResponseWriter& out_;
  const OnDisconnect policy_;
  const PipelineLimits& limits_;
  UpstreamCall* call_ = nullptr;
  Deadline start_;
  bool watching_ = false;
  bool left_ = false;
};

}  // namespace spillway
