#pragma once

#include "controlplane/cli/command.h"

namespace spillway::cli {

// spend chargeback: the close of a month, per team.
Command ChargebackCommand();

}  // namespace spillway::cli
