#include "common/settings.h"
#include "version_stamp.h"

namespace spillway {

std::string_view Version() { return SPILLWAY_VERSION; }

}  // namespace spillway
