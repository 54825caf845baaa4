#include "tests/mockprovider/session.h"

#include <algorithm>
#include <utility>

#include "tests/mockprovider/routes.h"

namespace spillway::mock {
namespace {

// A caller that pipelines more than this while its answer runs is not read any further.
constexpr size_t kInputWaitingMax = 1 << 20;
constexpr size_t kBufferKept = size_t{16} * 1024;
constexpr size_t kJsonPadding = 64;

}  // namespace

Session::Session(Loop& loop, boost::asio::ip::tcp::socket socket, SSL_CTX* tls)
    : loop_(loop), socket_(std::move(socket)), transport_(socket_.native_handle(), tls) {
  loop_.world.connections.fetch_add(1, std::memory_order_relaxed);
}

Session::~Session() { loop_.world.connections.fetch_sub(1, std::memory_order_relaxed); }

void Session::Start() {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
  ArmRead();
}

void Session::ArmRead() {
  if (read_armed_ || closed_ || (busy_ && input_.size() > kInputWaitingMax)) return;
  read_armed_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->read_armed_ = false;
                       if (!error && !self->closed_) self->OnReadable();
                     });
}

void Session::ArmWrite() {
  if (write_armed_ || closed_) return;
  write_armed_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->write_armed_ = false;
                       if (!error && !self->closed_) self->OnWritable();
                     });
}

void Session::OnReadable() {
  char* const buffer = loop_.read_buffer.data();
  for (bool more = true; more && !closed_;) {
    const Transport::Outcome read = transport_.Read(buffer, Loop::kReadBytes);
    if (read.result == Transport::Result::kClosed) return OnCallerLeft();
    if (read.result == Transport::Result::kWaitWrite) ArmWrite();
    if (read.result != Transport::Result::kDone) break;
    if (input_.empty() && !busy_) {
      const size_t done = Handle({buffer, read.bytes});
      if (!closed_) input_.assign(buffer + done, read.bytes - done);
    } else {
      input_.append(buffer, read.bytes);
      HandleInput();
    }
    more = read.bytes == Loop::kReadBytes || transport_.HasPending();
    if (busy_ && input_.size() > kInputWaitingMax) break;
  }
  ArmRead();
}

void Session::OnWritable() {
  while (output_at_ < output_.size()) {
    const auto rest = std::string_view(output_).substr(output_at_);
    const Transport::Outcome written = transport_.Write(rest);
    if (written.result == Transport::Result::kClosed) return OnCallerLeft();
    if (written.result != Transport::Result::kDone) return ArmWrite();
    output_at_ += written.bytes;
  }
  const bool had_output = output_at_ > 0;
  output_at_ = 0;
  output_.clear();
  if (output_.capacity() > kBufferKept) output_.shrink_to_fit();
  if (had_output) Drained();
  if (!closed_) ArmRead();
}

bool Session::TryWrite(std::string_view bytes) {
  while (output_.empty() && !bytes.empty()) {
    const Transport::Outcome written = transport_.Write(bytes);
    if (written.result == Transport::Result::kClosed) {
      OnCallerLeft();
      return false;
    }
    if (written.result != Transport::Result::kDone) break;
    bytes.remove_prefix(written.bytes);
  }
  if (bytes.empty() && output_.empty()) return true;
  output_ += bytes;
  ArmWrite();
  return false;
}

void Session::Write(std::string_view bytes, After after) {
  after_ = after;
  if (TryWrite(bytes)) Drained();
}

// Everything is written: what then?
void Session::Drained() {
  switch (after_) {
    case After::kNext:
      if (call_ != nullptr && call_->script.has_value()) return Pump();
      if (call_ != nullptr) FinishCall(true);
      busy_ = false;
      continue_sent_ = false;
      if (!keep_alive_) return Close(false);
      if (!handling_ && !input_.empty()) HandleInput();
      return;
    case After::kWait:
    case After::kStay:
      return;
    case After::kFin:
      return Close(false);
    case After::kRst:
      return Close(true);
  }
}

void Session::OnCallerLeft() {
  if (call_ != nullptr) {
    call_->line->cut_by_caller = true;
    FinishCall(false);
  }
  Close(false);
}

void Session::Close(bool reset) {
  if (closed_) return;
  if (call_ != nullptr) FinishCall(false);
  closed_ = true;
  boost::system::error_code ignored;
  if (reset) {
    socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
  } else {
    transport_.ShutDown();
    socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  }
  socket_.close(ignored);
}

void Session::HandleInput() {
  if (busy_ || closed_) return;
  input_.reserve(input_.size() + kJsonPadding);
  const size_t done = Handle(input_);
  if (closed_) return;
  input_.erase(0, done);
  if (input_.empty() && input_.capacity() > kBufferKept) input_.shrink_to_fit();
}

size_t Session::Handle(std::string_view bytes) {
  size_t at = 0;
  handling_ = true;
  while (at < bytes.size() && !busy_ && !closed_) {
    HttpRequest request;
    const HttpParsed parsed = ParseHttp(bytes.substr(at), request);
    if (parsed.head_complete && loop_.world.book.resets_all() && request.path.starts_with("/v1/")) {
      RefuseConnection(request);
      break;
    }
    if (parsed.state == HttpParsed::State::kBad) {
      keep_alive_ = false;
      busy_ = true;
      Respond(parsed.status, "application/json", ErrorBody(parsed.status, "Bad HTTP.", ""),
              After::kFin);
      at = bytes.size();
      break;
    }
    if (parsed.state == HttpParsed::State::kNeedMore) {
      if (parsed.head_complete && request.expect_continue && !continue_sent_) {
        continue_sent_ = true;
        Write("HTTP/1.1 100 Continue\r\n\r\n", After::kWait);
      }
      break;
    }
    at += parsed.consumed;
    busy_ = true;
    keep_alive_ = request.keep_alive;
    Dispatch(request);
  }
  handling_ = false;
  return at;
}

// Before the body is read: the model is not known.
void Session::RefuseConnection(const HttpRequest& request) {
  const auto line = std::make_shared<Call>();
  line->attempt_id = request.attempt_id;
  line->key = KeyLabel(request.api_key);
  loop_.ledger.Open(line);
  loop_.ledger.Close(*line);
  Close(true);
}

void Session::Dispatch(const HttpRequest& request) {
  std::string_view path = request.path;
  if (path.starts_with("/v1/")) path.remove_prefix(3);
  if (request.method == "POST") {
    if (path == "/chat/completions") return BeginCall(Operation::kChat, request);
    if (path == "/completions") return BeginCall(Operation::kCompletions, request);
    if (path == "/embeddings") return BeginCall(Operation::kEmbeddings, request);
  }
  DispatchOther(request, path);
}

void Session::DispatchOther(const HttpRequest& request, std::string_view path) {
  const RouteReply reply = path.starts_with("/mock/")
                               ? ServeMock(loop_.world, request)
                               : ServeModels(loop_.world, request.method, path);
  Respond(reply.status, reply.content_type, reply.body, After::kNext);
}

void Session::Respond(int64_t status, std::string_view type, std::string_view body, After after) {
  std::string out;
  AppendHead(out, {.status = status,
                   .content_type = type,
                   .length = static_cast<int64_t>(body.size()),
                   .close = !keep_alive_});
  out += body;
  Write(out, after);
}

void Session::Refuse(int status, std::string_view message, std::string_view param) {
  Respond(status, "application/json", ErrorBody(status, message, param), After::kNext);
}

}  // namespace spillway::mock
