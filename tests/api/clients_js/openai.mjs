// openai.mjs URL MODEL - the server through OpenAI's own JavaScript client, as TAP.
import assert from 'node:assert/strict';
import { collect, model, require, runAll, test, thrown, url } from './tap.mjs';
import { CALL, GREETING, LONG, PERSON, SCHEMA, SUNNY, user, WEATHER } from './texts.mjs';

const OpenAI = require('openai').default;
const client = new OpenAI({ baseURL: url + '/v1', apiKey: 'none', maxRetries: 0, timeout: 20000 });
const tools = [{ type: 'function', function: WEATHER }];
const ask = (content, more) => client.chat.completions.create({ model, messages: user(content), ...more });

test('answer', async () => {
  const a = await ask('Say hello.');
  assert.equal(a.choices[0].message.content, GREETING);
  assert.equal(a.choices[0].finish_reason, 'stop');
  assert.equal(a.usage.total_tokens, a.usage.prompt_tokens + a.usage.completion_tokens);
});

test('stream with usage', async () => {
  const chunks = await collect(await ask('Say hello.', { stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? '').join(''), GREETING);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test('stream helper', async () => {
  const stream = client.chat.completions.stream({ model, messages: user('Say hello.') });
  let text = '';
  stream.on('content', (delta) => (text += delta));
  assert.equal(await stream.finalContent(), GREETING);
  assert.equal(text, GREETING);
});

test('call and round trip', async () => {
  const first = (await ask('What is the weather in Paris?', { tools })).choices[0];
  assert.equal(first.finish_reason, 'tool_calls');
  const call = first.message.tool_calls[0];
  assert.equal(call.function.name, 'get_weather');
  assert.deepEqual(JSON.parse(call.function.arguments), CALL);
  const second = await client.chat.completions.create({
    model,
    tools,
    messages: [
      ...user('What is the weather in Paris?'),
      first.message,
      { role: 'tool', tool_call_id: call.id, content: 'sunny-22' },
    ],
  });
  assert.equal(second.choices[0].message.content, SUNNY);
});

test('runner of tools', async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model,
    messages: user('What is the weather in Paris?'),
    stream: true,
    tools: [
      {
        type: 'function',
        function: {
          ...WEATHER,
          parse: JSON.parse,
          function: (value) => {
            asked.push(value);
            return 'sunny-22';
          },
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), SUNNY);
  assert.deepEqual(asked, [CALL]);
});

test('schema', async () => {
  const format = { type: 'json_schema', json_schema: { name: 'person', strict: true, schema: SCHEMA } };
  const a = await ask('Describe Ada.', { response_format: format });
  assert.deepEqual(JSON.parse(a.choices[0].message.content), PERSON);
});

test('completions', async () => {
  const a = await client.completions.create({ model, prompt: 'Say hello', max_tokens: 100 });
  assert.equal(a.choices[0].text, GREETING);
});

test('embeddings', async () => {
  // Asked for as base64, and decoded by the client.
  const a = await client.embeddings.create({ model, input: ['Say hello', 'other'] });
  const b = await client.embeddings.create({ model, input: 'Say hello', encoding_format: 'float' });
  assert.equal(a.data.length, 2);
  assert.equal(a.data[0].embedding.length, b.data[0].embedding.length);
  a.data[0].embedding.forEach((x, i) => assert.ok(Math.abs(x - b.data[0].embedding[i]) < 1e-6));
});

test('models', async () => {
  assert.ok((await collect(await client.models.list())).some((m) => m.id === model));
});

test('responses', async () => {
  const r = await client.responses.create({ model, input: 'Say hello.' });
  assert.equal(r.output_text, GREETING);
  const stream = client.responses.stream({ model, input: 'Say hello.' });
  let text = '';
  stream.on('response.output_text.delta', (e) => (text += e.delta));
  assert.equal((await stream.finalResponse()).output_text, GREETING);
  assert.equal(text, GREETING);
});

test('call of a response', async () => {
  const r = await client.responses.create({
    model,
    input: 'What is the weather in Paris?',
    tools: [{ type: 'function', strict: false, ...WEATHER }],
  });
  const call = r.output.find((o) => o.type === 'function_call');
  assert.deepEqual(JSON.parse(call.arguments), CALL);
});

test('errors', async () => {
  const long = await thrown(() => ask(LONG));
  assert.ok(long instanceof OpenAI.BadRequestError);
  assert.equal(long.code, 'context_length_exceeded');
  const none = await thrown(() => client.chat.completions.create({ model: 'nobody', messages: user('x') }));
  assert.ok(none instanceof OpenAI.NotFoundError);
  const bad = await thrown(() => ask('x', { temperature: 9 }));
  assert.ok(bad instanceof OpenAI.BadRequestError);
  assert.equal(bad.param, 'temperature');
});

test('abort', async () => {
  const stream = await ask('Speak slowly.', { stream: true });
  for await (const _ of stream) stream.controller.abort();
  assert.equal((await ask('Say hello.')).choices[0].message.content, GREETING);
});

await runAll();
