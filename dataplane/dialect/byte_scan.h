#pragma once

#include <bit>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Searches for the few bytes that matter in JSON strings and event streams, 16 bytes at a step
// where the machine has SSE2 (every x86-64), byte by byte elsewhere.
namespace spillway::openai {

// True for the bytes that end a run of plain text inside a JSON string.
inline bool EndsPlainText(char c) {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}

#if defined(__SSE2__)
inline __m128i Load16(const char* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline uint32_t Mask(__m128i equal) { return static_cast<uint32_t>(_mm_movemask_epi8(equal)); }
#endif

// Which of the 16 bytes at `p` end a run of plain text, lowest bit first. Reads all 16.
inline uint32_t TextEnds16(const char* p) {
#if defined(__SSE2__)
  const __m128i x = Load16(p);
  const __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
  const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
  return Mask(_mm_or_si128(_mm_or_si128(quote, backslash), control));
#else
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(EndsPlainText(p[i])) << i;
  return mask;
#endif
}

// The first CR or LF in [p, end); `end` when there is none. Needs no padding.
inline const char* FindLineEnd(const char* p, const char* end) {
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    const __m128i x = Load16(p);
    const __m128i lf = _mm_cmpeq_epi8(x, _mm_set1_epi8('\n'));
    const __m128i cr = _mm_cmpeq_epi8(x, _mm_set1_epi8('\r'));
    const uint32_t hits = Mask(_mm_or_si128(lf, cr));
    if (hits != 0) return p + std::countr_zero(hits);
  }
#endif
  while (p < end && *p != '\n' && *p != '\r') ++p;
  return p;
}

// The closing quote of a JSON string whose inside begins at `p`; `end` when it is not there. Needs
// no padding, validates nothing.
inline const char* FindClosingQuote(const char* p, const char* end) {
  while (p < end) {
#if defined(__SSE2__)
    if (end - p >= 16) {
      const __m128i x = Load16(p);
      const __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
      const __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
      const uint32_t hits = Mask(_mm_or_si128(quote, backslash));
      if (hits == 0) {
        p += 16;
        continue;
      }
      p += std::countr_zero(hits);
    }
#endif
    if (*p == '"') return p;
    p += *p == '\\' ? 2 : 1;
  }
  return end;
}

inline const char* SkipJsonSpace(const char* p, const char* end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
  return p;
}

}  // namespace spillway::openai
