#pragma once

#include <atomic>
#include <memory>

#include "dataplane/exchange/exchange.h"
#include "dataplane/pipeline/pipeline.h"

namespace spillway {

// In the server's tests the pipeline is scripted by the request's path; scripted_pipeline.cc
// defines Pipeline's public members instead of the real ones:
//   /echo     reads the body and sends it back     /early   answers without reading it
//   /stream   three chunks                         /abort   one chunk, then Abort
//   /release  reads, releases, then streams        /empty   Begin and End only
//   /both     begins a stream, reads the body, ends
//   /watch    begins a stream, waits for the client to leave
//   /flood    streams 64 MiB                       /throw   one chunk, then an exception
//   anything else  the number of requests so far
struct PipelineFacts {
  std::atomic<int> requests{0};
  std::atomic<int> gone{0};           // clients seen leaving
  std::atomic<int> broken_writes{0};  // streams that ended because a write failed
};
PipelineFacts& Facts();

std::unique_ptr<Pipeline> MakeScriptedPipeline(Loop& loop);

}  // namespace spillway
