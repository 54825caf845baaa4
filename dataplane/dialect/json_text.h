#pragma once

#include <string>
#include <string_view>

namespace spillway::openai {

// What a JSON string says. `inside` is the text between the quotes, already found to be valid.
std::string Unescape(std::string_view inside);

}  // namespace spillway::openai
