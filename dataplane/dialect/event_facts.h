#pragma once

#include <cstdint>
#include <string_view>

namespace spillway::openai {

// What a look at the bytes of one event's data says, without parsing: which of the few keys that
// matter occur, and with which kind of value. A key inside a text cannot be mistaken for one: its
// quotes are escaped there.
struct EventFacts {
  int64_t finishes = 0;           // how often a finish_reason is a string
  bool usage_object = false;      // a "usage" that is an object: worth parsing
  bool error = false;             // an "error" that is not null: worth parsing
  std::string_view service_tier;  // as written, into the data; empty: none
  int64_t content_bytes = 0;      // of what CountContentBytes counts, as escaped
  bool data = false;              // a "data" that is a text: audio, of unknown length in tokens
};
EventFacts LookAt(std::string_view data);

}  // namespace spillway::openai
