#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "common/error.h"
#include "dataplane/exchange/exchange.h"
#include "dataplane/pipeline/attempt.h"
#include "dataplane/pipeline/dispatch.h"
#include "dataplane/pipeline/pipeline.h"

namespace spillway {

// Brings the answer that a dispatch found to the client, and settles it: a whole answer in one
// write, a stream piece by piece as it comes, each write awaited before the next read. However a
// stream ends, it is billed, and one that was interrupted never looks finished: it ends without
// [DONE] on a connection that closes, behind an error event of ours; only one that the provider
// itself ended with an error event (that does not repeat our key) ends as the provider ended it.
// Lives in the serving coroutine.
class Relay {
 public:
  Relay(const PipelineServices& services, Exchange& x, ResponseWriter& out, const Job& job,
        Dispatch& dispatch);

  // kCancelled: the client left before the end.
  Task<Result<void>> Run();

 private:
  Task<Result<void>> SendWhole();
  Task<Result<void>> SendStream();
  Task<v1::EndReason> Pump();
  Task<bool> Forward();
  v1::EndReason Interrupted(const Error& error);
  v1::EndReason Ended() const;
  Task<Result<void>> Close(v1::EndReason end);
  Error WhatHappened(v1::EndReason end) const;
  ResponseHead HeadOfAnswer(int64_t upstream_us);
  bool Drained(size_t bytes);
  void CountPieces();

  const PipelineServices& services_;
  Exchange& x_;
  ResponseWriter& out_;
  const Job& job_;
  Attempt& attempt_;
  ClientWatch& watch_;
  int64_t drained_bytes_ = 0;
  int reads_ = 0;
  bool lingering_ = false;  // [DONE] is here; only the end of the body is missing
};

}  // namespace spillway
