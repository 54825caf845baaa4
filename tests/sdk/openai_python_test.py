"""The official OpenAI SDK for Python, unmodified: only base URL and key differ."""
import json
import os
import unittest
import urllib.request

import openai

TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city",
                                           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
HELLO = [{"role": "user", "content": "Hello"}]


def behaviour(value):
    request = urllib.request.Request(os.environ["MOCK_URL"] + "/mock/behaviour", method="PUT" if value else "DELETE",
                                     data=json.dumps(value).encode() if value else None)
    urllib.request.urlopen(request).close()


class OpenAIPython(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(max_retries=0)

    def test_chat(self):
        answer = self.client.chat.completions.create(model="assistant", messages=HELLO)
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_streamed_chat_without_usage(self):
        chunks = list(self.client.chat.completions.create(model="assistant", messages=HELLO, stream=True))
        self.assertTrue("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
        self.assertTrue(all(chunk.usage is None for chunk in chunks))

    def test_streamed_chat_with_usage(self):
        chunks = list(self.client.chat.completions.create(model="assistant", messages=HELLO, stream=True,
                                                          stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_tools(self):
        answer = self.client.chat.completions.create(model="assistant", messages=HELLO, tools=TOOLS)
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "get_weather")
        self.assertIsInstance(json.loads(call.function.arguments), dict)

    def test_streamed_tool_arguments(self):
        pieces = []
        for chunk in self.client.chat.completions.create(model="assistant", messages=HELLO, tools=TOOLS, stream=True):
            for call in chunk.choices[0].delta.tool_calls or []:
                pieces.append(call.function.arguments or "")
        self.assertGreater(len(pieces), 1)
        self.assertIsInstance(json.loads("".join(pieces)), dict)

    def test_completions(self):
        self.assertTrue(self.client.completions.create(model="mock-small", prompt="Hello").choices[0].text)

    def test_embeddings_in_base64_and_floats(self):
        default = self.client.embeddings.create(model="mock-embedding", input=["a", "b"])
        floats = self.client.embeddings.create(model="mock-embedding", input=["a", "b"], encoding_format="float")
        self.assertEqual(len(default.data), 2)
        for one, other in zip(default.data[0].embedding, floats.data[0].embedding):
            self.assertAlmostEqual(one, other, places=5)

    def test_models(self):
        self.assertIn("assistant", [model.id for model in self.client.models.list()])
        self.assertEqual(self.client.models.retrieve("mock-small").id, "mock-small")

    def test_errors_are_typed(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            openai.OpenAI(api_key="sk-nobody", max_retries=0).models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(model="assistant", messages=HELLO, n=0)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.chat.completions.create(model="nope", messages=HELLO)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError):
            openai.OpenAI(api_key=os.environ["NARROW_API_KEY"], max_retries=0).chat.completions.create(
                model="assistant", messages=HELLO)

    def test_rate_limits_of_the_provider_are_typed(self):
        behaviour({"model": "mock-small", "status": 429, "retry_after": 3})
        try:
            with self.assertRaises(openai.RateLimitError) as caught:
                self.client.chat.completions.create(model="mock-small", messages=HELLO)
            self.assertEqual(caught.exception.response.headers["retry-after"], "3")
        finally:
            behaviour(None)

    def test_a_cut_stream_raises(self):
        behaviour({"model": "mock-small", "cut_after": 2})
        try:
            with self.assertRaises(openai.APIError):
                list(self.client.chat.completions.create(model="mock-small", messages=HELLO, stream=True))
        finally:
            behaviour(None)

    def test_a_stream_cut_inside_an_event_raises_behind_its_good_part(self):
        behaviour({"model": "mock-small", "cut_after": 2, "cut_inside_event": True})
        try:
            chunks = []
            with self.assertRaises(openai.APIError) as caught:
                for chunk in self.client.chat.completions.create(model="mock-small", messages=HELLO, stream=True):
                    chunks.append(chunk)
            self.assertEqual(caught.exception.code, "upstream_truncated")
            self.assertTrue(chunks)
        finally:
            behaviour(None)


if __name__ == "__main__":
    unittest.main()
