#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spillway {

// Decodes a chunked body (RFC 9112 §7.1) in place, as it arrives. Strict: CRLF only, plain hex
// sizes, bounded extensions and trailers, which are dropped. Pure; one per answer.
class ChunkDecoder {
 public:
  struct Step {
    std::string_view payload;  // inside `data`; the payloads of all its chunks, moved together
    size_t consumed = 0;       // of `data`; less than its size only behind the end of the body
  };
  // False: the framing is broken, and so is everything behind it.
  bool Decode(char* data, size_t size, Step& step);
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State : uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kTrailerLf,
    kDone,
  };
  static constexpr int64_t kSizeMax = int64_t{1} << 40;
  static constexpr int kOverheadMax = 16 * 1024;  // bytes of one extension, or of all trailers

  bool Control(char c);
  bool EndSizeLine();

  State state_ = State::kSize;
  int64_t left_ = 0;  // of the chunk at hand; its size while that is read
  int digits_ = 0;
  int overhead_ = 0;
  bool line_empty_ = true;  // of the trailer line at hand
};

}  // namespace spillway
