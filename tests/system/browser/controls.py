"""Which buttons there are on the pages, and which of them were pressed: without JavaScript and with it.

A button is known by the page that it is on and by what it does. Whatever is seen has to be pressed before the end.
"""

import re

# What a button does: its form's method and address with its own name and value, or its id.
KEY = """element => {
    const path = url => new URL(url || location.href, location.href).pathname;
    if (element.form) {
        // A button named "action" would hide the form's own.
        const form = name => element.form.getAttribute(name) || '';
        const value = element.name ? ` ${element.name}=${element.value.split('/')[0]}` : '';
        return `${form('method').toUpperCase()} ${path(form('action'))}${value}`;
    }
    if (element.href) return element.id === 'logout' ? 'GET /hub/logout' : `GET ${path(element.href)}`;
    return `#${element.id || element.className || element.textContent.trim()}`;
}"""
BUTTONS = "button, input[type=submit], a[role=button]"
# The frame of all pages: its buttons are the same everywhere.
FRAME = "the frame"
# Parts of addresses that are somebody's or something's name.
NAMES = re.compile(r"(?<=/)(?:hubt-|carol|dora|ada|alice|bob|warned|zoe|zack|student|guest)[^/ ]*|(?<=/)[0-9]+(?= |$)|(?<==)[a-z0-9_]*[0-9][a-z0-9_]*$")
# Servers of people: named ones have the same buttons as others.
SERVERS = re.compile(r"(/hub/(?:spawn|spawn-pending|stop|log|share|delete|admin/open)/\*)/[^/ ]+")


def plain(text):
    return SERVERS.sub(r"\1", NAMES.sub("*", text))


class Controls:
    """What was seen and pressed in one mode."""

    def __init__(self, mode):
        self.mode = mode
        self.seen = set()
        self.pressed = set()

    def where(self, page):
        # It has no address of its own.
        if page.locator("#failure-code").count():
            return "/hub/ a failed start"
        place = plain(re.sub(r"^https?://[^/]+|[?#].*$", "", page.url))
        # The same page, with the name left out.
        return "/hub/spawn/*" if place == "/hub/spawn" else place

    def look(self, page):
        """Notes the buttons of a page."""
        place = self.where(page)
        if not place.startswith("/hub/"):
            return
        buttons = page.locator(BUTTONS)
        found = buttons.evaluate_all(
            "all => all.filter(e => e.checkVisibility() && !e.disabled && !e.closest('dialog, noscript'))"
            f".map(e => [Boolean(e.closest('main')), ({KEY})(e)])"
        )
        self.seen.update((place if inside else FRAME, plain(key)) for inside, key in found)

    def press(self, page, button):
        """Presses a button, given as a locator or a selector."""
        button = page.locator(button).first if isinstance(button, str) else button.first
        self.look(page)
        place = self.where(page) if button.evaluate("e => Boolean(e.closest('main'))") else FRAME
        self.pressed.add((place, plain(button.evaluate(KEY))))
        button.click()

    def forgotten(self):
        return sorted(self.seen - self.pressed)
