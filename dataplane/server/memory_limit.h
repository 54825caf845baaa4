#pragma once

#include <cstdint>
#include <string>

namespace spillway {

// How much memory this process may use, in bytes: the least of its control groups' limits (v2 or
// v1, every group it lies in) and of what the machine has. `root` replaces "/" in tests.
int64_t MemoryLimitBytes(const std::string& root = "");

// Where requests are refused when nothing else is said: four fifths of MemoryLimitBytes, in whole
// MiB. The rest is for the kernel's buffers and for what requests in flight still take.
int64_t DefaultMemoryMax(const std::string& root = "");

}  // namespace spillway
