"""A server that answers like Anthropic's Messages API as it is told, and keeps what it was
asked: for recording what a client sends."""
import http.server
import json
import threading
import time


class Reply:
    """status 200: thinking, text and calls [(name, input)] as one answer; cut: the connection
    ends after so many bytes of text.  Any other status: an error with type and message."""

    def __init__(self, text='', calls=(), status=200, kind='', cut=None, tokens=1000, thinking=''):
        self.text, self.calls, self.status, self.kind = text, list(calls), status, kind
        self.cut, self.tokens, self.thinking = cut, tokens, thinking


class MessagesServer:
    """decide(body) -> Reply; requests: [{method, path, headers, body}] in order of arrival."""

    def __init__(self, decide):
        self.decide, self.requests, self.n = decide, [], 0
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def keep(self, body):
                with outer.lock:
                    outer.n += 1
                    outer.requests.append({'method': self.command, 'path': self.path,
                                           'headers': dict(self.headers), 'body': body,
                                           'at': time.monotonic()})
                    return outer.n

            def json(self, status, value):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header('content-type', 'application/json')
                self.send_header('content-length', str(len(data)))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(data)

            def do_HEAD(self):
                self.keep(None)
                self.json(200, {})

            def do_GET(self):
                self.keep(None)
                self.json(200, {'data': []})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['content-length'])))
                n = self.keep(body)
                if 'count_tokens' in self.path:
                    self.json(200, {'input_tokens': max(1, len(json.dumps(body)) // 4)})
                    return
                reply = outer.decide(body)
                if reply.status != 200:
                    self.json(reply.status, {'type': 'error', 'request_id': f'req_{n}', 'error': {
                        'type': reply.kind or 'invalid_request_error', 'message': reply.text}})
                elif body.get('stream'):
                    self.stream(n, body, reply)
                else:
                    self.json(200, message(n, body, reply))

            def stream(self, n, body, reply):
                self.send_response(200)
                self.send_header('content-type', 'text/event-stream')
                self.send_header('connection', 'close')
                self.end_headers()
                self.close_connection = True
                for name, event in events(n, body, reply):
                    self.wfile.write(f'event: {name}\ndata: {json.dumps(event)}\n\n'.encode())

        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.http.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.http.server_address[1]}'
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def message(n, body, reply):
    blocks = [{'type': 'thinking', 'thinking': reply.thinking, 'signature': ''}] if reply.thinking else []
    blocks += [{'type': 'text', 'text': reply.text}] if reply.text else []
    blocks += [{'type': 'tool_use', 'id': f'toolu_{n:04}{i:04}', 'name': name, 'input': value}
               for i, (name, value) in enumerate(reply.calls)]
    return {'id': f'msg_{n:04}', 'type': 'message', 'role': 'assistant', 'model': body['model'],
            'content': blocks, 'stop_reason': 'tool_use' if reply.calls else 'end_turn',
            'stop_sequence': None, 'usage': usage(reply, 20)}


def usage(reply, n_output):
    return {'input_tokens': reply.tokens, 'output_tokens': n_output,
            'cache_read_input_tokens': 0, 'cache_creation_input_tokens': 0}


def events(n, body, reply):
    whole = message(n, body, reply)
    yield 'message_start', {'type': 'message_start', 'message': dict(
        whole, content=[], stop_reason=None, usage=usage(reply, 1))}
    for i, block in enumerate(whole['content']):
        if block['type'] == 'thinking':
            start = dict(block, thinking='')
            delta = {'type': 'thinking_delta', 'thinking': block['thinking']}
        elif block['type'] == 'text':
            start, delta = {'type': 'text', 'text': ''}, {'type': 'text_delta', 'text': block['text']}
            if reply.cut is not None:
                delta['text'] = delta['text'][:reply.cut]
        else:
            start = dict(block, input={})
            delta = {'type': 'input_json_delta', 'partial_json': json.dumps(block['input'])}
        yield 'content_block_start', {'type': 'content_block_start', 'index': i, 'content_block': start}
        yield 'content_block_delta', {'type': 'content_block_delta', 'index': i, 'delta': delta}
        if reply.cut is not None:
            return
        yield 'content_block_stop', {'type': 'content_block_stop', 'index': i}
    yield 'message_delta', {'type': 'message_delta', 'usage': {'output_tokens': 20}, 'delta': {
        'stop_reason': whole['stop_reason'], 'stop_sequence': None}}
    yield 'message_stop', {'type': 'message_stop'}
