#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/error.h"
#include "common/metrics.h"

namespace spillway {

// The control plane's HTTP door for operators and probes: /livez, /readyz, /metrics. A few threads
// of its own; nothing else is answered and no body is read.
class OpsHttp {
 public:
  struct Health {
    bool ready = true;      // serving reads
    bool writable = false;  // changes are accepted
    std::string why;        // not, when one of them is not
  };
  struct Options {
    std::string listen;
    std::function<Health()> health;
    const MetricsRegistry* metrics = nullptr;
  };
  // Bound and answering when it returns. kUnavailable: the address is taken or cannot be bound.
  static Result<std::unique_ptr<OpsHttp>> Start(Options options);
  ~OpsHttp();
  int port() const;

 private:
  struct Rep;
  explicit OpsHttp(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
