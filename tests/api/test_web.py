"""The web page in a headless Chromium: what a reader sees and a keyboard does, hostile
answers, the content security policy, narrow and dark windows."""
import json
import os
import re
import shutil
import time

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome') or shutil.which('chromium-browser')
DRIVER = shutil.which('chromedriver')
if not CHROMIUM or not DRIVER:
    pytest.skip('Chromium and its chromedriver are missing; on Debian: apt-get install chromium chromium-driver',
                allow_module_level=True)

os.environ.update(SE_OFFLINE='true', SE_AVOID_STATS='true')  # the driver is here: nothing is fetched
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from web_mock import Answer, Mock, policy  # noqa: E402

WAIT_S = 20


@pytest.fixture(scope='module')
def web_server():
    """The server under test: url, and what Mock says of itself."""
    mock = Mock()
    yield mock
    mock.close()


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ('--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
                 f'--user-data-dir={tmp_path_factory.mktemp("chromium")}'):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument('--no-sandbox')  # its sandbox does not work for root
    options.add_experimental_option('prefs', {'download.default_directory': str(tmp_path_factory.mktemp('downloads'))})
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(WAIT_S)
    yield driver
    driver.quit()


class Page:
    patience = WAIT_S

    def __init__(self, driver, server):
        self.driver, self.server = driver, server

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def id(self, name):
        return self.driver.find_element('id', name)

    def all(self, selector):
        return self.driver.find_elements('css selector', selector)

    def one(self, selector):
        self.until(lambda: self.all(selector), f'no {selector}')
        return self.all(selector)[-1]

    def text(self, selector):
        return self.one(selector).get_property('textContent')

    def until(self, condition, message='it did not come'):
        end = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < end, message
            time.sleep(0.03)

    def open(self):
        self.driver.get(self.server.url + '/')
        self.until(lambda: self.id('model-name').get_property('textContent') not in ('', '…'), 'no model')

    def size(self, width, height=800, mobile=False):
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride',
                                    {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': mobile})

    def media(self, **features):
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [
            {'name': name.replace('_', '-'), 'value': value} for name, value in features.items()]})

    def type(self, *keys):
        self.id('prompt').send_keys(*keys)

    def idle(self):
        return self.id('send').is_displayed()

    def ask(self, text, answer=None):
        """The last answer's text as it is shown."""
        if answer is not None:
            self.server.answers[text] = answer
        n = len(self.server.requests)
        self.type(text.replace('\n', Keys.SHIFT + Keys.ENTER + Keys.NULL), Keys.ENTER)
        self.until(lambda: len(self.server.requests) > n, 'no request')
        self.until(self.idle, 'the answer did not end')
        return self.text('.message.assistant .prose:not(.thought)')

    def button(self, label, within=''):
        found = [b for b in self.all(f'{within} button') if b.text == label]
        assert found, f'no button {label}'
        return found[-1]

    def log(self):
        """What the console has, but for failed requests, which tests provoke."""
        return [entry for entry in self.driver.get_log('browser') if entry['source'] != 'network']


@pytest.fixture
def page(browser, web_server):
    web_server.reset()
    p = Page(browser, web_server)
    p.size(1300)
    p.media(prefers_color_scheme='light')
    p.driver.get('about:blank')  # the program of the last test ends
    p.driver.execute_cdp_cmd('Storage.clearDataForOrigin', {'origin': web_server.url, 'storageTypes': 'all'})
    p.log()
    p.open()
    yield p
    assert p.log() == []


# ---- asking ----

def test_text_appears_as_it_comes(page):
    page.server.answers['hello'] = Answer('first part, second part', pause_after=3)
    page.type('hello', Keys.ENTER)
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'first part,')
    assert page.id('stop').is_displayed() and not page.idle()
    page.server.resume.set()
    page.until(page.idle)
    assert page.text('.assistant .prose:not(.thought)') == 'first part, second part'
    body = page.server.requests[0]
    assert body['messages'] == [{'role': 'user', 'content': 'hello'}]
    assert body['stream'] is True and body['stream_options'] == {'include_usage': True} and body['model'] == 'qwen3-8b'
    assert 'temperature' not in body and 'tools' not in body
    assert page.id('title').text == 'hello'


def test_conversation_goes_on(page):
    page.ask('one', Answer('answer one', reasoning='because'))
    page.ask('two')
    assert page.server.requests[1]['messages'] == [
        {'role': 'user', 'content': 'one'},
        {'role': 'assistant', 'content': 'answer one', 'reasoning_content': 'because'},
        {'role': 'user', 'content': 'two'}]


@pytest.mark.parametrize('way', ['button', 'escape'])
def test_stop_closes_the_request(page, way):
    page.server.answers['long'] = Answer('word ' * 100, pause_after=2)
    page.type('long', Keys.ENTER)
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'word wor')
    if way == 'button':
        page.id('stop').click()
    else:
        page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert page.server.closed.wait(WAIT_S), 'the connection stayed open'
    page.until(page.idle)
    assert page.text('.assistant .prose:not(.thought)') == 'word wor'
    assert 'Stopped.' in page.text('.assistant footer')
    assert not page.all('.error')


def test_regenerate(page):
    page.server.answers['dice'] = [Answer('one'), Answer('six')]
    assert page.ask('dice') == 'one'
    page.button('Regenerate').click()
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'six')
    page.until(page.idle)
    assert len(page.all('.message')) == 2
    assert page.server.requests[0]['messages'] == page.server.requests[1]['messages']


def test_edit_last_message(page):
    page.ask('first')
    page.ask('secnd')
    assert [b.text for b in page.all('.message.user .actions button')].count('Edit') == 1
    page.button('Edit').click()
    field = page.one('.edit textarea')
    assert field == page.driver.switch_to.active_element and field.get_property('value') == 'secnd'
    field.clear()
    field.send_keys('second', Keys.ENTER)
    page.until(lambda: len(page.server.requests) == 3 and page.idle())
    assert [m['content'] for m in page.server.requests[2]['messages']] == ['first', 'You said: first', 'second']
    assert [e.get_property('textContent') for e in page.all('.plain')] == ['first', 'second']
    # Escape leaves it as it was.
    page.type(Keys.ARROW_UP)
    page.one('.edit textarea').send_keys(' no', Keys.ESCAPE)
    assert not page.all('.edit') and page.text('.message.user .plain') == 'second'


def test_an_edit_that_was_left_open(page):
    """It ends with the next question: it is no edit of that."""
    page.ask('first')
    page.button('Edit').click()
    page.one('.edit textarea').send_keys(' again')
    page.type('second', Keys.ENTER)
    page.until(lambda: len(page.server.requests) == 2 and page.idle())
    assert not page.all('.edit')
    assert [m['content'] for m in page.server.requests[1]['messages']] == ['first', 'You said: first', 'second']
    page.button('Edit').click()
    page.button('Regenerate').click()
    page.until(lambda: len(page.server.requests) == 3 and page.idle())
    assert not page.all('.edit') and page.text('.message.user .plain') == 'second'


def test_tabs_of_code_stay(page):
    code = 'all:\n\tcc -o a a.c\n\t\techo "a\tb"'
    text = f'a\tb\n```make\n{code}\n```\n- item\n\n\t```go\n\tfunc f() {{\n\t\treturn\n\t}}\n\t```'
    page.ask('x', Answer(text, piece=5))
    shown = [e.get_property('textContent') for e in page.all('.assistant .prose pre code')]
    assert shown == [code, 'func f() {\n\treturn\n}']


def test_keyboard(page):
    page.type('a', Keys.SHIFT + Keys.ENTER + Keys.NULL, 'b')
    assert page.id('prompt').get_property('value') == 'a\nb' and not page.server.requests
    page.type(Keys.ENTER)
    page.until(lambda: page.server.requests and page.idle())
    assert page.server.requests[0]['messages'] == [{'role': 'user', 'content': 'a\nb'}]
    assert page.id('prompt').get_property('value') == ''
    page.type('   ', Keys.ENTER)
    assert len(page.server.requests) == 1
    # In order: skip link, conversations, the transcript, the field.
    page.js('document.querySelector(".skip").focus()')
    order = ['skip']
    while 'prompt' not in order and len(order) < 40:
        page.js('return document.activeElement').send_keys(Keys.TAB)
        order.append(page.js('const a = document.activeElement; return a.id || a.className || a.textContent'))
    assert order[:2] == ['skip', 'new'], order
    assert order[-1] == 'prompt' and order.index('settings-open') < order.index('rename') < order.index('prompt')


def test_every_control_has_a_name(page):
    page.ask('x', Answer('text\n\n```c\nint x;\n```', tool_calls=[('1', 'f', '{}')]))
    nameless = page.js('''return [...document.querySelectorAll('button, input, select, textarea, a')].filter((e) =>
      !e.textContent.trim() && !e.getAttribute('aria-label') && !(e.labels && e.labels.length)).map((e) => e.outerHTML)''')
    assert nameless == []
    assert page.js('return document.documentElement.lang') == 'en'
    assert page.id('said').get_attribute('aria-live') == 'polite'


def test_answers_are_said_by_block(page):
    page.server.answers['x'] = Answer('First paragraph.\n\nSecond paragraph.', pause_after=6)
    page.type('x', Keys.ENTER)
    page.until(lambda: page.id('said').get_property('textContent') == 'First paragraph.')
    page.server.resume.set()
    page.until(lambda: page.id('said').get_property('textContent') == 'First paragraph.Second paragraph.')
    page.until(page.idle)


# ---- reasoning, tools ----

def test_reasoning_is_a_block_that_closes(page):
    page.server.answers['x'] = Answer('so 4', reasoning='two and two', pause_after=3)
    page.type('x', Keys.ENTER)
    page.until(lambda: page.text('.thought') == 'two and two')
    details = page.one('.reasoning')
    assert details.get_property('open') is True
    page.server.resume.set()
    page.until(page.idle)
    assert details.get_property('open') is False and page.text('.assistant .prose:not(.thought)') == 'so 4'


def test_tool_calls_and_their_results(page):
    calls = [('c1', 'weather', '{"city": "Lund <b>", "days": 3}'), ('c2', 'time', '{}')]
    page.ask('look', [Answer('', tool_calls=calls), Answer('done')])
    assert [e.text for e in page.all('.call h4')] == ['Calls weather', 'Calls time']
    assert [(d.text) for d in page.all('.call dt, .call dd')] == ['city', 'Lund <b>', 'days', '3']
    assert not page.id('send').is_enabled()
    fields = page.all('.results textarea')
    fields[0].send_keys('rain')
    fields[1].send_keys('noon')
    page.button('Send results').click()
    page.until(lambda: len(page.server.requests) == 2 and page.idle())
    assert page.server.requests[1]['messages'][1:] == [
        {'role': 'assistant', 'content': '', 'tool_calls': [
            {'id': i, 'type': 'function', 'function': {'name': n, 'arguments': a}} for i, n, a in calls]},
        {'role': 'tool', 'tool_call_id': 'c1', 'name': 'weather', 'content': 'rain'},
        {'role': 'tool', 'tool_call_id': 'c2', 'name': 'time', 'content': 'noon'}]
    assert not page.all('.results')


# ---- Markdown ----

MARKDOWN = r'''# One
## Two ##
Some *em*, **strong**, ***both***, ~~gone~~, `co<d>e`, 2 * 3 * 4, snake_case_name, \*plain\*, a &amp; b
next line

Setext
===

1. first
2. second
   - inner *x*
   - [x] done
3. third

- a

- b

> quoted
> > deeper

| left | right |
|:-----|------:|
| `a`  | 1     |
| b \| c | 2   |

```python
def f(x):  # why
    return "s" + 1
```

---

[site](https://example.org/a_(b)?q=1 "title") <https://example.org> https://example.org/x. ![pic](https://example.org/p.png) mail [me](mailto:a@example.org)
'''


def test_markdown(page):
    page.ask('md', Answer(MARKDOWN, piece=400))
    root = '.assistant .prose:not(.thought)'

    def texts(selector):
        return [e.get_property('textContent') for e in page.all(f'{root} {selector}')]
    assert texts('.level-1') == ['One', 'Setext'] and texts('.level-2') == ['Two']
    assert texts('em') == ['em', 'both', 'x'] and texts('strong') == ['strong', 'both'] and texts('del') == ['gone']
    assert page.js('return arguments[0].innerText', page.all(f'{root} > p')[0]) == (
        'Some em, strong, both, gone, co<d>e, 2 * 3 * 4, snake_case_name, *plain*, a & b\nnext line')
    assert texts(':not(pre) > code') == ['co<d>e', 'a']
    assert page.js('return [...document.querySelectorAll(arguments[0])].map((e) => [e.tagName, e.children.length])',
                   f'{root} ol, {root} ul') == [['OL', 3], ['UL', 2], ['UL', 2]]
    assert page.one(f'{root} ol').get_property('start') == 1
    assert page.one(f'{root} input').get_property('checked') is True
    assert texts('blockquote blockquote') == ['deeper']
    assert texts('th') == ['left', 'right'] and texts('td') == ['a', '1', 'b | c', '2']
    assert page.one(f'{root} td').value_of_css_property('text-align') == 'right'
    assert texts('pre') == ['def f(x):  # why\n    return "s" + 1']
    assert texts('.hl-keyword') == ['def', 'return'] and texts('.hl-comment') == ['# why']
    assert texts('.hl-string') == ['"s"'] and texts('.hl-number') == ['1']
    assert len(page.all(f'{root} hr')) == 1
    links = page.js('return [...document.querySelectorAll(arguments[0])].map((a) => [a.textContent, a.getAttribute("href"), a.rel, a.target])', f'{root} a')
    rest = ['noopener noreferrer', '_blank']
    assert links == [
        ['site', 'https://example.org/a_(b)?q=1', *rest], ['https://example.org', 'https://example.org/', *rest],
        ['https://example.org/x', 'https://example.org/x', *rest], ['pic', 'https://example.org/p.png', *rest],
        ['me', 'mailto:a@example.org', *rest]]


def test_markdown_is_the_same_however_it_comes(page):
    whole = page.js('return arguments[0].innerHTML', page.one('body')) and page.ask('md', Answer(MARKDOWN, piece=4000))
    html = page.one('.assistant .prose:not(.thought)').get_property('innerHTML')
    page.ask('pieces', Answer(MARKDOWN, piece=3, delay=0.002))
    assert whole and page.one('.assistant .prose:not(.thought)').get_property('innerHTML') == html


HOSTILE = [
    '<script>window.hit = 1</script>',
    '<img src=x onerror="window.hit = 1">',
    '<svg/onload=window.hit=1>',
    '<a href="javascript:window.hit=1">x</a>',
    '<iframe srcdoc="<script>parent.hit=1</script>"></iframe>',
    '[x](javascript:window.hit=1)',
    '[x](JaVaScRiPt:window.hit=1)',
    '[x](java\tscript:window.hit=1)',
    '[x](data:text/html,<script>window.hit=1</script>)',
    '[x](vbscript:x) <javascript:window.hit=1>',
    '[x](//example.org/) [y](/v1/models) [z](file:///etc/passwd)',
    '![x](" onerror="window.hit=1)',
    '[x](https://example.org/"onmouseover="window.hit=1)',
    '`<script>window.hit = 1</script>`',
    '```<script>\n<img src=x onerror=window.hit=1>\n```',
    '| <img src=x onerror=window.hit=1> |\n|---|\n| <script>window.hit=1</script> |',
    '# <b onclick="window.hit=1">t</b>\n> <style>*{display:none}</style>',
    '- <form action=https://example.org><input name=x></form>',
    '&lt;script&gt;window.hit=1&lt;/script&gt;',
    '</div></article><script>window.hit=1</script><!-- ',
]


def test_hostile_text_stays_text(page):
    page.ask('hostile', Answer('\n\n'.join(HOSTILE), reasoning='\n\n'.join(HOSTILE), piece=200,
                               tool_calls=[('1', '<img src=x onerror=window.hit=1>', '{"<script>window.hit=1</script>": "<img src=x onerror=window.hit=1>"}')]))
    for prose in page.all('.assistant .prose, .calls'):
        odd = page.js('''const known = 'A P CODE PRE FIGURE FIGCAPTION SPAN BUTTON DIV TABLE THEAD TBODY TR TH TD UL LI H3 H4 H5 BLOCKQUOTE BR EM ' +
            'SECTION DL DT DD FORM LABEL TEXTAREA';
          return [...arguments[0].querySelectorAll('*')].filter((e) => !known.split(' ').includes(e.tagName) ||
            [...e.attributes].some((a) => a.name.startsWith('on') || a.name === 'style' || a.name === 'src')).map((e) => e.outerHTML)''', prose)
        assert odd == []
        links = page.js('return [...arguments[0].querySelectorAll("a")].map((a) => a.protocol + a.host)', prose)
        assert set(links) <= {'https:example.org'}
    shown = page.text('.assistant .prose:not(.thought)')
    for piece in HOSTILE[:5] + HOSTILE[5:7]:
        assert piece in shown
    time.sleep(0.2)
    assert page.js('return window.hit === undefined')
    # The user's words, the title and the list of conversations are text, too.
    page.id('new').click()
    page.ask('<img src=x onerror="window.hit=1">')
    assert page.id('title').text == '<img src=x onerror="window.hit=1">'
    assert page.js('return document.querySelectorAll("main img, #list img").length === 0 && window.hit === undefined')


REPETITIVE = {
    'emphasis': '*a ' * 30000,
    'both sides': '*a_ ' * 20000 + '_b* ' * 20000,
    'stars': '*' * 60000,
    'nested': '**a *b ' * 10000 + 'c* d** ' * 10000,
    'brackets': '[' * 60000,
    'links': '[a](' * 20000,
    'link ends': '[](' * 10000 + 'a' * 60000,
    'backticks': ' '.join('`' * (i % 300) for i in range(600)),
    'quotes': '>' * 20000,
    'list': '- ' * 20000,
    'indented': '\n'.join(' ' * min(i, 300) + '- x' for i in range(600)),
    'blank lines': '- x\n' + '\n' * 60000 + 'y',
    'table': '|' * 20000 + '\n' + '|-' * 20000 + '|\n' + '|\n' * 20000,
    'pipes': 'a|\n' * 20000,
    'urls': 'https://a.b/' + ')' * 60000,
    'rules': '- ' * 20000 + 'x\n' + '_ ' * 20000 + 'x',
    'hashes': '# ' + ' #' * 30000 + 'x',
    'fences': '```\n' * 20000,
    'quoted code': '```js\n' + '"\\' * 20000 + "/*'`" * 5000 + '\n```',
}


def test_markdown_bounds_its_work(page):
    """Deep and repetitive text takes a moment, not minutes, and becomes no deep tree."""
    for name, text in REPETITIVE.items():
        took, depth = page.driver.execute_async_script('''
          const [text, done] = arguments;
          import('/web/markdown.js').then(({ MarkdownView }) => {
            const root = document.createElement('div');
            const from = performance.now();
            new MarkdownView(root).update(text, true);
            const took = performance.now() - from;
            let depth = 0;
            for (const node of root.querySelectorAll('*')) {
              let n = 0;
              for (let at = node; at !== root; at = at.parentNode) n++;
              depth = Math.max(depth, n);
            }
            done([took, depth]);
          }).catch((e) => done([-1, String(e)]));''', text)
        assert 0 <= took < 4000, (name, took, depth)
        assert depth < 100, name


# ---- errors ----

def test_error_and_retry(page):
    page.server.answers['x'] = [Answer(status=503, error='The queue is full.', retry_after=7), Answer('now it works')]
    page.type('x', Keys.ENTER)
    error = page.one('.error')
    assert error.get_attribute('role') == 'alert'
    assert error.find_element('css selector', 'p').text == 'The queue is full. (Free again in about 7 s.)'
    page.button('Retry').click()
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'now it works')
    page.until(page.idle)
    assert not page.all('.error') and len(page.all('.message')) == 2


@pytest.mark.parametrize('answer, said', [
    (Answer('half', error='Numeric failure.'), 'Numeric failure.'),
    (Answer('half', cut=True), 'The connection ended before the answer was complete.')])
def test_error_within_an_answer(page, answer, said):
    assert page.ask('x', answer) == 'half'
    assert page.one('.error p').text == said
    # What came is part of the conversation.
    page.ask('y')
    assert [m['content'] for m in page.server.requests[1]['messages']] == ['x', 'half', 'y']


def test_no_server(page):
    page.js('window.fetch = () => Promise.reject(new TypeError("Failed to fetch"))')
    page.type('x', Keys.ENTER)
    assert page.one('.error p').text == 'The server cannot be reached. Is it still running?'


def test_cut_off_is_said(page):
    page.ask('x', Answer('a b c', finish='length'))
    assert 'Cut off' in page.text('.assistant footer')


def test_key(page):
    page.server.key = 'sesame'
    page.type('x', Keys.ENTER)
    page.until(lambda: page.id('key-dialog').get_property('open'))
    assert page.id('key-message').text == 'A key is needed.'
    page.id('key').send_keys('wrong', Keys.ENTER)
    page.until(lambda: page.id('key').get_property('value') == '' and page.id('key-dialog').get_property('open'))
    page.id('key').send_keys('sesame', Keys.ENTER)
    page.until(lambda: page.server.requests and page.idle())
    assert page.text('.assistant .prose:not(.thought)') == 'You said: x'
    assert page.js('return Object.values(sessionStorage)') == ['sesame']
    assert 'sesame' not in page.js('return JSON.stringify(localStorage)')
    # Not asked again in this tab; Cancel leaves an error with Retry.
    page.open()
    assert not page.id('key-dialog').get_property('open')
    page.server.key = 'other'
    page.type('y', Keys.ENTER)
    page.until(lambda: page.id('key-dialog').get_property('open'))
    page.button('Cancel', '#key-dialog').click()
    assert page.one('.error p').text == 'A key is needed.' and page.button('Retry')
    page.js('sessionStorage.clear()')


# ---- conversations ----

def listed(page):
    return [e.text for e in page.all('#list button')]


def test_conversations_are_kept(page):
    page.ask('first')
    page.id('new').click()
    assert page.driver.switch_to.active_element == page.id('prompt')
    page.ask('second')
    assert listed(page) == ['second', 'first']
    page.open()
    assert listed(page) == ['second', 'first'] and page.id('welcome').is_displayed()
    page.all('#list button')[1].click()
    assert page.text('.message.user .plain') == 'first' and page.text('.assistant .prose:not(.thought)') == 'You said: first'
    page.id('rename').click()
    page.id('ask-text').clear()
    page.id('ask-text').send_keys('renamed', Keys.ENTER)
    page.until(lambda: 'renamed' in listed(page))
    page.id('delete').click()
    page.button('Cancel', '#ask-dialog').click()
    assert 'renamed' in listed(page)
    page.id('delete').click()
    page.button('Delete', '#ask-dialog').click()
    page.until(lambda: listed(page) == ['second'])
    page.open()
    assert listed(page) == ['second']


def test_export_and_import(page, browser, tmp_path):
    page.ask('keep me', Answer('kept *text*', reasoning='thought'))
    page.driver.execute_cdp_cmd('Browser.setDownloadBehavior', {'behavior': 'allow', 'downloadPath': str(tmp_path)})
    page.id('export-all').click()
    file = tmp_path / 'turbine-conversations.json'
    page.until(file.exists, 'no download')
    exported = json.loads(file.read_text())
    assert exported['format'] == 'turbine-conversations' and exported['version'] == 1
    assert exported['conversations'][0]['messages'][1]['content'] == 'kept *text*'
    page.js('localStorage.clear()')
    page.open()
    assert listed(page) == []
    page.id('import-file').send_keys(str(file))
    page.until(lambda: listed(page) == ['keep me'])
    assert page.text('.assistant .prose:not(.thought)') == 'kept text' and page.text('.thought') == 'thought'
    page.id('import-file').send_keys(str(file))  # again: a second one, not over the first
    page.until(lambda: listed(page) == ['keep me', 'keep me'])


@pytest.mark.parametrize('content, said', [
    ('{', 'The file is not JSON'),
    ('[]', 'The file is not an export of conversations'),
    ('{"format":"turbine-conversations","version":1,"conversations":[{"id":"a","messages":[{"role":"root","content":"x"}]}]}',
     'conversations[0].messages[0].role must be one of'),
    ('{"format":"turbine-conversations","version":1,"conversations":[{"id":"../a","messages":[]}]}', 'conversations[0].id must be'),
    ('{"format":"turbine-conversations","version":1,"conversations":[{"id":"a","messages":[{"role":"user","content":{}}]}]}',
     'conversations[0].messages[0].content must be a string')])
def test_import_of_something_else(page, tmp_path, content, said):
    (tmp_path / 'x.json').write_text(content)
    page.id('import-file').send_keys(str(tmp_path / 'x.json'))
    page.until(lambda: page.id('notice').is_displayed())
    assert said in page.id('notice').text and listed(page) == []


def test_broken_storage_is_passed_over(page):
    page.ask('good')
    page.js('localStorage.setItem("turbine.chat.x", "{"); localStorage.setItem("turbine.chat.y", \'{"id":1}\');'
            'localStorage.setItem("turbine.settings", "[]")')
    page.open()
    assert listed(page) == ['good']


@pytest.mark.parametrize('refusal', ['throw new DOMException("denied", "SecurityError")', 'return null'])
def test_without_storage(page, refusal):
    """As with cookies blocked: the page works, and says that it forgets."""
    script = page.driver.execute_cdp_cmd('Page.addScriptToEvaluateOnNewDocument', {'source': ''.join(
        f'Object.defineProperty(window, "{name}", {{get() {{ {refusal}; }}}});' for name in ('localStorage', 'sessionStorage'))})
    try:
        page.open()
        assert 'keeps nothing' in page.id('notice').text
        assert page.ask('good') and listed(page) == ['good'] and not page.id('notice').is_displayed()
        page.button('New conversation').click()
        assert page.ask('more') and listed(page) == ['more', 'good']
    finally:
        page.driver.execute_cdp_cmd('Page.removeScriptToEvaluateOnNewDocument', script)


def test_other_conversations_run_on(page):
    page.server.answers['slow'] = Answer('first second', pause_after=1)
    page.type('slow', Keys.ENTER)
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'firs')
    page.id('new').click()
    assert page.ask('quick') == 'You said: quick'
    assert live(page, 'context-answer') == '4'  # pieces of "You said: quick"
    [slow] = [b for b in page.all('#list button') if b.text.startswith('slow')]
    slow.click()
    assert live(page, 'context-answer') == '1' and page.id('stop').is_displayed()
    page.server.resume.set()
    page.until(lambda: not page.all('#list .busy'))
    assert page.text('.assistant .prose:not(.thought)') == 'first second'


def test_closing_the_page_keeps_what_came(page):
    page.server.answers['x'] = [Answer('one two three', pause_after=1), Answer('whole')]
    page.type('x', Keys.ENTER)
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'one')
    page.open()
    assert page.server.closed.wait(WAIT_S)
    page.all('#list button')[0].click()
    assert page.text('.assistant .prose:not(.thought)') == 'one' and 'Broken off' in page.text('.assistant footer')
    page.button('Regenerate').click()
    page.until(lambda: page.text('.assistant .prose:not(.thought)') == 'whole')
    page.until(page.idle)
    assert [m['content'] for m in page.server.requests[1]['messages']] == ['x']


def test_settings(page):
    page.id('settings-open').click()
    page.id('set-system').send_keys('Be brief.')
    page.id('set-system-default').click()
    for name, value in {'temperature': '0.5', 'top_k': '40', 'max_tokens': '77', 'seed': '7'}.items():
        page.id(f'set-{name}').send_keys(value)
    page.id('set-think').send_keys('off')
    page.one('#settings-dialog summary').click()
    page.id('set-tools').send_keys('[{"type":"function"}]')
    page.button('Save').click()
    assert page.id('settings-dialog').get_property('open'), 'tools without a name were taken'
    page.id('set-tools').clear()
    page.id('set-tools').send_keys('[{"type":"function","function":{"name":"f"}}]')
    page.button('Save').click()
    page.open()  # settings stay, and new conversations have the system prompt
    page.ask('x')
    body = page.server.requests[0]
    assert body['messages'][0] == {'role': 'system', 'content': 'Be brief.'}
    assert {k: body[k] for k in ('temperature', 'top_k', 'max_tokens', 'seed')} == {'temperature': 0.5, 'top_k': 40, 'max_tokens': 77, 'seed': 7}
    assert body['chat_template_kwargs'] == {'enable_thinking': False}
    assert body['tools'] == [{'type': 'function', 'function': {'name': 'f'}}] and 'top_p' not in body
    page.id('settings-open').click()
    page.id('set-temperature').clear()
    page.id('set-temperature').send_keys('3')
    page.button('Save').click()
    assert page.id('settings-dialog').get_property('open'), 'a temperature of 3 was taken'
    page.id('set-temperature').clear()
    page.button('Save').click()
    page.ask('y')
    assert 'temperature' not in page.server.requests[1]


# ---- live view ----

def live(page, name):
    return page.id(name).get_property('textContent').replace('\u202f', '')


def test_live_view(page):
    page.server.answers['x'] = Answer('abcd' * 20, prompt_n=4096, cache_n=2048, rate=25, read_delay=1, delay=0.02, pause_after=10)
    page.type('x', Keys.ENTER)
    page.until(lambda: page.text('.wait') == 'Reading 66 %')  # (2048 + 2048 / 3) / 4096
    assert live(page, 'speed-read') == '≈ 200'
    page.until(lambda: live(page, 'speed-write').startswith('≈ '), 'no estimate of the speed')
    page.until(lambda: live(page, 'running') == '1', 'the running request is not seen')
    assert len(page.all('#slots .busy')) == 1
    page.server.waiting = 2
    page.until(lambda: live(page, 'waiting') == '2')
    page.server.resume.set()
    page.until(page.idle)
    assert (live(page, 'context-used'), live(page, 'context-max')) == ('4116', ' of 16384 tokens')
    assert (live(page, 'context-cached'), live(page, 'context-prompt'), live(page, 'context-answer')) == ('2048', '2048', '20')
    assert live(page, 'prefix') == '50 % of the prompt from the cache'
    # 48 strokes for 16,384 tokens: 2,048 are 6, and the answer's 20 still light one.
    assert [len(page.all(f'#context-blades .{kind}')) for kind in ('cached', 'prompt', 'answer')] == [6, 6, 1]
    assert (live(page, 'speed-read'), live(page, 'speed-write')) == ('200', '25.0')
    assert page.text('.figures').replace('\u202f', '') == '20 tokens · 25.0/s · read 2048 tokens in 10.2 s · 2048 from cache'
    page.until(lambda: live(page, 'running') == '0')


def test_live_view_of_the_cache(page):
    assert live(page, 'cache-types') == 'turbo4'
    assert (live(page, 'cache-held'), live(page, 'cache-ratio')) == ('62.0', 'MiB · 3.56× smaller')  # 221 / 62
    assert live(page, 'cache-f16') == '221 MiB' and live(page, 'cache-reserved') == '412 MiB'
    assert len(page.all('#cache-blades .held')) == 13  # of 48: 62 / 221
    page.server.kv = {**page.server.kv, 'type_v': 'turbo3', 'bytes': 0, 'bytes_f16': 0, 'tokens_used': 0}
    page.open()
    assert live(page, 'cache-types') == 'turbo4 / turbo3' and live(page, 'cache-held') == '0'
    assert not page.all('#cache-blades .held')
    page.server.models = []
    page.driver.get(page.server.url)
    page.until(lambda: live(page, 'model-name') == 'no model loaded')
    assert not page.id('cache').is_displayed()


# ---- windows ----

LONG = ('word' * 60 + ' ' + 'https://example.org/' + 'path/' * 40 + '\n\n```c\nint a' + ' = 1' * 60 + ';\n```\n\n' +
        '| ' + 'column | ' * 12 + '\n|' + '---|' * 12 + '\n| ' + 'value | ' * 12 + '\n\n' + '`' + 'x' * 300 + '`\n\n' +
        ''.join(' ' * 2 * i + '- ' + 'nested' * 8 + '\n' for i in range(8)))


def test_narrow_window(page):
    page.size(360, 740, mobile=True)
    page.open()
    page.ask('y' * 200)
    page.ask('x', Answer(LONG, reasoning=LONG, piece=300, tool_calls=[('1', 'n' * 80, json.dumps({'k' * 60: 'v' * 300}))]))
    page.js('document.querySelectorAll("details").forEach((d) => { d.open = true; })')
    wide = '''return [...document.querySelectorAll('html, body, main, #scroll, .message, .body')].filter((e) => e.scrollWidth > e.clientWidth)
        .map((e) => [e.tagName, e.className, e.scrollWidth, e.clientWidth])'''
    assert page.js('return innerWidth') == 360 and page.js(wide) == []
    for opener, panel in (('live-open', 'live'), ('side-open', 'side')):
        assert not page.id(panel).is_displayed()
        page.id(opener).click()
        assert page.id(panel).is_displayed() and page.id(opener).get_attribute('aria-expanded') == 'true'
        assert page.js('return document.activeElement.closest("#live, #side").id') == panel
        assert page.js(wide) == []
        page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert not page.id(panel).is_displayed() and page.driver.switch_to.active_element == page.id(opener)
    page.id('more').click()
    assert page.id('delete').is_displayed() and page.js(wide) == []
    page.id('side-open').click()
    page.id('settings-open').click()
    assert page.js('const d = document.getElementById("settings-dialog"); return d.scrollWidth <= d.clientWidth && d.getBoundingClientRect().right <= 360')
    page.button('Cancel', '#settings-dialog').click()


CONTRAST = '''
const parse = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
const lum = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const back = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } };
const low = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let t; (t = walk.nextNode());) {
  const e = t.parentElement;
  if (!t.data.trim() || !e.checkVisibility() || e.closest('.sr-only, :disabled, script, noscript')) continue;
  const [a, b] = [lum(parse(getComputedStyle(e).color)), lum(back(e))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) low.push([t.data.trim().slice(0, 40), e.className, ((a + .05) / (b + .05)).toFixed(2)]);
}
return low;'''


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_colours(page, scheme):
    """Text stands out as WCAG 2 AA asks (4.5:1), in both schemes."""
    page.media(prefers_color_scheme=scheme)
    page.ask('x', Answer(MARKDOWN, reasoning='thought', piece=300, tool_calls=[('1', 'f', '{"a": 1}')]))
    page.id('new').click()
    page.ask('y', Answer('part', error='It failed.'))
    dark = page.js('return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((c) => c < 60)')
    assert dark == (scheme == 'dark')
    assert page.js(CONTRAST) == []
    page.all('#list button')[1].click()
    assert page.js(CONTRAST) == []


def test_reduced_motion(page):
    page.server.answers['x'] = Answer('some text', pause_after=1)
    moving = 'return document.getAnimations().length'
    page.type('x', Keys.ENTER)
    page.until(lambda: page.js(moving) > 0)
    page.media(prefers_reduced_motion='reduce')
    assert page.js(moving) == 0
    page.server.resume.set()
    page.until(page.idle)


# ---- policy ----

def test_policy_is_strict(page):
    """The page works under it (every test looks at the console), and it forbids what it should."""
    assert policy().startswith("default-src 'self'; ") and "frame-ancestors 'none'" in policy()
    assert 'unsafe' not in policy()
    with pytest.raises(Exception, match='TrustedHTML'):
        page.js('document.createElement("p").innerHTML = "<b>x</b>"')
    page.js('const i = new Image(); i.src = "http://127.0.0.1:1/x.png"; document.body.append(i)')
    page.until(lambda: any('Content Security Policy' in entry['message'] for entry in page.log()))


def test_files_name_nothing_elsewhere():
    """No address of another host, no inline script or style."""
    from web_mock import WEB
    for file in WEB.iterdir():
        text = file.read_text()
        hosts = set(re.findall(r'https?://([\w.-]+)', text)) - {'www.w3.org'}
        assert not hosts, file
        if file.suffix == '.html':
            assert not re.search(r'<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)', text)
        assert not re.search(r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function', text), file
