"""A server of the three APIs on asyncio that answers from a recorded reply, and misbehaves as it is told: the first
matching rule of `faults` is used up by each request.

Answers are made of the prompt alone, so that a test knows what must come back. In streams each event is a write of its
own."""
import asyncio
import gzip
import json
import ssl
import threading
import time

WORDS = ['alpha', ' beta', ' gamma', ' delta', ' epsilon', ' Grüße', ' 世界', ' end.']
TEXT = ''.join(WORDS)


def openai_events(model='m', words=WORDS):
    out = []
    for i, w in enumerate(words):
        delta = {'content': w} if i else {'role': 'assistant', 'content': w}
        out.append({'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'created': 1, 'model': model,
                    'choices': [{'index': 0, 'delta': delta, 'finish_reason': None}]})
    out.append({'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'created': 1, 'model': model,
                'choices': [{'index': 0, 'delta': {}, 'finish_reason': 'stop'}]})
    out.append({'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'created': 1, 'model': model, 'choices': [],
                'usage': {'prompt_tokens': 11, 'completion_tokens': len(words), 'total_tokens': 11 + len(words)}})
    return [f'data: {json.dumps(e, ensure_ascii=False)}\n\n'.encode() for e in out] + [b'data: [DONE]\n\n']


def anthropic_events(model='m', words=WORDS):
    events = [{'type': 'message_start', 'message': {
        'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'model': model, 'content': [], 'stop_reason': None,
        'stop_sequence': None, 'usage': {'input_tokens': 11, 'output_tokens': 0}}},
        {'type': 'content_block_start', 'index': 0, 'content_block': {'type': 'text', 'text': ''}}]
    events += [{'type': 'content_block_delta', 'index': 0, 'delta': {'type': 'text_delta', 'text': w}} for w in words]
    events += [{'type': 'content_block_stop', 'index': 0},
               {'type': 'message_delta', 'delta': {'stop_reason': 'end_turn', 'stop_sequence': None},
                'usage': {'output_tokens': len(words)}}, {'type': 'message_stop'}]
    return [f'event: {e["type"]}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n'.encode() for e in events]


def ollama_events(model='m', words=WORDS):
    out = [{'model': model, 'created_at': '2026-01-01T00:00:00Z', 'message': {'role': 'assistant', 'content': w},
            'done': False} for w in words]
    out.append({'model': model, 'created_at': '2026-01-01T00:00:00Z', 'message': {'role': 'assistant', 'content': ''},
                'done': True, 'done_reason': 'stop', 'prompt_eval_count': 11, 'eval_count': len(words),
                'total_duration': 5, 'load_duration': 1, 'prompt_eval_duration': 1, 'eval_duration': 1})
    return [json.dumps(e, ensure_ascii=False).encode() + b'\n' for e in out]


def document(path, model='m'):
    if path == '/v1/messages':
        return {'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'model': model,
                'content': [{'type': 'text', 'text': TEXT}], 'stop_reason': 'end_turn', 'stop_sequence': None,
                'usage': {'input_tokens': 11, 'output_tokens': len(WORDS)}}
    if path == '/api/chat':
        return {'model': model, 'created_at': '2026-01-01T00:00:00Z', 'message': {'role': 'assistant', 'content': TEXT},
                'done': True, 'done_reason': 'stop', 'prompt_eval_count': 11, 'eval_count': len(WORDS)}
    return {'id': 'chatcmpl-1', 'object': 'chat.completion', 'created': 1, 'model': model, 'choices': [
        {'index': 0, 'message': {'role': 'assistant', 'content': TEXT}, 'finish_reason': 'stop'}],
        'usage': {'prompt_tokens': 11, 'completion_tokens': len(WORDS), 'total_tokens': 11 + len(WORDS)}}


STREAMS = {'/v1/chat/completions': (openai_events, 'text/event-stream'),
           '/v1/messages': (anthropic_events, 'text/event-stream'),
           '/api/chat': (ollama_events, 'application/x-ndjson')}


class Fault:
    """kind: what happens to one request. See Backend.fail."""

    def __init__(self, kind, at=0, seconds=0.0, status=500, headers=(), body=None):
        self.kind, self.at, self.seconds = kind, at, seconds
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f'{self.kind}@{self.at}' + (f'/{self.status}' if self.kind == 'status' else '')


class Backend:
    """dialects: what it serves; pace: seconds between events; tls: (certificate, key)."""

    def __init__(self, models=('m',), n_ctx=8192, software='turbine', pace=0.0, events=None, tls=None, key=None,
                 hybrid=False, port=0, info=None, without=(), slow=None):
        """info: {path: what GET, or POST /api/show, gets there, bytes or a value of JSON}; without: paths of POST that
        it does not have; slow: {path: seconds between bytes of its info, or of a count}."""
        self.slow = dict(slow or {})
        self.without, self.document = set(without), None
        self.models, self.n_ctx, self.software, self.pace, self.events = list(models), n_ctx, software, pace, events
        self.key, self.hybrid, self.info, self.asked = key, hybrid, dict(info or {}), []
        self.faults, self.requests, self.sent, self.cancelled = [], [], [], 0
        self.ssl = None
        if tls:
            self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ssl.load_cert_chain(*tls)
        self._ready, self._want_port = threading.Event(), port
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._ready.wait(10)

    # ---- life ----

    def _run(self):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._open()
        self._ready.set()
        self.loop.run_forever()

    def _open(self):
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._client, '127.0.0.1', self._want_port, ssl=self.ssl, backlog=2048))
        self.port = self.server.sockets[0].getsockname()[1]
        self._want_port = self.port
        self.writers = set()

    @property
    def url(self):
        return f'http{"s" if self.ssl else ""}://127.0.0.1:{self.port}'

    def kill(self):
        """Nobody listens any more, and connections are reset."""
        done = threading.Event()

        def end():
            self.server.close()
            for w in list(self.writers):
                w.transport.abort()
            done.set()
        self.loop.call_soon_threadsafe(end)
        done.wait(5)

    def revive(self):
        async def again():
            self.server = await asyncio.start_server(self._client, '127.0.0.1', self._want_port, ssl=self.ssl)
        asyncio.run_coroutine_threadsafe(again(), self.loop).result(5)

    def stop(self):
        self.kill()

        async def end():
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            await asyncio.sleep(0)
            self.loop.stop()
        asyncio.run_coroutine_threadsafe(end(), self.loop)
        self.thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- one connection ----

    async def _client(self, reader, writer):
        self.writers.add(writer)
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _request(self, reader, writer):
        head = await reader.readuntil(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        method, target, _ = lines[0].split(' ', 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (x.partition(':') for x in lines[1:]) if k}
        body = await reader.readexactly(int(headers.get('content-length', 0)))
        path = target.split('?')[0]
        if method == 'GET' or path in ('/api/show',):
            await self._info(writer, path, headers)
            return True
        self.requests.append((path, headers, body))
        if self.key and headers.get('authorization') != f'Bearer {self.key}' and headers.get('x-api-key') != self.key:
            await self._reply(writer, 401, {'error': {'message': 'no', 'type': 'invalid_request_error'}})
            return True
        fault = self.faults.pop(0) if self.faults else None
        return await self._answer(reader, writer, path, json.loads(body), fault)

    async def _reply(self, writer, status, value, headers=()):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        more = ''.join(f'{k}: {v}\r\n' for k, v in headers)
        writer.write(f'HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{more}\r\n'
                     .encode() + data)
        await writer.drain()

    async def _drip(self, writer, data, seconds):
        writer.write(b'HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n' % len(data))
        for i in range(len(data)):
            writer.write(data[i:i + 1])
            await writer.drain()
            await asyncio.sleep(seconds)

    async def _info(self, writer, path, headers):
        turbine, ollama = self.software == 'turbine', self.software == 'ollama'
        self.asked.append(path)
        if path in self.slow:
            await self._drip(writer, json.dumps(self.info[path]).encode(), self.slow[path])
            return
        if path in self.info:
            await self._reply(writer, 200, self.info[path])
            return
        if path == '/v1/models':
            await self._reply(writer, 200, {'object': 'list', 'data': [
                {'id': m, 'object': 'model', 'created': 1, 'owned_by': 'vllm' if self.software == 'vllm' else 'x'} for m in self.models]})
        elif path == '/api/version' and (turbine or ollama):
            await self._reply(writer, 200, {'version': '0.13.0', **({'turbine': '0.1'} if turbine else {})})
        elif path == '/props' and self.software in ('turbine', 'llama-server'):
            await self._reply(writer, 200, {'default_generation_settings': {'n_ctx': self.n_ctx}})
        elif path == '/api/show' and (turbine or ollama):
            await self._reply(writer, 200, {'model_info': {'x.block_count': 1, **(
                {'x.ssm.state_size': 1} if self.hybrid else {})}})
        elif path == '/health':
            await self._reply(writer, 200, {'status': 'ok'})
        else:
            await self._reply(writer, 404, {'error': {'message': 'nothing here'}})

    async def _answer(self, reader, writer, path, body, fault):
        if fault and await self.fail_early(writer, fault):
            return False
        streams = body.get('stream', path == '/api/chat')
        if path in self.without:
            await self._reply(writer, 404, {'error': {'message': 'File Not Found', 'type': 'not_found_error'}})
            return True
        if path.endswith(('count_tokens', 'input_tokens', '/tokenize')):
            text = json.dumps(body['messages'])
            n = int(text.split('count-me-')[1].split()[0].strip('"}]')) if 'count-me-' in text else 11
            if path in self.slow:
                await self._drip(writer, json.dumps({'input_tokens': n}).encode(), self.slow[path])
                return True
            await self._reply(writer, 200, {'count': n, 'tokens': []} if path == '/tokenize' else {'input_tokens': n})
            return True
        if path in ('/v1/embeddings', '/api/embed'):
            data = json.dumps(self.embeddings(path, body)).encode()
            return await self._whole(writer, data, 'application/json', fault)
        model = body.get('model', 'm')
        make, kind = STREAMS.get(path, (None, None))
        if not streams or not make:
            data = json.dumps(self.document or document(path, model), ensure_ascii=False).encode()
            return await self._whole(writer, data, 'application/json', fault)
        events = self.events(path) if self.events else make(model)
        return await self._stream(reader, writer, events, kind, fault)

    def embeddings(self, path, body):
        """A vector of a text is its bytes and two fractions that float32 has exactly."""
        texts = body['input'] if isinstance(body['input'], list) else [body['input']]
        vectors = [[len(t), -0.5, 0.0625] for t in texts]
        n = sum(len(t) for t in texts)
        if path == '/api/embed':
            return {'model': body['model'], 'embeddings': vectors, 'total_duration': 5, 'load_duration': 1,
                    'prompt_eval_count': n}
        # Their order says nothing, their index does.
        return {'object': 'list', 'model': body['model'], 'usage': {'prompt_tokens': n, 'total_tokens': n}, 'data': [
            {'object': 'embedding', 'index': i, 'embedding': v} for i, v in reversed(list(enumerate(vectors)))]}

    async def fail_early(self, writer, f):
        """Faults before there is an answer: True if the connection is over."""
        if f.kind == 'reset':
            writer.transport.abort()
        elif f.kind == 'close':
            writer.close()
        elif f.kind == 'garbage':
            writer.write(b'\x00\xff\x16\x03this is not HTTP\r\n\r\n' * 3)
            await writer.drain()
        elif f.kind == 'status':
            default = {'error': {'message': f'status {f.status}', 'type': 'server_error'}}
            await self._reply(writer, f.status, default if f.body is None else f.body, f.headers)
        elif f.kind == 'redirect':
            await self._reply(writer, 302, b'', [('Location', 'http://127.0.0.1:9/elsewhere')])
        elif f.kind == 'stall':  # says nothing
            await asyncio.sleep(f.seconds)
        elif f.kind == 'slow':  # then answers
            await asyncio.sleep(f.seconds)
            return False
        elif f.kind == 'html':
            data = b'<html><body>Bad gateway</body></html>'
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n' % len(data) + data)
            await writer.drain()
        elif f.kind == 'gzip':  # though nobody asked for it
            data = gzip.compress(json.dumps(document('/v1/chat/completions')).encode())
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n'
                         b'Content-Length: %d\r\n\r\n' % len(data) + data)
            await writer.drain()
        elif f.kind == 'events':  # that say they are a document
            data = openai_events()[0] + openai_events()[1]
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n' % len(data) +
                         data)
            await writer.drain()
        elif f.kind == 'header':  # cut in the header
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Ty')
            await writer.drain()
            writer.close()
        else:
            return False
        return True

    async def _whole(self, writer, data, kind, f):
        """Faults of a document: cut, short, long, stall-body."""
        n = len(data)
        if f and f.kind == 'short':  # says less than it sends
            n -= 5
        if f and f.kind in ('long', 'cut'):
            n += 50
        head = f'HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {n}\r\n\r\n'.encode()
        if f and f.kind == 'cut':
            head = head.replace(str(n).encode(), str(len(data)).encode())
            data = data[:f.at % len(data)]
        if f and f.kind == 'stall-body':
            writer.write(head + data[:f.at % len(data)])
            await writer.drain()
            await asyncio.sleep(f.seconds)
            return False
        if f and f.kind == 'garbage-body':
            data = b'\x00' * len(data)
        writer.write(head + data)
        await writer.drain()
        return not (f and f.kind in ('short', 'long', 'cut'))

    async def _stream(self, reader, writer, events, kind, f):
        """Faults of a stream: cut, stall-body, garbage-body, no-end, error-event, at that byte of it."""
        chunked = not (f and f.kind == 'cut-close')
        writer.write(f'HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n'.encode() +
                     (b'Transfer-Encoding: chunked\r\n\r\n' if chunked else b'Connection: close\r\n\r\n'))
        sent, total = 0, sum(map(len, events))
        limit = f.at % total if f and f.kind in ('cut', 'cut-close', 'stall-body', 'garbage-body') else None
        if f and f.kind == 'no-end':
            events = events[:-1]

        def chunk(data):
            return b'%x\r\n%s\r\n' % (len(data), data) if chunked else data
        watcher = asyncio.ensure_future(reader.read(1)) if self.pace else None
        try:
            for e in events:
                if limit is not None and sent + len(e) > limit:
                    part = e[:limit - sent]
                    if part:
                        writer.write(chunk(part))
                    await writer.drain()
                    if f.kind == 'stall-body':
                        await asyncio.sleep(f.seconds)
                    elif f.kind == 'garbage-body':
                        writer.write(chunk(b'\x00\xfe\x01garbage' * 20) + b'0\r\n\r\n')
                        await writer.drain()
                        return False
                    if f.kind == 'cut':
                        await asyncio.sleep(0)
                    writer.close()
                    return False
                writer.write(chunk(e))
                sent += len(e)
                self.sent.append(time.monotonic())
                await writer.drain()
                if self.pace:
                    await asyncio.wait([watcher], timeout=self.pace)
                    if watcher.done():
                        self.cancelled += 1
                        return False
        except ConnectionError:
            self.cancelled += 1
            raise
        finally:
            if watcher and not watcher.done():
                watcher.cancel()
        if f and f.kind == 'no-end-chunk':
            await writer.drain()
            writer.close()
            return False
        writer.write(b'0\r\n\r\n' if chunked else b'')
        await writer.drain()
        return chunked and watcher is None
