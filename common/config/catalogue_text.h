#pragma once

#include <string_view>

namespace spillway::config {

// catalogue.yaml as it was at build time; generated from catalogue_text.cc.in.
extern const std::string_view kCatalogueText;

}  // namespace spillway::config
