#pragma once

#include <cstdint>
#include <string_view>

namespace spillway::openai {

// What a look at the bytes of one event's data says, without parsing: which of the few keys that
// matter occur, and with which kind of value. A key inside a text cannot be mistaken for one: its
// quotes are escaped there.
struct EventFacts {
  bool finish = false;            // a finish_reason that is a string
  bool usage_object = false;      // a "usage" that is an object: worth parsing
  bool error = false;             // an "error" that is not null: worth parsing
  std::string_view service_tier;  // as written, into the data; empty: none
  int64_t content_bytes = 0;      // of text, refusal, reasoning and arguments, as escaped
};
EventFacts LookAt(std::string_view data);

// False as soon as `partial`, the beginning of an event, shows a choice: then it is not the usage
// event, however it goes on. The first "choices" decides, so that more bytes never change a
// "false".
bool MayBeUsageEvent(std::string_view partial);

}  // namespace spillway::openai
