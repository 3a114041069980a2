#!/usr/bin/env python3
"""Screenshots of a running server's web page: one question, light or dark, any width.

    build/venv/bin/python tools/web_screenshot.py http://127.0.0.1:11434 page.png --ask "Why is the sky blue?"

Needs Chromium, its chromedriver and the Python packages of the tests."""
import argparse
import os
import shutil
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument('url')
p.add_argument('png')
p.add_argument('--ask', action='append', default=[], help='a message; several are sent in turn')
p.add_argument('--after', type=float, help='seconds after the last message, else when its answer ended')
p.add_argument('--dark', action='store_true')
p.add_argument('--size', default='1280x800', help='360x740 is a phone')
p.add_argument('--top', action='store_true', help='show the conversation from its beginning')
args = p.parse_args()

options = webdriver.ChromeOptions()
options.binary_location = shutil.which('chromium') or shutil.which('google-chrome')
for flag in ['--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars'] + ['--no-sandbox'] * (os.geteuid() == 0):
    options.add_argument(flag)
driver = webdriver.Chrome(options=options, service=Service(shutil.which('chromedriver')))
try:
    width, height = map(int, args.size.split('x'))
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride',
                           {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 600})
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [
        {'name': 'prefers-color-scheme', 'value': 'dark' if args.dark else 'light'}]})
    driver.get(args.url)
    time.sleep(1)
    for i, text in enumerate(args.ask):
        driver.find_element('id', 'prompt').send_keys(text, Keys.ENTER)
        time.sleep(0.5)
        if args.after is not None and i == len(args.ask) - 1:
            time.sleep(args.after)
            break
        end = time.monotonic() + 600
        while not driver.find_element('id', 'send').is_displayed() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1.5)  # figures of the server come
    if args.top:
        driver.execute_script('document.getElementById("scroll").scrollTop = 0')
        time.sleep(0.3)
    driver.save_screenshot(args.png)
finally:
    driver.quit()
