#include "common/window.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "common/utc.h"

namespace spillway {
namespace {

int64_t Ms(std::string_view utc) { return ParseUtc(utc).value(); }
std::string Text(int64_t seconds) { return FormatUtc(seconds * 1000); }

bool HaveZones() { return CheckTimeZone("Europe/Berlin").has_value(); }

}  // namespace

TEST_CASE("a time falls into its window") {
  struct Row {
    const char* name;
    WindowKind kind;
    const char* zone;
    const char* time;
    const char* start;
    const char* end;
  };
  using enum WindowKind;
  const Row row = GENERATE(values<Row>({
      {"a day", kDay, "", "2026-03-10T15:30:00Z", "2026-03-10", "2026-03-11"},
      {"its first ms", kDay, "UTC", "2026-03-10T00:00:00Z", "2026-03-10", "2026-03-11"},
      {"its last ms", kDay, "UTC", "2026-03-10T23:59:59.999Z", "2026-03-10", "2026-03-11"},
      {"before 1970", kDay, "", "1969-12-31T23:59:59.999Z", "1969-12-31", "1970-01-01"},
      {"before 1970 by hours", kRolling, "", "1969-12-31T22:10:00Z", "1969-12-31T22:00:00Z",
       "1969-12-31T23:00:00Z"},
      {"a leap day", kDay, "", "2028-02-29T12:00:00Z", "2028-02-29", "2028-03-01"},
      {"a week from its Monday", kWeek, "", "2026-11-18T01:00:00Z", "2026-11-16", "2026-11-23"},
      {"a Monday", kWeek, "", "2026-11-16T00:00:00Z", "2026-11-16", "2026-11-23"},
      {"a Sunday's end", kWeek, "", "2026-11-22T23:59:59.999Z", "2026-11-16", "2026-11-23"},
      {"a week over new year", kWeek, "", "2027-01-01T00:00:00Z", "2026-12-28", "2027-01-04"},
      {"a month of 28 days", kMonth, "", "2027-02-28T23:59:59.999Z", "2027-02-01", "2027-03-01"},
      {"a leap month", kMonth, "", "2028-02-29T12:00:00Z", "2028-02-01", "2028-03-01"},
      {"December", kMonth, "", "2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01"},
      {"a bucket", kRolling, "Asia/Kolkata", "2026-11-21T10:59:59.999Z", "2026-11-21T10:00:00Z",
       "2026-11-21T11:00:00Z"},
      {"a day of 23 hours", kDay, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z",
       "2026-03-29T22:00:00Z"},
      {"a day of 25 hours", kDay, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z",
       "2026-10-25T23:00:00Z"},
      {"the hour that comes twice, first", kDay, "America/New_York", "2026-11-01T05:30:00Z",
       "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
      {"a midnight that is skipped", kDay, "America/Sao_Paulo", "2018-11-04T12:00:00Z",
       "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
      {"the last ms before it", kDay, "America/Sao_Paulo", "2018-11-04T02:59:59.999Z",
       "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
      {"a midnight that comes twice, the first", kDay, "America/Havana", "2024-11-03T04:30:00Z",
       "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
      {"a midnight that comes twice, the second", kDay, "America/Havana", "2024-11-03T05:30:00Z",
       "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
      {"a zone of half an hour", kDay, "Asia/Kolkata", "2026-06-01T18:29:59.999Z",
       "2026-05-31T18:30:00Z", "2026-06-01T18:30:00Z"},
      {"a month ahead of UTC", kMonth, "Pacific/Auckland", "2026-06-30T12:00:00Z",
       "2026-06-30T12:00:00Z", "2026-07-31T12:00:00Z"},
      {"a month with a change in it", kMonth, "Europe/Berlin", "2026-03-15T00:00:00Z",
       "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
      {"a week with a change in it", kWeek, "Europe/Berlin", "2026-03-29T12:00:00Z",
       "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"},
  }));
  CAPTURE(row.name);
  if (!HaveZones() && row.zone[0] != '\0') SKIP("no time zone database");
  const WindowSpan span = WindowAt(row.kind, 24, row.zone, Ms(row.time));
  CHECK(Text(span.start_s) == Text(Ms(row.start) / 1000));
  CHECK(Text(span.end_s) == Text(Ms(row.end) / 1000));
}

TEST_CASE("a lifetime has one window from 0 without end") {
  for (const int64_t time_ms : {int64_t{-1}, int64_t{0}, Ms("2026-11-21"), INT64_MAX}) {
    CHECK(WindowAt(WindowKind::kLifetime, 0, "", time_ms) == WindowSpan{});
  }
}

TEST_CASE("windows follow each other without a gap, and each holds its own start") {
  if (!HaveZones()) SKIP("no time zone database");
  const auto kind = GENERATE(WindowKind::kDay, WindowKind::kWeek, WindowKind::kMonth);
  const std::string zone =
      GENERATE("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana",
               "Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza");
  CAPTURE(zone, static_cast<int>(kind));
  WindowSpan span = WindowAt(kind, 0, zone, Ms("2010-01-15"));
  while (span.start_s < Ms("2030-01-01") / 1000) {
    REQUIRE(span.end_s > span.start_s);
    REQUIRE(WindowAt(kind, 0, zone, span.start_s * 1000) == span);
    REQUIRE(WindowAt(kind, 0, zone, span.end_s * 1000 - 1) == span);
    const WindowSpan next = WindowAt(kind, 0, zone, span.end_s * 1000);
    REQUIRE(next.start_s == span.end_s);
    span = next;
  }
}

TEST_CASE("times beyond the calendar count as its ends") {
  for (const auto kind : {WindowKind::kDay, WindowKind::kMonth, WindowKind::kRolling}) {
    CHECK(WindowAt(kind, 1, "", INT64_MAX).start_s > 0);
    CHECK(WindowAt(kind, 1, "", INT64_MIN).start_s < 0);
  }
}

TEST_CASE("money in a rolling window counts for as many buckets as hours") {
  const WindowSpan bucket = WindowAt(WindowKind::kRolling, 24, "", Ms("2026-11-21T10:20:00Z"));
  CHECK(Text(RollingFrom(bucket.start_s, 24)) == "2026-11-20T11:00:00.000Z");
  CHECK(Text(CountsUntil(WindowKind::kRolling, 24, bucket)) == "2026-11-22T10:00:00.000Z");
  CHECK(RollingFrom(bucket.start_s, 1) == bucket.start_s);
  CHECK(CountsUntil(WindowKind::kRolling, 1, bucket) == bucket.end_s);
  CHECK(CountsUntil(WindowKind::kDay, 0, {.start_s = 0, .end_s = 86'400}) == 86'400);
}

TEST_CASE("a zone is checked by its name") {
  struct Row {
    const char* zone;
    bool good;
  };
  for (const Row& row : {Row{"", true}, Row{"UTC", true}, Row{"Europe/Berlin", true},
                         Row{"America/Argentina/Buenos_Aires", true}, Row{"Europe/Atlantis", false},
                         Row{"europe/berlin", false}, Row{"../../etc/passwd", false},
                         Row{"Europe/Berlin ", false}, Row{"+02:00", false}}) {
    CAPTURE(row.zone);
    const Result<void> checked = CheckTimeZone(row.zone);
    if (!checked && checked.error().code == ErrorCode::kUnavailable) SKIP("no zone database");
    CHECK(checked.has_value() == row.good);
    if (!checked) CHECK(checked.error().message.find("IANA") != std::string::npos);
  }
}

}  // namespace spillway
