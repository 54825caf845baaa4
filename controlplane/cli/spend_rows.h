#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/cli/failure.h"
#include "controlplane/cli/session.h"
#include "spillway/v1/ledger.pb.h"

namespace spillway::cli {

// What spend is grouped by, as written: "team", "day", "tag:cost-centre".
std::vector<std::string> DimensionNames();
// Adds one to the request. kUsage names what there is.
Answer<void> AddDimension(const std::string& name, v1::QuerySpendRequest& request);
// "team=support", "tag:env=prod".
Answer<void> AddCondition(const std::string& condition, v1::QuerySpendRequest& request);
bool UsesTags(const v1::QuerySpendRequest& request);
// The answer is added up from single events, which takes longer: a call waits this long for it.
bool ReadsEvents(const v1::QuerySpendRequest& request);
inline constexpr int64_t kEventsReadMs = 600'000;

// Every number of a row by its stable name; money twice, as nano-dollars and as exact decimal.
// `with_open`: also those of attempts that have not ended.
std::vector<std::pair<std::string, std::string>> NumbersOf(const v1::SpendRow& row, bool with_open);
Value RowValue(const v1::SpendRow& row, const std::vector<std::string>& by, bool with_open);
std::string RowsCsv(const v1::QuerySpendResponse& response, const std::vector<std::string>& by,
                    bool with_open);

// "team", "tag:env" -> "TEAM", "TAG:ENV".
std::string Heading(std::string name);
v1::SpendRow SumOf(const v1::QuerySpendResponse& response);
// "12.5 %": part of whole, one decimal, rounded half up; "-" of nothing.
std::string ShareText(int64_t part, int64_t whole);

}  // namespace spillway::cli
