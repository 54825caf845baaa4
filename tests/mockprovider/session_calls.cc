// One call: what its behaviour asks for, the answer's pace, and what the provider bills for it.
#include <algorithm>
#include <utility>

#include "tests/mockprovider/session.h"

namespace spillway::mock {
namespace {

constexpr size_t kBatchBytes = size_t{32} * 1024;

// The caller's id when it is fit to stand in JSON and headers.
bool IsPlainId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-';
  });
}

bool Fails(const Behaviour& behaviour) { return behaviour.status >= 400; }

}  // namespace

void Session::BeginCall(Operation operation, const HttpRequest& request) {
  Result<ApiRequest> parsed = ParseApiRequest(operation, request.body);
  auto line = std::make_shared<Call>();
  line->attempt_id = request.attempt_id;
  line->key = KeyLabel(request.api_key);
  call_ = std::make_unique<OpenCall>();
  call_->line = std::move(line);
  call_->begun_ms = NowMs();
  if (!Admit(request, parsed)) return;

  const std::shared_ptr<Plan> plan = loop_.PlanOf(parsed->model);
  const Behaviour& behaviour = plan->Take();
  std::string id = IsPlainId(request.attempt_id) ? std::string(request.attempt_id) : loop_.NextId();
  call_->answer = MakeAnswer(*std::move(parsed), behaviour, std::move(id));
  const bool billed = !Fails(behaviour) && !behaviour.reset && !behaviour.explicit_zero_usage;
  Call& facts = *call_->line;
  facts.model = call_->answer.request.model;
  facts.stream = call_->answer.request.stream;
  facts.input_tokens = billed ? call_->answer.request.prompt_tokens : 0;
  const TokenParts parts = PartsOf(behaviour, facts.input_tokens, 0);
  facts.cached = parts.cached;
  facts.cache_write = parts.cache_write;
  facts.audio_input = parts.audio_input;
  facts.reasoning_most = std::max<int64_t>(behaviour.reasoning_tokens, 0);
  facts.audio_output_most = std::max<int64_t>(behaviour.audio_output_tokens, 0);
  facts.service_tier = ServiceTier(call_->answer.request, behaviour);
  loop_.ledger.Open(call_->line);

  if (behaviour.reset || behaviour.reset_after_body) return Close(true);
  if (behaviour.hang) return;
  if (behaviour.close_after_response) keep_alive_ = false;
  const int64_t delay = HeaderDelayMs();
  if (delay <= 0) return RunCall();
  loop_.wheel.Wake(shared_from_this(), call_->begun_ms + delay);
}

// What the provider refuses by itself; the refusal has its line too.
bool Session::Admit(const HttpRequest& request, Result<ApiRequest>& parsed) {
  const std::string& required = loop_.world.required_key;
  const bool known = required.empty() || request.api_key == required;
  if (known && parsed) return true;
  const int status = known ? 400 : 401;
  if (parsed) call_->line->model = parsed->model;
  call_->line->status = status;
  loop_.ledger.Open(call_->line);
  if (known) {
    Refuse(status, parsed.error().message, parsed.error().param);
  } else {
    Refuse(status, "Incorrect API key provided.", "");
  }
  return false;
}

// An unary answer takes as long as its tokens would.
int64_t Session::HeaderDelayMs() const {
  const Behaviour& behaviour = call_->answer.behaviour;
  if (Fails(behaviour) || call_->answer.request.stream) return behaviour.header_delay_ms;
  const int64_t gaps = std::max<int64_t>(0, call_->answer.tokens - 1);
  return behaviour.header_delay_ms + behaviour.ttft_ms + gaps * behaviour.gap_ms;
}

void Session::OnWake() {
  if (closed_ || call_ == nullptr) return;
  if (call_->script) {
    Pump();
  } else {
    RunCall();
  }
}

void Session::RunCall() {
  call_->answered = true;
  if (Fails(call_->answer.behaviour)) {
    SendError();
  } else if (call_->answer.request.stream) {
    BeginStream();
  } else {
    SendUnary();
  }
}

void Session::SendError() {
  const Behaviour& behaviour = call_->answer.behaviour;
  call_->line->status = static_cast<int>(behaviour.status);
  const std::string body = ErrorBody(behaviour);
  std::string out;
  AppendHead(out, {.status = behaviour.status,
                   .length = static_cast<int64_t>(body.size()),
                   .request_id = call_->answer.id,
                   .retry_after = behaviour.retry_after,
                   .retry_after_ms = behaviour.retry_after_ms,
                   .close = !keep_alive_});
  out += body;
  Write(out, After::kNext);
}

void Session::SendUnary() {
  const Answer& answer = call_->answer;
  const Behaviour& behaviour = answer.behaviour;
  Call& line = *call_->line;
  line.status = 200;
  line.tokens_sent = answer.output_tokens();
  line.output_tokens = behaviour.explicit_zero_usage ? 0 : answer.output_tokens();

  std::string& body = loop_.scratch;
  body.clear();
  AppendBody(body, answer);
  if (behaviour.malformed_event_at >= 0) body.resize(body.size() / 2);
  std::string& out = loop_.wire;
  out.clear();
  AppendHead(out, {.length = static_cast<int64_t>(body.size()),
                   .request_id = answer.id,
                   .close = !keep_alive_});
  const bool cut = behaviour.cut_after >= 0;
  const bool stall = behaviour.stall_after >= 0;
  out.append(body, 0, cut || stall ? body.size() / 2 : body.size());
  const After end = behaviour.cut_how == CutHow::kRst ? After::kRst : After::kFin;
  Write(out, stall ? After::kStay : cut ? end : After::kNext);
}

void Session::BeginStream() {
  call_->line->status = 200;
  call_->script.emplace(call_->answer);
  call_->due_ms = NowMs() + call_->answer.behaviour.ttft_ms;
  std::string& head = call_->prelude;
  AppendHead(head, {.content_type = "text/event-stream; charset=utf-8",
                    .length = -1,
                    .request_id = call_->answer.id,
                    .close = !keep_alive_});
  Pump();
}

// Appends events up to the size of a batch, or to the step that it returns.
StreamScript::Step Session::Fill(std::string& out) {
  using Step = StreamScript::Step;
  StreamScript& script = *call_->script;
  const int64_t gap = call_->answer.behaviour.gap_ms;
  const bool paced = gap > 0 || call_->answer.behaviour.ttft_ms > 0;
  const int64_t now = paced ? NowMs() : 0;
  Step step = script.Next();
  while (out.size() < kBatchBytes && (step == Step::kToken || step == Step::kOther)) {
    // Nothing at all is sent before the first token's time; what follows the last one does not
    // wait.
    const bool waits = step == Step::kToken || script.tokens() == 0;
    if (paced && waits && now < call_->due_ms) break;
    script.Emit(out);
    if (step == Step::kToken) call_->due_ms += gap;
    step = script.Next();
  }
  return step;
}

void Session::Pump() {
  using Step = StreamScript::Step;
  while (!closed_ && call_ != nullptr) {
    std::string& out = loop_.scratch;
    // The head does not wait for the first token.
    out.assign(call_->prelude);
    call_->prelude.clear();
    const Step step = Fill(out);
    if (step == Step::kCut && !std::exchange(call_->cut_sent, true)) call_->script->EmitCut(out);
    const int64_t tokens = call_->script->tokens();
    call_->line->tokens_sent = tokens;
    if (!call_->answer.behaviour.explicit_zero_usage) call_->line->output_tokens = tokens;
    const bool waits = out.size() < kBatchBytes;
    after_ = After::kNext;
    if (!TryWrite(out)) return;
    switch (step) {
      case Step::kStall:
        return;
      case Step::kCut:
        return Close(call_->answer.behaviour.cut_how == CutHow::kRst);
      case Step::kEnd:
        FinishCall(true);
        return Drained();
      case Step::kToken:
      case Step::kOther:
        if (!waits) break;
        return loop_.wheel.Wake(shared_from_this(), call_->due_ms);
    }
  }
}

void Session::FinishCall(bool finished) {
  const std::unique_ptr<OpenCall> call = std::move(call_);
  Call& line = *call->line;
  const Behaviour& behaviour = call->answer.behaviour;
  const int64_t gap = behaviour.gap_ms;
  // A unary answer that nobody waited for: its tokens were being made.
  if (line.cut_by_caller && !call->answered && gap > 0 && !behaviour.hang && !Fails(behaviour)) {
    const int64_t begun = call->begun_ms + behaviour.header_delay_ms + behaviour.ttft_ms;
    const int64_t made = NowMs() < begun ? 0 : (NowMs() - begun) / gap + 1;
    line.output_tokens = std::min(made, call->answer.tokens) * call->answer.request.choices;
  }
  line.finished = finished;
  loop_.ledger.Close(line);
}

}  // namespace spillway::mock
