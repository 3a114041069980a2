// api.js - requests to this server, with the API key of this tab.

import { session } from './area.js';

const KEY = 'turbine.key';

export function setKey(key) {
  session.setItem(KEY, key);
}

export class ApiError extends Error {
  /* status 0: there was no answer.  retryAfter in seconds, 0 if the server named none. */
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/* GET, or POST of a body as JSON.  Resolves to a response that is ok; rejects with
 * ApiError, or AbortError if signal was. */
export async function request(path, { body, signal } = {}) {
  const headers = {};
  const key = session.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: 'no-store',
      credentials: 'omit',
    });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new ApiError('The server cannot be reached. Is it still running?');
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function errorOf(response) {
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  let message = '';
  try {
    message = messageOf(JSON.parse(await response.text()));
  } catch {
    // not JSON: the status has to do
  }
  message ||= `The server answered ${response.status} ${response.statusText}`.trim() + '.';
  return new ApiError(message, response.status, retryAfter);
}

/* The sentence in the body of an error, "" if there is none. */
export function messageOf(body) {
  const e = body?.error;
  const message = typeof e === 'string' ? e : e?.message;
  return typeof message === 'string' ? message : '';
}
