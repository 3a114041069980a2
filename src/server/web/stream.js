// stream.js - one answer of /v1/chat/completions, as it comes.

import { ApiError, messageOf, request } from './api.js';

const LINE_MAX = 1 << 24; // characters; no chunk of an answer comes near

/* The data of each server-sent event of a response. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      if (rest.length > LINE_MAX) throw new ApiError('The server sent a line without end.');
      for (const raw of lines) {
        const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
        if (line.startsWith('data:')) {
          data.push(line.slice(line[5] === ' ' ? 6 : 5));
        } else if (line === '' && data.length) {
          yield data.join('\n');
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function addToolCalls(message, pieces) {
  message.tool_calls ??= [];
  for (const piece of pieces) {
    const at = Number.isInteger(piece.index) ? piece.index : message.tool_calls.length;
    if (at < 0 || at > message.tool_calls.length) {
      throw new ApiError('The server sent a tool call out of order.');
    }
    const call = (message.tool_calls[at] ??= {
      id: '', type: 'function', function: { name: '', arguments: '' },
    });
    if (piece.id) call.id = piece.id;
    if (piece.function?.name) call.function.name += piece.function.name;
    if (piece.function?.arguments) call.function.arguments += piece.function.arguments;
  }
}

/* Ask for an answer and write it into message as it comes: content, reasoning_content,
 * tool_calls; behind it finish, usage, timings.  on.progress({processed, total, cache})
 * while the prompt is read, on.piece(timings or null) for each piece of the answer.
 * Rejects with ApiError, AbortError if it was stopped; what came is kept in message. */
export async function streamAnswer(body, message, signal, on) {
  const response = await request('/v1/chat/completions', { body, signal });
  try {
    for await (const data of eventsOf(response)) {
      if (data === '[DONE]') return;
      takeChunk(parseChunk(data), message, on);
    }
  } catch (e) {
    if (e.name === 'AbortError' || e instanceof ApiError) throw e;
    throw new ApiError('The connection broke off before the answer was complete.');
  }
  if (!message.finish) {
    throw new ApiError('The connection ended before the answer was complete.');
  }
}

function parseChunk(data) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ApiError('The server sent a piece of the answer that is not JSON.');
  }
  if (chunk?.error) {
    throw new ApiError(messageOf(chunk) || 'The server failed.', Number(chunk.error.code) || 500);
  }
  return chunk ?? {};
}

function takeChunk(chunk, message, on) {
  if (chunk.model) message.model = chunk.model;
  if (chunk.usage) message.usage = chunk.usage;
  if (chunk.timings) message.timings = chunk.timings;
  if (chunk.prompt_progress) on.progress(chunk.prompt_progress);
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  const reasoning = delta.reasoning_content ?? delta.reasoning;
  if (typeof delta.content === 'string') message.content += delta.content;
  if (typeof reasoning === 'string') {
    message.reasoning_content = (message.reasoning_content ?? '') + reasoning;
  }
  if (Array.isArray(delta.tool_calls)) addToolCalls(message, delta.tool_calls);
  if (delta.content || reasoning || delta.tool_calls?.length) on.piece(chunk.timings ?? null);
  if (choice.finish_reason) message.finish = choice.finish_reason;
}
