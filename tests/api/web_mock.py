"""A server that imitates what the web page uses: the page's files with the policy that
src/server/web_assets.h states, and APIs that answer as they are told.  web_server() of
test_web.py could as well start the real one with the same answers."""
import dataclasses
import http.server
import json
import pathlib
import re
import select
import socket
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
WEB = ROOT / 'src/server/web'
TYPES = {'.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8',
         '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml'}


def policy():
    """WEB_CSP of the header."""
    text = (ROOT / 'src/server/web_assets.h').read_text()
    definition = re.search(r'#define WEB_CSP((?:.*\\\n)*.*\n)', text)[1]
    return ''.join(re.findall(r'"([^"]*)"', definition))


@dataclasses.dataclass
class Answer:
    """What comes: text is cut into pieces of a few characters, delay seconds apart."""
    text: str = ''
    reasoning: str = ''
    tool_calls: list = dataclasses.field(default_factory=list)  # [(id, name, arguments)]
    delay: float = 0.0
    read_delay: float = 0.0    # before the first piece, with two reports of progress
    pause_after: int = -1      # pieces, then wait until `resume` is set
    piece: int = 4             # characters
    prompt_n: int = 100        # tokens of the prompt
    cache_n: int = 0           # of them from the cache
    rate: float = 40.0         # tokens/s in the figures
    finish: str = 'stop'
    status: int = 200
    error: str = ''            # with status: the message; with 200: sent behind the text
    retry_after: int = 0
    cut: bool = False          # the connection ends behind the text


class Mock:
    """url, answers {last message of the user: Answer or list of them, used up in turn},
    requests (bodies of chat completions), closed (event: a client closed a stream)."""

    def __init__(self):
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def do_GET(self):
                mock.get(self)

            def do_POST(self):
                mock.post(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # browsers close connections as they like

        self.reset()
        self.server = Server(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.resume.set()
        self.server.shutdown()
        self.server.server_close()

    def reset(self):
        if hasattr(self, 'resume'):
            self.resume.set()
        self.answers, self.requests = {}, []
        self.closed, self.resume = threading.Event(), threading.Event()
        self.key = None  # the API key that is wanted
        self.models = ['qwen3-8b']
        self.running, self.waiting = 0, 0
        self.kv = {'type_k': 'turbo4', 'type_v': 'turbo4', 'bytes': 62 << 20, 'bytes_reserved': 412 << 20,
                   'bytes_f16': 221 << 20, 'tokens_used': 1572, 'tokens_max': 16384}

    # ---- requests ----

    def send(self, handler, status, body, kind='application/json', **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header('Content-Type', kind)
        handler.send_header('Content-Length', str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace('_', '-'), value)
        handler.end_headers()
        handler.wfile.write(body)

    def refused(self, handler):
        if self.key is None or handler.headers.get('Authorization') == f'Bearer {self.key}':
            return False
        self.send(handler, 401, {'error': {'message': 'A key is needed.', 'type': 'authentication_error', 'code': 401}})
        return True

    def get(self, handler):
        path = handler.path.split('?')[0]
        name = 'index.html' if path == '/' else path.removeprefix('/web/')
        if path == '/' or path.startswith('/web/') and re.fullmatch(r'[a-z.]+', name) and (WEB / name).is_file():
            return self.send(handler, 200, (WEB / name).read_bytes(), TYPES[pathlib.Path(name).suffix],
                             Content_Security_Policy=policy(), X_Content_Type_Options='nosniff')
        if self.refused(handler):
            return None
        if path == '/v1/models':
            return self.send(handler, 200, {'object': 'list', 'data': [{'id': m, 'object': 'model'} for m in self.models]})
        if path == '/api/ps':
            return self.send(handler, 200, {'models': [
                {'name': m, 'model': m, 'context_length': 16384, 'kv': self.kv,
                 'details': {'parameter_size': '8.2B', 'quantization_level': 'Q4_K_M'}} for m in self.models]})
        if path == '/slots':
            return self.send(handler, 200, [{'id': i, 'n_ctx': 16384, 'is_processing': i < self.running} for i in range(4)])
        if path == '/metrics':
            return self.send(handler, 200, (f'# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing {self.running}\n'
                                            f'llamacpp:requests_deferred {self.waiting}\n').encode(), 'text/plain; version=0.0.4')
        return self.send(handler, 404, {'error': {'message': f'Nothing at {path}.'}})

    def post(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers['Content-Length'])))
        if self.refused(handler):
            return
        assert handler.path == '/v1/chat/completions'
        self.requests.append(body)
        asked = [m['content'] for m in body['messages'] if m['role'] == 'user'][-1]
        answer = self.answers.get(asked, Answer(f'You said: {asked}'))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer.status != 200:
            headers = {'Retry_After': str(answer.retry_after)} if answer.retry_after else {}
            self.send(handler, answer.status, {'error': {'message': answer.error, 'code': answer.status}}, **headers)
            return
        self.running += 1
        try:
            self.stream(handler, answer, body['model'])
        except (BrokenPipeError, ConnectionResetError):
            self.closed.set()
        finally:
            self.running -= 1
            handler.close_connection = True

    # ---- streams ----

    def wait(self, handler, seconds=0.0, event=None):
        """Raises ConnectionResetError as soon as the client is gone."""
        end = time.monotonic() + (seconds if event is None else 60)
        while True:
            if select.select([handler.connection], [], [], 0)[0] and not handler.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError
            left = end - time.monotonic()
            if left <= 0 or event is not None and event.is_set():
                return
            time.sleep(min(0.02, left))

    def stream(self, handler, a, model):
        resume = self.resume
        handler.send_response(200)
        handler.send_header('Content-Type', 'text/event-stream')
        handler.send_header('Connection', 'close')
        handler.end_headers()
        pieces = [{'reasoning_content': a.reasoning[i:i + a.piece]} for i in range(0, len(a.reasoning), a.piece)]
        pieces += [{'content': a.text[i:i + a.piece]} for i in range(0, len(a.text), a.piece)]
        for i, (call, name, arguments) in enumerate(a.tool_calls):
            pieces.append({'tool_calls': [{'index': i, 'id': call, 'type': 'function', 'function': {'name': name, 'arguments': ''}}]})
            pieces += [{'tool_calls': [{'index': i, 'function': {'arguments': arguments[j:j + 7]}}]} for j in range(0, len(arguments), 7)]

        def put(data):
            handler.wfile.write(f'data: {data if isinstance(data, str) else json.dumps(data)}\n\n'.encode())

        def chunk(delta, finish=None, **more):
            put({'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'model': model,
                 'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}], **more})

        chunk({'role': 'assistant', 'content': ''})
        if a.read_delay:
            for done in (a.cache_n + (a.prompt_n - a.cache_n) // 3, a.prompt_n):
                self.wait(handler, a.read_delay / 2)
                chunk({}, prompt_progress={'total': a.prompt_n, 'cache': a.cache_n, 'processed': done, 'time_ms': (done - a.cache_n) / 200 * 1000})
        for i, piece in enumerate(pieces):
            self.wait(handler, a.delay)
            if i == a.pause_after:
                self.wait(handler, event=resume)
            chunk(piece)
        if a.cut:
            return
        if a.error:
            put({'error': {'message': a.error, 'type': 'server_error', 'code': 500}})
            return
        chunk({}, 'tool_calls' if a.tool_calls else a.finish)
        n = max(1, len(pieces))
        put({'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'model': model, 'choices': [],
             'usage': {'prompt_tokens': a.prompt_n, 'completion_tokens': n, 'total_tokens': a.prompt_n + n,
                       'prompt_tokens_details': {'cached_tokens': a.cache_n}},
             'timings': {'cache_n': a.cache_n, 'prompt_n': a.prompt_n - a.cache_n, 'prompt_ms': (a.prompt_n - a.cache_n) / 200 * 1000,
                         'predicted_n': n, 'predicted_ms': n / a.rate * 1000}})
        put('[DONE]')
