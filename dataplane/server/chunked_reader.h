#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spillway {

// Decodes a chunked request body (RFC 9112, 7.1) strictly and incrementally: CRLF line ends only,
// sizes of hexadecimal digits only. Extensions and trailers are checked, bounded and dropped. No
// I/O, no allocation. One thread.
class ChunkedReader {
 public:
  static constexpr size_t kExtensionBytesMax = 256;  // of the whole body
  static constexpr size_t kTrailerBytesMax = size_t{4} * 1024;
  static constexpr uint64_t kChunkBytesMax = uint64_t{1} << 40;

  enum class State { kMore, kDone, kBad };
  struct Step {
    State state = State::kMore;
    size_t consumed = 0;    // bytes of the input that are dealt with
    std::string_view data;  // payload among them; a view into the input
  };
  // Takes payload of at most one chunk; call again while `state` is kMore and something was
  // consumed. The verdict does not depend on how the input is cut.
  Step Next(std::string_view input);

 private:
  enum class Place : uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerBegin,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf,
    kDone,
    kBad,
  };
  Place Advance(char c);
  Place OnSize(char c);
  Place OnTrailer(char c);

  Place place_ = Place::kSize;
  int digits_ = 0;
  uint64_t left_ = 0;  // of the current chunk
  size_t extension_bytes_ = 0;
  size_t trailer_bytes_ = 0;
};

}  // namespace spillway
