#pragma once

#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <cstdint>
#include <vector>

#include "common/error.h"
#include "common/settings.h"
#include "dataplane/server/address_counts.h"
#include "dataplane/server/loop_state.h"
#include "dataplane/server/tls_context.h"
#include "dataplane/server/transport.h"

namespace spillway {

// One listening socket per loop on the same port, so that the kernel spreads connections. The first
// is bound without SO_REUSEPORT: a second process on the port fails instead of taking part of the
// traffic. Port 0: the kernel picks one. kInvalidConfig: a bad address, or the port is taken.
struct ListenSockets {
  std::vector<int> fds;
  uint16_t port = 0;
};
Result<ListenSockets> BindAll(const HostPort& address, int count);

// Accepts one loop's connections and starts their sessions. Survives running out of file
// descriptors. Owned by the server; loop thread only but for construction.
class Listener {
 public:
  // Takes `fd`. `open_total` counts the whole process' connections against `connections_max`,
  // `addresses` those of each client.
  Listener(LoopState& loop, int fd, const TlsContext* tls, std::atomic<int64_t>& open_total,
           int64_t connections_max, AddressCounts& addresses);

  void Start();
  // Stops accepting. Connections that were waiting to be accepted are still served, as long as
  // descriptors last; those whose handshake was under way are reset by the kernel.
  void Stop();

 private:
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, LoopExecutor>;
  Task<void> Run();
  // False: no descriptor or memory is left; try again later.
  bool AcceptWaiting(int at_most);
  void StartSession(int fd, const sockaddr_storage& peer);
  // Closes without a word.
  void Shed(int fd);

  LoopState& loop_;
  Acceptor acceptor_;
  const TlsContext* tls_;
  std::atomic<int64_t>& open_total_;
  const int64_t connections_max_;
  AddressCounts& addresses_;
  Deadline pause_;
  bool stopped_ = false;
};

}  // namespace spillway
