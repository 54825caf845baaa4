#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"

namespace spillway::alerts {

// One POST of JSON.
struct SinkPost {
  std::string_view url;  // it may hold a token: never in an error
  std::string_view body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Sends posts; implemented by HttpPoster, and by what tests put in its place.
class Poster {
 public:
  virtual ~Poster() = default;
  // The status of a complete answer, whatever it is. An error: no answer, and why. Blocks for a
  // bounded time.
  virtual Result<int> Post(const SinkPost& post) = 0;
  // From any thread: a post that runs ends soon, later ones at once. For good.
  virtual void Stop() {}
};

// Over HTTP/1.1 and TLS. The name is resolved here and every address is looked at before one is
// connected to: a sink must not be a way to a machine's metadata service. Certificates and names
// are verified; redirects are answers like any other and are not followed; what is answered is not
// kept.
class HttpPoster final : public Poster {
 public:
  struct Options {
    std::string ca_file;  // PEM; empty: the system's trust store
    int64_t connect_ms = 5'000;
    int64_t total_ms = 15'000;
  };
  explicit HttpPoster(Options options);
  ~HttpPoster() override;
  Result<int> Post(const SinkPost& post) override;
  void Stop() override;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway::alerts
