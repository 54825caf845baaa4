#pragma once

#include <cstdint>
#include <string>
#include <vector>

// A load generator for one process and one thread: closed loop, open loop, or many slow streams.
namespace spillway::bench {

struct Plan {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  std::string path = "/v1/chat/completions";
  std::string key;
  std::string body;
  bool stream = false;
  int connections = 1;
  double rate = 0;  // requests/s over all connections; 0: closed loop
  double seconds = 8;
  double warmup_seconds = 2;
  int64_t requests_per_connection = 0;  // 0: until the time is over (streams lanes use 1)
  double ramp_seconds = 0;              // connections open evenly over this time
};

// Filled by the clients of one thread.
struct Tally {
  std::vector<uint32_t> latency_us;      // whole answers; open loop counts from the due time
  std::vector<uint32_t> first_event_us;  // streams: request written -> first event read
  int64_t answers = 0;
  int64_t errors = 0;  // connect, reset, status other than 200, stream without [DONE]
  int64_t events = 0;
  int64_t out_of_order = 0;  // content that does not continue the sequence of the first stream
  int64_t streams_open_max = 0;
  std::string first_error;
};

Tally Run(const Plan& plan);

}  // namespace spillway::bench
