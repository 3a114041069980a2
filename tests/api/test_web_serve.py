"""The web page of turbine serve itself, with a real model: that what it asks for is what the
server says.  What it does with answers is in test_web.py."""
import os
import re

import pytest
from test_serve import MODEL, STORY, Server
from test_web import Keys, Page, browser  # noqa: F401 - skips without Chromium

pytestmark = pytest.mark.skipif(not os.path.exists(MODEL), reason=f'{MODEL} is not there (script/model)')


@pytest.fixture(scope='module')
def server():
    s = Server('--ctx', '4096')
    s.url = f'http://127.0.0.1:{s.port}'
    yield s
    s.close()


@pytest.fixture
def page(browser, server):  # noqa: F811
    p = Page(browser, server)
    p.patience = 300  # a small model may go on until its context is full
    p.size(1300)
    p.driver.get('about:blank')
    p.driver.execute_cdp_cmd('Storage.clearDataForOrigin', {'origin': server.url, 'storageTypes': 'all'})
    p.log()
    p.open()
    yield p
    assert p.log() == []


def ask(page, text):
    n = len(page.all('.message.assistant'))
    page.type(text, Keys.ENTER)
    page.until(lambda: len(page.all('.message.assistant')) > n)
    page.until(page.idle, 'the answer did not end')
    return page.text('.assistant .prose:not(.thought)')


def test_a_conversation(page, server):
    page.id('settings-open').click()
    page.id('set-temperature').send_keys('0')  # the same answers every time
    page.button('Save').click()
    assert page.id('model-name').get_property('textContent') == server.model
    assert len(ask(page, 'Name three colours in a few words.')) > 3
    footer = page.text('.assistant footer')
    assert re.search(r'\d+ tokens?', footer) and '/s' in footer and 'read' in footer, footer
    assert ask(page, 'And now the first of them only.')
    page.until(lambda: '%' in page.id('prefix').get_property('textContent'))
    assert int(re.match(r'\d+', page.id('prefix').get_property('textContent'))[0]) > 20
    assert not page.all('.error')


def test_stop(page, server):
    page.type('Write a very long story.', Keys.ENTER)
    page.until(lambda: page.all('.assistant .prose:not(.thought)') and
               len(page.text('.assistant .prose:not(.thought)')) > 10)
    page.id('stop').click()
    page.until(page.idle)
    page.until(server.idle, 'the engine works on')
    assert 'Stopped.' in page.text('.assistant footer')


def test_progress_and_overflow(page, server):
    page.js('arguments[0].value = arguments[1]', page.id('prompt'), STORY * 40 + 'What came on Wednesday?')
    page.type(' ', Keys.ENTER)
    page.until(lambda: page.all('.wait') and re.fullmatch(r'Reading [0-9]+ %', page.text('.wait')), 'no progress of the prompt')
    page.id('stop').click()
    page.until(page.idle)
    page.js('arguments[0].value = arguments[1]', page.id('prompt'), STORY * 200)
    page.type(' ', Keys.ENTER)
    page.until(lambda: page.all('.error'))
    assert '4096' in page.text('.error').replace(',', '').replace('\u202f', '').replace(' ', '')
