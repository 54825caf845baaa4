// The official OpenAI SDK for Node, unmodified: only base URL and key differ.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';

const client = new OpenAI({ maxRetries: 0 });
const messages = [{ role: 'user', content: 'Hello' }];
const tools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];

async function behaviour(value) {
  const response = await fetch(process.env.MOCK_URL + '/mock/behaviour',
    { method: value ? 'PUT' : 'DELETE', body: value ? JSON.stringify(value) : undefined });
  assert.ok(response.ok);
}

test('chat', async () => {
  const answer = await client.chat.completions.create({ model: 'assistant', messages });
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test('streamed chat without usage', async () => {
  let text = '';
  let last;
  for await (const chunk of await client.chat.completions.create({ model: 'assistant', messages, stream: true })) {
    text += chunk.choices[0].delta.content ?? '';
    assert.ok(!chunk.usage);
    last = chunk;
  }
  assert.ok(text);
  assert.equal(last.choices[0].finish_reason, 'stop');
});

test('streamed chat with usage', async () => {
  let last;
  for await (const chunk of await client.chat.completions.create(
    { model: 'assistant', messages, stream: true, stream_options: { include_usage: true } })) last = chunk;
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
});

test('tools and streamed arguments', async () => {
  const answer = await client.chat.completions.create({ model: 'assistant', messages, tools });
  assert.equal(answer.choices[0].message.tool_calls[0].function.name, 'get_weather');
  let joined = '';
  for await (const chunk of await client.chat.completions.create({ model: 'assistant', messages, tools, stream: true })) {
    for (const call of chunk.choices[0].delta.tool_calls ?? []) joined += call.function.arguments ?? '';
  }
  assert.equal(typeof JSON.parse(joined), 'object');
});

test('embeddings', async () => {
  const answer = await client.embeddings.create({ model: 'mock-embedding', input: ['a', 'b'] });
  assert.equal(answer.data.length, 2);
  assert.ok(answer.data[0].embedding.length > 0);
});

test('models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes('assistant'));
  assert.equal((await client.models.retrieve('mock-small')).id, 'mock-small');
});

test('errors are typed', async () => {
  await assert.rejects(new OpenAI({ apiKey: 'sk-nobody', maxRetries: 0 }).models.list(), OpenAI.AuthenticationError);
  await assert.rejects(client.chat.completions.create({ model: 'assistant', messages, n: 0 }), OpenAI.BadRequestError);
  await assert.rejects(client.chat.completions.create({ model: 'nope', messages }), OpenAI.NotFoundError);
  await behaviour({ model: 'mock-small', status: 429, retry_after: 3 });
  try {
    await assert.rejects(client.chat.completions.create({ model: 'mock-small', messages }), OpenAI.RateLimitError);
  } finally {
    await behaviour(null);
  }
});

test('a cut stream rejects', async () => {
  await behaviour({ model: 'mock-small', cut_after: 2 });
  try {
    await assert.rejects(async () => {
      for await (const chunk of await client.chat.completions.create({ model: 'mock-small', messages, stream: true })) assert.ok(chunk);
    });
  } finally {
    await behaviour(null);
  }
});
