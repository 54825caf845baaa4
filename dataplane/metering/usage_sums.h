#pragma once

#include "common/money.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// Every kind of token there is, in one place: sums of usage must not forget one. Stateless.

// sum += sign * more; the service tier of a sum means nothing and is left alone.
void AddUsage(v1::Usage& sum, const v1::Usage& more, int sign = 1);
void SetUsage(v1::Usage& usage, const TokenUsage& tokens);

}  // namespace spillway
