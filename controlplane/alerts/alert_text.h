#pragma once

#include <string>

#include "spillway/v1/admin.pb.h"

namespace spillway::alerts {

// One sentence for people: `budget "support-month": USD 412.5 of 500 spent, past 80 %`.
std::string SentenceOf(const v1::Alert& alert);
// The body of a webhook: {"id", "type", "budget", "subject", "threshold_percent", "spent_usd",
// "limit_usd", "window_start", "window_end", "at", "text"}. Money is an exact decimal in a string,
// times are RFC 3339 in UTC; an end that never comes is null, so are both where no window matters.
std::string WebhookBody(const v1::Alert& alert);
// The body that Slack's incoming webhooks take: {"text", "blocks"}.
std::string SlackBody(const v1::Alert& alert);

}  // namespace spillway::alerts
