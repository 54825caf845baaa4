#include "dataplane/snapshot/compression.h"

#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <format>
#include <memory>

#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

constexpr int kLevel = 3;
constexpr int kWindowLogMax = 27;  // 128 MiB: zstd's own limit for what it decodes unasked
constexpr size_t kFirstBytes = size_t{64} * 1024;

struct FreeStream {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

std::unexpected<Error> TooLarge(int64_t bytes_max) {
  return Refuse(RefusalClass::kOversized, std::format("inflates to more than {} bytes", bytes_max));
}

}  // namespace

Result<std::string> Inflate(std::string_view frame, int64_t bytes_max) {
  const auto declared = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (declared == ZSTD_CONTENTSIZE_ERROR)
    return Refuse(RefusalClass::kCorrupt, "is not a zstd frame");
  const auto limit = static_cast<unsigned long long>(bytes_max);
  if (declared != ZSTD_CONTENTSIZE_UNKNOWN && declared > limit) return TooLarge(bytes_max);

  const std::unique_ptr<ZSTD_DStream, FreeStream> stream(ZSTD_createDStream());
  ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, kWindowLogMax);
  ZSTD_inBuffer in{frame.data(), frame.size(), 0};
  std::string out;
  size_t filled = 0;
  // The buffer grows with what really comes out, whatever the frame declares; one byte more than
  // the limit shows that there is more.
  for (size_t left = 1; left != 0;) {
    if (filled == out.size())
      out.resize(std::min<size_t>(std::max(kFirstBytes, out.size() * 2), limit + 1));
    ZSTD_outBuffer piece{out.data(), out.size(), filled};
    const size_t read_before = in.pos;
    left = ZSTD_decompressStream(stream.get(), &piece, &in);
    if (ZSTD_isError(left) != 0)
      return Refuse(RefusalClass::kCorrupt, std::format("zstd: {}", ZSTD_getErrorName(left)));
    const bool progress = piece.pos != filled || in.pos != read_before;
    filled = piece.pos;
    if (filled > limit) return TooLarge(bytes_max);
    if (left != 0 && !progress) return Refuse(RefusalClass::kCorrupt, "the zstd frame is cut off");
  }
  if (in.pos != in.size) return Refuse(RefusalClass::kCorrupt, "bytes follow the zstd frame");
  out.resize(filled);
  return out;
}

std::string Deflate(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), kLevel);
  if (ZSTD_isError(size) != 0) std::abort();  // only without memory: the bound is zstd's own
  out.resize(size);
  out.shrink_to_fit();
  return out;
}

}  // namespace spillway
