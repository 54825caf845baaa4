#include "common/config/base_url.h"

#include <arpa/inet.h>

#include <array>
#include <catch2/catch_all.hpp>

#include "common/config/host.h"

namespace spillway::config {

TEST_CASE("base URLs are taken apart") {
  struct Row {
    std::string url;
    bool tls;
    std::string host;
    int port;
    std::string header;
    std::string path;
  };
  const auto row = GENERATE(values<Row>({
      {"https://api.openai.com/v1", true, "api.openai.com", 443, "api.openai.com", "/v1"},
      {"https://api.openai.com/v1/", true, "api.openai.com", 443, "api.openai.com", "/v1"},
      {"http://localhost", false, "localhost", 80, "localhost", ""},
      {"http://localhost/", false, "localhost", 80, "localhost", ""},
      {"http://127.0.0.1:9100", false, "127.0.0.1", 9100, "127.0.0.1:9100", ""},
      {"http://10.1.2.3:80/a/b%20c", false, "10.1.2.3", 80, "10.1.2.3", "/a/b%20c"},
      {"https://[::1]:8443/x", true, "::1", 8443, "[::1]:8443", "/x"},
      {"https://[2001:db8::1]", true, "2001:db8::1", 443, "[2001:db8::1]", ""},
      {"https://[fd12:3456::1]", true, "fd12:3456::1", 443, "[fd12:3456::1]", ""},
      {"https://API.Example.COM:443", true, "api.example.com", 443, "api.example.com", ""},
      {"http://ollama_1:11434/v1", false, "ollama_1", 11434, "ollama_1:11434", "/v1"},
      {"https://x.example/v1.1/~user/a:b@c", true, "x.example", 443, "x.example",
       "/v1.1/~user/a:b@c"},
      {"https://1a.example", true, "1a.example", 443, "1a.example", ""},
  }));
  CAPTURE(row.url);
  const auto url = ParseBaseUrl(row.url);
  REQUIRE(url);
  CHECK(url->tls == row.tls);
  CHECK(url->host == row.host);
  CHECK(url->port == row.port);
  CHECK(url->host_header == row.header);
  CHECK(url->path_prefix == row.path);
}

TEST_CASE("other texts are no base URLs") {
  struct Row {
    std::string url;
    std::string want;  // part of the message
  };
  const auto row = GENERATE(values<Row>({
      {"", "is required"},
      {"api.openai.com", "http:// or https://"},
      {"ftp://a", "http:// or https://"},
      {"HTTPS://a", "http:// or https://"},
      {"file:///etc/passwd", "http:// or https://"},
      {"https://", "1 to 253"},
      {"https:///v1", "1 to 253"},
      {"https://user:pw@a.example", "no user or password"},
      {"https://a.example?x=1", "no query"},
      {"https://a.example/#f", "no query"},
      {"https://a.example:0", "port"},
      {"https://a.example:", "port"},
      {"https://a.example:65536", "port"},
      {"https://a.example:8x", "port"},
      {"https://a.example:-1", "port"},
      {"https://a..example", "DNS name"},
      {"https://a.example.", "DNS name"},
      {"https://-a.example", "DNS name"},
      {"https://a example", "DNS name"},
      {"https://a\\b", "DNS name"},
      {"https://a%2eb", "DNS name"},
      {"https://" + std::string(64, 'a') + ".example", "DNS name"},
      {"https://\xC3\xA9.example", "DNS name"},
      {std::string("https://a\0.example", 18), "NUL"},
      {"https://a.example/\r\nx: y", "path"},
      {"https://a.example//v1", "path"},
      {"https://a.example/../x", "path"},
      {"https://a.example/%2e%2E/x", "path"},
      {"https://a.example/./x", "path"},
      {"https://a.example/%2", "path"},
      {"https://a.example/%zz", "path"},
      {"https://a.example/a b", "path"},
      {"https://[::1", "must end with ]"},
      {"https://[::1]x", "only a port"},
      {"https://[::1%25eth0]", "canonical"},
      {"https://[0:0:0:0:0:0:0:1]", "canonical"},
      {"https://[2001:DB8::0001]", "canonical"},
      {"https://${env:HOST}/v1", "not resolved"},
      {"https://" + std::string(2048, 'a'), "2048"},
  }));
  CAPTURE(row.url);
  const auto url = ParseBaseUrl(row.url);
  REQUIRE_FALSE(url);
  CAPTURE(url.error().message);
  CHECK(url.error().message.contains(row.want));
  CHECK_FALSE(url.error().message.contains("pw"));
}

TEST_CASE("no spelling of a metadata or link-local address gets through") {
  const auto host = GENERATE(values<std::string>({
      "169.254.169.254",
      "169.254.0.1",
      "0.0.0.0",
      "0.1.2.3",
      "224.0.0.1",
      "255.255.255.255",
      "100.100.100.200",
      "168.63.129.16",
      "192.0.0.192",
      // Numbers that some resolvers read as an address.
      "2852039166",
      "0xA9FEA9FE",
      "0xa9.0xfe.0xa9.0xfe",
      "0251.0376.0251.0376",
      "169.254.43518",
      "169.16689662",
      "169.254.169.0254",
      "127.1",
      "010.0.0.1",
      "1.2.3.4.5",
      "256.1.1.1",
      "[fd00:ec2::254]",
      "[fd20:ce::254]",
      "[fe80::1]",
      "[febf::1]",
      "[ff02::1]",
      "[::]",
      "[::ffff:169.254.169.254]",
      "[::ffff:a9fe:a9fe]",
      "[::169.254.169.254]",
      "[64:ff9b::169.254.169.254]",
      "[64:ff9b::a9fe:a9fe]",
      "[2002:a9fe:a9fe::]",
      "[2002:a9fe:a9fe::1]",
      "metadata",
      "metadata.google.internal",
      "METADATA.google.Internal",
  }));
  CAPTURE(host);
  CHECK_FALSE(ParseBaseUrl("http://" + host + "/latest"));
}

TEST_CASE("loopback and private networks are allowed") {
  const auto host = GENERATE(
      values<std::string>({"127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1",
                           "100.64.0.1", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "8.8.8.8"}));
  CAPTURE(host);
  CHECK(ParseBaseUrl("http://" + host));
}

TEST_CASE("addresses are checked as bytes too, for what a name resolves to") {
  struct Row {
    std::string address;
    bool want;
  };
  const auto row = GENERATE(values<Row>({{"169.254.169.254", true},
                                         {"169.253.255.255", false},
                                         {"169.255.0.0", false},
                                         {"127.0.0.1", false},
                                         {"223.255.255.255", false},
                                         {"240.0.0.1", true},
                                         {"::ffff:169.254.1.1", true},
                                         {"::1", false},
                                         {"2001:db8::a9fe:a9fe", false}}));
  CAPTURE(row.address);
  std::array<uint8_t, 16> bytes{};
  const bool six = row.address.contains(':');
  REQUIRE(inet_pton(six ? AF_INET6 : AF_INET, row.address.c_str(), bytes.data()) == 1);
  CHECK(IsForbiddenAddress(std::span(bytes).first(six ? 16 : 4)) == row.want);
}

TEST_CASE("what is no address at all counts as forbidden") {
  const std::array<uint8_t, 5> odd{};
  CHECK(IsForbiddenAddress(odd));
}

}  // namespace spillway::config
