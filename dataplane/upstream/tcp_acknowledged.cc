#include "dataplane/upstream/tcp_acknowledged.h"

// The kernel's tcp_info; the C library's lacks bytes_acked, and the two headers exclude each other.
#include <linux/tcp.h>
#include <sys/socket.h>

#include <cstddef>

namespace spillway {

int64_t AcknowledgedBytes(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  constexpr int kTcpProtocol = 6;  // IPPROTO_TCP, whose header would bring the other tcp_info
  if (::getsockopt(fd, kTcpProtocol, TCP_INFO, &info, &size) != 0) return -1;
  if (size < offsetof(tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked)) return -1;
  return static_cast<int64_t>(info.tcpi_bytes_acked);
}

}  // namespace spillway
